"""Did every reset lock the port above its function, where that is promised, and leave it alone where it is not?

Locked means that the resetting thread held the config lock of the port for all of the reset: config reads of the
port wait meanwhile, and so do resets of other functions behind it.  A hot reset takes all locks itself: there what
counts is the time for which it holds that of the function.

Source: Linux drivers/pci/pci.c, `pci_reset_function()` (since 6.10), `pci_bus_trylock()`;
drivers/vfio/pci/vfio_pci_core.c, `vfio_pci_core_disable()`; `pci_try_reset_function()` leaves the port alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from harness.history.windows import TRACE_RESOLUTION, LockWindow, ResetSpan
from harness.judge import findings
from harness.judge.evidence import Evidence
from harness.judge.evidence.calls import Call, trace_doubts, traced
from harness.judge.findings import Aspect
from harness.model.operation import Operation
from harness.model.operation import port_lock as question
from harness.model.outcome import Outcome
from harness.model.promise import WindowKind
from harness.model.terms import Terms
from harness.model.units import Ns
from harness.model.verdict import Blame, Finding

NAME: Final = "port_lock"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Above:
    """A reset, and what its thread held of the port meanwhile.

    Attributes:
        call: in which it happened.
        span: the reset.
        window: of the port, by the same thread, at the same time; None when there is none.
        throughout: that window covers all of the reset.
    """

    call: Call
    span: ResetSpan
    window: LockWindow | None
    throughout: bool

    @property
    def shown(self) -> Outcome | None:
        """The word for it; None for a port that was locked for a part of the reset."""
        if self.window is None:
            return Outcome.FREE
        return Outcome.LOCKED if self.throughout else None


def port_lock(evidence: Evidence, terms: Terms) -> tuple[Finding, ...]:
    """Hold every reset of a function whose port takes part against its promise."""
    plan = evidence.history.plan
    groups: dict[tuple[str, Operation], list[_Above]] = {}
    for call in evidence.calls:
        port = plan.ports.get(call.alias)
        if port in plan.functions and traced(call.operation):
            tid = evidence.history.actors[call.actor].tid
            of_port = [window for window in evidence.of(port).windows if window.tid == tid]
            of_function = [window for window in evidence.of(call.alias).windows if window.tid == tid]
            for span in call.spans:
                if span.result == 0:
                    above = _above(call, span, of_port, of_function)
                    groups.setdefault((call.alias, call.operation), []).append(above)
    return tuple(_judge(evidence, group, terms, plan.ports[alias]) for (alias, _), group in groups.items())


def _above(
    call: Call, span: ResetSpan, of_port: Sequence[LockWindow], of_function: Sequence[LockWindow]
) -> _Above:
    begin, end = span.begin_ns, span.end_ns
    if span.method is None and (held := _overlapping(of_function, begin, end)):
        begin, end = held.opened_ns, held.closed_ns
    window = _overlapping(of_port, begin, end)
    throughout = (
        window is not None
        and window.opened_ns <= begin + TRACE_RESOLUTION
        and window.closed_ns >= end - TRACE_RESOLUTION
    )
    return _Above(call=call, span=span, window=window, throughout=throughout)


def _overlapping(windows: Sequence[LockWindow], begin: Ns, end: Ns) -> LockWindow | None:
    return next((w for w in windows if w.opened_ns <= end and begin <= w.closed_ns), None)


def _judge(evidence: Evidence, group: Sequence[_Above], terms: Terms, port: str) -> Finding:
    call = group[0].call
    what = f"{call.operation} on {call.alias}"
    promise = terms.promise(call.alias, question(call.operation), WindowKind.NONE)
    if reasons := dict.fromkeys((*evidence.doubts, *trace_doubts(evidence, call))):
        return findings.unknown(
            NAME, f"Whether {what} locked {port} is not certain: {'; '.join(reasons)}.", promise=promise
        )
    if promise is None:
        return findings.unknown(
            NAME,
            f"The contract does not say whether {what} locks the port above.",
            events=[findings.operation(call.row)],
        )
    wrong = [above for above in group if above.shown is not promise.outcome]
    if not wrong:
        return findings.passed(
            NAME,
            f"{len(group)} {what} left {port} {promise.outcome!s}.",
            promise=promise,
            met=len(group),
            weakness=findings.weak(promise, Aspect.OUTCOME),
        )
    first = wrong[0]
    return findings.failed(
        NAME,
        Blame.MISMATCH,
        f"{len(wrong)} of {len(group)} {what} had {port} "
        f"{first.shown or 'locked for only a part of the time'}, promised is {promise.outcome!s}.",
        events=[
            findings.operation(first.call.row),
            *findings.kernel(first.span.row),
            *(findings.kernel(first.window.opened_row) if first.window else ()),
        ],
        promise=promise,
        met=len(wrong),
        weakness=findings.weak(promise, Aspect.OUTCOME),
    )
