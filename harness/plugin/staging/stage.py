"""What the fixture `stage` is: carries an experiment out for one test, judges it, and keeps the evidence."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.contract import Contract
from harness.errors import AgentLost, ClockError, HarnessError
from harness.history import container
from harness.history.history import History
from harness.journal.record import AttemptRecord
from harness.judge import judge
from harness.judge.evidence import Evidence
from harness.model.command import Command
from harness.model.plan import Plan
from harness.model.policy import STARVED, WILD_CLOCK
from harness.model.units import MS, Ns
from harness.model.verdict import Verdict
from harness.plugin import reporting
from harness.plugin.lab import platform_of
from harness.plugin.lab.guests import TargetSource
from harness.plugin.pictures import in_text
from harness.plugin.staging.run import Run, Staged
from harness.report.stage import stage_record
from harness.staging.conduct import conduct
from harness.staging.lost import Told, error_of, examined, last_history
from harness.staging.part import DEADLINE, Part, plan_of
from harness.target.attempts import Attempt, attempting
from harness.target.silence import Patience


@dataclass(frozen=True, slots=True)
class Stage:
    """Stages experiments for one test; the fixture `stage` is one."""

    _node: pytest.Item
    _source: TargetSource
    _contract: Contract
    _staged: Staged

    def __call__(
        self,
        *parts: Part,
        lasting: str | Ns = Ns(400 * MS),
        meets: int = 0,
        deadline: str | Ns = DEADLINE,
        title: str = "",
        before: Sequence[Command | Sequence[str]] = (),
    ) -> Run:
        """Carry parts out together, and judge what happened.

        Args:
            parts: what the verbs of a function return.
            lasting: how long rounds may begin.
            meets: how many operations must meet a lock window for a PASS.
            deadline: for the return of the last operation, counted from the end.
            title: for people; the test's name when empty.
            before: what the target runs first, one after the other: each the words of a command, or a
                :class:`~harness.model.command.Command`, which says more.  A guest has Python; whoever names
                `busybox` first is brought it.

        Returns:
            The run; it is judged already.

        Raises:
            UsageError: the parts do not fit together.
            HarnessError: they could not be staged.
        """
        self._staged.asked = True  # a test that expects a refusal has staged
        name = self._node.name
        plan = plan_of(
            parts,
            title=title or name,
            lasting=lasting,
            meets=meets,
            deadline=deadline,
            seed=zlib.crc32(self._node.nodeid.encode()),
            before=before,
        )
        return self.plan(plan)

    def plan(self, plan: Plan) -> Run:
        """Carry out a plan that is ready, such as that of a history.

        When a busy machine, or luck with what collides, alone stands between the stage and a verdict, it is carried
        out again; see :data:`~harness.model.policy.STARVED`.
        """
        self._staged.asked = True
        number = f"{len(self._staged.runs) + 1}." if self._staged.runs else ""

        def once() -> Run:
            evidence = Evidence(carry_out(plan, self._source, self._contract, self._node))
            return Run(evidence, judge(evidence, self._contract.terms_of(evidence.history)))

        def give_up(attempt: Attempt) -> None:
            given_up: Run = attempt.answer
            kept = _write(self._node, f"{number}given-up.zip", container.to_bytes(given_up.history))
            reporting.note_attempt(self._node, given_up.attempt(kept))
            self._source.renew()

        run: Run = attempting(STARVED, unsettled=lambda run: run.deserves_another, observe=give_up)(once)
        self._staged.runs.append(run)
        _keep(run, self._node, number, self._source)
        return run


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

    def once() -> History:
        target, told = source.target, Told()
        platform = platform_of(target, contract)
        patience = Patience(limit_s=node.config.getoption("--hil-silence"), starved=target.starvation())
        try:
            return conduct(plan, target, platform, told=told, patience=patience)
        except AgentLost as error:
            if not target.agent.silent:
                raise  # it answered: what it lost is a process of its own, or what it said is no answer
            loss = examined(*target.post_mortem(told.pages), told)
            history = last_history(plan, loss, told, platform, target.provenance())
            if loss.kind.kernel_fault or (loss.kind.target_lives and _is_convicted(history, contract)):
                return history
            raise error_of(plan, loss, told, error, console=target.console) from error

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
    judgement = run.judgement
    history = _write(node, f"{number}history.zip", container.to_bytes(run.history))
    source.judged(run.history, judgement, history)
    attachments = []
    if judgement.verdict is not Verdict.PASS:
        text = in_text(run.evidence, judgement).encode()
        attachments = [
            _write(node, f"{number}timeline.txt", text),
            *(_relative(node, log) for log in source.consoles),
        ]
    reporting.note_stage(
        node,
        stage_record(
            run.evidence,
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
