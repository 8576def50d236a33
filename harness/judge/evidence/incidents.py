"""What the host did to functions that models of ours serve, as the history shows it.

An incident is staged, so nobody is blamed for it; but what it did to others must be told from what they did
themselves.  The host's own rows among those of the models say when it began and ended, by the target's clock and within
`History.served_error_ns`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from harness.history.reading import Reading
from harness.model.fault import Incident, IncidentKind
from harness.model.served import Happened
from harness.model.units import MS, Ns, as_text

AFTERMATH: Final = Ns(500 * MS)
"""So long after everything stood still, what had piled up meanwhile is still being worked off."""
_UNPLUGGING: Final = (IncidentKind.UNPLUGGED, IncidentKind.SERVER_RESTARTED)
_DEADLY: Final = (IncidentKind.SERVER_KILLED, IncidentKind.SERVER_RESTARTED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Struck:
    """An incident that was carried out, or at least begun.

    Attributes:
        incident: what it was.
        row: of `History.served`, where it begins.
        begin_ns: when it began, at the earliest.
        end_ns: when it was over, at the latest; where nobody wrote that down, the end of the stage.
    """

    incident: Incident
    row: int
    begin_ns: Ns
    end_ns: Ns


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """A function that was to be taken out.

    Attributes:
        struck: the incident that asked for it.
        gone_ns: when the kernel said that it is gone; None: it did not during the stage.
        back_ns: when the kernel said that a function is in its place again, or None.
    """

    struck: Struck
    gone_ns: Ns | None
    back_ns: Ns | None


def struck(reading: Reading) -> tuple[Struck, ...]:
    """The incidents that were begun, in the order in which they began."""
    found, history = [], reading.history
    for number, incident in enumerate(history.plan.incidents):
        function = reading.of(incident.function)
        begun = function.served(Happened.INCIDENT_BEGINS, value=number)
        if not len(begun):
            continue
        ended = function.served(Happened.INCIDENT_ENDS, value=number)
        times, error = history.served["time_ns"], history.served_error_ns
        end = int(times[ended[0]]) + error if len(ended) else history.end_ns
        row = int(begun[0])
        found.append(Struck(incident=incident, row=row, begin_ns=Ns(int(times[row]) - error), end_ns=Ns(end)))
    return tuple(sorted(found, key=lambda one: one.begin_ns))


def removals(reading: Reading, incidents: Iterable[Struck]) -> Iterator[Removal]:
    """The functions that were unplugged, and what the kernel's uevents say of them."""
    for one in incidents:
        if one.incident.kind not in _UNPLUGGING:
            continue
        gone, back = told(reading, one.incident.function, one.begin_ns)
        yield Removal(struck=one, gone_ns=gone, back_ns=back)


def told(reading: Reading, alias: str, since_ns: int) -> tuple[Ns | None, Ns | None]:
    """When the kernel's uevents say that a function was gone next, and after that in its place again."""
    record = reading.records.get(alias)
    said = [
        event
        for event in reading.history.uevents
        if record is not None and event.path.endswith(f"/{record.bdf}") and event.time_ns > since_ns
    ]
    gone = next((event.time_ns for event in said if event.action == "remove"), None)
    back = next(
        (e.time_ns for e in said if e.action == "add" and gone is not None and e.time_ns > gone), None
    )
    return gone, back


def stalls(incidents: Iterable[Struck]) -> tuple[Struck, ...]:
    """When a model stood still: whoever accesses its function waits, and the whole guest with him.

    Source: docs of QEMU's main loop: a processor that accesses a device holds the lock that all others need.
    """
    return tuple(one for one in incidents if one.incident.kind is IncidentKind.SERVER_STALLED)


def death(incidents: Iterable[Struck], alias: str, at_ns: int, release_ns: int) -> str:
    """What the end of a claim says of a function whose model was dead at that time; else nothing."""
    for one in incidents:
        if one.incident.kind in _DEADLY and one.incident.function == alias and one.begin_ns <= at_ns:
            when = as_text(max(0, one.begin_ns - release_ns))
            return f"; its server was killed {when} after the release, as staged"
    return ""


def standstill(incidents: Iterable[Struck], begin_ns: int, end_ns: int) -> str:
    """What the end of a claim says of an operation that a model which stood still may have held up; else nothing."""
    for one in stalls(incidents):
        if begin_ns <= one.end_ns and end_ns >= one.begin_ns:
            lasting = as_text(one.incident.lasting_ns)
            return f"; the server of {one.incident.function} stood still for {lasting} meanwhile, as staged"
    return ""
