"""A timeline in 80 columns of ASCII, to be mailed.

First the whole stage, then the time around the marked pair, then the pair spelled out in numbers.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from harness.history.history import History
from harness.history.reading import Reading
from harness.history.windows import FaultKind
from harness.model.promise import WindowKind
from harness.model.units import as_text
from harness.model.verdict import Judgement
from harness.report.ascii import driver, served
from harness.report.text import one_line
from harness.report.timeline.lanes import worth_drawing
from harness.report.timeline.layout import (
    DEVICE_KINDS,
    FAULTS,
    KINDS,
    LETTERS,
    MEANINGS,
    Band,
    Lane,
    Layout,
    Look,
    Mark,
    Window,
    meaning,
)
from harness.report.timeline.ticks import ticks
from harness.report.timeline.views import close_up, overview
from harness.visible import visible

WIDTH: Final = 80
_LABELS: Final = (12, 20)
"""Columns for the names of the rows: at least and at most."""
_MOST_LANES: Final = 10
_KIND: Final = {
    WindowKind.SYSFS_RESET: "S",
    WindowKind.VFIO_RESET: "V",
    WindowKind.HOT_RESET: "H",
    WindowKind.VFIO_OPEN: "O",
    WindowKind.SRIOV: "N",
    WindowKind.DRIVER_RESET: "D",
    WindowKind.UNBIND: "U",
}
"""Why a lock was held, where the bar has no room for words."""
_KERNEL_RANK: Final = "klvduwrDLUR"
_KERNEL_LEGEND: Final = {
    "L": "lock taken",
    "v": "tried for in vain",
    "U": "unlock",
    "w": "an access waits",
    "D": "device lock held",
    "d": "up to here",
    "R": "reset begins",
    "r": "reset ends",
    "l": "lock asked for",
    "u": "uevent",
    "k": "other probe",
}


@dataclass(frozen=True, slots=True)
class _Grid:
    """One axis in columns: names on the left, time on the right.

    Attributes:
        layout: what is drawn.
        label: columns for the names.
    """

    layout: Layout
    label: int

    @property
    def plot(self) -> int:
        """Columns for the time."""
        return WIDTH - self.label - 2

    def column(self, time: int) -> int:
        """Where a time lies, inside the plot."""
        share = (time - self.layout.begin) / max(1, self.layout.end - self.layout.begin)
        return min(self.plot - 1, max(0, int(share * self.plot)))

    def columns(self, begin: int, end: int) -> range:
        """All columns that a stretch of time touches."""
        return range(self.column(begin), self.column(end) + 1)

    def empty(self) -> list[str]:
        """A row without anything."""
        return [" "] * self.plot

    def row(self, name: str, row: list[str]) -> str:
        """A row with its name."""
        return f"{_ascii(name, self.label - 1):<{self.label}}|{''.join(row)}|"


def timeline_text(seen: History | Reading, judgement: Judgement) -> str:
    """Draw a judged history: at most 80 columns, ASCII only, ends with a newline."""
    reading = Reading.read(seen)
    whole, near = overview(reading, judgement), close_up(reading, judgement)
    names = [band.name for band in whole.bands] + [lane.name for lane in whole.lanes]
    names += [lane.name for lane in whole.drivers] + served.names(whole.served)
    label = min(_LABELS[1], max([_LABELS[0], *(len(name) + 1 for name in names)]))
    grids = [_Grid(layout, label) for layout in (whole, near) if layout]
    lines = [_title(whole), *_wrap(whole.claim), *(_wrap(f"({whole.rule})") if whole.rule else [])]
    lines += [*_wrap(whole.facts), ""]
    lines += ["the whole stage, ms after release" if near else "ms after release", *_panel(grids[0])]
    if near:
        lines += ["", "around the marked events, ms after release", *_panel(grids[1])]
    lines += ["", *_legend(grids)]
    for mark in whole.marks:
        lines += ["", *_spelled(mark)]
    if whole.notes:
        lines += ["", "also seen", *(piece for note in whole.notes for piece in _wrap(note, "    "))]
    if whole.log:
        lines += ["", "kernel log", *(f"    {_ascii(line, WIDTH - 4)}" for line in whole.log)]
    return visible("\n".join(line.rstrip() for line in lines) + "\n")


def _title(layout: Layout) -> str:
    room = WIDTH - len(layout.verdict) - 2
    return f"{_ascii(layout.title, room):<{room}}  {layout.verdict}"


def _ascii(text: str, room: int) -> str:
    """One line of ASCII, at most `room` columns: what is not ASCII is escaped before anything is cut."""
    line = one_line(text, 1_000).encode("ascii", "backslashreplace").decode()
    return line if len(line) <= room else f"{line[: room - 3]}..."


def _wrap(text: str, indent: str = "") -> list[str]:
    return textwrap.wrap(_ascii(text, 1_000), WIDTH, initial_indent=indent, subsequent_indent=indent)


def _panel(grid: _Grid) -> Iterator[str]:
    layout = grid.layout
    yield _axis(grid)
    for band in layout.bands:
        yield grid.row(band.name, _band(band, grid))
    for own in layout.drivers:
        row = driver.driver_row(own, grid.column, grid.plot, layout.end)
        _flag(row, grid, own.name)
        yield grid.row(own.name, row)
    if layout.instants:
        yield grid.row("kernel", _kernel(grid))
    for model in layout.served:
        for name, row in served.served_rows(model, grid.column, grid.plot):
            _flag(row, grid, name)
            yield grid.row(name, row)
    shown, hidden = worth_drawing(layout.lanes, _MOST_LANES)
    for lane in shown:
        yield grid.row(lane.name, _operations(lane, grid))
    if hidden:
        worst = max((span.look for lane in hidden for span in lane.spans), default=Look.OK)
        count = sum(lane.count for lane in hidden)
        yield f"{'':<{grid.label}} {len(hidden)} more actors, {count} operations, worst: {MEANINGS[worst]}"
    if layout.marks:
        row = grid.empty()
        for mark in reversed(layout.marks):
            row[grid.column(mark.begin)] = mark.letter
        yield grid.row("", row)


def _axis(grid: _Grid) -> str:
    """A line of times with as many ticks as fit, each beginning above its own column."""
    row = [" "] * (WIDTH - grid.label)
    span = grid.layout.end - grid.layout.begin
    decimals = 0 if span >= 50_000_000 else 1 if span >= 5_000_000 else 3 if span >= 50_000 else 6
    free = 0
    for time in ticks(grid.layout.begin, grid.layout.end, 6):
        label = f"{time / 1e6:.{decimals}f}"
        column = 1 + grid.column(time)
        if column >= free and column + 1 + len(label) <= len(row):
            row[column : column + 1 + len(label)] = f"'{label}"
            free = column + len(label) + 3
    return (" " * grid.label + "".join(row)).rstrip()


def _band(band: Band, grid: _Grid) -> list[str]:
    row = grid.empty()
    for fault in band.faults:  # a stolen lock: its owner believes to hold it until it unlocks
        for column in grid.columns(fault.begin, fault.end):
            row[column] = "_"
    for window in band.windows:
        pattern = "[=]" if window.blocks_config else "(-)"
        _bar(row, grid, window.begin, window.end, pattern)
        _name(row, grid, window)
    for reset in band.resets:
        _bar(row, grid, reset.begin, reset.end, "{~}")
    for fault in band.faults:
        row[grid.column(fault.begin)] = "X"
    return row


def _bar(row: list[str], grid: _Grid, begin: int, end: int, pattern: str) -> None:
    """Draw a bar; an edge outside the view has no bracket, a bar of one column is a single `|`."""
    columns = grid.columns(begin, end)
    for column in columns:
        row[column] = pattern[1]
    if begin >= grid.layout.begin:
        row[columns[0]] = pattern[0]
    if end <= grid.layout.end:
        row[columns[-1]] = "|" if len(columns) == 1 else pattern[2]


def _name(row: list[str], grid: _Grid, window: Window) -> None:
    """Write into a window's bar why the lock was held: in words, by a letter, or not at all."""
    columns = grid.columns(window.begin, window.end)
    words = f" {KINDS[window.kind]} "
    letter = _KIND.get(window.kind, "") if len(columns) >= 3 else ""
    name = words if len(words) + 4 <= len(columns) else letter
    first = columns[0] + (len(columns) - len(name)) // 2
    row[first : first + len(name)] = name


def _kernel(grid: _Grid) -> list[str]:
    row = grid.empty()
    for instant in grid.layout.instants:
        column = grid.column(instant.at)
        if _KERNEL_RANK.find(instant.letter) >= _KERNEL_RANK.find(row[column]):
            row[column] = instant.letter
    _flag(row, grid, "kernel")
    return row


def _flag(row: list[str], grid: _Grid, lane: str) -> None:
    """Write the letters of the marked events of a lane that is no actor's."""
    for mark in grid.layout.marks:
        if mark.lane == lane:
            row[grid.column(mark.begin)] = mark.letter


def _operations(lane: Lane, grid: _Grid) -> list[str]:
    row = grid.empty()
    for window in sorted(grid.layout.windows, key=lambda window: window.blocks_config):
        if window.function == lane.function:
            for column in grid.columns(window.begin, window.end):
                row[column] = ":" if window.blocks_config else "."
    looks = [-1] * grid.plot
    for span in lane.spans:
        columns = grid.columns(span.begin, span.end)
        for column in columns:
            if span.look >= looks[column]:
                goes_on = span.look <= Look.OK and column > columns[0]
                looks[column], row[column] = span.look, "-" if goes_on else LETTERS[span.look]
    for span in lane.spans:  # say which errno where nothing else is drawn
        first = grid.column(span.begin)
        if span.look is Look.REFUSED and max(looks[first + 1 : first + 8], default=-1) == -1:
            name = span.error if first + len(span.error) <= grid.plot else LETTERS[span.look]
            row[first : first + len(name)] = name
    for mark in grid.layout.marks:
        if mark.lane == lane.name and mark.begin >= grid.layout.begin:
            row[grid.column(mark.begin)] = mark.letter
    return row


def _legend(grids: Sequence[_Grid]) -> Iterator[str]:
    """Only what is really drawn."""
    panels = [grid.layout for grid in grids]
    spans = [span for panel in panels for lane in panel.lanes for span in lane.spans]
    letters = dict.fromkeys(instant.letter for panel in panels for instant in panel.instants)
    kinds = dict.fromkeys(window.kind for panel in panels for window in panel.windows)
    faults = dict.fromkeys(fault.kind for panel in panels for fault in panel.faults)
    device = [kind for kind in kinds if kind in DEVICE_KINDS]
    parts = ["[==] config lock held, shaded ::"] if len(device) < len(kinds) else []
    parts += ["(--) device lock held, shaded .."] if device else []
    parts += [f"{letter} {KINDS[kind]}" for kind, letter in _KIND.items() if kind in kinds]
    parts += [f"X lock misused: {', '.join(FAULTS[kind] for kind in faults)}"] if faults else []
    parts += ["__ its owner does not know"] if FaultKind.STOLEN in faults else []
    parts += ["{~~} reset at work"] if any(panel.resets for panel in panels) else []
    bars, sights = served.legend(lane for panel in panels for lane in panel.served)
    parts += bars
    parts += [meaning(look, spans) for look in sorted({span.look for span in spans})]
    yield from textwrap.wrap(", ".join(parts), WIDTH)
    if letters:
        kernel = ", ".join(f"{letter} {_KERNEL_LEGEND[letter]}" for letter in letters)
        yield from textwrap.wrap(f"kernel: {kernel}", WIDTH)
    if shown := driver.legend((lane, grid.column) for grid in grids for lane in grid.layout.drivers):
        yield from textwrap.wrap(f"driver: {', '.join(shown)}", WIDTH)
    if sights:
        yield from textwrap.wrap(f"model: {', '.join(sights)}", WIDTH)
    scale = ", then ".join(as_text((grid.layout.end - grid.layout.begin) // grid.plot) for grid in grids)
    yield f"one column is {scale}"


def _spelled(mark: Mark) -> Iterator[str]:
    for number, line in enumerate(mark.lines):
        for first, piece in enumerate(_wrap(line, "    ")):
            yield f"{mark.letter}{piece[1:]}" if number == first == 0 else piece
