"""When a user's own write of COMMAND held VFIO's `memory_lock`, for which register accesses wait.

The write takes that lock before it goes to the function, and may then wait for the config lock: an access to a register
waits as long, though the config lock alone would not have held it up.

Source: Linux drivers/vfio/pci/vfio_pci_config.c, `vfio_basic_config_write()`; vfio_pci_rdwr.c, `vfio_pci_bar_rw()`;
vfio_pci_core.c, `vfio_pci_mmap_fault()`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np

from harness.judge.evidence.accesses import Accesses
from harness.judge.evidence.meeting import Times
from harness.model.operation import BAR_READ, BAR_WRITE, MAPPED_READ, MAPPED_WRITE, VFIO_COMMAND

WAITING: Final = (BAR_READ, BAR_WRITE, MAPPED_READ, MAPPED_WRITE)
"""Accesses that wait for the lock."""


@dataclass(frozen=True, slots=True)
class Spans:
    """Spans of time, none of which overlaps another.

    Attributes:
        begin, end: ascending, nanoseconds.
    """

    begin: Times
    end: Times

    def within(self, begin: Times, end: Times) -> Times:
        """How much of each interval they cover, in nanoseconds."""
        covered: Times = self._until(end) - self._until(begin)
        return covered

    def _until(self, time: Times) -> Times:
        """How much of all time before they cover."""
        if not len(self.begin):
            return np.zeros(len(time), dtype=np.int64)
        whole = np.cumsum(self.end - self.begin)
        last = np.searchsorted(self.begin, time, "right") - 1
        covered: Times = np.where(last >= 0, whole[last] - np.maximum(self.end[last] - time, 0), 0)
        return covered


def held_by_command(accesses: Iterable[Accesses], alias: str) -> Spans:
    """When writes of COMMAND through VFIO were under way: as long, at most, they held the lock."""
    writes = [one for one in accesses if (one.alias, one.operation) == (alias, VFIO_COMMAND)]
    if not writes:
        nothing = np.zeros(0, dtype=np.int64)
        return Spans(nothing, nothing)
    begin, end = (np.concatenate([getattr(one, edge) for one in writes]) for edge in ("begin", "end"))
    order = np.argsort(begin, kind="stable")
    begin, until = begin[order], np.maximum.accumulate(end[order])
    first = np.append(True, begin[1:] > until[:-1])
    last = np.append(first[1:], True)
    return Spans(begin[first], until[last])
