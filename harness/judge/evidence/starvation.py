"""Was the machine too busy for a bound on time to mean anything?

A heartbeat actor sleeps until planned times; how late it wakes is how starved the machine was.  The value of
a heartbeat operation is the planned time, its end the time when it really woke.  That it did not wake while a model
stood still, as staged, and nothing in the guest could run, says nothing of the machine.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from harness.history.reading import Reading
from harness.judge import findings
from harness.judge.evidence.incidents import AFTERMATH, Struck
from harness.model.operation import HEARTBEAT
from harness.model.promise import Promise
from harness.model.units import MS, Ns, as_text
from harness.model.verdict import EventId, Finding

LATE: Final = Ns(20 * MS)
"""A heartbeat that wakes later than this proves a starved machine."""

TICK: Final = Ns(4 * MS)
"""A heartbeat that wakes later than this shows that a tick came late (CONFIG_HZ=250, as Debian's kernels have it)."""

CLOCK_ERROR: Final = 0.05
"""Guest time may run this much faster or slower than host time before no duration is believed."""

_EVER: Final = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class Starvation:
    """When no upper bound on time can convict, and by how much a lower one cannot.

    Attributes:
        begin, end: of closed intervals in which no upper bound can; begins ascending, each end the latest so far.
        due, came: of beats that show a late tick, which may shorten a wait by as much.
        reason: half a sentence on how this is known.
        seen: whether the machine was starved while it was watched.
        share: how much of the watched time it was starved, 0 to 1.
    """

    begin: npt.NDArray[np.int64]
    end: npt.NDArray[np.int64]
    due: npt.NDArray[np.int64]
    came: npt.NDArray[np.int64]
    reason: str
    seen: bool
    share: float

    def shortened(self, begin: int, end: int, by_ns: int) -> bool:
        """Whether an operation may have been shorter by so much because of it.

        Late ticks end each wait of an operation early, but all of them together by no more than they were late.

        Args:
            begin: of the operation, or of what may still be owed when it begins.
            end: likewise.
            by_ns: how much is missing from what was promised.
        """
        met = (self.due <= end) & (self.came >= begin)
        return bool(met.any()) and _covered(self.due[met], self.came[met]) >= by_ns

    def during(self, begin: npt.ArrayLike, end: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """For each interval from `begin` to `end`: was the machine starved, or unwatched, in it?"""
        begins, ends = np.atleast_1d(begin), np.atleast_1d(end)
        if not len(self.begin):
            return np.zeros(len(begins), dtype=np.bool_)
        last = np.searchsorted(self.begin, ends, "right") - 1
        return (last >= 0) & (self.end[last] >= begins)


def starvation(reading: Reading, stalls: Iterable[Struck]) -> Starvation:
    """Find out when the machine was starved, or nobody watched it.

    Args:
        reading: of a history.
        stalls: when models stood still in it, as staged.
    """
    history, steps = reading.history, reading.steps
    if abs(history.clock_ratio - 1) > CLOCK_ERROR:
        return _always(f"the target's clock ran {history.clock_ratio:.2f} times as fast as the host's")
    rows = steps.rows(lambda step: step.means == HEARTBEAT)
    beats = history.operations[rows]
    beats, rows = beats[beats["end_ns"] != 0], rows[beats["end_ns"] != 0]
    if not len(beats):
        return _always("no heartbeat watched the machine")
    planned, woke = beats["value"].astype(np.int64), beats["end_ns"].astype(np.int64)
    ours = _stood_still(stalls, planned, woke)
    late, owed = ((woke - planned > bound) & ~ours for bound in (LATE, TICK))
    # After its last beat the heartbeat would have been missed one period later.
    last = int(woke.max())
    period = int(steps.column(lambda step: step.time_ns, np.int64)[steps.of_row[rows[-1]]])
    unwatched = last + period + LATE
    begin, end = np.append(planned[late], unwatched), np.append(woke[late], _EVER)
    order = np.argsort(begin, kind="stable")
    worst = int((woke - planned)[late].max()) if late.any() else 0
    lost = _covered(planned[late], woke[late])
    return Starvation(
        begin[order],
        np.maximum.accumulate(end[order]),
        np.append(planned[owed], unwatched),
        np.append(woke[owed], _EVER),
        f"a heartbeat woke {as_text(worst)} late" if late.any() else "the heartbeat had stopped",
        bool(late.any()),
        lost / max(last - int(planned.min()), 1),
    )


def missed(
    busy: Starvation,
    checker: str,
    claim: str,
    *,
    promise: Promise | None = None,
    events: Iterable[EventId] = (),
) -> Finding:
    """What the evidence does not show: unknown, and perhaps because the machine was too busy for it to come in time.

    Args:
        busy: when the machine was.
        checker: who misses it.
        claim: a sentence without its full stop.
        promise: the entry in question.
        events: rows that have to do with it.
    """
    if busy.seen:
        return findings.starved(checker, f"{claim}, and {busy.reason}.", promise=promise, events=events)
    return findings.unknown(checker, f"{claim}.", promise=promise, events=events)


def _covered(begin: npt.NDArray[np.int64], end: npt.NDArray[np.int64]) -> int:
    """How long at least one of the intervals lasted; they may overlap, of several heartbeats."""
    order = np.argsort(begin, kind="stable")
    until = np.maximum.accumulate(end[order])
    since = np.maximum(begin[order], np.append(np.iinfo(np.int64).min, until[:-1]))
    return int(np.maximum(until - since, 0).sum())


def _stood_still(
    stalls: Iterable[Struck], planned: npt.NDArray[np.int64], woke: npt.NDArray[np.int64]
) -> npt.NDArray[np.bool_]:
    """Beats that were due while a model stood still, or shortly after, and came soon after that."""
    held = np.zeros(len(planned), dtype=np.bool_)
    for stall in stalls:
        held |= (planned >= stall.begin_ns - LATE) & (woke <= stall.end_ns + AFTERMATH)
    return held


def _always(reason: str) -> Starvation:
    begin, end = np.array([[-_EVER], [_EVER]], dtype=np.int64)
    return Starvation(begin, end, np.zeros(1, dtype=np.int64), end, reason, True, 1.0)
