"""The lane of a driver in a timeline's SVG: a box for each thing that it was at, a cross where it came to nothing."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Final
from xml.sax.saxutils import escape

from harness.model.promise import WindowKind
from harness.model.units import as_text
from harness.report.svg.fills import WINDOWS
from harness.report.svg.shapes import (
    BAD,
    INK,
    LEFT,
    LINE,
    PLOT,
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
from harness.report.timeline.driver_lane import (
    FATES,
    NOTHING,
    TOLD,
    WITHOUT,
    DriverLane,
    Fate,
    Phase,
    Stretch,
    Told,
)
from harness.report.timeline.layout import Layout

_HEIGHT: Final = {Detail.FULL: 38.0, Detail.SMALL: 18.0}
_EDGE: Final = WINDOWS[WindowKind.DRIVER_RESET]
_WORK: Final = "#d3e8e6"
"""Fill of a stretch of a try that came to its end."""
_TRIES: Final = "url(#hil-tries)"
_BARE: Final = "url(#hil-bare)"
_NOTHING: Final = "url(#hil-nothing)"
"""Fill of a stretch of a try that came to nothing."""
_AMBER: Final = "#8a6a10"
_GREY: Final = "#7b858c"
_LETTERED: Final = 12.0
"""A stretch that is narrower than this is left without its letter."""
_ARM: Final = 4.0


def driver_height(detail: Detail) -> float:
    """How high a lane is."""
    return _HEIGHT[detail]


def definitions(lanes: Iterable[DriverLane]) -> str:
    """The patterns that boxes refer to; nothing without lanes."""
    if not any(lane.stretches for lane in lanes):
        return ""
    return (
        "<defs>"
        '<pattern id="hil-tries" width="8" height="8" patternUnits="userSpaceOnUse">'
        '<rect width="8" height="8" fill="#fdf3d8"/>'
        '<path d="M0 8L8 0" stroke="#dfb75a" stroke-width="1.5"/></pattern>'
        '<pattern id="hil-bare" width="7" height="7" patternUnits="userSpaceOnUse">'
        '<rect width="7" height="7" fill="#ffffff"/>'
        '<path d="M0 0L7 7" stroke="#f0bcbe" stroke-width="1.5"/></pattern>'
        '<pattern id="hil-nothing" width="6" height="6" patternUnits="userSpaceOnUse">'
        '<rect width="6" height="6" fill="#f1f3f4"/>'
        '<path d="M1 3h2" stroke="#aeb7bd" stroke-width="1"/></pattern>'
        "</defs>"
    )


def driver_row(lane: DriverLane, layout: Layout, y: float, detail: Detail) -> Iterator[str]:
    """Draw it into the row that begins at `y`."""
    row = _HEIGHT[detail]
    yield label(lane.name, y, row, detail, marked=lane.marked)
    yield f'<path d="M{LEFT} {y + row / 2:.1f}H{LEFT + PLOT}" stroke="{LINE}"/>'
    for stretch in lane.stretches:
        yield from _box(stretch, layout, y, row, detail)
    for stretch, after in itertools.zip_longest(lane.stretches, lane.stretches[1:]):
        if stretch.last and stretch.end <= layout.end:
            free = x_of(after.begin, layout) if after else LEFT + PLOT
            yield from _end(stretch, layout, y, row, free)
    for told in lane.tellings:
        yield from _told(told, layout, y, row, detail)


def legend(lanes: Iterable[DriverLane]) -> list[tuple[str, str, str]]:
    """Fill, edge and words of boxes: only what is really drawn."""
    stretches = [stretch for lane in lanes for stretch in lane.stretches]
    fates = {stretch.fate for stretch in stretches}
    entries = [(_WORK, _EDGE, "driver resets")] if fates - set(NOTHING) else []
    if fates & set(NOTHING):
        cross = ", \u00d7 tried again" if Fate.FAILED in fates else ""
        entries.append((_NOTHING, _GREY, f"driver resets, {FATES[Fate.FAILED]}{cross}"))
    if any(stretch.tries for stretch in stretches):
        entries.append((_TRIES, _AMBER, f"{Phase.TRIES} in vain"))
    if any(stretch.bare for stretch in stretches):
        entries.append((_BARE, BAD, f"reset by the driver {WITHOUT}"))
    return entries


def letters(layout: Layout) -> list[str]:
    """What the letters in the boxes of a layout that is drawn in full mean."""
    narrow = {
        stretch.letter: f"{stretch.letter} {stretch.phase}" + (f" {WITHOUT}" if stretch.bare else "")
        for lane in layout.drivers
        for stretch in lane.stretches
        if _shown(stretch, extent(stretch.begin, stretch.end, layout)[1], Detail.FULL) == (stretch.letter,)
    }
    return list(narrow.values())


def _box(stretch: Stretch, layout: Layout, y: float, row: float, detail: Detail) -> Iterator[str]:
    x, width = extent(stretch.begin, stretch.end, layout)
    fill, edge, ink = _look(stretch)
    yield rect(x, y + 1, max(width, 1.5), row - 2, fill=fill, stroke=edge, title=stretch.text)
    lines = _shown(stretch, width, detail)
    for number, line in enumerate(lines):
        at = y + row / 2 + 4 + (number - (len(lines) - 1) / 2) * 14
        yield _written(line, x + width / 2, at, ink, fill)


def _shown(stretch: Stretch, width: float, detail: Detail) -> tuple[str, ...]:
    """The lines that are written into a box: the longest words that fit, else its letter, else nothing."""
    full, short = _lines(stretch), (stretch.words[-1],)
    choices = full if detail is Detail.FULL else [*((", ".join(lines),) for lines in full), short]
    fits = (lines for lines in choices if max(text_width(line) for line in lines) < width - 4)
    letter = (stretch.letter,) if detail is Detail.FULL and width > _LETTERED else ()
    return next(fits, letter)


def _look(stretch: Stretch) -> tuple[str, str, str]:
    """Fill, edge and ink."""
    if stretch.bare:
        return _BARE, BAD, BAD
    if stretch.phase is Phase.TRIES:
        return _TRIES, _AMBER, INK
    if stretch.phase in (Phase.SELF_TEST, Phase.WARM_RESET):
        return _EDGE, _EDGE, "#ffffff"
    return (_NOTHING, _GREY, INK) if stretch.fate in NOTHING else (_WORK, _EDGE, INK)


def _written(text: str, x: float, y: float, ink: str, fill: str) -> str:
    """Words in the middle of a box; on white where they would stand on stripes."""
    words = text_at(x, y, text, size=11, fill=ink, anchor="middle", bold=ink == BAD)
    if fill not in (_BARE, _TRIES):
        return words
    width = text_width(text) + 2
    return rect(x - width / 2, y - 10, width, 13, fill="#ffffff", rounded=True) + words


def _lines(stretch: Stretch) -> list[tuple[str, ...]]:
    """What may be written into a box, the longest first, each as its lines."""
    length, phase = as_text(stretch.end - stretch.begin), str(stretch.phase)
    if stretch.tries:
        often = f"{stretch.tries} times in vain"
        return [(phase, f"{often}, {length}"), (phase, often), (f"{stretch.tries} tries",)]
    if stretch.bare:
        return [(f"{phase}, {length}", WITHOUT), (phase, WITHOUT), (phase, "no lock")]
    if stretch.last and stretch.fate in FATES:
        fate = FATES[stretch.fate]
        return [(f"{phase}, {length}", fate), (phase, fate), (phase, length), (phase,)]
    return [(phase, length), (phase,)]


def _end(stretch: Stretch, layout: Layout, y: float, row: float, free: float) -> Iterator[str]:
    """What became of a try, where it ends."""
    x, middle = x_of(stretch.end, layout), y + row / 2
    if stretch.fate is Fate.OPEN:
        return
    if stretch.fate is Fate.FAILED:
        x = max(x - _ARM - 3, LEFT + _ARM)
        yield (
            f'<path d="M{x - _ARM:.1f} {middle - _ARM:.1f}l{2 * _ARM} {2 * _ARM}'
            f'M{x - _ARM:.1f} {middle + _ARM:.1f}l{2 * _ARM} {-2 * _ARM}" stroke="{BAD}" stroke-width="2.2">'
            f"<title>{escape(clean(stretch.text))}</title></path>"
        )
        return
    yield f'<path d="M{x:.1f} {y:.1f}V{y + row:.1f}" stroke="{_EDGE}" stroke-width="2.5"/>'
    word = "done" if stretch.fate is Fate.DONE else "driver left"
    if x + 5 + text_width(word) < free:
        yield text_at(x + 5, middle + 4, word, size=11, fill=_EDGE)


def _told(told: Told, layout: Layout, y: float, row: float, detail: Detail) -> Iterator[str]:
    """A call: a line, and its name on the outer side of the reset if there is room."""
    x, word = x_of(told.at, layout), TOLD[told.what]
    yield (
        f'<path d="M{x:.1f} {y:.1f}V{y + row:.1f}" stroke="{RESET}" stroke-width="2.5">'
        f"<title>{escape(clean(told.text))}</title></path>"
    )
    if detail is Detail.SMALL:
        return
    before = word == "prepare" and x - 6 - text_width(word) > LEFT
    if before or x + 6 + text_width(word) > LEFT + PLOT:
        yield text_at(x - 6, y + row / 2 + 4, word, size=11, fill=RESET, anchor="end")
    else:
        yield text_at(x + 6, y + row / 2 + 4, word, size=11, fill=RESET)
