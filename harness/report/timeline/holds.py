"""Who held which lock, when and why, and who misused it: windows and faults of a layout."""

from __future__ import annotations

from harness.history.columns import INTERRUPT
from harness.history.history import History
from harness.history.reading import Reading
from harness.history.windows import NOBODY, DeviceWindow, FaultKind, LockFault, LockWindow
from harness.model.units import as_text
from harness.report.timeline.layout import DEVICE_KINDS, KINDS, Fault, Window


def windows_of(reading: Reading) -> tuple[Window, ...]:
    """Every window of every lock that the trace shows, sorted by opening."""
    found = [_window(reading, window) for window in reading.windows]
    found += [_window(reading, window) for window in reading.device_windows]
    return tuple(sorted(found, key=lambda window: window.begin))


def faults_of(reading: Reading) -> tuple[Fault, ...]:
    """Every misuse of a config lock that the trace shows, sorted by time."""
    found = (_fault(reading.history, fault) for fault in reading.lock_faults)
    return tuple(sorted(found, key=lambda fault: fault.begin))


def who(history: History, tid: int) -> str:
    """A thread as people know it: an actor's name with the thread, or the thread; or that it was an interrupt."""
    if tid == INTERRUPT:
        return "an interrupt"
    name = next((actor.name for actor in history.actors if actor.tid == tid), "")
    return f"{name} (thread {tid})" if name else f"thread {tid}"


def _window(reading: Reading, window: LockWindow | DeviceWindow) -> Window:
    history, kind = reading.history, window.kind
    zero, name = int(history.begin_ns), history.plan.functions[window.function]
    holder = who(history, window.tid)
    if window.holder != NOBODY:
        holder = f"{holder} in {reading.steps.behind(window.holder).means}"
    lock = "device lock" if kind in DEVICE_KINDS else "config lock"
    why = f", {KINDS[kind]}" if KINDS[kind] != lock else ""
    return Window(
        function=name,
        kind=kind,
        begin=int(window.opened_ns) - zero,
        end=int(window.closed_ns) - zero,
        holder=holder,
        text=f"{lock} of {name} held {as_text(window.closed_ns - window.opened_ns)} by {holder}{why}"
        + ("" if window.closed_row >= 0 else ", not seen given back in this stage"),
    )


def _fault(history: History, fault: LockFault) -> Fault:
    zero, name = int(history.begin_ns), history.plan.functions[fault.function]
    begin, end = int(fault.time_ns) - zero, int(fault.until_ns) - zero
    at, culprit = f"at {begin / 1e6:.3f} ms", who(history, fault.tid)
    owner = "nobody in this stage" if fault.owner is None else who(history, fault.owner)
    match fault.kind:
        case FaultKind.STOLEN:
            text = f"{at} {culprit} unlocked the config lock of {name} that {owner} held"
            if fault.until_ns < history.end_ns:
                text += f", who unlocked it again {as_text(end - begin)} later"
        case FaultKind.UNLOCKED_TWICE:
            text = f"{at} {culprit} unlocked the config lock of {name} that was free; last held by {owner}"
        case FaultKind.NEVER_UNLOCKED:
            text = f"{culprit} took the config lock of {name} {at} and held it when the stage ended"
            begin = end = int(history.end_ns) - zero
        case FaultKind.UNSEEN:
            text = (
                f"{at} {culprit} took the config lock of {name} that {owner} had not been seen to give back"
            )
    return Fault(function=name, kind=fault.kind, begin=begin, end=end, text=text)
