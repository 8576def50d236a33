"""Who misused a lock, and how, in words."""

from __future__ import annotations

from harness.history.columns import INTERRUPT
from harness.history.reading import Reading
from harness.history.windows import NOBODY, FaultKind, LockFault
from harness.model.units import as_text


def doer(reading: Reading, tid: int, time_ns: int) -> str:
    """Who a thread is, and what it was doing: `resetter (reset/flr)`, `thread 99`."""
    if tid == INTERRUPT:
        return "an interrupt"
    history, row = reading.history, reading.threads.at(tid, time_ns)
    name = next((actor.name for actor in history.actors if actor.tid == tid), f"thread {tid}")
    if row == NOBODY:
        return name
    return f"{name} ({reading.steps.behind(row).means})"


def told(reading: Reading, fault: LockFault) -> str:
    """What happened, as half a sentence that names the culprit first."""
    history, taken_ns = reading.history, int(reading.history.kernel["time_ns"][fault.rows[0]])
    alias = history.plan.functions[fault.function]
    who, lock = doer(reading, fault.tid, fault.time_ns), f"the config lock of {alias}"
    owner = None if fault.owner is None else doer(reading, fault.owner, taken_ns)
    match fault.kind:
        case FaultKind.STOLEN:
            later = f", which gave it back {as_text(fault.until_ns - fault.time_ns)} later"
            never = fault.until_ns >= history.end_ns
            held = "held" if taken_ns < fault.time_ns else "was just taking"
            return f"{who} unlocked {lock} that {owner} {held}{'' if never else later}"
        case FaultKind.UNLOCKED_TWICE:
            before = "it" if fault.owner == fault.tid else owner
            last = f", which {before} had held last" if owner else ""
            return f"{who} unlocked {lock} while nobody held it{last}"
        case FaultKind.NEVER_UNLOCKED:
            return f"{who} never unlocked {lock}, {as_text(history.end_ns - fault.time_ns)} before the stage ended"
        case FaultKind.UNSEEN:
            return f"{who} took {lock} while the trace shows it held by {owner}"
