"""Resets that user space asked for, with what the kernel's trace shows of each."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from harness.history.history import History
from harness.history.windows import TRACE_RESOLUTION, LockWindow, ResetSpan, lock_windows, resets
from harness.judge.meeting import UNLOCK_GRACE
from harness.judge.steps import steps_of
from harness.model.operation import FLR_BIT, Operation, verb, way
from harness.model.pci import ResetMethod
from harness.model.promise import Promise, WindowKind
from harness.model.terms import Terms
from harness.model.units import Ns


@dataclass(frozen=True, slots=True, kw_only=True)
class ResetOperation:
    """One reset by one actor.

    Attributes:
        row: of `History.operations`.
        actor: index of the actor.
        round: of the actor.
        function: index into `Plan.functions`.
        alias: of the function.
        operation: in the contract's words.
        method: that was asked for; None for a raw write of the FLR bit.
        begin_ns, end_ns: call and return; an operation that never returned ends with the history.
        error: errno, 0 for success.
        returned: False when it never came back.
        window: certain window of another thread in which it began, or None.
        spans: methods that its own thread performed meanwhile on the function.
        kinds: windows that it may have met: one when that is certain, two at an edge.
    """

    row: int
    actor: int
    round: int
    function: int
    alias: str
    operation: Operation
    method: ResetMethod | None
    begin_ns: Ns
    end_ns: Ns
    error: int
    returned: bool
    window: LockWindow | None
    spans: tuple[ResetSpan, ...]
    kinds: tuple[WindowKind, ...]

    @property
    def succeeded(self) -> bool:
        """Whether it returned without an error."""
        return self.returned and self.error == 0

    def promises(self, terms: Terms) -> tuple[Promise, ...]:
        """The entries that may apply to it: one for each window that it may have met."""
        found = (terms.promise(self.alias, self.operation, kind) for kind in self.kinds)
        return tuple(promise for promise in found if promise is not None)


def reset_operations(history: History) -> tuple[ResetOperation, ...]:
    """All resets of the plan, sysfs resets and raw FLR writes, in order of their begin.

    Their number is that of resets, thousands at most: a loop is affordable.
    """
    steps = steps_of(history)
    rows = steps.rows(lambda step: verb(step.means) == "reset" or step.means == FLR_BIT)
    if not len(rows):
        return ()
    windows, spans = _by_function(lock_windows(history)), resets(history)
    by_thread: dict[tuple[int, int], list[ResetSpan]] = {}
    for span in spans:
        by_thread.setdefault((span.tid, span.function), []).append(span)
    found = []
    for row in rows.tolist():
        event = history.operations[row]
        _, step = steps.numbered[steps.of_row[row]]
        if step.file is None:
            continue
        function = history.plan.functions.index(step.file.function)
        actor = int(event["actor"])
        tid = history.actors[actor].tid
        begin, end = Ns(int(event["begin_ns"])), Ns(int(event["end_ns"]) or history.end_ns)
        window, kinds = _met(windows.get(function, ()), tid, begin, end)
        found.append(
            ResetOperation(
                row=row,
                actor=actor,
                round=int(event["round"]),
                function=function,
                alias=step.file.function,
                operation=step.means,
                method=None if step.means == FLR_BIT else ResetMethod.named(way(step.means)),
                begin_ns=begin,
                end_ns=end,
                error=int(event["error"]),
                returned=bool(event["end_ns"]),
                window=window,
                spans=_within(by_thread.get((tid, function), ()), begin, end),
                kinds=kinds,
            )
        )
    return tuple(found)


def _by_function(windows: Sequence[LockWindow]) -> dict[int, list[LockWindow]]:
    sorted_out: dict[int, list[LockWindow]] = {}
    for window in windows:
        sorted_out.setdefault(window.function, []).append(window)
    return sorted_out


def _met(
    windows: Sequence[LockWindow], tid: int, begin: Ns, end: Ns
) -> tuple[LockWindow | None, tuple[WindowKind, ...]]:
    """The window of another thread in which a reset began, and the windows that it may have met.

    Only what happened before the reset had the lock itself can have kept it waiting.
    """
    last = bisect_right(windows, Ns(end + TRACE_RESOLUTION), key=_opened)
    first = max(bisect_left(windows, begin, key=_opened) - 1, 0)
    near = windows[first:last]
    own = next((w for w in near if w.tid == tid and w.opened_ns >= begin - TRACE_RESOLUTION), None)
    until = own.opened_ns if own else end
    others = [w for w in near if w.tid != tid and w.opened_ns <= until and _gone(w) >= begin]
    for window in others:
        if window.opened_ns + TRACE_RESOLUTION < begin < window.closed_ns - TRACE_RESOLUTION:
            return window, (WindowKind.CONFIG_LOCK,)
    return None, (WindowKind.NONE, WindowKind.CONFIG_LOCK) if others else (WindowKind.NONE,)


def _within(spans: Sequence[ResetSpan], begin: Ns, end: Ns) -> tuple[ResetSpan, ...]:
    """The spans of one thread that began during an operation; `spans` is sorted by begin."""
    first = bisect_left(spans, Ns(begin - TRACE_RESOLUTION), key=_begun)
    last = bisect_right(spans, Ns(end + TRACE_RESOLUTION), key=_begun)
    return tuple(spans[first:last])


def _opened(window: LockWindow) -> Ns:
    return window.opened_ns


def _begun(span: ResetSpan) -> Ns:
    return span.begin_ns


def _gone(window: LockWindow) -> int:
    return (
        window.closed_ns + UNLOCK_GRACE if window.released_ns is None else window.released_ns
    ) + TRACE_RESOLUTION
