"""Did a driver hear of every reset of its function that it did not ask for: before it, and after it?

A driver that is told holds its commands back, and sets the function up again afterwards.  One that is not goes on
talking to a function that has forgotten it.

Source: Linux drivers/pci/pci.c, `pci_dev_save_and_disable()` calls `reset_prepare` before a reset, and
`pci_dev_restore()` calls `reset_done` after it, in the thread that resets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from harness.history.reading import OfFunction
from harness.history.windows import Callback, ResetSpan, Telling, driver_doubts
from harness.judge import findings
from harness.judge.evidence import Evidence
from harness.judge.evidence.under_driver import CALLBACKS_KNOWN, bound_until, by_driver
from harness.judge.findings import Aspect
from harness.model.operation import TELLING
from harness.model.outcome import Outcome
from harness.model.promise import WindowKind
from harness.model.terms import Terms
from harness.model.verdict import Blame, Finding

NAME: Final = "driver_told"
_BOTH: Final = (Callback.PREPARE,), (Callback.DONE,)
_SHOWN: Final = {_BOTH: Outcome.TOLD, ((), ()): Outcome.UNTOLD}


@dataclass(frozen=True, slots=True)
class _Heard:
    """A reset, and the calls by which its thread told the driver of it."""

    span: ResetSpan
    told: tuple[Telling, ...]

    @property
    def shown(self) -> Outcome | None:
        """The word for it; None for a driver that heard half of it, or in the wrong order."""
        return _SHOWN.get(self._calls)

    @property
    def said(self) -> str:
        """The same for people."""
        before, after = (" and ".join(calls) or "nothing" for calls in self._calls)
        return f"heard {before} before it, and {after} after it"

    @property
    def _calls(self) -> tuple[tuple[Callback, ...], tuple[Callback, ...]]:
        before = tuple(one.what for one in self.told if one.row < self.span.row)
        return before, tuple(one.what for one in self.told if one.row > self.span.row)


def driver_told(evidence: Evidence, terms: Terms) -> tuple[Finding, ...]:
    """Hold every reset of a function under a driver that is known against what that driver is to hear of it."""
    found: list[Finding] = []
    for record in evidence.history.functions:
        if record.driver not in CALLBACKS_KNOWN:
            continue
        function = evidence.of(record.alias)
        until = bound_until(function)
        mine = [span for span in function.resets if span.result == 0]
        asked = [
            span for span in mine if span.end_ns <= until and not by_driver(span, function.driver_resets)
        ]
        if heard := tuple(_heard(span, mine, evidence.tellings) for span in asked):
            found.append(_judge(function, terms, heard))
    return tuple(found)


def _judge(function: OfFunction, terms: Terms, heard: Sequence[_Heard]) -> Finding:
    alias, driver = function.alias, function.record.driver
    what = f"{len(heard)} resets of {alias} that it did not ask for"
    promise = terms.promise(alias, TELLING, WindowKind.NONE)
    if reasons := driver_doubts(function.whole.history, driver):
        return findings.unknown(
            NAME,
            f"Whether {driver} was told of {what} is not certain: {'; '.join(reasons)}.",
            promise=promise,
        )
    if promise is None:
        return findings.unknown(
            NAME,
            f"The contract does not say whether {driver} is told of {what}.",
            events=findings.kernel(heard[0].span.row),
        )
    wrong = [one for one in heard if one.shown is not promise.outcome]
    weakness = findings.weak(promise, Aspect.OUTCOME)
    if not wrong:
        return findings.passed(
            NAME,
            f"{driver} was {promise.outcome!s} of {what}: it {heard[0].said}.",
            promise=promise,
            met=len(heard),
            weakness=weakness,
        )
    first = wrong[0]
    heard_of = "was not told" if promise.outcome is Outcome.TOLD else "heard"
    return findings.failed(
        NAME,
        Blame.MISMATCH,
        f"{driver} {heard_of} of {len(wrong)} of {what}: of the first, {first.span.name}, it {first.said}.",
        events=[
            event
            for row in (first.span.row, *(t.row for t in first.told[:3]))
            for event in findings.kernel(row)
        ],
        promise=promise,
        met=len(wrong),
        weakness=weakness,
    )


def _heard(span: ResetSpan, spans: Sequence[ResetSpan], told: Sequence[Telling]) -> _Heard:
    """What the thread of a reset told the driver since the one before it, and until the next."""
    rows = [other.row for other in spans if other.tid == span.tid]
    since = max((row for row in rows if row < span.row), default=None)
    until = min((row for row in rows if row > span.row), default=None)
    mine = [
        one
        for one in told
        if (one.function, one.tid) == (span.function, span.tid)
        and (since is None or one.row > since)
        and (until is None or one.row < until)
    ]
    while since is not None and mine and mine[0].what is Callback.DONE:
        del mine[0]  # of the reset before
    while until is not None and mine and mine[-1].what is Callback.PREPARE:
        del mine[-1]  # of the next
    return _Heard(span, tuple(mine))
