"""One line of the table of figures."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One figure beside one peer.

    Attributes:
        name: of the figure.
        ours: median of what we measured.
        peer: median of the peer, measured in the same run; None where there is none.
        peer_name: who it is.
        better: which direction is good.
        unit: of both.
    """

    name: str
    ours: float
    peer: float | None
    peer_name: str
    better: Literal["low", "high"]
    unit: str

    @property
    def ratio(self) -> float | None:
        """Ours over the peer's."""
        return self.ours / self.peer if self.peer else None

    def to_json(self) -> dict[str, Any]:
        """The row as plain values."""
        return {**asdict(self), "ratio": self.ratio}


def median(values: Sequence[float]) -> float:
    """The middle value."""
    return float(statistics.median(values))


def table(rows: Sequence[Row]) -> str:
    """The rows for people."""
    lines = [f"{'figure':28} {'ours':>12} {'peer':>12} {'ratio':>8}  better  unit  peer"]
    for row in rows:
        peer = f"{row.peer:.4g}" if row.peer is not None else "-"
        ratio = f"{row.ratio:.3g}" if row.ratio is not None else "-"
        lines.append(
            f"{row.name:28} {row.ours:>12.4g} {peer:>12} {ratio:>8}  {row.better:6}  {row.unit}  {row.peer_name}"
        )
    return "\n".join(lines)
