"""A session as its journal tells it: one entry a test.  Values only."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from harness.journal.record import AttemptRecord, HealthRecord, SessionEnd, SessionStart, StageRecord, Status
from harness.model.units import Ns

INCOMPLETE: Final = "hil.incomplete"
HOST_CRASH: Final = "hil.host-crash"
NOT_RUN: Final = "hil.notrun"
ABORTED: Final = "hil.aborted"
FLAKY: Final = "hil.flaky"
KERNEL_FAULT: Final = "hil.kernel-fault"
LAB: Final = "hil.infra."
"""What the types of all errors begin with that are trouble of the lab."""
XFAIL: Final = "pytest.xfail"
LACKING: Final = "hil.lacking"
UNSETTLED: Final = "hil.unsettled"
DEATHS: Final = (INCOMPLETE, HOST_CRASH, ABORTED)
"""What became of a test that was in flight when its session ended: nothing that the test or the lab did."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One test, whatever number of phases, stages and attempts it took.

    Attributes:
        test: pytest's node id; a report derives the identity from it.
        status: worst of all phases.
        type: `hil.*` type, empty when ok.
        phase: that came to this: `setup`, `call`, `teardown`, `collect`; empty when none did.
        summary: one line, empty when ok.
        details: longer text.
        seconds: from start to finish, all attempts of the last run included.
        output: captured output of all phases.
        stages: in the order of staging.
        attempts: tries that gave no verdict and were made again.
        attachments: files relative to the results folder, the picture first.
        file, line: where the test is written; line from 1, 0 when not known.
        started_ns: CLOCK_REALTIME of its start, 0 when it never started.
        complete: its outcome is known: it came to its end, or it had failed before its runner died.  A run that resumes
            the session does not run it again.
    """

    test: str
    status: Status
    type: str = ""
    phase: str = ""
    summary: str = ""
    details: str = ""
    seconds: float = 0.0
    output: str = ""
    stages: tuple[StageRecord, ...] = ()
    attempts: tuple[AttemptRecord, ...] = ()
    attachments: tuple[str, ...] = ()
    file: str = ""
    line: int = 0
    started_ns: Ns = Ns(0)
    complete: bool = False

    @property
    def recovered(self) -> bool:
        """Did it pass, or run into a known weakness, only after a retry?"""
        return bool(self.attempts) and self.status in (Status.OK, Status.SKIPPED)

    @property
    def named(self) -> tuple[str, ...]:
        """What stages were judged FAIL for, `hil.*` types, while the test is ok: it staged that, and asked for it."""
        if self.status is not Status.OK:
            return ()
        return tuple(stage.blame or stage.verdict for stage in self.stages if stage.verdict == "FAIL")

    @property
    def met(self) -> int:
        """How many operations met a window, over all stages."""
        return sum(stage.met for stage in self.stages)


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A whole run.

    Attributes:
        start: the first record; defaults when even that is missing.  Of a resumed session that of the last run, with
            what the first one says of the whole: `realtime_ns`, `argv`.
        entries: in the plan's order.
        health: what was said about the session as a whole.
        end: None when the runner died.
        host_went_down: the machine has booted since.
        last_ns: the latest CLOCK_MONOTONIC that any record of the last run carries.
        earlier_ns: length of the runs that the last one resumed.
        planned: the tests that were collected, of all runs together.
        runs: how many there were.
        damaged: lines in the middle that could not be read.
        trouble: why the journal itself is not complete (disk full …); empty when it is.
    """

    start: SessionStart = field(default_factory=SessionStart)
    entries: tuple[Entry, ...] = ()
    health: tuple[HealthRecord, ...] = ()
    end: SessionEnd | None = None
    host_went_down: bool = False
    last_ns: Ns = Ns(0)
    earlier_ns: Ns = Ns(0)
    planned: tuple[str, ...] = ()
    runs: int = 1
    damaged: int = 0
    trouble: tuple[str, ...] = ()

    @property
    def over(self) -> bool:
        """Whether it came to its end, and every test of its plan with it: nothing is left to resume."""
        return self.end is not None and not any(entry.type in (*DEATHS, NOT_RUN) for entry in self.entries)

    @property
    def seconds(self) -> float:
        """Wall-clock length as far as the journal tells, never negative."""
        last = max(0, self.last_ns - self.start.at_ns) if self.start.at_ns else 0
        return (self.earlier_ns + last) / 1e9
