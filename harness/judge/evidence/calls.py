"""The operations of a plan that have a story of their own, with what the kernel's trace shows of each.

Resets by any way, VFIO opens and closes, bind and unbind, SR-IOV, what happens to the topology, and our own
lock windows.  Their number is thousands at most: a loop is affordable.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from harness.history.reading import Reading
from harness.history.windows import TRACE_RESOLUTION, ResetSpan, reset_doubts
from harness.judge.evidence.absences import Absence, gone
from harness.judge.evidence.reset_methods import ResetMethods
from harness.judge.evidence.situations import Locks, Situation, Window
from harness.model.operation import (
    HOT_RESET,
    RAW_RESETS,
    RESET_WITHOUT_METHOD,
    SUBORDINATE_RESET,
    VFIO_CLOSE,
    VFIO_RESET_WITHOUT_METHOD,
    Operation,
    after_removal,
    is_call,
    is_reset,
    verb,
    way,
)
from harness.model.pci import ResetMethod
from harness.model.promise import Promise, WindowKind
from harness.model.terms import Terms
from harness.model.units import Ns

_METHODS: Final = frozenset(ResetMethod)
_REFUSED_AT_ONCE: Final = (RESET_WITHOUT_METHOD, VFIO_RESET_WITHOUT_METHOD)
_ASKED_FOR_NOTHING: Final = (Situation(kind=WindowKind.NONE, window=None, certain=True),)
"""What a call met that was refused before it came to any lock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call by one actor; an attempt that was refused and tried again is a call of its own.

    Attributes:
        row: of `History.operations`.
        actor: index of the actor.
        round: of the actor.
        function: index into `Plan.functions`.
        alias: of the function.
        operation: in the contract's words.
        promised_as: the operation whose entries apply.
        excused: refused because its function was being taken out, or is out: nobody's fault.
        method: that was asked for by name; None where the kernel chooses, and where nothing is reset.
        begin_ns, end_ns: call and return; an operation that never returned ends with the history.
        error: errno, 0 for success.
        returned: False when it never came back.
        spans: resets that its own thread performed meanwhile on the function, or on its bus.
        situations: what it may have met: one when that is certain, more at an edge.
        resets: aliases of the functions that it resets if it succeeds.
        resets_below: address of the port below which it then resets everything; empty where it resets one function.
    """

    row: int
    actor: int
    round: int
    function: int
    alias: str
    operation: Operation
    promised_as: Operation
    excused: bool
    method: ResetMethod | None
    begin_ns: Ns
    end_ns: Ns
    error: int
    returned: bool
    spans: tuple[ResetSpan, ...]
    situations: tuple[Situation, ...]
    resets: tuple[str, ...]
    resets_below: str

    @property
    def removed(self) -> bool:
        """Whether its function was gone already."""
        return self.promised_as == after_removal(self.operation)

    @property
    def succeeded(self) -> bool:
        """Whether it returned without an error."""
        return self.returned and self.error == 0

    @property
    def window(self) -> Window | None:
        """The window of another thread in which it certainly began, or None."""
        return next((met.window for met in self.situations if met.certain and met.window), None)

    @property
    def kinds(self) -> tuple[WindowKind, ...]:
        """The windows that it may have met, without repetition."""
        return tuple(dict.fromkeys(met.kind for met in self.situations))

    @property
    def performed(self) -> tuple[ResetSpan, ...]:
        """The resets of its own thread that the kernel calls a success; of the method asked for, if one was."""
        return tuple(span for span in self.spans if span.result == 0 and self.method in (None, span.method))

    def promised(self, terms: Terms) -> tuple[tuple[Situation, Promise | None], ...]:
        """The entry for each of its situations; None where the contract is silent."""
        return tuple((met, terms.promise(self.alias, self.promised_as, met.kind)) for met in self.situations)

    def promises(self, terms: Terms) -> tuple[Promise, ...]:
        """The entries that may apply to it, without repetition."""
        return tuple(dict.fromkeys(promise for _, promise in self.promised(terms) if promise is not None))


def calls(reading: Reading, absences: Mapping[str, Sequence[Absence]]) -> tuple[Call, ...]:
    """All calls of the plan, in order of their begin.

    Args:
        reading: of the history.
        absences: by alias, when functions were taken out in it.
    """
    history, rows = reading.history, reading.steps.rows(lambda step: is_call(step.means))
    if not len(rows):
        return ()
    locks, methods = Locks(reading), ResetMethods(reading)
    found = []
    for row in rows.tolist():
        event, step = history.operations[row], reading.steps.behind(row)
        if step.file is None:
            continue
        function = reading.of(step.file.function).number
        actor, means = int(event["actor"]), step.means
        tid = history.actors[actor].tid
        begin, end = Ns(int(event["begin_ns"])), Ns(int(event["end_ns"]) or history.end_ns)
        spans = tuple(
            span
            for span in _within(reading.resets_by.get(tid, ()), begin, end)
            if span.function == function or _of_the_bus(means, span)
        )
        after, excused = gone(
            absences.get(step.file.function, ()),
            means,
            *(np.array([value]) for value in (begin, end, int(event["error"]))),
        )
        promised_as = methods.promised_as(means, step.file.function, begin, end, int(event["error"]))
        if after.any():
            promised_as = after_removal(means)
        asks = promised_as not in _REFUSED_AT_ONCE and not after.any()
        found.append(
            Call(
                row=row,
                actor=actor,
                round=int(event["round"]),
                function=function,
                alias=step.file.function,
                operation=means,
                promised_as=promised_as,
                excused=bool(excused.any()),
                method=method_of(means),
                begin_ns=begin,
                end_ns=end,
                error=int(event["error"]),
                returned=bool(event["end_ns"]),
                spans=spans,
                situations=locks.met(means, function, tid, begin, end) if asks else _ASKED_FOR_NOTHING,
                resets=_resets(reading, promised_as, step.file.function, spans),
                resets_below=_resets_below(reading, promised_as, step.file.function, spans),
            )
        )
    return tuple(found)


def method_of(operation: Operation) -> ResetMethod | None:
    """The method that a reset names, as in `reset/flr`; None when it names none."""
    return ResetMethod(way(operation)) if verb(operation) == "reset" and way(operation) in _METHODS else None


def traced(operation: Operation) -> bool:
    """Whether a success of `operation` must show a reset in its own thread's trace.

    A raw reset is the function's own business, and `reset_subordinate` calls no function that
    can be probed everywhere (`__pci_reset_bus()`).
    """
    return is_reset(operation) and operation not in (*RAW_RESETS, SUBORDINATE_RESET)


def trace_doubts(reading: Reading, call: Call) -> tuple[str, ...]:
    """Reasons why the trace does not show for certain which resets a call performed; empty when it does."""
    history = reading.history
    if call.method is not None:
        return reset_doubts(history, call.method)
    if call.operation == HOT_RESET:
        return reset_doubts(history, None)
    offered = reading.of(call.alias).record.reset_methods
    lost = [f"{history.lost_kernel_events} trace events were lost"] if history.lost_kernel_events else []
    methods = [reset_doubts(history, method) for method in ResetMethod if method in offered]
    return tuple(dict.fromkeys([*lost, *(reason for reasons in methods for reason in reasons)]))


def _resets(reading: Reading, operation: Operation, on: str, spans: Sequence[ResetSpan]) -> tuple[str, ...]:
    """The functions that an operation on a function resets: all of the bus where a close resets that."""
    plan = reading.history.plan
    if _whole_bus(operation, spans):
        return tuple(plan.functions[number] for number in reading.beside[on])
    if operation == SUBORDINATE_RESET:
        return tuple(alias for alias, port in plan.ports.items() if port == on)
    return (on,) if is_reset(operation) else ()


def _resets_below(reading: Reading, operation: Operation, on: str, spans: Sequence[ResetSpan]) -> str:
    record = reading.records.get(on)
    if record is None:
        return ""
    if _whole_bus(operation, spans):
        return record.port
    return record.bdf if operation == SUBORDINATE_RESET else ""


def _whole_bus(operation: Operation, spans: Sequence[ResetSpan]) -> bool:
    return operation == HOT_RESET or any(_of_the_bus(operation, span) and span.result == 0 for span in spans)


def _of_the_bus(operation: Operation, span: ResetSpan) -> bool:
    """A hot reset may be asked of any function of the bus, and the last close of one may reset all."""
    return span.method is None and operation in (HOT_RESET, VFIO_CLOSE)


def _within(spans: Sequence[ResetSpan], begin: Ns, end: Ns) -> tuple[ResetSpan, ...]:
    """The spans of one thread that began during an operation; `spans` is sorted by begin."""
    first = bisect_left(spans, Ns(begin - TRACE_RESOLUTION), key=_begun)
    last = bisect_right(spans, Ns(end + TRACE_RESOLUTION), key=_begun)
    return tuple(spans[first:last])


def _begun(span: ResetSpan) -> Ns:
    return span.begin_ns
