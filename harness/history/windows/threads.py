"""What an actor was doing at a moment that the kernel's trace shows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from harness.history.history import History
from harness.history.windows.trace import TRACE_RESOLUTION

NOBODY = -1
"""Stands for the row of an operation where no actor was doing any."""


def rows_at(history: History, moments: Sequence[tuple[int, int]]) -> list[int]:
    """The operation that a thread was in at a moment.

    Args:
        history: whose operations are meant.
        moments: thread and time of a hit in the trace.

    Returns:
        Rows of `History.operations`; :data:`NOBODY` for a thread that is no actor's, or between two operations.
    """
    found = [NOBODY] * len(moments)
    table = history.operations
    tids = {tid for tid, _ in moments}
    for number, actor in enumerate(history.actors):
        if actor.tid not in tids:
            continue
        own = np.flatnonzero(table["actor"] == number)
        begin, end = table["begin_ns"][own], table["end_ns"][own]
        for place, (tid, time) in enumerate(moments):
            if tid != actor.tid:
                continue
            # A thread does one thing at a time: it is in the last operation that had begun by then.
            last = int(np.searchsorted(begin, time + TRACE_RESOLUTION // 2, "right")) - 1
            if last >= 0 and (end[last] == 0 or end[last] >= time - TRACE_RESOLUTION):
                found[place] = int(own[last])
    return found
