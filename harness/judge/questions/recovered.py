"""Did Linux deal with an error that a port was made to report?

A corrected error is logged, no more.  After a fatal one the kernel asks the drivers below the port, resets the link,
and says how it ended; whether the link was reset, the function below it says, and whether that reset took from it what
a reset takes.  Nobody but a driver restores config space then; vfio-pci has no handler that does.

Source: Linux drivers/pci/pcie/err.c, `pcie_do_recovery()`; drivers/pci/pcie/aer.c, `aer_root_reset()`;
drivers/vfio/pci/vfio_pci_core.c, `vfio_pci_core_aer_err_detected()`.
"""

from __future__ import annotations

import re
from typing import Final

from harness.judge import findings
from harness.judge.evidence import Evidence
from harness.judge.evidence.left_over import left_over
from harness.judge.evidence.link_errors import FATAL, Reported, bus_reset_row, reported
from harness.judge.evidence.starvation import missed
from harness.model.outcome import Outcome
from harness.model.promise import ConfigSpace, Promise, WindowKind
from harness.model.terms import Terms
from harness.model.units import as_text
from harness.model.verdict import Blame, EventId, Finding

NAME: Final = "recovered"
_END: Final = re.compile(r"device recovery (?P<how>successful|failed)")
_WHY_NOT: Final = re.compile(r"can't recover \([^)]*\)|subordinate device reset failed")


def recovered(evidence: Evidence, terms: Terms) -> tuple[Finding, ...]:
    """Hold every link error that was staged to what the contract says of recovery."""
    return tuple(_judge(evidence, terms, one) for one in reported(evidence, terms))


def _judge(evidence: Evidence, terms: Terms, one: Reported) -> Finding:
    alias, error = one.struck.incident.function, one.operation.partition("/")[2]
    what = f"error of the link above {alias} ({one.struck.incident.detail})"
    promise = terms.promise(alias, one.operation, WindowKind.NONE)
    events = [findings.served(one.struck.row), *(findings.log(event.row) for event in one.events[:1])]
    if not one.events:
        return missed(evidence.starvation, NAME, f"The kernel logged nothing of the {what}", events=events)
    if promise is None:
        return findings.unknown(NAME, f"The contract says nothing on a {error} {what}.", events=events)
    if error == "corrected":
        return _held(promise, f"A corrected {what} was logged, as staged, and no more", events)
    end = _line(one, _END)
    if end is None:
        claim = f"How recovery from a {error} {what} ended is not in the kernel log"
        return missed(evidence.starvation, NAME, claim, promise=promise, events=events)
    row, how = end
    events.append(findings.log(row))
    if how.group("how") == "failed":
        why = _line(one, _WHY_NOT)
        return findings.failed(
            NAME,
            Blame.DEVICE_LOST,
            f"AER did not recover {alias} from a {error} {what}, as staged{f': {why[1].group()}' if why else ''}.",
            events=events,
            promise=promise,
            met=1,
        )
    if one.operation == FATAL and (doubt := _not_reset(evidence, one)):
        seen, reason = doubt
        events += [findings.served(seen)] if seen is not None else []
        claim = f"AER called {alias} recovered from a {error} {what}, and {reason}"
        if evidence.history.served_lost:
            return findings.unknown(
                NAME, f"{claim}, or rows of its log were lost.", promise=promise, events=events
            )
        return findings.failed(NAME, Blame.RESET_FAILED, f"{claim}.", events=events, promise=promise, met=1)
    took = as_text(max(0, evidence.history.log[row].time_us * 1000 - one.struck.begin_ns))
    claim = f"{alias} was recovered by AER within {took} from a {error} {what}, as staged"
    if promise.config is ConfigSpace.LOST:
        claim += "; nobody restores what the reset of its bus took from it"
    return _held(promise, claim, events)


def _not_reset(evidence: Evidence, one: Reported) -> tuple[int | None, str] | None:
    """Why the reset of the link was none to the function, and the row that shows it; None: it may have been one."""
    reset = bus_reset_row(evidence, one.struck)
    if reset is None:
        return None, "its bus was not reset"
    kept = left_over(evidence.of(one.struck.incident.function), reset)
    return None if kept is None else (kept.row, f"the reset of its bus did not take {kept.what} from it")


def _held(promise: Promise, claim: str, events: list[EventId]) -> Finding:
    """The claim, as the contract has it or not."""
    if promise.outcome is Outcome.OK:
        return findings.passed(NAME, f"{claim}.", promise=promise, met=1)
    said = f"{claim}; the contract promises {promise.outcome!s}."
    return findings.failed(NAME, Blame.MISMATCH, said, events=events, promise=promise, met=1)


def _line(one: Reported, pattern: re.Pattern[str]) -> tuple[int, re.Match[str]] | None:
    """The first line that says so, and what of it."""
    found = ((event.row, pattern.search(event.text)) for event in one.events)
    return next(((row, match) for row, match in found if match), None)
