"""The records of a journal: plain values; :mod:`harness.journal.lines` writes and reads them, one a line."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Final

from harness.model.flavour import FlakyPolicy
from harness.model.plain import Between
from harness.model.units import Ns
from harness.model.verdict import Remark

VERSION: Final = 1
"""Of the journal's format; written into every session start."""


class Status(enum.StrEnum):
    """Which JUnit element an outcome becomes, in the order of concern (the last is worst)."""

    OK = "ok"
    SKIPPED = "skipped"
    ERROR = "error"
    """No verdict: harness, lab, or evidence missing."""
    FAILURE = "failure"
    """The function, driver or kernel under test was judged faulty."""

    @property
    def concern(self) -> int:
        """Rank for merging: the larger wins."""
        return list(Status).index(self)


class KernelLog(enum.StrEnum):
    """What a stage's kernel log looked like."""

    CLEAN = "clean"
    WARN = "warn"
    FAULT = "fault"
    PROVOKED = "provoked"
    """A fault in a stage whose plan misuses locks on purpose: what it proves is its test's business."""
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """How long one kind of operation took in one stage.

    Attributes:
        operation: the contract's word, `config-read/sysfs`.
        count: completed operations.
        p50_ns, p99_ns, max_ns: of the time from call to return.
    """

    operation: str
    count: int
    p50_ns: int
    p99_ns: int
    max_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusals:
    """Attempts of one kind of operation that were refused and made again in one stage; they decide nothing.

    Attributes:
        operation: the contract's word, `reset/vfio`.
        attempts: how many were refused and made again.
        errnos: how many of them with which errno, by name.
        rounds: in how many rounds.
        ended: how the last attempts of those rounds ended: `ok`, an errno's name, `never returned`; how many of each.
    """

    operation: str
    attempts: int
    errnos: dict[str, int]
    rounds: int
    ended: dict[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptRecord:
    """One try that gave no verdict and was made again.

    Attributes:
        test: node id of the test it belongs to; may be empty inside a :class:`StageRecord`.
        type: `hil.*` type of what went wrong.
        summary: one line.
        details: longer text, such as the console's tail.
        whole: the whole test was given up, not a stage of it: phases and stages that were written down before belong
            to this attempt.
        attachments: files that it left, relative to the results folder.
        at_ns: CLOCK_MONOTONIC of the runner when it was given up.
    """

    KIND: ClassVar[str] = "attempt"
    test: str = ""
    type: str
    summary: str
    details: str = ""
    whole: bool = False
    attachments: tuple[str, ...] = ()
    at_ns: Ns = Ns(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class StageRecord:
    """One stage, judged.

    Attributes:
        test: node id of the test that staged it.
        history: file name of the history, relative to the results folder.
        title: the plan's title.
        verdict: `PASS`, `UNKNOWN` or `FAIL`.
        headline: the decisive finding's claim, one line.
        findings: every finding as JSON values.
        weaknesses: sentences on known weaknesses that were seen.
        met: how many operations met a window.
        operations: how many operations were recorded.
        retried: attempts given up before this stage; say each here or in a record of its own, not twice.
        functions: aliases of the functions that took part.
        provenance: the part of the history's provenance that a dashboard wants.
        seed: of the plan.
        latencies: one entry for each kind of operation.
        refusals: one entry for each kind of operation that was refused and tried again.
        kernel_log: what the checker of the kernel log saw.
        kernel_warnings: lines of the kernel log that are tolerated and still worth reading.
        staged: what the plan stages to go wrong, a line each.
        remarks: what the stage left over that decides nothing.
        blame: of a FAIL, the `hil.*` type of its decisive finding; else empty.
        attachments: files relative to the results folder; the picture first.
        at_ns: CLOCK_MONOTONIC of the runner.
    """

    KIND: ClassVar[str] = "stage"
    test: str = ""
    history: str
    title: str
    verdict: str
    headline: str
    findings: tuple[dict[str, Any], ...] = ()
    weaknesses: tuple[str, ...] = ()
    met: int = 0
    operations: int = 0
    retried: tuple[AttemptRecord, ...] = ()
    functions: tuple[str, ...] = ()
    provenance: dict[str, Any] = field(default_factory=dict)
    seed: int = 0
    latencies: tuple[Latency, ...] = ()
    refusals: tuple[Refusals, ...] = ()
    kernel_log: KernelLog = KernelLog.UNKNOWN
    kernel_warnings: tuple[str, ...] = ()
    staged: tuple[str, ...] = ()
    remarks: tuple[Remark, ...] = ()
    blame: str = ""
    attachments: tuple[str, ...] = ()
    at_ns: Ns = Ns(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionStart:
    """The first record of a session.

    Attributes:
        version: of the journal's format.
        suite: name of the JUnit suite: `hil.` and the lab's alias, never an address.
        host, pid, boot_id: who ran; another `boot_id` when the report is made means that the host went down.
        realtime_ns, at_ns: CLOCK_REALTIME and CLOCK_MONOTONIC, read together.
        versions: of the harness, pytest and so on, by name.
        argv: the command.
        results: the results folder as seen from the CI workspace, in front of attachment paths.
        flaky: what a pass after a retry counts as.
        resumes: how many runs before this one in the same journal it goes on from; 0 begins anew.
        retries: how many tests may need one; None for the usual share of them.
        dialect: flavour of JUnit that was asked for; a report made later has the same.
        provenance: about the whole session, JSON values; becomes properties of the suite.
    """

    KIND: ClassVar[str] = "session-start"
    version: int = VERSION
    suite: str = "hil.lab"
    host: str = ""
    pid: int = 0
    boot_id: str = ""
    realtime_ns: Annotated[Ns, Between(0, (1 << 63) - 1)] = Ns(0)
    at_ns: Ns = Ns(0)
    versions: dict[str, str] = field(default_factory=dict)
    argv: tuple[str, ...] = ()
    results: str = ""
    flaky: FlakyPolicy = FlakyPolicy.PASS
    resumes: int = 0
    retries: int | None = None
    dialect: str = "strict"
    provenance: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class TestPlan:
    """Node ids of all tests that were collected, in the order of running."""

    KIND: ClassVar[str] = "plan"
    __test__: ClassVar[bool] = False  # no test class, whatever its name begins with
    tests: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TestStart:
    """A test is about to touch something."""

    KIND: ClassVar[str] = "test-start"
    __test__: ClassVar[bool] = False
    test: str
    at_ns: Ns = Ns(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseReport:
    """What one phase of a test came to.

    Attributes:
        test: node id.
        phase: `setup`, `call`, `teardown` or `collect`.
        status: which element.
        type: `hil.*` type, empty when ok.
        summary: one line.
        details: findings, timeline, traceback.
        seconds: length of the phase.
        output: captured output.
        file, line: where the test is written, line from 1; 0 when not known.
        attachments: files that belong to this test, relative to the results folder.
    """

    KIND: ClassVar[str] = "phase"
    test: str
    phase: str
    status: Status
    type: str = ""
    summary: str = ""
    details: str = ""
    seconds: Annotated[float, Between(-1e9, 1e9)] = 0.0
    output: str = ""
    file: str = ""
    line: int = 0
    attachments: tuple[str, ...] = ()
    at_ns: Ns = Ns(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class TestFinish:
    """Nothing of this test will be touched any more."""

    KIND: ClassVar[str] = "test-finish"
    __test__: ClassVar[bool] = False
    test: str
    at_ns: Ns = Ns(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthRecord:
    """What somebody who knows says about the session as a whole.

    Attributes:
        name: stable name of the health case: `kernel_log_clean`, `devices_returned` …
        status: as a test's.
        type: `hil.*` type, empty when ok.
        summary: one line.
        details: longer text.
    """

    KIND: ClassVar[str] = "health"
    name: str
    status: Status
    type: str = ""
    summary: str = ""
    details: str = ""
    at_ns: Ns = Ns(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionEnd:
    """The last record of a session that came to its end.

    Attributes:
        status: pytest's own exit status.
        aborted: why the user stopped it; empty when nobody did.
        stopped: why it ended before all tests ran (`stopping after 1 failures`); empty when it did not.
    """

    KIND: ClassVar[str] = "session-end"
    status: Annotated[int, Between(-(1 << 31), 1 << 31)]
    aborted: str = ""
    stopped: str = ""
    at_ns: Ns = Ns(0)


Record = (
    SessionStart
    | TestPlan
    | TestStart
    | PhaseReport
    | StageRecord
    | AttemptRecord
    | TestFinish
    | HealthRecord
    | SessionEnd
)
