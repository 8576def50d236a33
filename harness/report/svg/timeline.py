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
from harness.history.reading import Reading
from harness.model.promise import WindowKind
from harness.model.verdict import Judgement
from harness.report.svg import driver, served
from harness.report.svg.fills import WINDOWS, definitions, edge, fill, held, shade
from harness.report.svg.panel import SERIOUS, panel
from harness.report.svg.shapes import BAD, INK, LEFT, QUIET, RIGHT, SANS, WIDTH, rect, text_at
from harness.report.text import one_line
from harness.report.timeline.layout import DEVICE_KINDS, FAULTS, KINDS, Layout, Mark, meaning
from harness.report.timeline.views import close_up, overview

_PAPER: Final = "#ffffff"
_VERDICT: Final = {"PASS": "#1a7f37", "UNKNOWN": "#8a5a00", "FAIL": BAD}
_SHADED: Final = {WindowKind.CONFIG_LOCK, WindowKind.DEVICE_LOCK}
"""Kinds that are in the legend as a shade."""
_KERNEL: Final = {
    "l": "lock asked for",
    "L": "lock taken",
    "v": "tried for in vain",
    "U": "lock given back",
    "w": "an access waits",
    "R": "reset begins",
    "r": "reset ends",
    "D": "device lock held",
    "d": "up to here",
    "u": "uevent",
    "k": "other probe",
}


_GLUE: Final = "\u00a0"
"""Holds words together while lines are broken."""


def timeline_svg(seen: History | Reading, judgement: Judgement) -> bytes:
    """Draw a judged history: a self-contained SVG document, UTF-8."""
    reading = Reading.read(seen)
    whole, near = overview(reading, judgement), close_up(reading, judgement)
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
        drawn, y = panel(near, y, "Around the marked events", lane_height=30)
        parts += drawn
        y += 26
        drawn, y = panel(whole, y, "The whole stage", lane_height=14, zoom=(near.begin, near.end))
    else:
        drawn, y = panel(whole, y, "The whole stage", lane_height=30)
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
    patterns = definitions() + driver.definitions(whole.drivers) + served.definitions(whole.served)
    return "\n".join([head, title, patterns, paper, *parts, "</svg>", ""]).encode()


def _heading(layout: Layout, y: float) -> Iterator[str]:
    colour = _VERDICT.get(layout.verdict, INK)
    width = 22 + 11 * len(layout.verdict)
    yield f'<rect x="24" y="{y - 20:.1f}" width="{width}" height="27" rx="4" fill="{colour}"/>'
    yield text_at(24 + width / 2, y, layout.verdict, size=15, fill="#ffffff", anchor="middle", bold=True)
    yield text_at(24 + width + 14, y + 1, one_line(layout.title, 80), size=19, bold=True)


def _legend(layouts: tuple[Layout, ...], y: float) -> tuple[list[str], float]:
    """Only what is really drawn."""
    spans = [span for layout in layouts for lane in layout.lanes for span in lane.spans]
    kinds = {window.kind for layout in layouts for window in layout.windows}
    faults = dict.fromkeys(fault.kind for layout in layouts for fault in layout.faults)
    entries = [
        (fill(look), edge(look), meaning(look, spans)) for look in sorted({span.look for span in spans})
    ]
    if kinds - set(DEVICE_KINDS):
        config = WindowKind.CONFIG_LOCK
        entries.append((shade(config), WINDOWS[config], "config lock held"))
    if kinds & set(DEVICE_KINDS):
        device = WindowKind.DEVICE_LOCK
        entries.append((shade(device), WINDOWS[device], "device lock held"))
    entries += [(held(kind), WINDOWS[kind], KINDS[kind]) for kind in WINDOWS if kind in kinds - _SHADED]
    if faults:
        names = ", ".join(FAULTS[kind] for kind in faults)
        entries.append(("#ffffff", BAD, f"\u00d7 lock misused: {names}"))
    entries += driver.legend(lane for layout in layouts for lane in layout.drivers)
    boxes, signs = served.legend(lane for layout in layouts for lane in layout.served)
    entries += boxes
    letters = dict.fromkeys(
        i.letter for layout in layouts for i in layout.instants if i.letter in SERIOUS + "w"
    )
    parts, x = [text_at(24, y + 11, "Legend", size=12, bold=True)], float(LEFT)
    for colour, stroke, text in entries:
        width = 22 + 7.2 * len(text) + 16
        if x + width > WIDTH - RIGHT:
            x, y = float(LEFT), y + 22
        parts.append(rect(x, y, 16, 14, fill=colour, stroke=stroke))
        parts.append(text_at(x + 22, y + 11, text, size=12))
        x += width
    y += 22
    if letters:
        drawn, y = _letters("kernel", [f"{letter} {_KERNEL[letter]}" for letter in letters], y)
        parts += drawn
    if narrow := driver.letters(layouts[0]):
        drawn, y = _letters("driver", narrow, y)
        parts += drawn
    if signs:
        drawn, y = _letters("model", signs, y)
        parts += drawn
    return parts, y


def _letters(whose: str, said: list[str], y: float) -> tuple[list[str], float]:
    """Letters and what they say, never broken between the two."""
    parts, words = [], ", ".join(word.replace(" ", _GLUE) for word in said)
    for line in textwrap.wrap(f"{whose}: {words}", 120):
        parts.append(text_at(LEFT, y + 11, line.replace(_GLUE, " "), size=12))
        y += 22
    return parts, y


def _spelled(layout: Layout, y: float) -> tuple[list[str], float]:
    """The marked events in numbers, then misuse and retries, then what the kernel logged."""
    parts: list[str] = []
    for mark in layout.marks:
        drawn, y = _event(mark, y)
        parts += drawn
    if layout.notes:
        parts.append(text_at(24, y + 12, "Also seen", size=12, bold=True))
        for line in (piece for note in layout.notes for piece in textwrap.wrap(one_line(note, 400), 115)):
            parts.append(text_at(LEFT, y + 12, line, size=12, mono=True))
            y += 18
        y += 6
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
