"""One axis of a timeline's SVG with everything on it: bands, kernel events, lanes, flags."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final
from xml.sax.saxutils import escape

from harness.history.windows import FaultKind
from harness.model.promise import WindowKind
from harness.model.units import as_text
from harness.model.verdict import EventKind
from harness.report.svg.driver import driver_height, driver_row
from harness.report.svg.fills import WINDOWS, held, shade
from harness.report.svg.lane import lane_row
from harness.report.svg.served import WRONGS, served_height, served_row
from harness.report.svg.shapes import (
    BAD,
    LEFT,
    LINE,
    PLOT,
    QUIET,
    RESET,
    RIGHT,
    WIDTH,
    Detail,
    dashed,
    extent,
    inside,
    label,
    rect,
    rule,
    text_at,
    text_width,
    x_of,
)
from harness.report.text import clean, one_line
from harness.report.timeline.driver_lane import DriverLane
from harness.report.timeline.lanes import worth_drawing
from harness.report.timeline.layout import (
    FAULTS,
    KINDS,
    SHORT,
    Band,
    Fault,
    Lane,
    Layout,
    Mark,
    Window,
)
from harness.report.timeline.served import ServedLane
from harness.report.timeline.ticks import ticks

SERIOUS: Final = "LURrDd"
"""Kernel events that get a letter of their own when there is room."""
_MOST_LANES: Final = 40
_DIAMOND: Final = 10.0
_SAYS: Final = 200.0
"""With less room than this beside the flags, what an event showed is only spelled out below."""


@dataclass(frozen=True, slots=True)
class _Row:
    """Where something is drawn.

    Attributes:
        thing: a band, a lane, that of a driver or of a served function, or None for the kernel's events.
        top: upper edge.
        height: of the row.
    """

    thing: Band | Lane | DriverLane | ServedLane | None
    top: float
    height: float

    @property
    def function(self) -> str:
        """Alias of the function that it is about; empty for the kernel's events."""
        return self.thing.function if self.thing else ""


def panel(
    layout: Layout, y: float, heading: str, *, lane_height: int, zoom: tuple[int, int] | None = None
) -> tuple[list[str], float]:
    """One axis with everything on it; returns what to draw and where it ends."""
    detail = Detail.FULL if lane_height >= 24 else Detail.SMALL
    close = detail is Detail.FULL
    span = as_text(layout.end - layout.begin)
    parts = [
        text_at(24, y, heading, size=13, bold=True),
        text_at(
            WIDTH - RIGHT, y, f"{span} shown, times in ms after release", size=11, fill=QUIET, anchor="end"
        ),
    ]
    top = y + (34 if close else 14)
    row, gap = float(lane_height), (6.0 if close else 3.0)
    lanes, hidden = worth_drawing(layout.lanes, _MOST_LANES)
    kernel = [None] if layout.instants else []
    rows, bottom = [], top
    for thing in (*layout.bands, *layout.drivers, *kernel, *layout.served, *lanes):
        height = _height(thing, row, detail)
        rows.append(_Row(thing, bottom, height))
        bottom += height + gap
    parts += _axis(layout, top, bottom)
    parts += _shades(layout, rows, gap)
    for place in rows:
        match place.thing:
            case Band():
                parts += _band(place.thing, layout, place.top, row, detail)
            case DriverLane():
                parts += driver_row(place.thing, layout, place.top, detail)
            case Lane():
                parts += lane_row(place.thing, layout, place.top, row, detail)
            case ServedLane():
                parts += served_row(place.thing, layout, place.top, row, detail)
            case None:
                parts.append(label("kernel", place.top, row, detail))
                parts += _instants(layout, place.top, row, detail)
    if hidden:
        count = sum(lane.count for lane in hidden)
        parts.append(
            text_at(
                LEFT, bottom + 12, f"{len(hidden)} more actors with {count} operations", size=11, fill=QUIET
            )
        )
        bottom += 18
    if close:
        parts += _flags(layout, top, bottom)
    if zoom:
        x, width = extent(*zoom, layout)
        parts.append(
            f'<rect x="{x - 1:.1f}" y="{top - 4:.1f}" '
            f'width="{width + 2:.1f}" height="{bottom - top + 8:.1f}" '
            f'fill="none" stroke="{BAD}" stroke-width="1.5" stroke-dasharray="5 3"/>'
        )
    return parts, bottom + 18


def _height(thing: Band | Lane | DriverLane | ServedLane | None, row: float, detail: Detail) -> float:
    if isinstance(thing, ServedLane):
        return served_height(thing, row, detail)
    return driver_height(detail) if isinstance(thing, DriverLane) else row


def _axis(layout: Layout, top: float, bottom: float) -> Iterator[str]:
    span = layout.end - layout.begin
    decimals = 0 if span >= 50_000_000 else 1 if span >= 5_000_000 else 3 if span >= 50_000 else 6
    yield f'<rect x="{LEFT}" y="{top:.1f}" width="{PLOT}" height="{bottom - top:.1f}" fill="#fafbfc"/>'
    for time in ticks(layout.begin, layout.end, 10):
        x = x_of(time, layout)
        yield rule(x, top, bottom + 4, LINE)
        yield text_at(x, bottom + 16, f"{time / 1e6:.{decimals}f}", size=11, fill=QUIET, anchor="middle")
    yield f'<path d="M{LEFT} {bottom:.1f}H{LEFT + PLOT}" stroke="{QUIET}"/>'


def _shades(layout: Layout, rows: list[_Row], gap: float) -> Iterator[str]:
    """The shade of a window goes through every row that is about its function, and no other."""
    alone = len({row.function for row in rows} - {""}) == 1
    for window in sorted(layout.windows, key=lambda window: window.blocks_config):
        x, width = extent(window.begin, window.end, layout)
        for top, bottom in _blocks(rows, gap, "" if alone else window.function):
            yield rect(x, top, width, bottom - top, fill=shade(window.kind), title=window.text)
            yield rule(x, top, bottom, WINDOWS[window.kind])
            yield rule(x + width, top, bottom, WINDOWS[window.kind])
    for wrong in (wrong for lane in layout.served for wrong in lane.wrongs):
        for top, bottom in _blocks(rows, gap, "" if alone else wrong.function):
            for time in (wrong.begin, wrong.end):
                if layout.begin < time < layout.end:
                    yield dashed(x_of(time, layout), top, bottom, WRONGS[wrong.origin][1])


def _blocks(rows: list[_Row], gap: float, function: str) -> Iterator[tuple[float, float]]:
    """Upper and lower edges of neighbouring rows of one function; of all rows when none is named."""
    begun: float | None = None
    for row in rows:
        belongs = row.function == function or not function
        if belongs and begun is None:
            begun = row.top
        elif not belongs and begun is not None:
            yield begun, row.top
            begun = None
    if begun is not None:
        yield begun, rows[-1].top + rows[-1].height + gap


def _band(band: Band, layout: Layout, y: float, row: float, detail: Detail) -> Iterator[str]:
    yield label(band.name, y, row, detail)
    for fault in band.faults:
        if fault.end > fault.begin:
            yield from _believed(fault, layout, y, row)
    for window in band.windows:
        yield from _window(window, layout, y, row)
    for reset in band.resets:
        x, width = extent(reset.begin, reset.end, layout)
        yield rect(x, y, width, row, fill=RESET, title=reset.text, rounded=True)
        time = as_text(reset.end - reset.begin)
        yield inside(x, y, width, row, reset.text, f"{reset.method}, {time}", reset.method)
    for fault in band.faults:
        yield _crossed(fault, layout, y, row)
    if detail is Detail.FULL:
        yield from _tags(band, layout, y + row / 2)


def _window(window: Window, layout: Layout, y: float, row: float) -> Iterator[str]:
    x, width = extent(window.begin, window.end, layout)
    yield rect(x, y, width, row, fill=held(window.kind), title=window.text, rounded=True)
    time = f"held {as_text(window.end - window.begin)}"
    yield inside(x, y, width, row, f"{KINDS[window.kind]}, {time}", KINDS[window.kind], SHORT[window.kind])


def _believed(fault: Fault, layout: Layout, y: float, row: float) -> Iterator[str]:
    """The time in which the owner of a stolen lock does not know that it is gone."""
    x, width = extent(fault.begin, fault.end, layout)
    yield (
        f'<rect x="{x:.1f}" y="{y + 0.5:.1f}" width="{width:.1f}" height="{row - 1:.1f}" fill="#ffffff" '
        f'stroke="{BAD}" stroke-width="1" stroke-dasharray="3 2"><title>{escape(clean(fault.text))}</title></rect>'
    )
    room, time = width - row * 0.8, as_text(fault.end - fault.begin)
    text = inside(
        x + row * 0.8, y, room, row, f"its owner does not know, {time}", "owner does not know", time, ink=BAD
    )
    yield text if fault.kind is FaultKind.STOLEN else ""


def _crossed(fault: Fault, layout: Layout, y: float, row: float) -> str:
    """A crossed diamond where a lock was misused."""
    middle, size = y + row / 2, min(row / 2 - 1, _DIAMOND)
    x, arm = _place(fault, layout), size * 0.4
    return (
        f'<path d="M{x - size:.1f} {middle:.1f}L{x:.1f} {middle - size:.1f}L{x + size:.1f} {middle:.1f}'
        f'L{x:.1f} {middle + size:.1f}Z" fill="#ffffff" stroke="{BAD}" stroke-width="1.5">'
        f"<title>{escape(clean(fault.text))}</title></path>"
        f'<path d="M{x - arm:.1f} {middle - arm:.1f}l{2 * arm:.1f} {2 * arm:.1f}'
        f'M{x - arm:.1f} {middle + arm:.1f}l{2 * arm:.1f} {-2 * arm:.1f}" stroke="{BAD}" stroke-width="2"/>'
    )


def _tags(band: Band, layout: Layout, middle: float) -> Iterator[str]:
    """How a lock was misused, in red on white beside the diamond: off the bars if it can be, never on another."""
    bars = [extent(window.begin, window.end, layout) for window in band.windows]
    taken: list[tuple[float, float]] = []
    for fault in band.faults:
        text = FAULTS[fault.kind]
        x, width = _place(fault, layout), text_width(text) + 4
        left, right = x - _DIAMOND - 4 - width, x + _DIAMOND + 4
        places = (
            [left] if fault.end > fault.begin else [right, left]
        )  # on the right stands what came of a theft
        places = [at for at in places if at >= LEFT and at + width <= LEFT + PLOT]
        free = [at for at in places if not any(at < end and at + width > begin for begin, end in taken)]
        clear = [
            at for at in free if not any(at < begin + long and at + width > begin for begin, long in bars)
        ]
        for at in (clear or free)[:1]:
            taken.append((at, at + width))
            yield rect(at, middle - 8, width, 16, fill="#ffffff", rounded=True)
            yield text_at(at + width / 2, middle + 4, text, size=11, fill=BAD, anchor="middle", bold=True)


def _place(fault: Fault, layout: Layout) -> float:
    """Where the diamond stands, whole inside the plot."""
    return min(max(x_of(fault.begin, layout), LEFT + _DIAMOND), LEFT + PLOT - _DIAMOND)


def _instants(layout: Layout, y: float, row: float, detail: Detail) -> Iterator[str]:
    free = 0.0
    lock = WINDOWS[WindowKind.CONFIG_LOCK]
    for instant in layout.instants:
        x = x_of(instant.at, layout)
        colour = lock if instant.letter in "lLvUw" else RESET if instant.letter in "Rr" else QUIET
        yield (
            f'<path d="M{x:.1f} {y + 2:.1f}V{y + row - 2:.1f}" stroke="{colour}" stroke-width="1.5">'
            f"<title>{escape(clean(instant.text))}</title></path>"
        )
        if detail is Detail.FULL and x >= free and (instant.letter in SERIOUS or instant.letter == "w"):
            yield text_at(x + 3, y + row / 2 + 4, instant.letter, size=11, fill=colour, mono=True, bold=True)
            free = x + 12


def _flags(layout: Layout, top: float, bottom: float) -> Iterator[str]:
    """The letters of the marked events above the plot, a line down to each, and the time between them."""
    places = [(x_of(mark.begin, layout), mark) for mark in layout.marks]
    if len(places) == 2:
        (first, a), (second, b) = places
        if second - first > 40:
            y = top - 13
            yield (
                f'<path d="M{first + 11:.1f} {y:.1f}H{second - 11:.1f}'
                f'M{second - 16:.1f} {y - 4:.1f}l5 4l-5 4" '
                f'stroke="{BAD}" fill="none" stroke-width="1.2"/>'
            )
        if second - first > 110:
            text = as_text(b.begin - a.begin)
            yield text_at((first + second) / 2, top - 17, text, size=11, fill=BAD, anchor="middle", bold=True)
        elif second - first < 22:  # too near to stand side by side
            places = [(first - 11, a), (second + 11, b)]
    if places:
        yield _said(places[0][0], places[-1][0], places[-1][1], top - 9)
    for x, mark in places:
        exact = x_of(mark.begin, layout)
        yield (
            f'<path d="M{exact:.1f} {top - 4:.1f}V{bottom:.1f}" stroke="{BAD}" stroke-width="1.2" '
            f'stroke-dasharray="4 3"/>'
            f'<circle cx="{x:.1f}" cy="{top - 13:.1f}" r="10" fill="{BAD}">'
            f"<title>{escape(clean(mark.lines[0]))}</title></circle>"
        )
        yield text_at(x, top - 9, mark.letter, size=12, fill="#ffffff", anchor="middle", bold=True)


def _said(first: float, last: float, mark: Mark, y: float) -> str:
    """What the last marked event showed, to be read at once: beside the flags, on the side where there is room."""
    cut = " " if mark.event.kind is EventKind.SERVED else ": "
    shown = mark.lines[0].partition(cut)[2] or mark.lines[0]
    text = f"{shown}, {as_text(mark.end - mark.begin)}" if mark.end > mark.begin else shown
    right, left = LEFT + PLOT - last - 16, first - 16 - LEFT
    if max(left, right) < _SAYS:
        return ""
    if text_width(text) < right or right >= left:
        return text_at(last + 16, y, one_line(text, int(right / 6.4)), size=11, fill=BAD)
    return text_at(first - 16, y, one_line(text, int(left / 6.4)), size=11, fill=BAD, anchor="end")
