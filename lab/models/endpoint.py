"""The programmable function: a plain endpoint that does nothing by itself, and wrong what it is told to.

Vendor 1af4, device 10f0.  One memory BAR of 4 KiB; FLR, PM, MSI, AER; a self-test of 100 ms that passes.

| offset | width | register | access |
| --- | --- | --- | --- |
| 0x000 | 4 | signature, "HIL0" | read only |
| 0x004 | 4 | scratch: every reset clears it | read, write |
| 0x008 | 4 | kept: no reset clears it | read, write |
| 0x010 | 4 | interrupt-trigger: a write is the cause of an interrupt | write only |
| 0x014 | 4 | interrupt-acknowledge: a write takes the cause of INTx away | write only |
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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
from harness.lab.models.function import INTX_AND_MSI, Function, SelfTest
from harness.lab.models.registers import Capability, Register, RegisterFile, Written, config_space
from harness.model.units import MS, Ns

VENDOR: Final = 0x1AF4
DEVICE: Final = 0x10F0
BAR_BYTES: Final = 0x1000
SIGNATURE: Final = int.from_bytes(b"HIL0", "little")
SCRATCH: Final = 0x004
TRIGGER: Final = 0x010
ACKNOWLEDGE: Final = 0x014

_REGISTERS: Final = (
    Register(name="signature", offset=0x000, width=4, value=SIGNATURE, sticky=True),
    Register(name="scratch", offset=SCRATCH, width=4, writable=0xFFFF_FFFF, meaning="every reset clears it"),
    Register(
        name="kept", offset=0x008, width=4, writable=0xFFFF_FFFF, sticky=True, meaning="no reset clears it"
    ),
    Register(
        name="interrupt-trigger", offset=TRIGGER, width=4, meaning="a write is the cause of an interrupt"
    ),
    Register(name="interrupt-acknowledge", offset=ACKNOWLEDGE, width=4, meaning="INTx has no cause any more"),
)


class Endpoint(Function):
    """The programmable function."""

    def stored(self, written: Written) -> None:
        """Carry out what a write of a register asks for."""
        if written.name == "interrupt-trigger":
            self.interrupt()
        elif written.name == "interrupt-acknowledge":
            self.withdraw()


def endpoint(
    clock: Callable[[], int],
    *,
    device: int = DEVICE,
    capabilities: Sequence[Capability] = (POWER_MANAGEMENT, MSI, PCI_EXPRESS, AER),
    vectors: Mapping[int, int] = INTX_AND_MSI,
) -> Endpoint:
    """Make one that has just been powered on.

    Args:
        clock: CLOCK_MONOTONIC, nanoseconds.
        device: device id, 16 bits.
        capabilities: in the order of their chain.
        vectors: how many interrupts of each kind.
    """
    header = endpoint_header(vendor=VENDOR, device=device, class_code=UNCLASSIFIED, bist=True)
    config = config_space((*header, memory_bar(0, BAR_BYTES)), capabilities)
    function = Endpoint(config, {0: RegisterFile(_REGISTERS, BAR_BYTES)}, clock=clock, vectors=vectors)
    function.self_test = SelfTest(lasting_ns=Ns(100 * MS))
    return function
