"""A timeline as one SVG: the picture of a failure.

Presentation attributes only, no style sheet and no script, so that it shows under the content policies of CI
servers; tooltips are `<title>` elements; letters and hatching say everything that colour says.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Final
from xml.sax.saxutils import escape, quoteattr

from harness.history.history import History
from harness.model.units import as_text
from harness.model.verdict import Judgement
from harness.report.lanes import worth_drawing
from harness.report.layout import LETTERS, MEANINGS, Lane, Layout, Look, Mark
from harness.report.shapes import (
    BAD,
    FILL,
    INK,
    LEFT,
    LINE,
    LOCK,
    PLOT,
    QUIET,
    RESET,
    RIGHT,
    SANS,
    WIDTH,
    Detail,
    edge,
    extent,
    inside,
    label,
    pattern,
    rect,
    rule,
    text_at,
    x_of,
)
from harness.report.text import clean, one_line
from harness.report.timeline import close_up, overview
from harness.report.timeline_text import ticks

_MOST_LANES: Final = 40
_PAPER: Final = "#ffffff"
_VERDICT: Final = {"PASS": "#1a7f37", "UNKNOWN": "#8a5a00", "FAIL": BAD}
_KERNEL: Final = {
    "l": "lock asked for",
    "L": "lock taken",
    "U": "lock given back",
    "w": "an access waits",
    "R": "reset begins",
    "r": "reset ends",
    "u": "uevent",
    "k": "other probe",
}
_SERIOUS: Final = "LURr"
"""Kernel events that get a letter of their own when there is room."""


def timeline_svg(history: History, judgement: Judgement) -> bytes:
    """Draw a judged history: a self-contained SVG document, UTF-8."""
    whole, near = overview(history, judgement), close_up(history, judgement)
    parts: list[str] = []
    y = 40.0
    parts += _heading(whole, y)
    y += 30
    for line in textwrap.wrap(one_line(whole.claim, 600), 112)[:4]:
        parts.append(text_at(24, y, line, size=15))
        y += 20
    if whole.rule:
        parts.append(text_at(24, y, one_line(f"rule: {whole.rule}", 150), size=12, fill=QUIET))
        y += 18
    parts.append(text_at(24, y, one_line(whole.facts, 150), size=12, fill=QUIET))
    y += 30
    if near:
        drawn, y = _panel(near, y, "Around the marked events", lane_height=30)
        parts += drawn
        y += 26
        drawn, y = _panel(whole, y, "The whole stage", lane_height=14, zoom=(near.begin, near.end))
    else:
        drawn, y = _panel(whole, y, "The whole stage", lane_height=30)
    parts += drawn
    drawn, y = _legend((near, whole) if near else (whole,), y + 24)
    parts += drawn
    drawn, y = _spelled(whole, y + 14)
    parts += drawn
    height = y + 16
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height:.0f}" '
        f'viewBox="0 0 {WIDTH} {height:.0f}" font-family={quoteattr(SANS)} fill="{INK}">'
    )
    title = f"<title>{escape(one_line(f'{whole.title}: {whole.verdict}'))}</title>"
    paper = f'<rect width="{WIDTH}" height="{height:.0f}" fill="{_PAPER}"/>'
    return "\n".join([head, title, _patterns(), paper, *parts, "</svg>", ""]).encode()


def _patterns() -> str:
    """Hatching: what colour says must be visible without it."""

    def hatch(name: str, colour: str, path: str, size: int, background: str = "none") -> str:
        return (
            f'<pattern id="{name}" width="{size}" height="{size}" patternUnits="userSpaceOnUse">'
            f'<rect width="{size}" height="{size}" fill="{background}"/>'
            f'<path d="{path}" stroke="{colour}" stroke-width="1"/></pattern>'
        )

    return (
        "<defs>"
        + hatch("hil-lock", "#ddd8f5", "M0 8L8 0", 8, "#f4f2fd")
        + hatch("hil-blocked", "#a87b0a", "M0 0L6 6", 6, FILL[Look.BLOCKED])
        + hatch("hil-in-flight", "#3d4249", "M0 3H6M3 0V6", 6, "#c3c8cf")
        + "</defs>"
    )


def _heading(layout: Layout, y: float) -> Iterator[str]:
    colour = _VERDICT.get(layout.verdict, INK)
    width = 22 + 11 * len(layout.verdict)
    yield f'<rect x="24" y="{y - 20:.1f}" width="{width}" height="27" rx="4" fill="{colour}"/>'
    yield text_at(24 + width / 2, y, layout.verdict, size=15, fill="#ffffff", anchor="middle", bold=True)
    yield text_at(24 + width + 14, y + 1, one_line(layout.title, 80), size=19, bold=True)


def _panel(
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
    resets = list(dict.fromkeys((reset.method, reset.function) for reset in layout.resets))
    lanes, hidden = worth_drawing(layout.lanes, _MOST_LANES)
    kernel_rows = 1 if layout.instants else 0
    rows = len(dict.fromkeys(w.function for w in layout.windows)) + len(resets) + kernel_rows + len(lanes)
    bottom = top + rows * (row + gap)
    parts += _axis(layout, top, bottom)
    locked = list(dict.fromkeys(window.function for window in layout.windows))
    for window in layout.windows:  # the shade goes through every lane
        x, width = extent(window.begin, window.end, layout)
        parts.append(
            rect(x, top, width, bottom - top, fill="url(#hil-lock)", title=window.text)
            + rule(x, top, bottom, LOCK)
            + rule(x + width, top, bottom, LOCK)
        )
    at = top
    for function in locked:
        parts.append(label(f"lock {function}", at, row, detail))
        for window in layout.windows:
            if window.function == function:
                x, width = extent(window.begin, window.end, layout)
                parts.append(rect(x, at, width, row, fill=LOCK, title=window.text, rounded=True))
                parts.append(inside(x, at, width, row, f"held {as_text(window.end - window.begin)}"))
        at += row + gap
    for method, function in resets:
        parts.append(label(f"{method} {function}", at, row, detail))
        for reset in layout.resets:
            if (reset.method, reset.function) == (method, function):
                x, width = extent(reset.begin, reset.end, layout)
                parts.append(rect(x, at, width, row, fill=RESET, title=reset.text, rounded=True))
                parts.append(inside(x, at, width, row, reset.text))
        at += row + gap
    if kernel_rows:
        parts.append(label("kernel", at, row, detail))
        parts += _instants(layout, at, row, detail)
        at += row + gap
    for lane in lanes:
        parts += _lane(lane, layout, at, row, detail)
        at += row + gap
    if hidden:
        count = sum(lane.count for lane in hidden)
        parts.append(
            text_at(LEFT, at + 12, f"{len(hidden)} more actors with {count} operations", size=11, fill=QUIET)
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


def _axis(layout: Layout, top: float, bottom: float) -> Iterator[str]:
    span = layout.end - layout.begin
    decimals = 0 if span >= 50_000_000 else 1 if span >= 5_000_000 else 3 if span >= 50_000 else 6
    yield f'<rect x="{LEFT}" y="{top:.1f}" width="{PLOT}" height="{bottom - top:.1f}" fill="#fafbfc"/>'
    for time in ticks(layout.begin, layout.end, 10):
        x = x_of(time, layout)
        yield rule(x, top, bottom + 4, LINE)
        yield text_at(x, bottom + 16, f"{time / 1e6:.{decimals}f}", size=11, fill=QUIET, anchor="middle")
    yield f'<path d="M{LEFT} {bottom:.1f}H{LEFT + PLOT}" stroke="{QUIET}"/>'


def _instants(layout: Layout, y: float, row: float, detail: Detail) -> Iterator[str]:
    free = 0.0
    for instant in layout.instants:
        x = x_of(instant.at, layout)
        colour = LOCK if instant.letter in "lLUw" else RESET if instant.letter in "Rr" else QUIET
        yield (
            f'<path d="M{x:.1f} {y + 2:.1f}V{y + row - 2:.1f}" stroke="{colour}" stroke-width="1.5">'
            f"<title>{escape(clean(instant.text))}</title></path>"
        )
        if detail is Detail.FULL and x >= free and (instant.letter in _SERIOUS or instant.letter == "w"):
            yield text_at(x + 3, y + row / 2 + 4, instant.letter, size=11, fill=colour, mono=True, bold=True)
            free = x + 12


def _lane(lane: Lane, layout: Layout, y: float, row: float, detail: Detail) -> Iterator[str]:
    yield label(lane.name, y, row, detail, marked=lane.marked)
    middle = y + row / 2
    yield f'<path d="M{LEFT} {middle:.1f}H{LEFT + PLOT}" stroke="{LINE}"/>'
    for span in sorted(lane.spans, key=lambda span: span.look):  # what matters is drawn last
        x, width = extent(span.begin, span.end, layout)
        violating = span.look is Look.VIOLATING
        grow = 3.0 if violating and detail is Detail.FULL else 0.0
        yield rect(
            x,
            y - grow,
            max(width, 5.0 if violating else 2.0),
            row + 2 * grow,
            fill=pattern(span.look),
            stroke=INK if violating else edge(span.look),
            title=f"{lane.name}: {span.text}",
        )
        if detail is Detail.FULL and width > 60 and not violating:
            yield inside(x, y, width, row, f"{MEANINGS[span.look]} {as_text(span.end - span.begin)}", ink=INK)
        elif detail is Detail.FULL and width > 12 and span.look is not Look.OK:
            yield inside(x, y, width, row, LETTERS[span.look], ink="#ffffff" if violating else INK)
    if lane.end and detail is Detail.FULL:
        yield text_at(WIDTH - RIGHT - 4, middle + 4, lane.end, size=11, fill=BAD, anchor="end", bold=True)


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
    if places and places[-1][0] < LEFT + PLOT * 0.6:  # say at once what the last one showed
        mark = places[-1][1]
        shown = mark.lines[0].partition(": ")[2] or mark.lines[0]
        said = f"{shown}, {as_text(mark.end - mark.begin)}" if mark.end > mark.begin else shown
        yield text_at(
            places[-1][0] + 16,
            top - 9,
            one_line(said, int((LEFT + PLOT - places[-1][0] - 16) / 6.4)),
            size=11,
            fill=BAD,
        )
    for x, mark in places:
        exact = x_of(mark.begin, layout)
        yield (
            f'<path d="M{exact:.1f} {top - 4:.1f}V{bottom:.1f}" stroke="{BAD}" stroke-width="1.2" '
            f'stroke-dasharray="4 3"/>'
            f'<circle cx="{x:.1f}" cy="{top - 13:.1f}" r="10" fill="{BAD}">'
            f"<title>{escape(clean(mark.lines[0]))}</title></circle>"
        )
        yield text_at(x, top - 9, mark.letter, size=12, fill="#ffffff", anchor="middle", bold=True)


def _legend(layouts: tuple[Layout, ...], y: float) -> tuple[list[str], float]:
    """Only what is really drawn."""
    looks = sorted({span.look for layout in layouts for lane in layout.lanes for span in lane.spans})
    entries = [(pattern(look), edge(look), f"{LETTERS[look]} {MEANINGS[look]}") for look in looks]
    if any(layout.windows for layout in layouts):
        entries.append(("url(#hil-lock)", LOCK, "config lock held"))
    letters = dict.fromkeys(
        i.letter for layout in layouts for i in layout.instants if i.letter in _SERIOUS + "w"
    )
    parts, x = [text_at(24, y + 11, "Legend", size=12, bold=True)], float(LEFT)
    for fill, stroke, text in entries:
        width = 22 + 7.2 * len(text) + 16
        if x + width > WIDTH - RIGHT:
            x, y = float(LEFT), y + 22
        parts.append(rect(x, y, 16, 14, fill=fill, stroke=stroke))
        parts.append(text_at(x + 22, y + 11, text, size=12))
        x += width
    y += 22
    if letters:
        words = ", ".join(f"{letter} {_KERNEL[letter]}" for letter in letters)
        parts.append(text_at(LEFT, y + 11, f"kernel: {words}", size=12))
        y += 22
    return parts, y


def _spelled(layout: Layout, y: float) -> tuple[list[str], float]:
    """The marked events in numbers, then what the kernel logged."""
    parts: list[str] = []
    for mark in layout.marks:
        drawn, y = _event(mark, y)
        parts += drawn
    if layout.log:
        parts.append(text_at(24, y + 12, "Kernel log", size=12, bold=True))
        for line in layout.log:
            parts.append(text_at(LEFT, y + 12, one_line(line, 115), size=12, mono=True))
            y += 18
    return parts, y


def _event(mark: Mark, y: float) -> tuple[list[str], float]:
    parts = [
        f'<circle cx="36" cy="{y + 8:.1f}" r="10" fill="{BAD}"/>',
        text_at(36, y + 12, mark.letter, size=12, fill="#ffffff", anchor="middle", bold=True),
    ]
    lines = [mark.lines[0], "; ".join(line.rstrip(",") for line in mark.lines[1:])]
    for number, line in enumerate(
        piece for text in lines for piece in textwrap.wrap(one_line(text, 400), 120)
    ):
        parts.append(text_at(58, y + 12, line, size=12, mono=True, fill=INK if number == 0 else QUIET))
        y += 18
    return parts, y + 10
