"""Shapes of a timeline's SVG: presentation attributes only, text cleaned and escaped."""

from __future__ import annotations

import enum
from typing import Final
from xml.sax.saxutils import escape, quoteattr

from harness.report.text import clean, one_line
from harness.report.timeline.layout import Layout

WIDTH: Final = 1080
LEFT: Final = 148
RIGHT: Final = 24
PLOT: Final = WIDTH - LEFT - RIGHT

INK: Final = "#1b1f24"
QUIET: Final = "#5b6570"
LINE: Final = "#d5dae0"
RESET: Final = "#0b7a75"
BAD: Final = "#c4161c"
SANS: Final = "DejaVu Sans, Verdana, Helvetica, Arial, sans-serif"
MONO: Final = "DejaVu Sans Mono, Menlo, Consolas, monospace"


class Detail(enum.Enum):
    """How much of a panel is written out."""

    FULL = enum.auto()
    SMALL = enum.auto()


def x_of(time: int, layout: Layout) -> float:
    """Where a time lies on the axis of a layout, inside the plot."""
    share = (time - layout.begin) / max(1, layout.end - layout.begin)
    return LEFT + PLOT * min(1.0, max(0.0, share))


def extent(begin: int, end: int, layout: Layout) -> tuple[float, float]:
    """Left edge and width of a stretch of time, at least a pixel wide."""
    x = x_of(begin, layout)
    return x, max(x_of(end, layout) - x, 1.0)


def rect(
    x: float,
    y: float,
    width: float,
    height: float,
    *,
    fill: str,
    stroke: str = "",
    title: str = "",
    rounded: bool = False,
) -> str:
    """Draw a box, with a tooltip if there is a title."""
    attributes = f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{fill}"'
    attributes += f' stroke="{stroke}" stroke-width="0.8"' if stroke else ""
    attributes += ' rx="2"' if rounded else ""
    return f"<rect {attributes}>" + (f"<title>{escape(clean(title))}</title>" if title else "") + "</rect>"


def rule(x: float, top: float, bottom: float, colour: str) -> str:
    """Draw a thin line from top to bottom."""
    return f'<path d="M{x:.1f} {top:.1f}V{bottom:.1f}" stroke="{colour}" stroke-width="1"/>'


def dashed(x: float, top: float, bottom: float, colour: str) -> str:
    """Draw a thin dashed line from top to bottom."""
    return f'<path d="M{x:.1f} {top:.1f}V{bottom:.1f}" stroke="{colour}" stroke-width="0.8" stroke-dasharray="2 3"/>'


def label(text: str, y: float, row: float, detail: Detail, *, marked: bool = False) -> str:
    """Write the name of a row left of the plot."""
    size = 13 if detail is Detail.FULL else 11
    shown = one_line(text, 18)
    colour = BAD if marked else INK
    return text_at(LEFT - 10, y + row / 2 + 4, shown, size=size, anchor="end", fill=colour, bold=marked)


def inside(x: float, y: float, width: float, row: float, *texts: str, ink: str = "#ffffff") -> str:
    """Write into a box the first of some texts that fits, or nothing."""
    for text in texts:
        if row >= 20 and text_width(text) < width - 4:
            return text_at(x + width / 2, y + row / 2 + 4, text, size=11, fill=ink, anchor="middle")
    return ""


def text_width(text: str) -> float:
    """About how wide a text of size 11 is."""
    return 6.8 * len(text)


def text_at(
    x: float,
    y: float,
    text: str,
    *,
    size: int,
    fill: str = "",
    anchor: str = "",
    bold: bool = False,
    mono: bool = False,
) -> str:
    """Write one line of text."""
    attributes = f'x="{x:.1f}" y="{y:.1f}" font-size="{size}"'
    attributes += f' fill="{fill}"' if fill else ""
    attributes += f' text-anchor="{anchor}"' if anchor else ""
    attributes += ' font-weight="bold"' if bold else ""
    attributes += f" font-family={quoteattr(MONO)}" if mono else ""
    return f"<text {attributes}>{escape(clean(text))}</text>"
