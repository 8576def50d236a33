"""One lane of a timeline's SVG: what an actor did, attempt by attempt where it was refused."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Final

from harness.model.units import as_text
from harness.report.svg.fills import LOOKS, edge, fill, ink
from harness.report.svg.shapes import (
    BAD,
    INK,
    LEFT,
    LINE,
    PLOT,
    QUIET,
    RIGHT,
    WIDTH,
    Detail,
    extent,
    inside,
    label,
    rect,
    text_at,
    text_width,
    x_of,
)
from harness.report.timeline.layout import LETTERS, MEANINGS, Lane, Layout, Look, Span

_RETRY: Final = edge(Look.RETRIED)
_ERRNO: Final = "#8a4510"
_INKS: Final = {
    Look.REFUSED: _ERRNO,
    Look.UNSEEN: BAD,
    Look.SIGBUS: LOOKS[Look.SIGBUS],
    Look.VIOLATING: BAD,
}
_RARE: Final = 3
"""An actor that did no more than this has each operation named."""


def lane_row(lane: Lane, layout: Layout, y: float, row: float, detail: Detail) -> Iterator[str]:
    """Draw a lane into the row that begins at `y`."""
    yield label(lane.name, y, row, detail, marked=lane.marked)
    middle = y + row / 2
    yield f'<path d="M{LEFT} {middle:.1f}H{LEFT + PLOT}" stroke="{LINE}"/>'
    for attempts in _series(lane.spans):
        yield from _retries(attempts, layout, y, row, detail)
    for span in sorted(lane.spans, key=lambda span: span.look):  # what matters is drawn last
        yield from _span(span, layout, y, row, detail)
    if detail is Detail.FULL:
        yield from _beside(lane, layout, y, row)
    if lane.end and detail is Detail.FULL:
        yield text_at(WIDTH - RIGHT - 4, middle + 4, lane.end, size=11, fill=BAD, anchor="end", bold=True)


def _span(span: Span, layout: Layout, y: float, row: float, detail: Detail) -> Iterator[str]:
    x, width = extent(span.begin, span.end, layout)
    violating = span.look is Look.VIOLATING
    grow = 3.0 if violating and detail is Detail.FULL else 0.0
    yield rect(
        x,
        y - grow,
        max(width, 5.0 if violating else 2.0),
        row + 2 * grow,
        fill=fill(span.look),
        stroke=INK if violating else edge(span.look),
        title=span.text,
    )
    if detail is Detail.FULL and width > 60 and not violating:
        seen = f"{MEANINGS[span.look]} {as_text(span.end - span.begin)}"
        word = MEANINGS[span.look].partition(" (")[0]
        named = (f"{span.means}: {seen}", f"{span.means}: {word}") if span.means else ()
        yield inside(x, y, width, row, *named, seen, word, ink=ink(span.look))
    elif detail is Detail.FULL and width > 12 and span.look is not Look.OK:
        yield inside(x, y, width, row, LETTERS[span.look], ink=ink(span.look))


def _series(spans: Iterable[Span]) -> Iterator[list[Span]]:
    """Attempts at one thing: each that was refused and tried again, and the one that followed them."""
    running: list[Span] = []
    for span in spans:
        running.append(span)
        if span.look is not Look.RETRIED:
            if len(running) > 1:
                yield running
            running = []
    if len(running) > 1:
        yield running


def _retries(attempts: list[Span], layout: Layout, y: float, row: float, detail: Detail) -> Iterator[str]:
    """A dashed line from attempt to attempt; in its longest pause how many were refused, and with what."""
    middle = y + row / 2
    first, last = x_of(attempts[0].begin, layout), x_of(attempts[-1].begin, layout)
    yield (
        f'<path d="M{first:.1f} {middle:.1f}H{last:.1f}" stroke="{_RETRY}" stroke-width="1.5" '
        f'stroke-dasharray="2 2"/>'
    )
    if detail is not Detail.FULL:
        return
    pauses = [
        (x_of(after.begin, layout) - x_of(before.end, layout), x_of(before.end, layout))
        for before, after in itertools.pairwise(attempts)
    ]
    refused = sum(span.count for span in attempts if span.look is Look.RETRIED)
    errors = "/".join(dict.fromkeys(span.error for span in attempts if span.error))
    width, x = max(pauses)
    for text in (f"{refused} x {errors}", errors):
        if text_width(text) < width - 8:
            yield rect(x + 4, middle - 8, text_width(text) + 2, 16, fill="#ffffff", rounded=True)
            yield text_at(
                x + 5 + text_width(text) / 2, middle + 4, text, size=11, fill=_ERRNO, anchor="middle"
            )
            return


def _beside(lane: Lane, layout: Layout, y: float, row: float) -> Iterator[str]:
    """A word beside what is too short to be written into, where the lane is free."""
    for span, after in itertools.zip_longest(lane.spans, lane.spans[1:]):
        x, width = extent(span.begin, span.end, layout)
        begin = x + max(width, 5.0) + 3
        free = x_of(after.begin, layout) if after else LEFT + PLOT
        word = _word(span, lane)
        if word and width <= 60 and begin + text_width(word) < free:
            yield text_at(begin, y + row / 2 + 4, word, size=11, fill=_INKS.get(span.look, QUIET))


def _word(span: Span, lane: Lane) -> str:
    """What tells most of an operation: its errno, a reset that is missing, else of a rare one what it was."""
    if span.look is Look.RETRIED:
        return ""
    if span.look is Look.UNSEEN:
        return MEANINGS[span.look]
    return span.error or (span.means if len(lane.spans) <= _RARE else "")
