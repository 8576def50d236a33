"""A rate that was seen in so many trials, and how much it may be off.

Sources: E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927) 209-212;
R. G. Newcombe, "Two-sided confidence intervals for the single proportion: comparison of seven methods", Statistics in
Medicine 17 (1998) 857-872 (there method 3), and "Interval estimation for the difference between independent
proportions: comparison of eleven methods", ibid. 873-890 (there method 10).
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass

from harness.errors import UsageError


class Confidence(enum.Enum):
    """How sure an interval is: the quantile of the normal distribution, two-sided."""

    P95 = 1.959964
    P99 = 2.575829

    @property
    def percent(self) -> int:
        """How many of a hundred such intervals hold the true value."""
        return {Confidence.P95: 95, Confidence.P99: 99}[self]


@dataclass(frozen=True, slots=True)
class Interval:
    """Both ends belong to it."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Proportion:
    """So many good ones of so many.

    Attributes:
        good: 0 … `total`.
        total: number of trials, at least 0.

    Raises:
        UsageError: more good ones than trials, or a number below 0.
    """

    good: int
    total: int

    def __post_init__(self) -> None:
        if not 0 <= self.good <= self.total:
            raise UsageError(f"a proportion of {self.good} in {self.total}", said="there is no such thing")

    @property
    def value(self) -> float | None:
        """The rate that was seen, 0 … 1; None without a trial."""
        return self.good / self.total if self.total else None

    def interval(self, confidence: Confidence = Confidence.P95) -> Interval:
        """Where the true rate lies, by Wilson's score interval: also right near 0 and 1, where a soak mostly is.

        Without a trial everything is possible.
        """
        n, z = self.total, confidence.value
        if not n:
            return Interval(0.0, 1.0)
        p = self.good / n
        middle = p + z * z / (2 * n)
        half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        scale = 1 + z * z / n
        low = 0.0 if self.good == 0 else max(0.0, (middle - half) / scale)
        high = 1.0 if self.good == n else min(1.0, (middle + half) / scale)
        return Interval(low, high)


def difference(of: Proportion, minus: Proportion, confidence: Confidence = Confidence.P99) -> Interval:
    """Where the difference of two true rates lies: Newcombe's hybrid score interval.

    When 0 is outside, the rates differ.  (That two intervals do not overlap is a coarser test: it misses differences
    that are there.)
    """
    a, b = of.interval(confidence), minus.interval(confidence)
    p, q = of.value, minus.value
    if p is None or q is None:
        return Interval(-1.0, 1.0)
    return Interval(
        p - q - math.hypot(p - a.low, b.high - q),
        p - q + math.hypot(a.high - p, q - b.low),
    )


def rule_of_three(trials: int) -> float:
    """The largest rate of failure that `trials` without one leave open, at 95 %.

    The exact bound is the solution of (1 - rate)^trials = 0.05, about 3 / trials: Hanley and Lippman-Hand, "If nothing
    goes wrong, is everything all right?", JAMA 249 (1983) 1743-1745.
    """
    return 1.0 - 0.05 ** (1.0 / trials) if trials > 0 else 1.0
