"""Which operations slept for a config lock."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from harness.history.columns import Edge
from harness.history.history import History
from harness.history.steps import Rows, places
from harness.history.windows.threads import NOBODY, Threads
from harness.history.windows.trace import TRACE_RESOLUTION, WAIT, hits


def slept(history: History, threads: Threads, followed: Rows) -> npt.NDArray[np.intp]:
    """For each operation: where `pci_wait_cfg` fired last in its own thread between call and return.

    It fires while the lock is held, and whoever is in it comes out when the lock is free.

    Args:
        history: that is read.
        threads: who did what when in it.
        followed: operations that an access without a row came after: at their very end it may be that one's hit.

    Returns:
        Rows of `History.kernel`, one for each of `History.operations`; :data:`~harness.history.windows.NOBODY` where it
        did not fire.
    """
    operations, kernel = history.operations, history.kernel
    result = np.full(len(operations), NOBODY, dtype=np.intp)
    wait = next(
        (n for n, probe in enumerate(history.probes) if (probe.symbol, probe.edge) == (WAIT, Edge.ENTRY)),
        None,
    )
    if wait is None or not len(operations):
        return result
    fired = np.flatnonzero(kernel["probe"] == wait)
    of_thread = places(kernel["tid"][fired])
    for number, actor in enumerate(history.actors):
        if actor.tid not in of_thread or number not in threads.rows:
            continue
        own, rows = fired[of_thread[actor.tid]], threads.rows[number]
        times = kernel["time_ns"][own]
        # A thread does one thing at a time: a hit belongs to the last operation that had begun by then.
        begin, end = operations["begin_ns"][rows], operations["end_ns"][rows]
        last = np.searchsorted(begin, times + TRACE_RESOLUTION // 2, "right") - 1
        grace = np.where(np.isin(rows, followed), -TRACE_RESOLUTION // 2, TRACE_RESOLUTION)
        until = (np.where(end == 0, history.end_ns, end) + grace)[last]
        belongs = (last >= 0) & (times <= until)
        np.maximum.at(result, rows[last[belongs]], own[belongs])
    return result


def sleeps(history: History) -> dict[tuple[int, int], list[int]]:
    """When threads slept for the config locks of functions: times in order, by thread and function."""
    found: dict[tuple[int, int], list[int]] = {}
    for _, _, tid, function, time, _ in hits(history, (WAIT,)):
        found.setdefault((tid, function), []).append(time)
    return found
