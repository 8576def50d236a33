"""The lane of a served function in an SVG: bars of what was wrong, marks of what it did, accesses as density."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from typing import Final
from xml.sax.saxutils import escape

from harness.report.svg.shapes import (
    INK,
    LEFT,
    LINE,
    PLOT,
    QUIET,
    RESET,
    Detail,
    extent,
    label,
    rect,
    text_at,
    text_width,
    x_of,
)
from harness.report.text import clean
from harness.report.timeline.layout import Layout
from harness.report.timeline.served import ACCESSES, EPOCHS, LETTERS, MEANINGS, Seen, ServedLane, Sight
from harness.report.timeline.wrongs import Origin, Wrong

WRONGS: Final = {
    Origin.FUNCTION: ("url(#hil-wrong)", "#a3324a"),
    Origin.HOST: ("url(#hil-incident)", "#2f4858"),
}
"""Fill and edge of a bar."""
SHADES: Final = {Origin.FUNCTION: "#fbeef1", Origin.HOST: "#eef2f5"}
"""Behind the accesses meanwhile."""
_DENSITY: Final = {
    Sight.READ: "#7fb2dc",
    Sight.WRITTEN: "#1c4f82",
    Sight.ALL_ONES: "#7a4a2b",
    Sight.REFUSED: "#e8833a",
}
_SIGNS: Final = {
    Sight.MET: "#a3324a",
    Sight.FLR_IGNORED: "#a3324a",
    Sight.LOST: "#a3324a",
    Sight.CORRUPTED: "#a3324a",
    Sight.LEFT_OVER: "#a3324a",
    Sight.INTERRUPT_LOST: "#a3324a",
    Sight.DMA_REFUSED: "#a3324a",
    Sight.INTERRUPT: "#6b5cc4",
    Sight.DMA: "#4f6d1f",
    **dict.fromkeys(EPOCHS, RESET),
}
"""Colour of a mark; those that are not here are quiet."""
_TRACK: Final = {Detail.FULL: 18.0, Detail.SMALL: 15.0}
"""Height of a row of bars."""
_STRIP: Final = 17.0
"""Height of the marks and their words, where there is room for them."""
_WIDE: Final = 2.0
"""Width of a column of accesses."""
_MOST_TITLES: Final = 50
"""More marks of one kind than these share a tooltip."""
_NEAR: Final = 3.0
"""Marks that are nearer than this share a word."""


def served_height(lane: ServedLane, row: float, detail: Detail) -> float:
    """How high it is, where other lanes are `row` high."""
    return _above(lane, detail) + row


def definitions(lanes: Iterable[ServedLane]) -> str:
    """The patterns that bars refer to; nothing without bars."""
    if not any(lane.tracks for lane in lanes):
        return ""
    return (
        "<defs>"
        '<pattern id="hil-wrong" width="6" height="6" patternUnits="userSpaceOnUse">'
        '<rect width="6" height="6" fill="#f6d5dc"/>'
        '<path d="M0 6L6 0" stroke="#e3a3b0" stroke-width="1"/></pattern>'
        '<pattern id="hil-incident" width="6" height="6" patternUnits="userSpaceOnUse">'
        '<rect width="6" height="6" fill="#dbe4ea"/>'
        '<path d="M3 0V6" stroke="#b3c4cf" stroke-width="1"/></pattern>'
        "</defs>"
    )


def served_row(lane: ServedLane, layout: Layout, y: float, row: float, detail: Detail) -> Iterator[str]:
    """Draw it into the row that begins at `y`; its accesses take `row` of the height."""
    above = _above(lane, detail)
    bottom = y + above + row
    yield label(lane.name, y + above, row, detail, marked=lane.marked)
    for wrong in lane.wrongs:
        x, width = extent(wrong.begin, wrong.end, layout)
        yield rect(x, y, width, bottom - y, fill=SHADES[wrong.origin], title=wrong.text)
    for number, track in enumerate(lane.tracks):
        for wrong, after in itertools.zip_longest(track, track[1:]):
            free = x_of(after.begin, layout) if after else LEFT + PLOT
            yield from _bar(wrong, layout, y + number * _TRACK[detail], _TRACK[detail] - 3, free)
    yield from _density(lane, layout, y + above, row)
    yield from _lines(lane, layout, y + above - (_STRIP if detail is Detail.FULL else 0), bottom)
    if detail is Detail.FULL:
        yield from _words(lane.signs, layout, y + above - 5)


def legend(lanes: Iterable[ServedLane]) -> tuple[list[tuple[str, str, str]], list[str]]:
    """Fill, edge and words of what is a box, then words of letters: only what is really drawn."""
    lanes = tuple(lanes)
    accesses = {seen.sight for lane in lanes for seen in lane.accesses}
    origins = {wrong.origin for lane in lanes for wrong in lane.wrongs}
    config = {seen.config for lane in lanes for seen in lane.accesses}
    boxes = [(_DENSITY[sight], QUIET, f"model: {MEANINGS[sight]}") for sight in ACCESSES if sight in accesses]
    boxes += [(*WRONGS[origin], words) for origin, words in _ORIGINS.items() if origin in origins]
    signs = sorted({seen.sight for lane in lanes for seen in lane.signs})
    letters = [f"{LETTERS[sight]} {MEANINGS[sight]}" for sight in signs]
    if len(config) == 2:
        letters.insert(0, "config space above the line, BARs below")
    return boxes, letters


_ORIGINS: Final = {Origin.FUNCTION: "staged fault", Origin.HOST: "done by the host"}


def _above(lane: ServedLane, detail: Detail) -> float:
    """Height of what stands above the accesses."""
    return len(lane.tracks) * _TRACK[detail] + (_STRIP if lane.signs and detail is Detail.FULL else 0.0)


def _bar(wrong: Wrong, layout: Layout, y: float, height: float, free: float) -> Iterator[str]:
    """The bar, and its word inside, else on the right of it up to `free`, else on the left."""
    fill, edge = WRONGS[wrong.origin]
    x, width = extent(wrong.begin, wrong.end, layout)
    yield rect(x, y, max(width, 2.0), height, fill=fill, stroke=edge, title=wrong.text)
    middle = y + height / 2 + 4
    for text in (f"{wrong.label}, {wrong.bounded}" if wrong.bounded else wrong.label, wrong.label):
        room = text_width(text) + 6
        if room < width:
            yield text_at(x + width / 2, middle, text, size=11, fill=INK, anchor="middle")
            return
        if x + width + room < free:
            yield text_at(x + max(width, 2.0) + 4, middle, text, size=11, fill=edge)
            return
    if text_width(wrong.label) < x - LEFT:
        yield text_at(x - 4, middle, wrong.label, size=11, fill=edge, anchor="end")


def _density(lane: ServedLane, layout: Layout, y: float, row: float) -> Iterator[str]:
    """Accesses for each column of time, on a logarithmic scale: config space upwards, BARs downwards."""
    middle, most = y + row / 2, max((seen.count for seen in lane.accesses), default=1)
    yield f'<path d="M{LEFT} {middle:.1f}H{LEFT + PLOT}" stroke="{LINE}"/>'
    for sight in ACCESSES:
        mine = [seen for seen in lane.accesses if seen.sight is sight]
        if not mine:
            continue
        lines = []
        for seen in mine:
            height = max(2.0, (row / 2 - 1) * math.log1p(seen.count) / math.log1p(most))
            x = x_of(seen.at, layout)
            lines.append(f"M{x:.1f} {middle:.1f}v{-height if seen.config else height:.1f}")
        shown = sum(seen.count for seen in mine)
        title = f"{lane.function}: {shown} accesses shown, {MEANINGS[sight]}; {lane.count} rows in the stage"
        yield (
            f'<path d="{"".join(lines)}" stroke="{_DENSITY[sight]}" stroke-width="{_WIDE:.0f}">'
            f"<title>{escape(clean(title))}</title></path>"
        )


def _lines(lane: ServedLane, layout: Layout, top: float, bottom: float) -> Iterator[str]:
    """A line for each mark: an epoch begins through the whole lane, all else is short."""
    for sight in sorted({seen.sight for seen in lane.signs}):  # what matters is drawn last
        mine = [seen for seen in lane.signs if seen.sight is sight]
        colour = _SIGNS.get(sight, QUIET)
        end = bottom if sight in EPOCHS or sight >= Sight.FLR_IGNORED else top + 12
        dashes = ' stroke-dasharray="3 2"' if sight is Sight.FLR_IGNORED else ""
        wide = 2 if sight in EPOCHS else 1.2
        style = f'stroke="{colour}" stroke-width="{wide}"{dashes}'
        for title, some in _titled(mine):
            places = [x_of(seen.at, layout) for seen in some]
            lines = "".join(f"M{x:.1f} {top:.1f}V{end:.1f}" for x in places)
            yield f'<path d="{lines}" {style}><title>{escape(clean(title))}</title></path>'
            if sight is Sight.MET:
                heads = "".join(f"M{x - 4:.1f} {top:.1f}h8l-4 7Z" for x in places)
                yield f'<path d="{heads}" fill="{colour}"/>'


def _titled(marks: list[Seen]) -> Iterator[tuple[str, list[Seen]]]:
    """Marks of one kind with their tooltip: one each, or one for all when there are many."""
    if len(marks) > _MOST_TITLES:
        yield f"{sum(seen.count for seen in marks)} shown: {MEANINGS[marks[0].sight]}", marks
    else:
        yield from ((seen.text, [seen]) for seen in marks)


def _words(signs: tuple[Seen, ...], layout: Layout, y: float) -> Iterator[str]:
    """What marks mean, beside them where they are apart; else their letters, else nothing."""
    groups: list[tuple[float, list[Sight]]] = []
    for seen in signs:
        x = x_of(seen.at, layout)
        if groups and x - groups[-1][0] < _NEAR:
            if seen.sight not in groups[-1][1]:
                groups[-1][1].append(seen.sight)
        else:
            groups.append((x, [seen.sight]))
    free = 0.0
    edges = [LEFT, *(x for x, _ in groups), LEFT + PLOT]
    for (x, sights), before, end in zip(groups, edges, edges[2:], strict=False):
        colour = _SIGNS.get(max(sights), QUIET)
        for text in (
            ", ".join(MEANINGS[sight] for sight in sights),
            "".join(LETTERS[sight] for sight in sights),
        ):
            width = text_width(text) + 4
            if x >= free and x + 6 + width < end:
                yield text_at(x + 6, y, text, size=11, fill=colour)
                free = x + 6 + width
                break
            if end == edges[-1] and x - 6 - width > max(free, before + _NEAR):
                yield text_at(x - 6, y, text, size=11, fill=colour, anchor="end")
                break
