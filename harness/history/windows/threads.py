"""What an actor was doing at a moment that the kernel's trace shows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.history.history import History
from harness.history.steps import Rows, places
from harness.history.windows.trace import TRACE_RESOLUTION

NOBODY = -1
"""Stands for the row of an operation where no actor was doing any."""


_Done = tuple[Rows, npt.NDArray[np.int64], npt.NDArray[np.int64]]
"""All that one actor did: its rows, and their edges as columns."""


@dataclass(frozen=True, eq=False)
class Threads:
    """Who did what when.

    Attributes:
        history: whose operations are meant.
        rows: of `History.operations`, by number of the actor; one that did nothing is not in it.
    """

    history: History
    rows: dict[int, Rows]
    _done: dict[int, list[_Done]]

    @classmethod
    def of(cls, history: History) -> Threads:
        """Sort the operations of a history by actor."""
        table, rows = history.operations, places(history.operations["actor"])
        done: dict[int, list[_Done]] = {}
        for number, actor in enumerate(history.actors):
            if (own := rows.get(number)) is not None:
                done.setdefault(actor.tid, []).append((own, table["begin_ns"][own], table["end_ns"][own]))
        return cls(history, rows, done)

    def at(self, tid: int, time_ns: int) -> int:
        """The operation that a thread was in at a moment.

        Returns:
            a row of `History.operations`; :data:`NOBODY` for a thread that is no actor's, or between two operations.
        """
        found = NOBODY
        for rows, begin, end in self._done.get(tid, ()):
            # A thread does one thing at a time: it is in the last operation that had begun by then.
            last = int(np.searchsorted(begin, time_ns + TRACE_RESOLUTION // 2, "right")) - 1
            if last >= 0 and (end[last] == 0 or end[last] >= time_ns - TRACE_RESOLUTION):
                found = int(rows[last])
        return found
