"""Compare the target's clock with the host's.

Under software emulation on a busy host the guest's clock has been seen to run almost four times too fast; then nothing
timed in the guest can be believed.  A reading is bracketed by two readings of the host's clock, so the comparison gives
bounds, and it condemns only what no reading error explains.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from harness.errors import ClockError
from harness.model.observation import Clocks
from harness.model.request import ReadClocks

TOLERANCE: Final = 0.05
"""By how much the rates may differ: a twentieth spoils no time bound of the contract."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockReading:
    """The guest's CLOCK_MONOTONIC, read between two readings of the host's CLOCK_MONOTONIC."""

    host_before_ns: int
    guest_ns: int
    host_after_ns: int

    @property
    def error_ns(self) -> int:
        """How far the host time of the guest's reading is unknown."""
        return self.host_after_ns - self.host_before_ns

    @property
    def offset_ns(self) -> int:
        """Guest clock minus host clock, to within half of `error_ns`."""
        return self.guest_ns - (self.host_before_ns + self.host_after_ns) // 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """Bounds on how many guest seconds passed in a host second.

    Attributes:
        least: lower bound.
        most: upper bound; infinite when the readings lie too close together.
    """

    least: float
    most: float

    @property
    def middle(self) -> float:
        """The most likely rate: half way between the bounds, 1.0 when there is no upper one."""
        return (self.least + self.most) / 2 if self.most != float("inf") else 1.0

    @property
    def is_believable(self) -> bool:
        """Whether a rate within the tolerance explains the readings."""
        return self.least <= 1 + TOLERANCE and self.most >= 1 - TOLERANCE

    def __str__(self) -> str:
        return f"{self.least:.3f} to {self.most:.3f}"


def read(ask: Callable[[ReadClocks], Clocks]) -> ClockReading:
    """Read the clock of the machine that `ask` asks: `Agent.ask`, or `Line.ask` before there is an agent.

    Raises:
        AgentLost: it does not answer, or answers another thing.
    """
    before_ns = time.monotonic_ns()
    guest_ns = ask(ReadClocks()).monotonic_ns
    return ClockReading(host_before_ns=before_ns, guest_ns=guest_ns, host_after_ns=time.monotonic_ns())


def rate(first: ClockReading, last: ClockReading) -> Rate:
    """Bound the rate of the guest's clock between two readings, the earlier one first."""
    guest_ns = last.guest_ns - first.guest_ns
    longest_ns = last.host_after_ns - first.host_before_ns
    shortest_ns = last.host_before_ns - first.host_after_ns
    return Rate(
        least=guest_ns / longest_ns if longest_ns > 0 else 0.0,
        most=guest_ns / shortest_ns if shortest_ns > 0 else float("inf"),
    )


def check(first: ClockReading, last: ClockReading, *, where: str) -> Rate:
    """Raise when the guest's clock ran wild between two readings.

    Args:
        first: the earlier reading.
        last: the later one.
        where: which guest, and when, for the message.

    Raises:
        ClockError: no rate within the tolerance explains the readings.
    """
    found = rate(first, last)
    if not found.is_believable:
        raise ClockError(
            f"compare guest clock and host clock in {where}",
            said=f"the guest's ran at {found} of the host's",
            hint="Run fewer jobs beside it; if that does not help, remove the template from the cache.",
        )
    return found
