"""Did a reset corrupt what a function keeps across resets?

A function that writes a record of its own must not be reset meanwhile.  Whoever models one says when such a critical
section begins, when it ends, and when a reset came in between; the operations say who reset it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from harness.history.history import History
from harness.judge import findings
from harness.judge.calls import Call, calls, reset_aliases
from harness.judge.served_rows import in_time, served_rows
from harness.model.served import Happened
from harness.model.terms import Terms
from harness.model.units import Ns, as_text
from harness.model.verdict import Blame, Finding

NAME: Final = "persistent_state"


def persistent_state(history: History, terms: Terms) -> tuple[Finding, ...]:  # noqa: ARG001  every checker takes both
    """Name every reset that came into a critical section, and count those that ended."""
    return tuple(finding for alias in history.plan.functions for finding in _of(history, alias))


def _of(history: History, alias: str) -> Iterator[Finding]:
    begun, ended, corrupted = (
        in_time(history, served_rows(history, alias, what))
        for what in (Happened.CRITICAL_BEGINS, Happened.CRITICAL_ENDS, Happened.CORRUPTED)
    )
    if history.served_lost and len(begun):
        yield findings.unknown(
            NAME, f"{history.served_lost} rows of the models' logs were lost: it was full."
        )
    if len(corrupted):
        yield _corrupted(history, alias, begun.tolist(), corrupted.tolist())
    elif len(ended):
        yield findings.passed(
            NAME, f"No reset came into any of {len(ended)} critical sections of {alias}.", met=len(ended)
        )


def _corrupted(history: History, alias: str, begun: list[int], corrupted: list[int]) -> Finding:
    times, first = history.served["time_ns"], corrupted[0]
    begin = next((row for row in reversed(begun) if row < first), first)
    inside = as_text(Ns(int(times[first] - times[begin])))
    by = _resetting(history, alias, int(times[first]))
    who = f"{by.operation} by {history.plan.actors[by.actor].name}" if by is not None else "A reset"
    return findings.failed(
        NAME,
        Blame.MISMATCH,
        f"{who} came {inside} into a critical section of {alias}: its persistent state is corrupt"
        f" ({len(corrupted)} of {len(begun)} sections).",
        events=[
            findings.served(first),
            *([findings.operation(by.row)] if by is not None else []),
            findings.served(begin),
        ],
        met=len(corrupted),
        source="the model's own log",
    )


def _resetting(history: History, alias: str, moment: int) -> Call | None:
    """The reset that was under way at a moment of the model's log, as far as that log's clock may be wrong."""
    error = history.served_error_ns
    for call in calls(history):
        around = call.begin_ns - error <= moment <= call.end_ns + error
        if around and alias in reset_aliases(history, call):
            return call
    return None
