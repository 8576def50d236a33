"""Latencies of a soak as one SVG: for each operation how its times are spread, the baseline's outline over them.

Presentation attributes only, as in :mod:`~harness.report.svg.timeline`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final
from xml.sax.saxutils import escape, quoteattr

import numpy as np
import numpy.typing as npt

from harness.model.operation import HEARTBEAT
from harness.model.units import as_text
from harness.report.soak import Soak, in_one_line
from harness.report.svg.shapes import (
    BAD,
    INK,
    LEFT,
    LINE,
    PLOT,
    QUIET,
    RIGHT,
    SANS,
    WIDTH,
    rect,
    rule,
    text_at,
)
from harness.report.text import one_line
from harness.statistics.histogram import Histogram
from harness.statistics.tally import Tally

_MOST: Final = 8
_ROW: Final = 74.0
_PLOT_HEIGHT: Final = 46.0
_FILL: Final = "#8fb8de"
_EDGES: Final[npt.NDArray[np.float64]] = np.geomspace(1e2, 1e11, 181)  # 100 ns … 100 s, 20 bins a decade
_DECADES: Final = range(2, 12)


def soak_svg(soak: Soak, before: Mapping[str, Tally]) -> bytes:
    """Draw the busiest operations of a soak: a self-contained SVG document, UTF-8.

    Args:
        soak: has ended.
        before: the baseline of each test that has one, by node id.
    """
    baseline: dict[str, Histogram] = {}
    for tally in before.values():
        for word, histogram in tally.latencies.items():
            baseline.setdefault(word, Histogram()).merge(histogram)
    mine = {word: histogram for word, histogram in soak.latencies.items() if word != HEARTBEAT}
    busiest = sorted(mine.items(), key=lambda pair: (-pair[1].count, pair[0]))[:_MOST]
    top = 108.0
    bottom = top + _ROW * len(busiest)
    height = bottom + 40
    parts = [
        text_at(24, 40, "Latencies of a soak", size=19, bold=True),
        text_at(24, 62, one_line(in_one_line(soak), 150), size=12, fill=QUIET),
        *_legend(82.0, drawn_over=bool(baseline)),
        *_axis(top, bottom),
    ]
    for number, (word, histogram) in enumerate(busiest):
        parts += _operation(word, histogram, baseline.get(word), top + _ROW * number)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height:.0f}" '
        f'viewBox="0 0 {WIDTH} {height:.0f}" font-family={quoteattr(SANS)} fill="{INK}">'
    )
    paper = f'<rect width="{WIDTH}" height="{height:.0f}" fill="#ffffff"/>'
    title = f"<title>{escape(one_line(in_one_line(soak)))}</title>"
    return "\n".join([head, title, paper, *parts, "</svg>", ""]).encode()


def _legend(y: float, *, drawn_over: bool) -> Iterator[str]:
    yield rect(24, y - 10, 16, 12, fill=_FILL)
    yield text_at(46, y, "share of this soak's operations", size=11)
    if drawn_over:
        yield f'<path d="M280 {y - 4:.1f}h22" stroke="{BAD}" stroke-width="1.5" stroke-dasharray="5 3"/>'
        yield text_at(308, y, "of the baseline's", size=11)


def _axis(top: float, bottom: float) -> Iterator[str]:
    for decade in _DECADES:
        x = _x(10.0**decade)
        yield rule(x, top, bottom + 4, LINE)
        yield text_at(x, bottom + 18, as_text(10**decade), size=11, fill=QUIET, anchor="middle")


def _operation(word: str, now: Histogram, before: Histogram | None, top: float) -> Iterator[str]:
    base = top + 18 + _PLOT_HEIGHT
    shares = now.shares(_EDGES)
    theirs = before.shares(_EDGES) if before is not None else np.zeros_like(shares)
    highest = max(float(shares.max()), float(theirs.max()), 1e-9)
    times = ", ".join(
        f"p{percent:g} {_pair(now.percentile(percent), before.percentile(percent) if before is not None else None)}"
        for percent in (50, 99)
    )
    yield text_at(LEFT - 10, top + 32, one_line(word, 20), size=12, anchor="end")
    yield text_at(LEFT - 10, top + 48, f"{now.count}", size=11, fill=QUIET, anchor="end")
    yield text_at(LEFT + PLOT - 2, top + 14, times, size=11, fill=QUIET, anchor="end")
    yield f'<path d="{_steps(shares, base, highest)}Z" fill="{_FILL}"/>'
    if before is not None:
        outline = _steps(theirs, base, highest)
        yield f'<path d="{outline}" fill="none" stroke="{BAD}" stroke-width="1.2" stroke-dasharray="5 3"/>'
    yield f'<path d="M{LEFT} {base:.1f}H{WIDTH - RIGHT}" stroke="{QUIET}" stroke-width="0.8"/>'


def _pair(now: int | None, before: int | None) -> str:
    said = as_text(now or 0)
    return said if before is None else f"{said} (baseline {as_text(before)})"


def _steps(shares: npt.NDArray[np.float64], base: float, highest: float) -> str:
    """A path along the upper edges of the bins, from the first that holds something to the last."""
    filled = np.flatnonzero(shares)
    if not len(filled):
        return f"M{LEFT} {base:.1f}"
    path = [f"M{_x(_EDGES[filled[0]]):.1f} {base:.1f}"]
    for number in range(int(filled[0]), int(filled[-1]) + 1):
        y = base - _PLOT_HEIGHT * float(shares[number]) / highest
        path.append(f"V{y:.1f}H{_x(_EDGES[number + 1]):.1f}")
    return "".join([*path, f"V{base:.1f}"])


def _x(time_ns: float) -> float:
    low, high = np.log(_EDGES[0]), np.log(_EDGES[-1])
    return float(LEFT + PLOT * (np.log(time_ns) - low) / (high - low))
