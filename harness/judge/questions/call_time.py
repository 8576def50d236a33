"""Did calls that did not reset anything return in time: refusals at once, those who waited soon after the window?

What a reset takes is judged on the kernel's trace, see :mod:`~harness.judge.questions.reset_time`.  A bound convicts
only when a starved machine does not explain why it was missed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from harness.history.windows import TRACE_RESOLUTION
from harness.judge import findings
from harness.judge.evidence import Evidence, words
from harness.judge.evidence.calls import Call, traced
from harness.judge.evidence.situations import Situation
from harness.judge.evidence.starvation import Starvation
from harness.judge.questions.call_outcome import keeps, window_of
from harness.model.operation import RAW_RESETS, Operation
from harness.model.outcome import Outcome
from harness.model.promise import Promise
from harness.model.terms import Terms
from harness.model.units import Ns, as_text
from harness.model.verdict import Blame, EventId, Finding

NAME: Final = "call_time"

_Timed = tuple[Call, Ns, Ns]
"""A call, how long it took as the bound counts, and how long it took at least, as that bound counts."""
_Untimely = tuple[list[_Timed], str, list[bool]]
"""Calls that were out of bounds, how, and for each whether a starved machine may be why."""


def call_time(evidence: Evidence, terms: Terms) -> tuple[Finding, ...]:
    """Hold the duration of every call that kept its promise against the bounds of that promise."""
    groups: dict[tuple[str, Operation, Promise], list[_Timed]] = {}
    for call in evidence.calls:
        found = _timed(call, terms)
        if found is not None:
            promise, timed = found
            groups.setdefault((call.alias, call.operation, promise), []).append(timed)
    if not groups:
        return ()
    if reasons := (*evidence.doubts, *evidence.device_doubts):
        return (findings.unknown(NAME, f"The lock windows are not certain: {'; '.join(reasons)}."),)
    return tuple(
        _judge(promise, f"{operation} on {alias}", timed, evidence.starvation)
        for (alias, operation, promise), timed in groups.items()
    )


def _timed(call: Call, terms: Terms) -> tuple[Promise, _Timed] | None:
    """The promise whose bounds a call is held to, and its times; None when there is none, or no certainty."""
    promises = call.promises(terms)
    if not call.returned or call.operation in RAW_RESETS or len(promises) != 1:
        return None
    met, promise = call.situations[0], promises[0]
    resets = traced(call.promised_as) and promise.outcome is not Outcome.SKIPPED and not call.error
    if resets or (promise.at_least, promise.at_most) == (None, None):
        return None
    if not keeps(call, met, promise):
        return None  # what broke its promise is another checker's business
    return promise, (call, _most(call, met, promise), _least(call, met, promise))


def _most(call: Call, met: Situation, promise: Promise) -> Ns:
    """What `at_most` counts, see :class:`~harness.model.promise.Promise`."""
    window = window_of(met, promise)
    if window is None or call.error:
        return Ns(call.end_ns - call.begin_ns)
    if words.number_of(promise.outcome) == words.WAITED:
        return Ns(max(call.end_ns - window.closed_ns, 0))
    return Ns(min(call.end_ns, window.closed_ns) - max(call.begin_ns, window.opened_ns))


def _least(call: Call, met: Situation, promise: Promise) -> Ns:
    """What `at_least` counts."""
    window = window_of(met, promise)
    waited = window is not None and words.number_of(promise.outcome) == words.WAITED
    return Ns(call.end_ns - (window.opened_ns if window and waited else call.begin_ns))


def _judge(promise: Promise, what: str, timed: Sequence[_Timed], starved: Starvation) -> Finding:
    for untimely, how, excused in (_early(promise, timed, starved), _late(promise, timed, starved)):
        believed = [one for one, excuse in zip(untimely, excused, strict=True) if not excuse]
        if believed:
            call, most, _ = believed[0]
            return findings.failed(
                NAME,
                Blame.TIMEOUT,
                f"{len(believed)} {what} took {how}: the first took {as_text(call.end_ns - call.begin_ns)} in all"
                f"{_counted(call, promise, most)}.",
                events=_events(believed),
                promise=promise,
                met=len(believed),
            )
        if untimely:
            return findings.starved(
                NAME,
                f"{len(untimely)} {what} took {how}, but {starved.reason}.",
                promise=promise,
                events=_events(untimely),
            )
    lengths = [most for _, most, _ in timed]
    return findings.passed(
        NAME,
        f"{len(timed)} {what} took {as_text(min(lengths))} to {as_text(max(lengths))}"
        f"{' after the window had closed' if _after(timed[0][0], promise) else ''}.",
        promise=promise,
        met=len(timed),
    )


def _early(promise: Promise, timed: Sequence[_Timed], starved: Starvation) -> _Untimely:
    bound = promise.at_least
    if bound is None:
        return [], "", []
    found = [one for one in timed if one[2] < bound - TRACE_RESOLUTION]
    excused = [starved.shortened(call.begin_ns, call.end_ns, bound - least) for call, _, least in found]
    return found, f"less than {as_text(bound)}", excused


def _late(promise: Promise, timed: Sequence[_Timed], starved: Starvation) -> _Untimely:
    bound = promise.at_most
    if bound is None:
        return [], "", []
    found = [one for one in timed if one[1] > bound]
    excused = [bool(starved.during(call.begin_ns, call.end_ns).any()) for call, _, _ in found]
    return found, f"longer than {as_text(bound)}", excused


def _after(call: Call, promise: Promise) -> bool:
    return call.window is not None and words.number_of(promise.outcome) == words.WAITED


def _counted(call: Call, promise: Promise, most: Ns) -> str:
    if _after(call, promise):
        return f", {as_text(most)} of it after the window had closed"
    return f", {as_text(most)} of it inside the window" if call.window and not call.error else ""


def _events(timed: Sequence[_Timed]) -> list[EventId]:
    call = timed[0][0]
    window = findings.kernel(call.window.closed_row) if call.window else ()
    return [findings.operation(call.row), *window, *(findings.operation(one[0].row) for one in timed[1:4])]
