"""What a plan stages to go wrong, in words.  Pure."""

from __future__ import annotations

from typing import Final

from harness.model.fault import Fault, Incident, Misbehaviour, Occasion
from harness.model.plan import Plan
from harness.model.units import MS, as_text

_RESETS: Final = (Occasion.FLR, Occasion.BUS_RESET, Occasion.WAKE)


def staged(plan: Plan) -> tuple[str, ...]:
    """A line for each fault and each incident: `endpoint0 not-ready for 800 ms after flr`."""
    return (
        *(f"{one.function} {fault_in_words(one.fault)}" for one in plan.faults),
        *(f"{one.function} {incident_in_words(one)}" for one in plan.incidents),
    )


def named(fault: Fault) -> str:
    """What is wrong, as short as can be: `not-ready`, `wrong-value (command)`."""
    return f"{fault.what} ({fault.register})" if fault.register else str(fault.what)


def fault_in_words(fault: Fault) -> str:
    """What is wrong, how long, and when that begins."""
    lasting = "" if fault.lasting_ns is None else f" for {as_text(fault.lasting_ns)}"
    times = f", {_count(fault.times, 'time')} at most" if fault.times and fault.when in _RESETS else ""
    return f"{named(fault)}{_value(fault)}{lasting} {_begins(fault)}{times}"


def incident_in_words(incident: Incident) -> str:
    """What the host does, how long, and when."""
    detail = f" ({incident.detail})" if incident.detail else ""
    lasting = f" for {as_text(incident.lasting_ns)}" if incident.lasting_ns else ""
    return f"{incident.kind}{detail}{lasting}, {as_text(incident.at_ns)} after the release"


def _value(fault: Fault) -> str:
    if fault.value is None:
        return ""
    match fault.what:
        case Misbehaviour.SELF_TEST_FAILS:
            return f" with code {fault.value}"
        case Misbehaviour.SELF_TEST_SLOW | Misbehaviour.CRITICAL_SLOW:
            return f", taking {as_text(fault.value * MS)},"
        case _:
            return f" {fault.value:#x}"


def _begins(fault: Fault) -> str:
    match fault.when:
        case Occasion.NOW:
            return "from the beginning"
        case Occasion.TIME:
            return f"from {as_text(fault.at_ns)} after the release"
        case Occasion.ACCESSES:
            return f"after {fault.after} accesses"
        case _:
            return f"after {fault.when}" + (f", not the first {fault.after}" if fault.after else "")


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")
