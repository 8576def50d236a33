"""Which operations ran while somebody believed to hold a lock that another had given away.

Nothing protects an access then, and nothing convicts it: what it showed is the thief's doing.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from harness.history.windows import TRACE_RESOLUTION, FaultKind, LockFault
from harness.judge.evidence.meeting import Times


def while_stolen(
    faults: Iterable[LockFault], function: int, begin: Times, end: Times
) -> npt.NDArray[np.bool_]:
    """For each operation on `function`: did it overlap the time from a theft to the owner's own unlock?"""
    mask = np.zeros(len(begin), dtype=np.bool_)
    for fault in faults:
        if fault.kind is FaultKind.STOLEN and fault.function == function:
            mask |= (begin <= fault.until_ns + TRACE_RESOLUTION) & (end >= fault.time_ns - TRACE_RESOLUTION)
    return mask
