"""Which operations slept for a config lock."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from harness.history.columns import Edge
from harness.history.history import History
from harness.history.steps import places
from harness.history.windows.threads import Threads
from harness.history.windows.trace import TRACE_RESOLUTION, WAIT


def waited(history: History, threads: Threads) -> npt.NDArray[np.bool_]:
    """For each operation: did `pci_wait_cfg` fire in its own thread between call and return?

    Returns:
        One boolean a row of `History.operations`.
    """
    operations, kernel = history.operations, history.kernel
    result = np.zeros(len(operations), dtype=np.bool_)
    wait = next(
        (n for n, probe in enumerate(history.probes) if (probe.symbol, probe.edge) == (WAIT, Edge.ENTRY)),
        None,
    )
    if wait is None or not len(operations):
        return result
    hits = kernel[kernel["probe"] == wait]
    of_thread = places(hits["tid"])
    for number, actor in enumerate(history.actors):
        if actor.tid not in of_thread or number not in threads.rows:
            continue
        times, rows = hits["time_ns"][of_thread[actor.tid]], threads.rows[number]
        # A thread does one thing at a time: a hit belongs to the last operation that had begun by then.
        begin, end = operations["begin_ns"][rows], operations["end_ns"][rows]
        last = np.searchsorted(begin, times + TRACE_RESOLUTION // 2, "right") - 1
        until = np.where(end == 0, history.end_ns, end)[last] + TRACE_RESOLUTION
        result[rows[last[(last >= 0) & (times <= until)]]] = True
    return result
