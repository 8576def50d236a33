"""Did every reset take the time that it should?

Judged is the traced kernel function that performs the method, not the system call, which also waits for
locks.  A bound convicts only when the machine was not starved.  That holds for the lower bound too: the
kernel counts its `msleep(100)` in ticks, and where ticks come late (a guest on a busy host) the sleep is
short by as much.

Source: PCIe r6.0 §6.6; Linux drivers/pci/pci.c, `pcie_flr()`, `pci_pm_reset()`, `pci_reset_secondary_bus()`.
"""

from __future__ import annotations

from typing import Final

from harness.history.history import History
from harness.history.windows import TRACE_RESOLUTION, ResetSpan, reset_doubts
from harness.judge import findings
from harness.judge.reset_operations import ResetOperation, reset_operations
from harness.judge.starvation import Starvation, starvation
from harness.model.promise import Promise
from harness.model.terms import Terms
from harness.model.units import Ns, as_text
from harness.model.verdict import Blame, EventId, Finding

NAME: Final = "reset_time"


def reset_time(history: History, terms: Terms) -> tuple[Finding, ...]:
    """Hold the duration of every performed method against its promise."""
    spans: dict[str, tuple[Promise, str, list[tuple[ResetOperation, ResetSpan]]]] = {}
    for reset in reset_operations(history):
        promises = reset.promises(terms)
        if (
            reset.method is None
            or not promises
            or (promises[0].at_least is None and promises[0].at_most is None)
        ):
            continue
        promise = promises[0]
        group = spans.setdefault(
            f"{reset.alias} {promise.id}", (promise, f"{reset.operation} on {reset.alias}", [])
        )
        group[2].extend(
            (reset, span) for span in reset.spans if span.method is reset.method and span.result == 0
        )
    starved = starvation(history)
    found = []
    for promise, what, timed in spans.values():
        if timed:
            reasons = reset_doubts(history, timed[0][1].method)
            found.append(_judge(promise, what, timed, starved, reasons))
    return tuple(found)


def _judge(
    promise: Promise,
    what: str,
    timed: list[tuple[ResetOperation, ResetSpan]],
    starved: Starvation,
    reasons: tuple[str, ...],
) -> Finding:
    if reasons:
        return findings.unknown(
            NAME, f"The duration of {what} is not certain: {'; '.join(reasons)}.", promise=promise
        )
    least = promise.at_least if promise.at_least is not None else Ns(0)
    fast = [pair for pair in timed if _length(pair[1]) < least - TRACE_RESOLUTION]
    slow = [pair for pair in timed if promise.at_most is not None and _length(pair[1]) > promise.at_most]
    for pairs, how in (
        (fast, f"less than {as_text(least)}"),
        (slow, f"longer than {as_text(promise.at_most or 0)}"),
    ):
        believed = [p for p in pairs if not starved.during(int(p[1].begin_ns), int(p[1].end_ns)).any()]
        if believed:
            return _broken(promise, what, believed, how)
        if pairs:
            return findings.starved(
                NAME,
                f"{len(pairs)} {what} took {how}, but {starved.reason}.",
                promise=promise,
                events=_events(pairs),
            )
    lengths = [_length(span) for _, span in timed]
    return findings.passed(
        NAME,
        f"{len(timed)} {what} took {as_text(min(lengths))} to {as_text(max(lengths))}.",
        promise=promise,
        met=len(timed),
    )


def _broken(promise: Promise, what: str, pairs: list[tuple[ResetOperation, ResetSpan]], how: str) -> Finding:
    return findings.failed(
        NAME,
        Blame.TIMEOUT,
        f"{len(pairs)} {what} took {how}: the first took {as_text(_length(pairs[0][1]))}.",
        events=_events(pairs),
        promise=promise,
        met=len(pairs),
    )


def _length(span: ResetSpan) -> int:
    return span.end_ns - span.begin_ns


def _events(pairs: list[tuple[ResetOperation, ResetSpan]]) -> list[EventId]:
    return [
        event
        for reset, span in pairs[:2]
        for event in (findings.operation(reset.row), *findings.kernel(span.row))
    ]
