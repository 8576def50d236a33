"""Did Linux deal with an error that a port was made to report?

A corrected error is logged, no more.  After a fatal one the kernel asks the drivers below the port, resets the link,
and says how it ended.  Nobody but a driver restores config space then; vfio-pci has no handler that does.

Source: Linux drivers/pci/pcie/err.c, `pcie_do_recovery()`; drivers/pci/pcie/aer.c, `aer_root_reset()`;
drivers/vfio/pci/vfio_pci_core.c, `vfio_pci_core_aer_err_detected()`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from harness.history.history import History
from harness.judge import findings
from harness.judge.incidents import Struck, struck
from harness.judge.log_events import LogEvent, log_events
from harness.judge.served_rows import served_rows
from harness.judge.starvation import missed
from harness.model.fault import IncidentKind
from harness.model.operation import Operation, recovery
from harness.model.outcome import Outcome
from harness.model.promise import ConfigSpace, Promise, WindowKind
from harness.model.served import Happened
from harness.model.terms import LogClass, Terms
from harness.model.units import MS, as_text
from harness.model.verdict import Blame, EventId, Finding

NAME: Final = "recovered"
_END: Final = re.compile(r"device recovery (?P<how>successful|failed)")
_WHY_NOT: Final = re.compile(r"can't recover \([^)]*\)|subordinate device reset failed")
_OF_AER: Final = "AER: "
_FATAL: Final = recovery("fatal")
_NON_FATAL: Final = "(Non-Fatal)"
_LOG_ERROR: Final = 10 * MS
"""By how much the log's clock may be wrong."""
_NEVER: Final = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported:
    """What came of an error that a port was made to report.

    Attributes:
        struck: the incident.
        events: what the kernel log tells of it, the report of the port first; empty when it tells nothing.
    """

    struck: Struck
    events: tuple[LogEvent, ...]

    @property
    def operation(self) -> Operation:
        """What the kernel had to do about it, in the contract's words."""
        worst = [event.text for event in self.events if event.kind is LogClass.AER_UNCORRECTABLE]
        if not worst:
            return recovery("corrected")
        return recovery("nonfatal") if all(_NON_FATAL in text for text in worst) else _FATAL


def recovered(history: History, terms: Terms) -> tuple[Finding, ...]:
    """Hold every link error that was staged to what the contract says of recovery."""
    return tuple(_judge(history, terms, one) for one in reported(history, terms))


def reported(history: History, terms: Terms) -> Iterator[Reported]:
    """The link errors that were staged, and what the kernel log tells of them."""
    staged = struck(history, IncidentKind.LINK_ERROR)
    events = log_events(history.log, terms.log_rules) if staged else ()
    for number, one in enumerate(staged):
        function = history.function(one.incident.function)
        later = (
            other.begin_ns for other in staged[number + 1 :] if other.incident.function == function.alias
        )
        until = next(later, history.end_ns + _LOG_ERROR)
        yield Reported(
            struck=one,
            events=tuple(
                event
                for event in events
                if _OF_AER in event.text
                and {function.bdf, function.port} & set(event.functions)
                and one.begin_ns - _LOG_ERROR <= history.log[event.row].time_us * 1000 < until
            ),
        )


def lost_since(history: History, terms: Terms, alias: str) -> int:
    """Since when nothing in config space of a function is promised: its bus was reset, and nobody restores it.

    Far in the future where that did not happen, or where restoring is promised.
    """
    promise = terms.promise(alias, _FATAL, WindowKind.NONE)
    if promise is None or promise.config is not ConfigSpace.LOST:
        return _NEVER
    staged = [one for one in struck(history, IncidentKind.LINK_ERROR) if one.incident.function == alias]
    times = [reset for one in staged if (reset := _reset_ns(history, one)) is not None]
    return min(times, default=_NEVER)


def _judge(history: History, terms: Terms, one: Reported) -> Finding:
    alias, error = one.struck.incident.function, one.operation.partition("/")[2]
    what = f"error of the link above {alias} ({one.struck.incident.detail})"
    promise = terms.promise(alias, one.operation, WindowKind.NONE)
    events = [findings.served(one.struck.row), *(findings.log(event.row) for event in one.events[:1])]
    if not one.events:
        return missed(history, NAME, f"The kernel logged nothing of the {what}", events=events)
    if promise is None:
        return findings.unknown(NAME, f"The contract says nothing on a {error} {what}.", events=events)
    if error == "corrected":
        return _held(promise, f"A corrected {what} was logged, as staged, and no more", events)
    end = _line(one, _END)
    if end is None:
        claim = f"How recovery from a {error} {what} ended is not in the kernel log"
        return missed(history, NAME, claim, promise=promise, events=events)
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
    took = as_text(max(0, history.log[row].time_us * 1000 - one.struck.begin_ns))
    claim = f"{alias} was recovered by AER within {took} from a {error} {what}, as staged"
    if promise.config is ConfigSpace.LOST:
        claim += "; nobody restores what the reset of its bus took from it"
    return _held(promise, claim, events)


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


def _reset_ns(history: History, one: Struck) -> int | None:
    """When the bus of the function was reset next, at the earliest."""
    rows = served_rows(history, one.incident.function, Happened.BUS_RESET)
    times = history.served["time_ns"][rows]
    times = times[times >= one.begin_ns]
    return int(times[0]) - history.served_error_ns if len(times) else None
