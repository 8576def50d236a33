"""Times of millions of operations in a few kilobytes, each percentile within a stated relative error.

Buckets grow geometrically: bucket `i` holds the times in (g^(i-1), g^i] with g = (1 + e) / (1 - e), and stands for
2 g^i / (g + 1), which is within e of each of them.  Counts add up, so histograms of rounds merge exactly, in any order.

Source: C. Masson, J. E. Rim, H. K. Lee, "DDSketch: a fast and fully-mergeable quantile sketch with relative-error
guarantees", PVLDB 12 (2019) 2195-2205, §2.1; here the range is fixed, so nothing is ever collapsed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from harness.errors import HistoryError
from harness.model.units import Ns

RELATIVE_ERROR: Final = 0.01
"""Of every percentile, unless it is the maximum, which is exact."""
LONGEST: Final = Ns(10**14)
"""About a day.  Longer times count as this long, and times below 1 ns as 1 ns."""

_GROWTH: Final = (1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR)
_LOG: Final = math.log(_GROWTH)
_BUCKETS: Final = math.ceil(math.log(LONGEST) / _LOG) + 1


class Histogram:
    """Counts of times.  Its size is fixed: it does not grow with what is added.

    Attributes:
        max_ns: the longest time of all, exactly; 0 when there is none.
    """

    def __init__(self) -> None:
        self._counts: npt.NDArray[np.int64] = np.zeros(_BUCKETS, dtype=np.int64)
        self.max_ns = Ns(0)

    @property
    def count(self) -> int:
        """How many times were added."""
        return int(self._counts.sum())

    def add(self, times_ns: npt.NDArray[np.int64], counts: npt.NDArray[np.int64] | None = None) -> None:
        """Count times, in nanoseconds: each once, or as often as `counts` says, which is 1 or more."""
        if not len(times_ns):
            return
        clipped = np.clip(times_ns, 1, LONGEST)
        # The tolerance keeps an exact power of the growth in the bucket below it, whatever the logarithm rounds to.
        buckets = np.ceil(np.log(clipped) / _LOG - 1e-9).astype(np.int64)
        self._counts += np.bincount(buckets, counts, minlength=_BUCKETS).astype(np.int64)
        self.max_ns = Ns(max(self.max_ns, int(times_ns.max())))

    def merge(self, other: Histogram) -> None:
        """Add everything that another histogram has counted; as if all had been added here."""
        self._counts += other._counts
        self.max_ns = Ns(max(self.max_ns, other.max_ns))

    def percentile(self, percent: float) -> Ns | None:
        """The time that so many percent of all did not exceed, within :data:`RELATIVE_ERROR`; None without any.

        Args:
            percent: above 0, at most 100.  When fewer than one time lies above it, it is the maximum.
        """
        total = self.count
        if not total:
            return None
        rank = math.ceil(total * percent / 100 - 1e-9)
        if rank >= total:
            return self.max_ns
        bucket = int(np.searchsorted(np.cumsum(self._counts), max(rank, 1)))
        return Ns(min(round(2 * _GROWTH**bucket / (_GROWTH + 1)), self.max_ns))

    def shares(self, edges_ns: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Which share of all times lies between neighbouring edges; for pictures.

        Args:
            edges_ns: ascending, at least two.
        """
        middles = 2 * _GROWTH ** np.arange(_BUCKETS, dtype=np.float64) / (_GROWTH + 1)
        counts, _ = np.histogram(middles, bins=edges_ns, weights=self._counts)
        shares: npt.NDArray[np.float64] = counts / max(self.count, 1)
        return shares

    def to_json(self) -> dict[str, Any]:
        """It as JSON values: only the buckets that hold something."""
        filled = np.flatnonzero(self._counts)
        return {
            "relative_error": RELATIVE_ERROR,
            "max_ns": self.max_ns,
            "counts": {str(bucket): int(self._counts[bucket]) for bucket in filled},
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Histogram:
        """Read what :meth:`to_json` wrote.

        Raises:
            HistoryError: it is malformed, or has buckets of another width.
        """
        made = cls()
        try:
            if values["relative_error"] != RELATIVE_ERROR:
                raise HistoryError(
                    "histogram",
                    said=f"its buckets allow an error of {values['relative_error']}, ours {RELATIVE_ERROR}",
                )
            made.max_ns = Ns(int(values["max_ns"]))
            for bucket, count in values["counts"].items():
                if not (0 <= int(bucket) < _BUCKETS and int(count) >= 0):
                    raise HistoryError("histogram", said=f"{count} times in bucket {bucket}")
                made._counts[int(bucket)] = int(count)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise HistoryError("histogram", said=f"malformed: {type(error).__name__} {error}") from error
        return made
