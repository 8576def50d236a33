"""Errors of a link that a port was made to report: what the kernel log tells of each, and what it cost the function.

Source: Linux drivers/pci/pcie/err.c, `pcie_do_recovery()`; drivers/pci/pcie/aer.c, `aer_root_reset()`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from harness.judge.evidence.evidence import Evidence
from harness.judge.evidence.incidents import Struck
from harness.judge.evidence.log_events import LogEvent
from harness.model.fault import IncidentKind
from harness.model.operation import Operation, recovery
from harness.model.promise import ConfigSpace, WindowKind
from harness.model.served import Happened
from harness.model.terms import LogClass, Terms
from harness.model.units import MS

_OF_AER: Final = "AER: "
FATAL: Final = recovery("fatal")
"""After it the link is reset."""
_NONFATAL: Final = "(Non-Fatal)"
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
        return recovery("nonfatal") if all(_NONFATAL in text for text in worst) else FATAL


def link_errors(evidence: Evidence) -> tuple[Struck, ...]:
    """The errors that ports were made to report."""
    return tuple(one for one in evidence.incidents if one.incident.kind is IncidentKind.LINK_ERROR)


def reported(evidence: Evidence, terms: Terms) -> Iterator[Reported]:
    """The link errors that were staged, and what the kernel log tells of them."""
    history, staged = evidence.history, link_errors(evidence)
    events = evidence.log_events(terms.log_rules) if staged else ()
    for number, one in enumerate(staged):
        function = evidence.of(one.incident.function).record
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


def lost_since(evidence: Evidence, terms: Terms, alias: str) -> int:
    """Since when nothing in config space of a function is promised: its bus was reset, and nobody restores it.

    Far in the future where that did not happen, or where restoring is promised.
    """
    promise = terms.promise(alias, FATAL, WindowKind.NONE)
    if promise is None or promise.config is not ConfigSpace.LOST:
        return _NEVER
    staged = [one for one in link_errors(evidence) if one.incident.function == alias]
    times = [reset for one in staged if (reset := bus_reset_ns(evidence, one)) is not None]
    return min(times, default=_NEVER)


def bus_reset_ns(evidence: Evidence, one: Struck) -> int | None:
    """When the bus of the function was reset next, at the earliest."""
    history, row = evidence.history, bus_reset_row(evidence, one)
    return None if row is None else int(history.served["time_ns"][row]) - history.served_error_ns


def bus_reset_row(evidence: Evidence, one: Struck) -> int | None:
    """Where the function says that its bus was reset next, in `History.served`."""
    rows = evidence.of(one.incident.function).served(Happened.BUS_RESET)
    rows = rows[evidence.history.served["time_ns"][rows] >= one.begin_ns]
    return int(rows[0]) if len(rows) else None
