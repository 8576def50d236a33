"""A timeline in 80 columns of ASCII, to be mailed.

First the whole stage, then the time around the marked pair, then the pair spelled out in numbers.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from typing import Final

from harness.history.history import History
from harness.model.units import as_text
from harness.model.verdict import Judgement
from harness.report.lanes import worth_drawing
from harness.report.layout import LETTERS, MEANINGS, Lane, Layout, Look, Mark
from harness.report.text import one_line
from harness.report.timeline import close_up, overview

WIDTH: Final = 80
_LABEL: Final = 12
_PLOT: Final = WIDTH - _LABEL - 2
_MOST_LANES: Final = 10
_KERNEL_RANK: Final = "kluwrLUR"
_KERNEL_LEGEND: Final = {
    "L": "lock taken",
    "U": "unlock",
    "w": "an access waits",
    "R": "reset begins",
    "r": "reset ends",
    "l": "lock asked for",
    "u": "uevent",
    "k": "other probe",
}


def timeline_text(history: History, judgement: Judgement) -> str:
    """Draw a judged history: at most 80 columns, ASCII only, ends with a newline."""
    whole, near = overview(history, judgement), close_up(history, judgement)
    lines = [_title(whole), *_wrap(whole.claim), *(_wrap(f"({whole.rule})") if whole.rule else [])]
    lines += [*_wrap(whole.facts), ""]
    lines += ["the whole stage, ms after release" if near else "ms after release", *_panel(whole)]
    if near:
        lines += ["", "around the marked events, ms after release", *_panel(near)]
    lines += ["", *_legend((whole, near) if near else (whole,))]
    for mark in whole.marks:
        lines += ["", *_spelled(mark)]
    if whole.log:
        lines += ["", "kernel log", *(f"    {_ascii(line, WIDTH - 4)}" for line in whole.log)]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _title(layout: Layout) -> str:
    room = WIDTH - len(layout.verdict) - 2
    return f"{_ascii(layout.title, room):<{room}}  {layout.verdict}"


def _ascii(text: str, room: int) -> str:
    """One line of ASCII, at most `room` columns: what is not ASCII is escaped before anything is cut."""
    line = one_line(text, 1_000).encode("ascii", "backslashreplace").decode()
    return line if len(line) <= room else f"{line[: room - 3]}..."


def _wrap(text: str, indent: str = "") -> list[str]:
    return textwrap.wrap(_ascii(text, 1_000), WIDTH, initial_indent=indent, subsequent_indent=indent)


def _panel(layout: Layout) -> Iterator[str]:
    yield _axis(layout)
    for function in layout.functions:
        row = [" "] * _PLOT
        for window in layout.windows:
            if window.function == function:
                _bar(row, layout, window.begin, window.end, "[=]")
        if any(window.function == function for window in layout.windows):
            yield _row(f"lock {function}", row)
        row = [" "] * _PLOT
        methods = dict.fromkeys(reset.method for reset in layout.resets if reset.function == function)
        for reset in layout.resets:
            if reset.function == function:
                _bar(row, layout, reset.begin, reset.end, "{~}")
        if methods:
            yield _row(f"{'/'.join(methods)} {function}", row)
    if layout.instants:
        yield _row("kernel", _kernel(layout))
    shown, hidden = worth_drawing(layout.lanes, _MOST_LANES)
    for lane in shown:
        yield _row(lane.name, _operations(lane, layout))
    if hidden:
        worst = max((span.look for lane in hidden for span in lane.spans), default=Look.OK)
        count = sum(lane.count for lane in hidden)
        yield f"{'':<{_LABEL}} {len(hidden)} more actors, {count} operations, worst: {MEANINGS[worst]}"
    if layout.marks:
        row = [" "] * _PLOT
        for mark in reversed(layout.marks):
            row[_column(mark.begin, layout)] = mark.letter
        yield _row("", row)


def _axis(layout: Layout) -> str:
    """A line of times with as many ticks as fit, each beginning above its own column."""
    row = [" "] * (WIDTH - _LABEL)
    span = layout.end - layout.begin
    decimals = 0 if span >= 50_000_000 else 1 if span >= 5_000_000 else 3 if span >= 50_000 else 6
    free = 0
    for time in ticks(layout.begin, layout.end, 6):
        label = f"{time / 1e6:.{decimals}f}"
        column = 1 + _column(time, layout)
        if column >= free and column + 1 + len(label) <= len(row):
            row[column : column + 1 + len(label)] = f"'{label}"
            free = column + len(label) + 3
    return (" " * _LABEL + "".join(row)).rstrip()


def ticks(begin: int, end: int, most: int) -> list[int]:
    """Round times between `begin` and `end` (ns), at most `most` + 1 of them."""
    span = max(1, end - begin)
    step = 1
    while span // step > most:
        for factor in (2, 5, 10):
            if span // (step * factor) <= most:
                step *= factor
                break
        else:
            step *= 10
    first = -(-begin // step) * step
    return list(range(first, end + 1, step))


def _column(time: int, layout: Layout) -> int:
    share = (time - layout.begin) / max(1, layout.end - layout.begin)
    return min(_PLOT - 1, max(0, int(share * _PLOT)))


def _bar(row: list[str], layout: Layout, begin: int, end: int, pattern: str) -> None:
    """Draw a bar; an edge outside the view has no bracket, a bar of one column is a single `|`."""
    first, last = _column(begin, layout), _column(end, layout)
    for column in range(first, last + 1):
        row[column] = pattern[1]
    if begin >= layout.begin:
        row[first] = pattern[0]
    if end <= layout.end:
        row[last] = "|" if first == last else pattern[2]


def _kernel(layout: Layout) -> list[str]:
    row = [" "] * _PLOT
    for instant in layout.instants:
        column = _column(instant.at, layout)
        if _KERNEL_RANK.find(instant.letter) >= _KERNEL_RANK.find(row[column]):
            row[column] = instant.letter
    for mark in layout.marks:
        if mark.lane == "kernel":
            row[_column(mark.begin, layout)] = mark.letter
    return row


def _operations(lane: Lane, layout: Layout) -> list[str]:
    row = [" "] * _PLOT
    for window in layout.windows:
        if window.function == lane.function:
            for column in range(_column(window.begin, layout), _column(window.end, layout) + 1):
                row[column] = ":"
    looks = [-1] * _PLOT
    for span in lane.spans:
        for column in range(_column(span.begin, layout), _column(span.end, layout) + 1):
            if span.look >= looks[column]:
                goes_on = span.look <= Look.OK and column > _column(span.begin, layout)
                looks[column], row[column] = span.look, "-" if goes_on else LETTERS[span.look]
    for mark in layout.marks:
        if mark.lane == lane.name and mark.begin >= layout.begin:
            row[_column(mark.begin, layout)] = mark.letter
    return row


def _row(label: str, row: list[str]) -> str:
    return f"{_ascii(label, _LABEL - 1):<{_LABEL}}|{''.join(row)}|"


def _legend(layouts: Iterable[Layout]) -> Iterator[str]:
    """Only what is really drawn."""
    panels = list(layouts)
    looks = sorted({span.look for panel in panels for lane in panel.lanes for span in lane.spans})
    letters = dict.fromkeys(instant.letter for panel in panels for instant in panel.instants)
    parts = ["[==] config lock held, shaded ::"] if any(panel.windows for panel in panels) else []
    parts += ["{~~} reset at work"] if any(panel.resets for panel in panels) else []
    parts += [f"{LETTERS[look]} {MEANINGS[look]}" for look in looks]
    yield from textwrap.wrap(", ".join(parts), WIDTH)
    if letters:
        kernel = ", ".join(f"{letter} {_KERNEL_LEGEND[letter]}" for letter in letters)
        yield from textwrap.wrap(f"kernel: {kernel}", WIDTH)
    scale = ", then ".join(as_text((panel.end - panel.begin) // _PLOT) for panel in panels)
    yield f"one column is {scale}"


def _spelled(mark: Mark) -> Iterator[str]:
    for number, line in enumerate(mark.lines):
        for first, piece in enumerate(_wrap(line, "    ")):
            yield f"{mark.letter}{piece[1:]}" if number == first == 0 else piece
