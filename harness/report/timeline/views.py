"""Lay a history out on one axis: the whole stage, or the time around the marked pair."""

from __future__ import annotations

import errno
from typing import Final

import numpy as np

from harness.history.columns import Edge, Table
from harness.history.history import History
from harness.history.reading import Reading
from harness.history.windows import (
    HOLD_DEVICE_LOCK,
    LOCK,
    RESET_FUNCTIONS,
    TRYLOCK,
    UNLOCK,
    UNREGISTER,
    WAIT,
    ResetSpan,
)
from harness.model.fault_words import staged
from harness.model.units import as_text
from harness.model.verdict import EventKind, Judgement
from harness.report.findings import headline
from harness.report.refusals import as_line, refusals
from harness.report.timeline.drivers import driver_lanes, driver_notes, driver_rows, is_vain
from harness.report.timeline.holds import faults_of, windows_of
from harness.report.timeline.lanes import MOST_SPANS, lanes_of
from harness.report.timeline.layout import Fault, Instant, Layout, Reset
from harness.report.timeline.marks import hit, marks_of
from harness.report.timeline.served import served_lanes
from harness.report.timeline.wrongs import wrongs_of

_CUT: Final = "------------["
"""How the kernel begins and ends a report; it says nothing."""
_MOST_FAULTS: Final = 4
"""More misuses than these are only counted in words; all are drawn."""
_MOST_WRONGS: Final = 6
"""The same, of what was staged to go wrong."""


def overview(seen: History | Reading, judgement: Judgement) -> Layout:
    """The whole stage."""
    reading = Reading.read(seen)
    history = reading.history
    return _layout(reading, judgement, (0, max(1, int(history.end_ns - history.begin_ns))))


def close_up(seen: History | Reading, judgement: Judgement) -> Layout | None:
    """The time around the marked pair, or None when there is no pair or it fills the stage anyway."""
    reading = Reading.read(seen)
    history = reading.history
    whole = max(1, int(history.end_ns - history.begin_ns))
    windows, faults = windows_of(reading), faults_of(reading)
    marks = marks_of(history, judgement, windows, faults)
    if not marks:
        return None
    begin, end = min(mark.begin for mark in marks), max(mark.end for mark in marks)
    least = whole // 10  # of what lies around, where no window says how much that must be
    spans = [(held.begin, held.end) for held in windows] + [(fault.begin, fault.end) for fault in faults]
    spans += [(wrong.begin, wrong.end) for wrong in wrongs_of(history)]
    for first, last in spans:  # what touches the pair is shown as a whole
        if first < last and first <= end and last >= begin and last - first <= whole // 3:
            begin, end, least = min(begin, first), max(end, last), 0
    margin = max((end - begin) // 5, least, whole // 2_000, 1_000)
    begin, end = max(0, begin - margin), min(whole, end + margin)
    return None if end - begin > whole * 2 // 3 else _layout(reading, judgement, (begin, end))


def _layout(reading: Reading, judgement: Judgement, view: tuple[int, int]) -> Layout:
    history = reading.history
    windows, faults, zero = windows_of(reading), faults_of(reading), int(history.begin_ns)
    marks = marks_of(history, judgement, windows, faults)
    names = history.plan.functions
    decisive = headline(judgement)
    rule = [decisive.promise, decisive.source] if decisive else []
    return Layout(
        title=history.plan.title,
        verdict=judgement.verdict.name,
        claim=decisive.claim if decisive else "nothing was judged",
        rule=", ".join(part for part in rule if part),
        facts=_facts(history),
        functions=names,
        begin=view[0],
        end=view[1],
        lanes=lanes_of(reading, marks, view),
        windows=tuple(window for window in windows if _touches(window.begin, window.end, view)),
        faults=tuple(fault for fault in faults if _touches(fault.begin, fault.end, view)),
        resets=tuple(
            Reset(
                function=names[span.function],
                method=_name(span),
                begin=int(span.begin_ns) - zero,
                end=int(span.end_ns) - zero,
                text=f"{_name(span)} of {names[span.function]}, {as_text(span.end_ns - span.begin_ns)}, "
                + ("never returned" if span.result is None else f"returned {_answer(span.result)}"),
            )
            for span in reading.resets
            if _touches(int(span.begin_ns) - zero, int(span.end_ns) - zero, view)
        ),
        instants=_instants(history, view),
        marks=marks,
        notes=(
            *_misuse(faults),
            *driver_notes(reading),
            *(as_line(refused) for refused in refusals(reading)),
            *_staged(history),
        ),
        log=_log(history, judgement),
        served=served_lanes(history, view, [mark.lane for mark in marks]),
        drivers=driver_lanes(reading, view, frozenset(mark.lane for mark in marks)),
    )


def _misuse(faults: tuple[Fault, ...]) -> list[str]:
    more = len(faults) - _MOST_FAULTS
    return [fault.text for fault in faults[:_MOST_FAULTS]] + (
        [f"{more} more misuses of locks"] if more > 0 else []
    )


def _staged(history: History) -> list[str]:
    """What was staged to go wrong, what came of it, and what is not certain about it."""
    wrongs = wrongs_of(history)
    said = [f"staged: {line}" for line in staged(history.plan)]
    said += [wrong.text for wrong in wrongs[:_MOST_WRONGS]]
    if len(wrongs) > _MOST_WRONGS:
        said.append(f"{len(wrongs) - _MOST_WRONGS} more times in which something was wrong")
    if history.served_error_ns:
        said.append(f"times of models are within {as_text(history.served_error_ns)} of those of the guest")
    if history.served_lost:
        said.append(f"{history.served_lost} rows of the models found no room in their log")
    return said


def _name(span: ResetSpan) -> str:
    return str(span.method) if span.method else "hot reset"


def _touches(begin: int, end: int, view: tuple[int, int]) -> bool:
    return begin <= view[1] and end >= view[0]


def _answer(result: int) -> str:
    return "0" if result == 0 else errno.errorcode.get(-result, str(result))


def _facts(history: History) -> str:
    functions = [
        f"{f.alias} = {f.platform} {f.vendor:04x}:{f.device:04x} at {f.bdf}" for f in history.functions
    ]
    kernel = str(history.provenance.get("kernel.release", "kernel not known"))
    if own := history.provenance.get("kernel.own_modules"):
        kernel += f" with {own}"
    return "; ".join([*functions, kernel, f"seed {history.plan.seed}"])


def _instants(history: History, view: tuple[int, int]) -> tuple[Instant, ...]:
    zero, kernel = int(history.begin_ns), history.kernel
    times = kernel["time_ns"] - zero
    rows = np.flatnonzero((times >= view[0]) & (times <= view[1]) & ~driver_rows(history))
    if len(rows) > MOST_SPANS:  # every n-th says as much in a picture
        rows = rows[:: len(rows) // MOST_SPANS + 1]
    found = [
        Instant(at=int(times[row]), letter=_letter(history, kernel, int(row)), text=hit(history, int(row)))
        for row in rows
    ]
    found += [
        Instant(at=int(event.time_ns) - zero, letter="u", text=f"uevent {event.action} {event.path}")
        for event in history.uevents
        if view[0] <= event.time_ns - zero <= view[1]
    ]
    return tuple(sorted(found, key=lambda instant: instant.at))


def _letter(history: History, kernel: Table, row: int) -> str:
    probe = history.probes[int(kernel[row]["probe"])]
    if probe.symbol in (LOCK, TRYLOCK):
        return "l" if probe.edge is Edge.ENTRY else "v" if is_vain(history, row) else "L"
    if probe.symbol == UNLOCK:
        return "U"
    if probe.symbol == WAIT:
        return "w"
    if probe.symbol in (UNREGISTER, HOLD_DEVICE_LOCK):
        return "D" if probe.edge is Edge.ENTRY else "d"
    if probe.symbol not in RESET_FUNCTIONS:
        return "k"
    return "R" if probe.edge is Edge.ENTRY else "r"


def _log(history: History, judgement: Judgement) -> tuple[str, ...]:
    """Kernel log lines that the decisive finding points at, else the first warnings or worse."""
    finding = judgement.decisive
    rows = [event.row for event in finding.events if event.kind is EventKind.LOG] if finding else []
    lines = [history.log[row] for row in rows if row < len(history.log)]
    lines = lines or [line for line in history.log if line.of_the_kernel and line.level <= 4]
    lines = [line for line in lines if not line.text.startswith(_CUT)]
    return tuple(line.text for line in lines[:4])
