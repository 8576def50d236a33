"""Who misused a lock, and how, in words."""

from __future__ import annotations

from typing import Final

from harness.history.columns import INTERRUPT
from harness.history.history import History
from harness.history.windows import NOBODY, FaultKind, LockFault, rows_at
from harness.model.units import as_text

LOG_PATTERN: Final = r"\bpci_cfg_access_unlock\b"
"""In a line of the kernel log that tells of a fault: the kernel found the lock free when it was to be unlocked.

`WARNING: CPU: 1 PID: 99 at drivers/pci/access.c:331 pci_cfg_access_unlock+0x…` until Linux 6.17,
`WARNING: drivers/pci/access.c:331 at pci_cfg_access_unlock+0x…, CPU#1: name/99` since (kernel/panic.c, `__warn()`).
"""


def doer(history: History, tid: int, time_ns: int) -> str:
    """Who a thread is, and what it was doing: `resetter (reset/flr)`, `thread 99`."""
    if tid == INTERRUPT:
        return "an interrupt"
    (row,) = rows_at(history, [(tid, time_ns)])
    name = next((actor.name for actor in history.actors if actor.tid == tid), f"thread {tid}")
    if row == NOBODY:
        return name
    event = history.operations[row]
    return f"{name} ({history.means(int(event['actor']), int(event['step']))})"


def told(history: History, fault: LockFault) -> str:
    """What happened, as half a sentence that names the culprit first."""
    alias = history.plan.functions[fault.function]
    who, lock = doer(history, fault.tid, fault.time_ns), f"the config lock of {alias}"
    owner = None if fault.owner is None else doer(history, fault.owner, _taken_ns(history, fault))
    match fault.kind:
        case FaultKind.STOLEN:
            later = f", which gave it back {as_text(fault.until_ns - fault.time_ns)} later"
            never = fault.until_ns >= history.end_ns
            held = "held" if _taken_ns(history, fault) < fault.time_ns else "was just taking"
            return f"{who} unlocked {lock} that {owner} {held}{'' if never else later}"
        case FaultKind.UNLOCKED_TWICE:
            before = "it" if fault.owner == fault.tid else owner
            last = f", which {before} had held last" if owner else ""
            return f"{who} unlocked {lock} while nobody held it{last}"
        case FaultKind.NEVER_UNLOCKED:
            return f"{who} never unlocked {lock}, {as_text(history.end_ns - fault.time_ns)} before the stage ended"
        case FaultKind.UNSEEN:
            return f"{who} took {lock} while the trace shows it held by {owner}"


def _taken_ns(history: History, fault: LockFault) -> int:
    return int(history.kernel["time_ns"][fault.rows[0]])
