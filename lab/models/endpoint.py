"""The programmable function: a plain endpoint that does nothing by itself, and wrong what it is told to.

Vendor 1af4, device 10f0.  One memory BAR of 4 KiB; FLR, PM, MSI, AER; a self-test of 100 ms that passes.

| offset | width | register | access |
| --- | --- | --- | --- |
| 0x000 | 4 | signature, "HIL0" | read only |
| 0x004 | 4 | scratch: every reset clears it | read, write |
| 0x008 | 4 | kept: no reset clears it | read, write |
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from harness.model.units import MS, Ns
from lab.models.declared import AER, MSI, PCI_EXPRESS, POWER_MANAGEMENT, endpoint_header
from lab.models.function import Function, SelfTest
from lab.models.registers import Register, RegisterFile, config_space

VENDOR: Final = 0x1AF4
DEVICE: Final = 0x10F0
BAR_BYTES: Final = 0x1000
SIGNATURE: Final = int.from_bytes(b"HIL0", "little")
SCRATCH: Final = 0x004

_UNCLASSIFIED: Final = 0xFF_0000  # base class 0xff fits no other: no driver of Linux asks for it
_BAR_0: Final = Register(
    name="bar0",
    offset=0x10,
    width=4,
    writable=0xFFFF_FFFF & ~(BAR_BYTES - 1),
    meaning="memory, 32 bits, 4 KiB",
)
_REGISTERS: Final = (
    Register(name="signature", offset=0x000, width=4, value=SIGNATURE, sticky=True),
    Register(name="scratch", offset=SCRATCH, width=4, writable=0xFFFF_FFFF, meaning="every reset clears it"),
    Register(
        name="kept", offset=0x008, width=4, writable=0xFFFF_FFFF, sticky=True, meaning="no reset clears it"
    ),
)


def endpoint(clock: Callable[[], int]) -> Function:
    """Make one that has just been powered on.

    Args:
        clock: CLOCK_MONOTONIC, nanoseconds.
    """
    header = endpoint_header(vendor=VENDOR, device=DEVICE, class_code=_UNCLASSIFIED, bist=True)
    config = config_space((*header, _BAR_0), (POWER_MANAGEMENT, MSI, PCI_EXPRESS, AER))
    function = Function(config, {0: RegisterFile(_REGISTERS, BAR_BYTES)}, clock=clock)
    function.self_test = SelfTest(lasting_ns=Ns(100 * MS))
    return function
