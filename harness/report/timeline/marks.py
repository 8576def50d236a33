"""The events that prove a claim, marked with letters and spelled out in numbers."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from harness.history.columns import Edge
from harness.history.history import History
from harness.history.windows import CALLBACKS, DRIVER_STEPS, FaultKind
from harness.model.plan import Op
from harness.model.units import as_text
from harness.model.verdict import EventId, EventKind, Judgement
from harness.report.refusals import error_name
from harness.report.timeline.driver_lane import driver_lane_name
from harness.report.timeline.holds import who
from harness.report.timeline.layout import Fault, Mark, Window
from harness.report.timeline.served import lane_name
from harness.report.timeline.served_words import told
from harness.report.timeline.wrongs import wrongs_of

_MOST_WRONGS: Final = 3
"""Of what was wrong meanwhile only the last are named."""


def marks_of(
    history: History, judgement: Judgement, windows: tuple[Window, ...], faults: tuple[Fault, ...]
) -> tuple[Mark, ...]:
    """The first two events of the decisive finding that have a time, in the order of time: A and B."""
    finding = judgement.decisive
    events = finding.events if finding else ()
    timed = [
        event
        for event in events
        if (event.kind is EventKind.OPERATION and event.row < len(history.operations))
        or (event.kind is EventKind.KERNEL and event.row < len(history.kernel))
        or (event.kind is EventKind.SERVED and event.row < len(history.served))
    ][:2]
    timed.sort(key=lambda event: _time(history, event))
    marks = [
        _mark(history, event, letter, windows, faults) for event, letter in zip(timed, "AB", strict=False)
    ]
    if len(marks) == 2:
        gap = _time(history, timed[1]) - _time(history, timed[0])
        marks[1] = replace(marks[1], lines=(*marks[1].lines, f"{as_text(gap)} after A"))
    return tuple(marks)


def _time(history: History, event: EventId) -> int:
    if event.kind is EventKind.KERNEL:
        return int(history.kernel[event.row]["time_ns"])
    if event.kind is EventKind.SERVED:
        return int(history.served[event.row]["time_ns"])
    return int(history.operations[event.row]["begin_ns"])


def _mark(
    history: History, event: EventId, letter: str, windows: tuple[Window, ...], faults: tuple[Fault, ...]
) -> Mark:
    zero = int(history.begin_ns)
    if event.kind is EventKind.KERNEL:
        at = int(history.kernel[event.row]["time_ns"]) - zero
        alias = _driver_of(history, event.row)
        said = [hit(history, event.row), f"at {_ms(at)} ms"]
        if alias:
            symbol = history.probes[int(history.kernel[event.row]["probe"])].symbol
            said[0] += f": driver of {alias}, {DRIVER_STEPS.get(symbol) or CALLBACKS[symbol]}"
        said += [
            f"while the {window.lock} of {alias} was held by {window.holder}"
            for window in windows
            if window.function == alias and window.blocks_config and window.begin <= at <= window.end
        ]
        lane = driver_lane_name(alias) if alias else "kernel"
        return Mark(letter=letter, event=event, begin=at, end=at, lane=lane, lines=tuple(said))
    if event.kind is EventKind.SERVED:
        return _served_mark(history, event, letter)
    row = history.operations[event.row]
    begin, returned = int(row["begin_ns"]) - zero, int(row["end_ns"]) != 0
    end = (int(row["end_ns"]) if returned else int(history.end_ns)) - zero
    actor = history.plan.actors[int(row["actor"])]
    lines: list[str] = [f"{event} by {actor.name}: {shown(history, event.row)}"]
    if returned:
        lines.append(f"began {_ms(begin)} ms, ended {_ms(end)} ms: took {as_text(end - begin)}")
    else:
        lines.append(f"began {_ms(begin)} ms, never returned: {as_text(end - begin)} until the stage ended")
    step = actor.steps[int(row["step"])]
    for window in windows:
        if step.file is not None and step.file.function != window.function:
            continue
        if window.begin <= end and window.end >= begin:
            lock = f"the {window.lock} of {window.function}"
            lines.append(f"began {_apart(begin, window.begin)} {lock} was taken by {window.holder},")
            lines.append(f"ended {_apart(end, window.end)} it was given back")
            break
    for fault in faults:
        if fault.kind is not FaultKind.STOLEN or step.file is None or step.file.function != fault.function:
            continue
        if fault.begin <= end and fault.end >= begin:
            lines.append(f"began {_apart(begin, fault.begin)} the config lock of {fault.function} was stolen")
            break
    if step.file is not None:
        lines += _meanwhile(history, step.file.function, begin, end)
    return Mark(letter=letter, event=event, begin=begin, end=end, lane=actor.name, lines=tuple(lines))


def _driver_of(history: History, row: int) -> str:
    """The function whose driver did what a hit shows; empty when it was no driver."""
    event, names = history.kernel[row], history.plan.functions
    symbol, function = history.probes[int(event["probe"])].symbol, int(event["function"])
    drawn = 0 <= function < len(names) and (symbol in DRIVER_STEPS or symbol in CALLBACKS)
    return names[function] if drawn else ""


def _meanwhile(history: History, function: str, begin: int, end: int) -> list[str]:
    """What was wrong with a function meanwhile, in a line."""
    wrongs = [one for one in wrongs_of(history) if one.function == function]
    found = [one.since for one in wrongs if one.begin <= end and one.end >= begin][-_MOST_WRONGS:]
    return [f"meanwhile {function}: {', '.join(found)}"] if found else []


def _served_mark(history: History, event: EventId, letter: str) -> Mark:
    row, names = history.served[event.row], history.plan.functions
    at, function = int(row["time_ns"]) - int(history.begin_ns), int(row["function"])
    alias = names[function] if 0 <= function < len(names) else ""
    when = f"{_apart(at, 0)} release"
    if history.served_error_ns:
        when += f", give or take {as_text(history.served_error_ns)}"
    said = (f"{told(history, event.row)}, {when}",)
    return Mark(letter=letter, event=event, begin=at, end=at, lane=lane_name(alias), lines=said)


def _apart(at: int, edge: int) -> str:
    return f"{as_text(abs(at - edge))} {'after' if at >= edge else 'before'}"


def _ms(time_ns: int) -> str:
    return f"{time_ns / 1e6:.3f}"


def shown(history: History, row: int) -> str:
    """What an operation was, and what it showed."""
    event = history.operations[row]
    step = history.plan.actors[int(event["actor"])].steps[int(event["step"])]
    what = str(step.means)
    if step.file is not None and step.width:
        what += f" at {step.offset:#x}, {step.width} bytes"
    if int(event["end_ns"]) == 0:
        return f"{what}: never returned"
    if int(event["error"]):
        return f"{what}: {error_name(int(event['error']))}"
    if step.op in (Op.READ, Op.LOAD):
        width = min(step.width or 8, 8)
        return f"{what}: read {int(event['value']):#0{2 + 2 * width}x}"
    return f"{what}: ok"


def hit(history: History, row: int) -> str:
    """What a row of the kernel's trace says."""
    event = history.kernel[row]
    probe, function = history.probes[int(event["probe"])], int(event["function"])
    whose = f" of {history.plan.functions[function]}" if 0 <= function < len(history.plan.functions) else ""
    how = "entered" if probe.edge is Edge.ENTRY else "returned"
    return f"kernel:{row} {probe.symbol} {how}{whose}, {who(history, int(event['tid']))}"
