"""Did a reset corrupt what a function keeps across resets, or come before the function could keep it?

A function that writes a record of its own must not be reset meanwhile, and one that is told before a reset, so that it
saves what it has, must be told.  Whoever models one says when such a critical section begins, when it ends, when a
reset came in between, and when one came unannounced; the operations say who reset it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from harness.history.reading import OfFunction
from harness.judge import findings
from harness.judge.evidence import Evidence
from harness.judge.evidence.link_errors import link_errors
from harness.judge.evidence.whose_reset import resetting
from harness.model.served import Happened
from harness.model.terms import Terms
from harness.model.units import Ns, as_text
from harness.model.verdict import Blame, Finding

NAME: Final = "persistent_state"
_RESETS: Final = (Happened.FLR, Happened.BUS_RESET, Happened.WAKE, Happened.SELF_TESTED)


def persistent_state(evidence: Evidence, terms: Terms) -> tuple[Finding, ...]:  # noqa: ARG001  every checker takes both
    """Name the resets that came into a critical section, or unannounced, and count the sections that ended."""
    return tuple(finding for function in evidence.functions for finding in _of(evidence, function))


def _of(evidence: Evidence, function: OfFunction) -> Iterator[Finding]:
    history, alias = evidence.history, function.alias
    begun, ended, corrupted, lost = (
        function.served_in_time(what)
        for what in (Happened.CRITICAL_BEGINS, Happened.CRITICAL_ENDS, Happened.CORRUPTED, Happened.LOST)
    )
    if history.served_lost and (len(begun) or len(lost)):
        yield findings.unknown(
            NAME, f"{history.served_lost} rows of the models' logs were lost: it was full."
        )
    if len(corrupted):
        yield _corrupted(evidence, function, begun.tolist(), corrupted.tolist())
    if len(lost):
        yield _lost(evidence, function, lost.tolist())
    if len(ended) and not len(corrupted) and not len(lost):
        yield findings.passed(
            NAME, f"No reset came into any of {len(ended)} critical sections of {alias}.", met=len(ended)
        )


def _corrupted(evidence: Evidence, function: OfFunction, begun: list[int], corrupted: list[int]) -> Finding:
    history, alias = evidence.history, function.alias
    times, first = history.served["time_ns"], corrupted[0]
    begin = next((row for row in reversed(begun) if row < first), first)
    inside = as_text(Ns(int(times[first] - times[begin])))
    by = resetting(evidence, function, int(history.served["time_ns"][first]), _cause(function, first))
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


def _lost(evidence: Evidence, function: OfFunction, lost: list[int]) -> Finding:
    history, alias, first = evidence.history, function.alias, lost[0]
    by = resetting(evidence, function, int(history.served["time_ns"][first]), _cause(function, first))
    who = f"{by.operation} by {history.plan.actors[by.actor].name}" if by is not None else "A reset"
    more = f" ({len(lost)} times)" if len(lost) > 1 else ""
    if by is None and _recovering(evidence, alias, int(history.served["time_ns"][first])):
        claim = f"What {alias} had not saved yet is lost: its bus was reset because of an error of the link{more}."
        return findings.passed(NAME, claim, met=len(lost))
    return findings.failed(
        NAME,
        Blame.MISMATCH,
        f"{who} came unannounced: what {alias} had not saved yet is lost{more}.",
        events=[findings.served(first), *([findings.operation(by.row)] if by is not None else [])],
        met=len(lost),
        source="the model's own log",
    )


def _cause(function: OfFunction, row: int) -> Happened | None:
    """The reset of which a row of the model's log is the consequence; None: its log begins there."""
    before = function.served(*_RESETS)
    before = before[before < row]
    return Happened(int(function.whole.history.served["what"][before[-1]])) if len(before) else None


def _recovering(evidence: Evidence, alias: str, moment: int) -> bool:
    """Whether an error of the link had been staged: the function was cut off, and nobody could tell it anything."""
    return any(one.incident.function == alias and one.begin_ns <= moment for one in link_errors(evidence))
