"""Accesses that have no row: of those that followed one another and were alike, when a lane was getting full.

An actor that is faster than its lane leaves out the middle ones (cdefs/actor.csrc.c, `thin()`).  Every row is still an
access as it was, and what was left out is known by the rows on both sides of it: it came to the same result, with the
same value (of a register: neither all-zero nor all-ones, as both), and all of it together with both took no longer than
:attr:`~harness.model.observation.ActorRecord.thinned_ns`.

So rows alone convict and acquit.  What happens while one edge of a window passes shows in one of the two rows; where
two edges pass, something may have gone wrong between them that neither shows, and nobody knows
(:mod:`harness.judge.questions.recorded`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.history.history import History
from harness.history.steps import Rows


@dataclass(frozen=True, slots=True)
class Gaps:
    """Where accesses were left out; one row a gap.

    Attributes:
        before, after: rows of `History.operations`, two of one step of one actor, which follow one another.
        count: how many accesses lay between.
    """

    before: Rows
    after: Rows
    count: npt.NDArray[np.int64]


def gaps(history: History) -> Gaps:
    """Find the gaps of a history, those of one step side by side."""
    table = history.operations
    longest = np.full(len(history.plan.actors), -1, dtype=np.int64)
    for number, actor in enumerate(history.actors):
        if actor.thinned:
            longest[number] = actor.thinned_ns
    rows = np.flatnonzero(longest[table["actor"]] >= 0)
    rows = rows[np.lexsort((rows, table["step"][rows], table["actor"][rows]))]
    before, after = rows[:-1], rows[1:]
    one, other = table[before], table[after]
    count = other["round"].astype(np.int64) - one["round"] - 1
    found = (
        (one["actor"] == other["actor"])
        & (one["step"] == other["step"])
        & (one["error"] == other["error"])
        & (count > 0)
        & (other["end_ns"] != 0)
        & (other["end_ns"] - one["begin_ns"] <= longest[one["actor"]])
    )
    return Gaps(before[found], after[found], count[found])
