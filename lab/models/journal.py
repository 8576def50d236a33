"""A function that keeps a record, and must not be reset while it writes it.

Vendor 1af4, device 10f1.  One memory BAR of 4 KiB; FLR, PM, MSI, AER.

| offset | width | register | access |
| --- | --- | --- | --- |
| 0x000 | 4 | signature, "HIL1" | read only |
| 0x004 | 4 | commit: what is written here becomes the record, 200 ms later | read, write |
| 0x008 | 4 | status: bit 0 while that takes | read only |
| 0x00c | 4 | record: no reset clears it | read only |
| 0x010 | 4 | checksum of the record: no reset clears it; it fits unless a reset came meanwhile | read only |

As with flash: the old record is gone when the new one begins to be written, and half of one has no checksum that fits.
A commit while another is being written has its turn after that; of several the last one has.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from functools import partial
from typing import Final

from harness.lab.models.declared import (
    AER,
    MSI,
    PCI_EXPRESS,
    POWER_MANAGEMENT,
    UNCLASSIFIED,
    endpoint_header,
    memory_bar,
)
from harness.lab.models.endpoint import BAR_BYTES, VENDOR
from harness.lab.models.function import Function
from harness.lab.models.interface import Told
from harness.lab.models.registers import Register, RegisterFile, Written, config_space
from harness.model.served import Happened
from harness.model.units import MS, Ns

DEVICE: Final = 0x10F1
SIGNATURE: Final = int.from_bytes(b"HIL1", "little")
COMMIT: Final = 0x004
STATUS: Final = 0x008
RECORD: Final = 0x00C
CHECKSUM: Final = 0x010
CRITICAL: Final = Ns(200 * MS)
"""How long a record takes to be written."""

_BUSY: Final = 1
_HALF: Final = 0xFFFF_0000  # the half that was not written yet reads as erased flash does


def checksum(record: int) -> int:
    """The checksum that fits a record: CRC-32 of its four bytes."""
    return zlib.crc32(record.to_bytes(4, "little"))


_REGISTERS: Final = (
    Register(name="signature", offset=0x000, width=4, value=SIGNATURE, sticky=True),
    Register(name="commit", offset=COMMIT, width=4, writable=0xFFFF_FFFF, meaning="begins to write a record"),
    Register(name="status", offset=STATUS, width=4, meaning="bit 0: a record is being written"),
    Register(name="record", offset=RECORD, width=4, sticky=True, meaning="survives every reset"),
    Register(
        name="checksum", offset=CHECKSUM, width=4, value=checksum(0), sticky=True, meaning="of the record"
    ),
)


class Journal(Function):
    """One function with a record."""

    _writing: int | None = None
    _next: int | None = None

    def stored(self, written: Written) -> None:
        """Begin to write a record, or remember it while another one is being written."""
        if written.name != "commit":
            return
        if self._writing is None:
            self._begin(written.value)
        else:
            self._next = written.value

    def forgotten(self) -> None:
        """Leave what was being written half written."""
        if self._writing is not None:
            self.tell(Told(Happened.CORRUPTED, self._clock(), self._writing))
            self._writing = self._next = None

    def _begin(self, record: int) -> None:
        registers = self.bars[0]
        registers["status"], registers["record"] = _BUSY, record | _HALF
        self._writing, self._next = record, None
        self.tell(Told(Happened.CRITICAL_BEGINS, self._clock(), record))
        self.later(CRITICAL, partial(self._written, self.resets))

    def _written(self, epoch: int) -> None:
        if self._writing is None or self.resets != epoch:
            return
        registers, record = self.bars[0], self._writing
        registers["status"], registers["record"], registers["checksum"] = 0, record, checksum(record)
        self._writing = None
        self.tell(Told(Happened.CRITICAL_ENDS, self._clock(), record))
        if self._next is not None:
            self._begin(self._next)


def journal(clock: Callable[[], int]) -> Function:
    """Make one that has just been powered on, with a record of 0.

    Args:
        clock: CLOCK_MONOTONIC, nanoseconds.
    """
    header = endpoint_header(vendor=VENDOR, device=DEVICE, class_code=UNCLASSIFIED)
    config = config_space((*header, memory_bar(0, BAR_BYTES)), (POWER_MANAGEMENT, MSI, PCI_EXPRESS, AER))
    return Journal(config, {0: RegisterFile(_REGISTERS, BAR_BYTES)}, clock=clock)
