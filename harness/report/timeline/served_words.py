"""What a row of the models' logs says, in words."""

from __future__ import annotations

import errno
from typing import Final

from harness.history.columns import Table
from harness.history.history import History
from harness.model.fault_words import named
from harness.model.served import Happened
from harness.model.units import as_text

CONFIG_REGION: Final = 7
"""Number of config space among the regions."""


def told(history: History, row: int) -> str:
    """What a row of the models' logs says: `served:17 endpoint0 went wrong: not-ready (800 ms)`."""
    event = history.served[row]
    number = int(event["function"])
    names = history.plan.functions
    whose = names[number] if 0 <= number < len(names) else "a function"
    return f"served:{row} {whose} {_said(history, whose, event)}"


def _said(history: History, whose: str, event: Table) -> str:
    value, address, width = int(event["value"]), int(event["address"]), int(event["width"])
    refused = f", answered with {errno_of(event)}" if int(event["error"]) else ""
    place = "config space" if int(event["region"]) == CONFIG_REGION else f"BAR {int(event['region'])}"
    where = f"at {address:#x}, {width} bytes"
    shown = f"{value:#0{2 + 2 * min(width, 8)}x}"
    match _happened(event):
        case Happened.READ:
            return f"was read: {place} {where}" + (refused or f": {shown}")
        case Happened.WRITTEN:
            return f"was written: {place} {where}: {shown}{refused}"
        case Happened.FLR | Happened.BUS_RESET | Happened.WAKE | Happened.SELF_TESTED as what:
            return f"{_RESET_SAID[what]}, epoch {value} began"
        case Happened.FLR_IGNORED:
            return "was told to reset itself (FLR), and did nothing"
        case Happened.FAULT_BEGINS:
            return f"went wrong: {fault_named(history, whose, value)}"
        case Happened.FAULT_ENDS:
            return f"ended to be wrong: {fault_named(history, whose, value)}"
        case Happened.FAULT_MET:
            return f"showed for the first time that it was wrong: {fault_named(history, whose, value)}"
        case Happened.INTERRUPT:
            return f"signalled interrupt {value}"
        case Happened.INTERRUPT_LOST:
            return f"should have signalled interrupt {value}, and did not"
        case Happened.DMA_READ | Happened.DMA_WRITTEN as what:
            verb = "read" if what is Happened.DMA_READ else "wrote"
            how = f", refused ({errno_of(event)})" if int(event["error"]) else ""
            return f"{verb} by DMA {where}{how}"
        case Happened.CONNECTED:
            return "was connected to QEMU"
        case Happened.DISCONNECTED:
            return "lost QEMU, which hung up"
        case Happened.INCIDENT_BEGINS:
            return f"had something done to it by the host: {incident_named(history, value)}"
        case Happened.INCIDENT_ENDS:
            how = f"could not be done ({errno_of(event)})" if int(event["error"]) else "done"
            return f"{how}: {incident_named(history, value)}"
        case Happened.CRITICAL_BEGINS:
            return f"began a critical section, to keep {value:#x}"
        case Happened.CRITICAL_ENDS:
            return f"ended its critical section, {value:#x} is kept"
        case Happened.CORRUPTED:
            return f"was reset in its critical section: what it keeps is corrupt, {value:#x} is lost"
        case Happened.LOST:
            return "was reset without having been told: what it had not kept yet is lost"
        case Happened.LEFT_OVER:
            return f"was set up anew, and still had {value:#x} from before its reset"
        case Happened.NOTED:
            return f"noted {value:#x}" + (f" at {address:#x}" if address else "")
        case _:
            return f"did what this harness has no word for ({int(event['what'])})"


_RESET_SAID: Final = {
    Happened.FLR: "reset itself (FLR)",
    Happened.BUS_RESET: "was reset by its bus",
    Happened.WAKE: "woke from D3hot and had forgotten its state",
    Happened.SELF_TESTED: "had tested itself",
}


def _happened(event: Table) -> Happened | None:
    try:
        return Happened(int(event["what"]))
    except ValueError:
        return None


def errno_of(event: Table) -> str:
    """The name of the errno of a row."""
    number = int(event["error"])
    return errno.errorcode.get(number, str(number))


def fault_named(history: History, alias: str, number: int) -> str:
    """`not-ready (800 ms)`."""
    faults = history.plan.faults_of(alias)
    if number >= len(faults):
        return f"fault {number}"
    fault = faults[number]
    lasting = "for ever" if fault.lasting_ns is None else as_text(fault.lasting_ns)
    return f"{named(fault)} ({lasting})"


def incident_named(history: History, number: int) -> str:
    """`link-error (DLP)`."""
    if number >= len(history.plan.incidents):
        return f"incident {number}"
    one = history.plan.incidents[number]
    return f"{one.kind} ({one.detail})" if one.detail else str(one.kind)
