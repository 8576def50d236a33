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
from harness.errors import AgentLost, ClockError, HarnessError
from harness.history import container
from harness.history.history import History
from harness.journal.record import AttemptRecord
from harness.judge import judge
from harness.judge.questions import collided
from harness.model.plan import Plan
from harness.model.policy import STARVED, WILD_CLOCK
from harness.model.units import MS, Ns
from harness.model.verdict import Blame, Judgement, Verdict
from harness.plugin import reporting
from harness.plugin.guests import TargetSource
from harness.plugin.pictures import in_text
from harness.plugin.verdicts import FaultNotNamed, StageFailed, StageUnknown
from harness.report.findings import as_text
from harness.report.stage import stage_record
from harness.staging.conduct import conduct
from harness.staging.lost import Told, error_of, examined, last_history
from harness.staging.part import DEADLINE, Part, plan_of
from harness.target import silence
from harness.target.attempts import Attempt, attempting
from harness.target.silence import Patience, starved_process

_LEAST_SILENCE_S: Final = 2.0
_RUNS: Final = pytest.StashKey["list[Run]"]()


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

    def names(self, blame: Blame, *said: str) -> None:
        """Hold the test to a verdict of FAIL that puts the blame there, says those words, and breaks no other promise.

        For what is staged to go wrong: a test that the harness passes by not noticing is worth nothing, and neither is
        one in which something else broke as well.

        Args:
            blame: of the decisive finding.
            said: what its claim must contain.

        Raises:
            FaultNotNamed: the verdict is another one or says something else, or another promise was broken too.
            StageUnknown: there is no verdict.
        """
        decisive = self.judgement.decisive
        if self.verdict is Verdict.UNKNOWN:
            raise StageUnknown(self._judgement, self.history)
        right = self.verdict is Verdict.FAIL and decisive is not None and decisive.blame is blame
        if not right or not all(words in decisive.claim for words in said if decisive):
            raise FaultNotNamed(self._judgement, self.history, " ".join((blame, *said)))
        broken = (one for one in self._judgement.findings if one.verdict is Verdict.FAIL and one.promise)
        if others := [one.promise for one in broken if one is not decisive]:
            wanted = f"{' '.join((blame, *said))}, and not {', '.join(others)} besides"
            raise FaultNotNamed(self._judgement, self.history, wanted)

    @property
    def concern(self) -> int:
        """How bad it is, the larger the worse; asking is not looking."""
        return int(self._judgement.verdict)

    @property
    def deserves_another(self) -> bool:
        """Whether a busy machine, or luck with what collides, alone stands between it and a verdict.

        Asking is not looking.
        """
        return self._judgement.starved or self._judgement.lacks_only(collided.NAME)

    def attempt(self, kept: str) -> AttemptRecord:
        """It as an attempt that is given up, whose history is kept in that file."""
        decisive = self._judgement.decisive
        details = f"{as_text(self._judgement)}\nhistory: {kept}"
        why = Blame.STARVED if self._judgement.starved else Blame.NOTHING
        return AttemptRecord(type=why, summary=decisive.claim if decisive else "", details=details)

    @property
    def settled(self) -> bool:
        """Whether the test answers for this run itself."""
        return self._looked


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of staging; `harness replay` sets them."""
    group = parser.getgroup("hil")
    group.addoption("--hil-replay", type=Path, metavar="HISTORY", help=argparse.SUPPRESS)
    group.addoption(
        "--hil-silence",
        type=_seconds,
        default=silence.DEFAULT_S,
        metavar="SECONDS",
        help="give a guest up whose agent has said nothing for so long while a stage runs, not counting time in which "
        "the host was too busy to let it (default: %(default)s)",
    )


def _seconds(text: str) -> float:
    """An option's value in seconds.

    Raises:
        argparse.ArgumentTypeError: less than two: the agent speaks once a second.
    """
    try:
        seconds = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds") from None
    if not _LEAST_SILENCE_S <= seconds < float("inf"):
        raise argparse.ArgumentTypeError(
            f"{text} s: the agent speaks once a second, so {_LEAST_SILENCE_S:.0f} at least"
        )
    return seconds


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

        When a busy machine, or luck with what collides, alone stands between the stage and a verdict, it is carried
        out again; see :data:`~harness.model.policy.STARVED`.
        """
        number = f"{len(self._runs) + 1}." if self._runs else ""

        def once() -> Run:
            history = carry_out(plan, self._source, self._contract, self._node)
            return Run(history, judge(history, self._contract.terms_of(history)))

        def give_up(attempt: Attempt) -> None:
            given_up: Run = attempt.answer
            kept = _write(self._node, f"{number}given-up.zip", container.to_bytes(given_up.history))
            reporting.note_attempt(self._node, given_up.attempt(kept))
            self._source.renew()

        run: Run = attempting(STARVED, unsettled=lambda run: run.deserves_another, observe=give_up)(once)
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
    if report.failed and isinstance(error, StageFailed | StageUnknown | FaultNotNamed):
        report.longrepr = str(error)
    elif report.failed and isinstance(error, HarnessError):
        report.longrepr = f"{error}\n\n{error.evidence}".rstrip()
    return report


def carry_out(plan: Plan, source: TargetSource, contract: Contract, node: pytest.Item) -> History:
    """Stage a plan for a test; once more on a fresh guest when the clock ran wild.

    A kernel that panics or hangs is data, and so is one that took the agent with it and says so in its log: the history
    then holds what every actor was in the middle of, and the end of its console.

    Raises:
        ClockError: the clock ran wild twice.
        GuestError: the guest was lost, and its kernel is not to blame.
        AgentLost: the agent was lost in a guest that lives.
        HarnessError: the stage could not be carried out.
    """

    def platform(vendor: int, device: int) -> str:
        return contract.platform(vendor, device, Nature.EMULATED)

    def once() -> History:
        target, told = source.target, Told()
        patience = Patience(
            limit_s=node.config.getoption("--hil-silence"), starved=starved_process(target.guest.pid)
        )
        try:
            return conduct(plan, target, platform, told=told, patience=patience)
        except AgentLost as error:
            if not target.agent.lost:
                raise  # it answered, and what it lost is a process of its own
            loss = examined(*target.post_mortem(told.pages), told)
            history = last_history(plan, loss, told, platform, target.provenance())
            if loss.kind.kernel_fault or (loss.kind.target_lives and _is_convicted(history, contract)):
                return history
            raise error_of(plan, loss, told, error, console=str(target.guest.console)) from error

    def give_up(attempt: Attempt) -> None:
        reporting.note_attempt(node, AttemptRecord(type=ClockError.kind, summary=str(attempt.error)))
        source.renew()

    return attempting(WILD_CLOCK, observe=give_up)(once)


def _is_convicted(history: History, contract: Contract) -> bool:
    """Whether the log of a kernel that lives says why its agent was lost: an oops took it, or left its locks behind."""
    return judge(history, contract.terms_of(history)).verdict is Verdict.FAIL


def _keep(
    run: Run,
    node: pytest.Item,
    number: str,
    source: TargetSource,
) -> None:
    """Write the history, and the text timeline when it is not a PASS; tell the reporting plugin, which draws."""
    judgement = run._judgement  # noqa: SLF001 - keeping it is not looking at it
    history = _write(node, f"{number}history.zip", container.to_bytes(run.history))
    source.judged(run.history, judgement, history)
    attachments = []
    if judgement.verdict is not Verdict.PASS:
        text = in_text(run.history, judgement).encode()
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
