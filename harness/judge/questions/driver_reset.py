"""Did every reset that a driver asked of its function, and that it took for done, really happen?

A driver goes by time: it starts a self-test or asks for a warm reset, waits, and goes on without having looked.  The
function's own log is the witness.  It is asked for the one kind of reset that the driver wanted, so that somebody
else's, which came in between, does not pass for it.

Source: Linux drivers/scsi/ipr.c, `ipr_reset_start_bist()`, `ipr_reset_slot_reset()`: neither asks for a result.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from harness.history.windows import DriverReset, DriverStep, StepTaken, driver_doubts
from harness.judge import findings
from harness.judge.evidence import Evidence
from harness.judge.findings import Aspect
from harness.model.operation import DRIVER_SELF_TEST, DRIVER_WARM_RESET, SELF_TEST, Operation, verb
from harness.model.outcome import Outcome
from harness.model.promise import WindowKind
from harness.model.served import Happened
from harness.model.terms import Terms
from harness.model.units import Ns, as_text
from harness.model.verdict import Blame, EventId, Finding

NAME: Final = "driver_reset"
_DRIVER: Final = "ipr"
_WORDS: Final = {DriverStep.SELF_TEST: DRIVER_SELF_TEST, DriverStep.WARM_RESET: DRIVER_WARM_RESET}
_KINDS: Final = {DriverStep.SELF_TEST: Happened.SELF_TESTED, DriverStep.WARM_RESET: Happened.BUS_RESET}
"""What its function notes of it: a slot is reset by its bus."""


class _Doubt(enum.StrEnum):
    """Why the log of a function does not tell."""

    SILENT = "nothing wrote down what the function saw"
    CLOCK = "a reset in its log came so close to the edges of the driver's that the clock does not tell which it was"
    FOREIGN = "somebody else reset it meanwhile, and one looks like the other"
    LOST = "rows of its log were lost"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """A reset that a driver asked for and took for done.

    Attributes:
        alias: of the function.
        step: with which it asked.
        lasting_ns: from there until the driver took it for done.
        row: of `History.served`, in which the function says that it happened; -1 without one.
        doubt: why that is not certain; None when it is.
    """

    alias: str
    step: StepTaken
    lasting_ns: Ns
    row: int
    doubt: _Doubt | None

    @property
    def shown(self) -> Outcome:
        """The word for it."""
        return Outcome.OK if self.row >= 0 else Outcome.SKIPPED


def driver_reset(evidence: Evidence, terms: Terms) -> tuple[Finding, ...]:
    """Hold every reset that a driver asked for against the log of its function."""
    groups: dict[tuple[str, Operation], list[_Asked]] = {}
    for reset in evidence.driver_resets:
        step = reset.start
        if step is not None and reset.done:
            asked = _asked(evidence, reset, step)
            groups.setdefault((asked.alias, _WORDS[step.step]), []).append(asked)
    wanted = any(verb(step.means) == "adapter-reset" for _, step in evidence.steps.numbered)
    if (evidence.driver_resets or wanted) and (reasons := driver_doubts(evidence.history, _DRIVER)):
        return (
            findings.unknown(
                NAME, f"What {_DRIVER} did to its function is not certain: {'; '.join(reasons)}."
            ),
        )
    return tuple(
        finding for (_, means), group in groups.items() for finding in _judge(evidence, terms, means, group)
    )


def _asked(evidence: Evidence, reset: DriverReset, step: StepTaken) -> _Asked:
    history, function = evidence.history, evidence.of(reset.function)
    times, error = history.served["time_ns"], history.served_error_ns
    rows = function.served(_KINDS[step.step])
    moments = times[rows].astype(int)
    near = rows[(moments >= step.time_ns - error) & (moments <= reset.end_ns + error)].tolist()
    inside = [row for row in near if step.time_ns + error <= int(times[row]) <= reset.end_ns - error]
    doubt = None
    if not len(function.served()):
        doubt = _Doubt.SILENT
    elif near and not inside:
        doubt = _Doubt.CLOCK
    elif near and _foreign(evidence, function.alias, step, reset.end_ns):
        doubt = _Doubt.FOREIGN
    elif not near and history.served_lost:
        doubt = _Doubt.LOST
    return _Asked(
        alias=function.alias,
        step=step,
        lasting_ns=Ns(reset.end_ns - step.time_ns),
        row=inside[0] if inside else -1,
        doubt=doubt,
    )


def _foreign(evidence: Evidence, alias: str, step: StepTaken, end: Ns) -> bool:
    """Whether a user asked meanwhile for a reset that a function may note as the driver's."""
    own = step.step is DriverStep.SELF_TEST
    return any(
        (call.operation == SELF_TEST) is own and call.begin_ns <= end and step.time_ns <= call.end_ns
        for call in evidence.calls
        if alias in call.resets
    )


def _judge(evidence: Evidence, terms: Terms, means: Operation, group: Sequence[_Asked]) -> Iterator[Finding]:
    first = group[0]
    what = f"{first.step.step} that the driver of {first.alias} asked for"
    promise = terms.promise(first.alias, means, WindowKind.NONE)
    if promise is None:
        yield findings.unknown(
            NAME,
            f"The contract does not say whether the {what} happens.",
            events=findings.kernel(first.step.row),
        )
        return
    certain = [asked for asked in group if asked.doubt is None]
    if doubtful := [asked for asked in group if asked.doubt is not None]:
        yield findings.unknown(
            NAME,
            f"Whether the {what} happened is not certain, {len(doubtful)} of {len(group)} times: "
            f"{doubtful[0].doubt}.",
            promise=promise,
            events=findings.kernel(doubtful[0].step.row),
        )
    wrong = [asked for asked in certain if asked.shown is not promise.outcome]
    if wrong:
        yield findings.failed(
            NAME,
            Blame.RESET_FAILED,
            _told(evidence, wrong[0], len(wrong)),
            events=_events(wrong[0]),
            promise=promise,
            met=len(wrong),
            weakness=findings.weak(promise, Aspect.OUTCOME),
        )
    elif certain:
        yield findings.passed(
            NAME,
            _told(evidence, certain[0], len(certain)),
            promise=promise,
            met=len(certain),
            weakness=findings.weak(promise, Aspect.OUTCOME),
        )


def _events(asked: _Asked) -> tuple[EventId, ...]:
    found = findings.kernel(asked.step.row)
    return (*found, findings.served(asked.row)) if asked.row >= 0 else found


def _told(evidence: Evidence, asked: _Asked, count: int) -> str:
    """What became of the first of so many."""
    what = f"the {asked.step.step} that the driver of {asked.alias} asked for"
    more = f" ({count} times)" if count > 1 else ""
    if asked.row < 0:
        return (
            f"Reset not performed: {what} did not reach the function{more}; the driver took it for done "
            f"{as_text(asked.lasting_ns)} later."
        )
    after = as_text(Ns(int(evidence.history.served["time_ns"][asked.row]) - asked.step.time_ns))
    return f"{what[0].upper()}{what[1:]} happened{more}: the function had forgotten its state {after} later."
