"""Did calls that did not reset anything return in time: refusals at once, those who waited soon after the window?

What a reset takes is judged on the kernel's trace, see :mod:`~harness.judge.questions.reset_time`.  A bound convicts
only when the machine was not starved.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from harness.history.history import History
from harness.history.windows import TRACE_RESOLUTION, device_doubts, doubts
from harness.judge import findings
from harness.judge.evidence import words
from harness.judge.evidence.calls import Call, calls, traced
from harness.judge.evidence.situations import Situation
from harness.judge.evidence.starvation import Starvation, starvation
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


def call_time(history: History, terms: Terms) -> tuple[Finding, ...]:
    """Hold the duration of every call that kept its promise against the bounds of that promise."""
    groups: dict[tuple[str, Operation, Promise], list[_Timed]] = {}
    for call in calls(history):
        found = _timed(call, terms)
        if found is not None:
            promise, timed = found
            groups.setdefault((call.alias, call.operation, promise), []).append(timed)
    if not groups:
        return ()
    if reasons := (*doubts(history), *device_doubts(history)):
        return (findings.unknown(NAME, f"The lock windows are not certain: {'; '.join(reasons)}."),)
    starved = starvation(history)
    return tuple(
        _judge(promise, f"{operation} on {alias}", timed, starved)
        for (alias, operation, promise), timed in groups.items()
    )


def _timed(call: Call, terms: Terms) -> tuple[Promise, _Timed] | None:
    """The promise whose bounds a call is held to, and its times; None when there is none, or no certainty."""
    promises = call.promises(terms)
    if not call.returned or call.operation in RAW_RESETS or len(promises) != 1:
        return None
    met, promise = call.situations[0], promises[0]
    resets = traced(call.operation) and promise.outcome is not Outcome.SKIPPED and not call.error
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
    for slow, how in _untimely(promise, timed):
        believed = [one for one in slow if not starved.during(int(one[0].begin_ns), int(one[0].end_ns)).any()]
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
        if slow:
            return findings.starved(
                NAME,
                f"{len(slow)} {what} took {how}, but {starved.reason}.",
                promise=promise,
                events=_events(slow),
            )
    lengths = [most for _, most, _ in timed]
    return findings.passed(
        NAME,
        f"{len(timed)} {what} took {as_text(min(lengths))} to {as_text(max(lengths))}"
        f"{' after the window had closed' if _after(timed[0][0], promise) else ''}.",
        promise=promise,
        met=len(timed),
    )


def _untimely(promise: Promise, timed: Sequence[_Timed]) -> Iterator[tuple[list[_Timed], str]]:
    if promise.at_least is not None:
        least = promise.at_least - TRACE_RESOLUTION
        yield [one for one in timed if one[2] < least], f"less than {as_text(promise.at_least)}"
    if promise.at_most is not None:
        most = promise.at_most
        yield [one for one in timed if one[1] > most], f"longer than {as_text(most)}"


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
