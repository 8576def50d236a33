"""Did every reset take the time that it should?

Judged is the traced kernel function that performs the method, not the system call, which also waits for
locks.  Where the kernel chose the method, as it does for VFIO, the bounds are those of that method, unless the
call's own entry has some.

An upper bound convicts only when the machine was not starved.  A lower one convicts if more is missing than ticks were
late, meanwhile or for as long before: the kernel counts its `msleep(100)` in ticks, and where these come late (a guest
on a busy host) and are caught up during the sleep, it is short by as much.

Source: PCIe r6.0 §6.6; Linux drivers/pci/pci.c, `pcie_flr()`, `pci_pm_reset()`, `pci_reset_secondary_bus()`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from harness.history.windows import TRACE_RESOLUTION, ResetSpan
from harness.judge import findings
from harness.judge.evidence import Evidence
from harness.judge.evidence.calls import Call, trace_doubts, traced
from harness.judge.evidence.starvation import Starvation
from harness.model.operation import reset
from harness.model.outcome import Outcome
from harness.model.promise import Promise, WindowKind
from harness.model.terms import Terms
from harness.model.units import Ns, as_text
from harness.model.verdict import Blame, EventId, Finding

NAME: Final = "reset_time"


def reset_time(evidence: Evidence, terms: Terms) -> tuple[Finding, ...]:
    """Hold the duration of every performed reset against its promise."""
    groups: dict[str, tuple[Promise, list[tuple[Call, ResetSpan]]]] = {}
    for call in evidence.calls:
        for span in call.performed if traced(call.operation) else ():
            promise = _bounds(call, span, terms)
            if promise is not None:
                key = f"{call.operation} on {call.alias} {promise.id}"
                groups.setdefault(key, (promise, []))[1].append((call, span))
    return tuple(
        _judge(
            promise,
            f"{timed[0][0].operation} on {timed[0][0].alias}",
            timed,
            evidence.starvation,
            trace_doubts(evidence, timed[0][0]),
        )
        for promise, timed in groups.values()
    )


def _bounds(call: Call, span: ResetSpan, terms: Terms) -> Promise | None:
    """The entry that says how long this reset may take: that of the call, else that of the method."""
    own = [promise for promise in call.promises(terms) if promise.outcome is not Outcome.SKIPPED]
    method = terms.promise(call.alias, reset(span.method), WindowKind.NONE) if span.method else None
    for promise in (*own[:1], *([method] if method else [])):
        if promise.at_least is not None or promise.at_most is not None:
            return promise
    return None


def _judge(
    promise: Promise,
    what: str,
    timed: list[tuple[Call, ResetSpan]],
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
    excused: Callable[[ResetSpan], bool]
    for pairs, how, excused in (
        (fast, f"less than {as_text(least)}", lambda span: _shortened(span, least, starved)),
        (
            slow,
            f"longer than {as_text(promise.at_most or 0)}",
            lambda span: bool(starved.during(span.begin_ns, span.end_ns).any()),
        ),
    ):
        believed = [pair for pair in pairs if not excused(pair[1])]
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


def _shortened(span: ResetSpan, least: Ns, starved: Starvation) -> bool:
    """Whether late ticks explain it; no more of them are owed when a reset begins than it should take."""
    return starved.shortened(span.begin_ns - least, span.end_ns, least - _length(span))


def _broken(promise: Promise, what: str, pairs: list[tuple[Call, ResetSpan]], how: str) -> Finding:
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


def _events(pairs: list[tuple[Call, ResetSpan]]) -> list[EventId]:
    return [
        event
        for reset, span in pairs[:2]
        for event in (findings.operation(reset.row), *findings.kernel(span.row))
    ]
