"""The fixture `stage`: carry an experiment out, judge it, and hold the test to the verdict.

A test that stages and asserts nothing is still judged: when its body has returned, every run whose verdict it did
not look at decides the test.  FAIL is a failure, UNKNOWN an error, a known weakness an expected failure.
"""

from __future__ import annotations

import argparse
import zlib
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest

from harness.contract import Contract, Nature
from harness.errors import AgentLost, ClockError, GuestError, HarnessError
from harness.history import container
from harness.history.history import History, LogLine
from harness.journal.record import AttemptRecord
from harness.judge import judge
from harness.model.plan import Plan
from harness.model.policy import STARVED, WILD_CLOCK
from harness.model.units import MS, Ns
from harness.model.verdict import Blame, Judgement, Verdict
from harness.plugin import reporting
from harness.plugin.guests import TargetSource
from harness.plugin.verdicts import StageFailed, StageUnknown
from harness.report.findings import as_text
from harness.report.stage import stage_record
from harness.report.timeline_text import timeline_text
from harness.staging.conduct import conduct
from harness.staging.part import DEADLINE, Part, plan_of
from harness.target.attempts import Attempt, attempting

_RUNS: Final = pytest.StashKey["list[Run]"]()
_CONSOLE_LINES: Final = 200


@dataclass(slots=True)
class Run:
    """One staged experiment.

    Attributes:
        history: what happened.
        judgement: what it means; looking at it or at `verdict` makes the test answer for it.
    """

    history: History
    _judgement: Judgement
    _looked: bool = field(default=False, init=False)

    @property
    def judgement(self) -> Judgement:
        """All findings."""
        self._looked = True
        return self._judgement

    @property
    def verdict(self) -> Verdict:
        """PASS, UNKNOWN or FAIL."""
        return self.judgement.verdict

    def enforce(self) -> None:
        """Hold the test to the verdict; done for it at its end, unless it looked at the verdict itself.

        Raises:
            StageFailed: the verdict is FAIL.
            StageUnknown: the verdict is UNKNOWN.
            pytest.xfail.Exception: a weakness was seen that the contract knows.
        """
        self._looked = True
        match self._judgement.verdict:
            case Verdict.FAIL:
                raise StageFailed(self._judgement, self.history)
            case Verdict.UNKNOWN:
                raise StageUnknown(self._judgement, self.history)
            case Verdict.PASS if self._judgement.weaknesses:
                pytest.xfail("; ".join(self._judgement.weaknesses))

    @property
    def concern(self) -> int:
        """How bad it is, the larger the worse; asking is not looking."""
        return int(self._judgement.verdict)

    @property
    def starved(self) -> bool:
        """Whether a busy machine alone stands between it and a verdict; asking is not looking."""
        return self._judgement.starved

    def attempt(self, kept: str) -> AttemptRecord:
        """It as an attempt that is given up, whose history is kept in that file."""
        decisive = self._judgement.decisive
        details = f"{as_text(self._judgement)}\nhistory: {kept}"
        return AttemptRecord(type=Blame.STARVED, summary=decisive.claim if decisive else "", details=details)

    @property
    def settled(self) -> bool:
        """Whether the test answers for this run itself."""
        return self._looked


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of staging; `harness replay` sets them."""
    parser.getgroup("hil").addoption("--hil-replay", type=Path, metavar="HISTORY", help=argparse.SUPPRESS)


@dataclass(frozen=True, slots=True)
class Stage:
    """Stages experiments for one test; the fixture `stage` is one."""

    _node: pytest.Item
    _source: TargetSource
    _contract: Contract
    _runs: list[Run]

    def __call__(
        self,
        *parts: Part,
        lasting: str | Ns = Ns(400 * MS),
        meets: int = 0,
        deadline: str | Ns = DEADLINE,
        title: str = "",
    ) -> Run:
        """Carry parts out together, and judge what happened.

        Args:
            parts: what the verbs of a function return.
            lasting: how long rounds may begin.
            meets: how many operations must meet a lock window for a PASS.
            deadline: for the return of the last operation, counted from the end.
            title: for people; the test's name when empty.

        Returns:
            The run; it is judged already.

        Raises:
            UsageError: the parts do not fit together.
            HarnessError: they could not be staged.
        """
        name = self._node.name
        plan = plan_of(
            parts,
            title=title or name,
            lasting=lasting,
            meets=meets,
            deadline=deadline,
            seed=zlib.crc32(self._node.nodeid.encode()),
        )
        return self.plan(plan)

    def plan(self, plan: Plan) -> Run:
        """Carry out a plan that is ready, such as that of a history.

        When a busy machine alone stands between the stage and a verdict, it is carried out once more.
        """
        number = f"{len(self._runs) + 1}." if self._runs else ""

        def once() -> Run:
            history = carry_out(plan, self._source, self._contract, self._node)
            return Run(history, judge(history, self._contract.terms_of(history)))

        def give_up(attempt: Attempt) -> None:
            starved: Run = attempt.answer
            kept = _write(self._node, f"{number}starved.zip", container.to_bytes(starved.history))
            reporting.note_attempt(self._node, starved.attempt(kept))
            self._source.renew()

        run: Run = attempting(STARVED, unsettled=lambda run: run.starved, observe=give_up)(once)
        self._runs.append(run)
        _keep(run, self._node, number, self._source)
        return run


@pytest.fixture
def stage(request: pytest.FixtureRequest, hil_source: TargetSource, hil_contract: Contract) -> Stage:
    """Stage parts together: `stage(dut.reads(actors=3), dut.resets("flr", at="50ms"), lasting="400ms", meets=3)`."""
    runs: list[Run] = []
    request.node.stash[_RUNS] = runs
    return Stage(request.node, hil_source, hil_contract, runs)


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, Any, Any]:
    """When the test's body has returned, hold it to every verdict that it did not look at."""
    result = yield
    pending = [run for run in pyfuncitem.stash.get(_RUNS, []) if not run.settled]
    for run in sorted(pending, key=lambda run: -run.concern):  # a known weakness must not hide a failure
        run.enforce()
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    call: pytest.CallInfo[None],
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show our own exceptions as what they say: their traceback leads through the harness, not to the cause."""
    report = yield
    error = call.excinfo.value if call.excinfo is not None else None
    if report.failed and isinstance(error, StageFailed | StageUnknown):
        report.longrepr = str(error)
    elif report.failed and isinstance(error, HarnessError):
        report.longrepr = f"{error}\n\n{error.evidence}".rstrip()
    return report


def carry_out(plan: Plan, source: TargetSource, contract: Contract, node: pytest.Item) -> History:
    """Stage a plan for a test; once more on a fresh guest when the clock ran wild.

    A guest that panics is data: the history then holds the end of its console.

    Raises:
        ClockError: the clock ran wild twice.
        HarnessError: the stage could not be carried out.
    """

    def platform(vendor: int, device: int) -> str:
        return contract.platform(vendor, device, Nature.EMULATED)

    def once() -> History:
        target = source.target
        try:
            return conduct(plan, target, platform)
        except AgentLost as error:
            if target.guest.wait_panic(2.0):
                return last_words(plan, target.guest.console_text(), target.provenance())
            registers = target.guest.interrogate()
            raise GuestError(
                f"staging {plan.title!r}",
                said=f"the guest answers no more ({error.said})",
                hint=f"Its console, with backtraces of all CPUs: {target.guest.console}",
                evidence=f"{registers}\n{target.guest.console_text()[-8000:]}",
            ) from error

    def give_up(attempt: Attempt) -> None:
        reporting.note_attempt(node, AttemptRecord(type=ClockError.kind, summary=str(attempt.error)))
        source.renew()

    return attempting(WILD_CLOCK, observe=give_up)(once)


def last_words(plan: Plan, console: str, provenance: dict[str, Any]) -> History:
    """The history of a stage whose kernel panicked: nothing but the end of its console."""
    lines = console.splitlines()[-_CONSOLE_LINES:]
    return History(
        plan=plan,
        begin_ns=Ns(0),
        end_ns=Ns(0),
        log=tuple(LogLine(time_us=0, level=0 if "Kernel panic" in line else 6, text=line) for line in lines),
        provenance=provenance,
    )


def _keep(
    run: Run,
    node: pytest.Item,
    number: str,
    source: TargetSource,
) -> None:
    """Write the history, and the text timeline when it is not a PASS; tell the reporting plugin, which draws."""
    judgement = run._judgement  # noqa: SLF001 - keeping it is not looking at it
    history = _write(node, f"{number}history.zip", container.to_bytes(run.history))
    attachments = []
    if judgement.verdict is not Verdict.PASS:
        text = timeline_text(run.history, judgement).encode()
        attachments = [
            _write(node, f"{number}timeline.txt", text),
            *(_relative(node, log) for log in source.consoles),
        ]
    reporting.note_stage(
        node,
        stage_record(
            run.history,
            judgement,
            file=history,
            attachments=tuple(attachments),
        ),
    )


def _write(node: pytest.Item, kind: str, data: bytes) -> str:
    """Keep evidence of a test; its path relative to the results folder."""
    path = reporting.attachment_path(node, kind)
    if path is None:
        return ""
    try:
        path.write_bytes(data)
    except OSError as error:
        raise HarnessError(
            f"writing {path}",
            said=error.strerror or str(error),
            hint="Is the disk full, or the folder read-only?",
        ) from error
    return _relative(node, path)


def _relative(node: pytest.Item, path: Path) -> str:
    results = reporting.results_folder(node.config)
    return str(path.relative_to(results)) if results else str(path)
