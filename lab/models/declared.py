"""Declarations that most functions share: the header of an endpoint, and the capabilities that Linux uses.

Values only.  Source: see each; "PCIe" is PCI Express Base r6.0, "PCI PM" is folded into its §7.5.2.
"""

from __future__ import annotations

from typing import Final

from harness.lab.models.registers import Capability, Register

MEMORY_SPACE: Final = 0x0002
"""Of COMMAND: the function decodes its memory BARs (PCIe §7.5.1.1.3)."""
BUS_MASTER: Final = 0x0004
"""Of COMMAND: the function may do DMA and send MSI."""
INITIATE_FLR: Final = 0x8000
"""Of Device Control: reads as zero (PCIe §7.5.3.4)."""
POWER_STATE: Final = 0x0003
"""Of PM Control/Status: 0 is D0, 3 is D3hot (PCIe §7.5.2.2)."""
INTX_DISABLE: Final = 0x0400
"""Of COMMAND: the function raises no INTx."""
INTX_PENDING: Final = 0x0008
"""Of STATUS: it would raise, or raises, INTx (PCIe §7.5.1.1.4)."""
MSI_ENABLE: Final = 0x0001
"""Of MSI Message Control (PCIe §7.7.1.2)."""
MSIX_ENABLE: Final = 0x8000
"""Of MSI-X Message Control (PCIe §7.7.2.2)."""
MSIX_MASK: Final = 0x4000
"""Of the same: no vector is sent."""
START_BIST: Final = 0x40
"""Of BIST: set by software, cleared by the function when it is done (PCIe §7.5.1.1.11)."""
BIST_CAPABLE: Final = 0x80
UNCLASSIFIED: Final = 0xFF_0000
"""Class code that fits no other base class: no driver of Linux asks for it."""


def memory_bar(number: int, size: int) -> Register:
    """A base address of 32 bits, not prefetchable (PCIe §7.5.1.2.1).

    Args:
        number: 0 to 5.
        size: bytes, a power of two, 128 or more.
    """
    return Register(
        name=f"bar{number}",
        offset=0x10 + 4 * number,
        width=4,
        writable=0xFFFF_FFFF & ~(size - 1),
        meaning=f"memory, 32 bits, {size} bytes",
    )


def endpoint_header(
    *, vendor: int, device: int, class_code: int, revision: int = 1, bist: bool = False
) -> tuple[Register, ...]:
    """The 64 bytes of a type 0 header (PCIe §7.5.1), with one 32-bit memory BAR and INTA.

    Args:
        vendor: vendor id, 16 bits; the subsystem's is the same.
        device: device id, 16 bits; the subsystem's is the same.
        class_code: 24 bits: base class, subclass, programming interface.
        revision: 8 bits.
        bist: whether it has a built-in self-test.
    """
    return (
        Register(name="vendor", offset=0x00, width=2, value=vendor, sticky=True),
        Register(name="device", offset=0x02, width=2, value=device, sticky=True),
        Register(
            name="command",
            offset=0x04,
            width=2,
            writable=0x0546,
            meaning="memory space, bus master, parity, SERR#, INTx disable",
        ),
        Register(
            name="status", offset=0x06, width=2, clears=0xF900, meaning="errors, cleared by writing one"
        ),
        Register(name="revision", offset=0x08, width=1, value=revision, sticky=True),
        Register(name="class-interface", offset=0x09, width=1, value=class_code & 0xFF, sticky=True),
        Register(name="class", offset=0x0A, width=2, value=class_code >> 8, sticky=True),
        Register(name="cache-line-size", offset=0x0C, width=1, writable=0xFF, meaning="no effect on PCIe"),
        Register(name="header-type", offset=0x0E, width=1, sticky=True),
        Register(
            name="bist",
            offset=0x0F,
            width=1,
            value=BIST_CAPABLE if bist else 0,
            writable=START_BIST if bist else 0,
            meaning="start bit, and in bits 3:0 the result",
        ),
        Register(name="subsystem-vendor", offset=0x2C, width=2, value=vendor, sticky=True),
        Register(name="subsystem", offset=0x2E, width=2, value=device, sticky=True),
        Register(name="capabilities-pointer", offset=0x34, width=1, sticky=True),
        Register(name="interrupt-line", offset=0x3C, width=1, writable=0xFF),
        Register(name="interrupt-pin", offset=0x3D, width=1, value=1, sticky=True, meaning="INTA"),
    )


PCI_EXPRESS: Final = Capability(
    name="express",
    id=0x10,
    size=0x3C,
    registers=(
        Register(
            name="capabilities",
            offset=0x02,
            width=2,
            value=0x0002,
            sticky=True,
            meaning="version 2, endpoint",
        ),
        Register(
            name="device-capabilities",
            offset=0x04,
            width=4,
            value=0x1000_8000,
            sticky=True,
            meaning="128 bytes of payload, role-based error reporting, function level reset",
        ),
        Register(
            name="device-control", offset=0x08, width=2, value=0x2810, writable=0xFFFF, meaning="bit 15: FLR"
        ),
        Register(
            name="device-status",
            offset=0x0A,
            width=2,
            clears=0x000F,
            meaning="errors; bit 5: transactions pending",
        ),
        Register(
            name="link-capabilities",
            offset=0x0C,
            width=4,
            value=0x0000_0011,
            sticky=True,
            meaning="x1, 2.5 GT/s",
        ),
        Register(name="link-control", offset=0x10, width=2, writable=0x01FB),
        Register(name="link-status", offset=0x12, width=2, value=0x0011, sticky=True, meaning="x1, 2.5 GT/s"),
        Register(name="device-capabilities-2", offset=0x24, width=4, value=0x0000_0010, sticky=True),
        Register(name="device-control-2", offset=0x28, width=2, writable=0x001F),
        Register(name="link-capabilities-2", offset=0x2C, width=4, value=0x0000_0002, sticky=True),
        Register(name="link-control-2", offset=0x30, width=2, value=0x0001, writable=0x000F, sticky=True),
        Register(name="link-status-2", offset=0x32, width=2, sticky=True),
    ),
)
"""PCI Express capability of an endpoint with function level reset (PCIe §7.5.3)."""

POWER_MANAGEMENT: Final = Capability(
    name="pm",
    id=0x01,
    size=0x08,
    registers=(
        Register(
            name="capabilities",
            offset=0x02,
            width=2,
            value=0x0003,
            sticky=True,
            meaning="version 3, D0 and D3hot",
        ),
        Register(
            name="control-status",
            offset=0x04,
            width=2,
            writable=0x0003,
            meaning="power state; no No_Soft_Reset: leaving D3hot resets",
        ),
    ),
)
"""Power management (PCIe §7.5.2); without No_Soft_Reset Linux offers the reset method `pm`."""

MSI: Final = Capability(
    name="msi",
    id=0x05,
    size=0x0E,
    registers=(
        Register(
            name="control", offset=0x02, width=2, value=0x0080, writable=0x0071, meaning="one vector, 64 bits"
        ),
        Register(name="address", offset=0x04, width=8, writable=0xFFFF_FFFF_FFFF_FFFC),
        Register(name="data", offset=0x0C, width=2, writable=0xFFFF),
    ),
)
"""MSI with one vector and a 64-bit address (PCIe §7.7.1)."""


def msix(*, vectors: int, bar: int, table: int, pending: int) -> Capability:
    """MSI-X (PCIe §7.7.2); QEMU answers for the table and the pending bits itself.

    Args:
        vectors: 1 to 2048.
        bar: 0 to 5, that holds both.
        table: offset of the table in it, 16 bytes a vector; a multiple of 8.
        pending: offset of the pending bits, 8 bytes for 64 vectors; a multiple of 8.
    """
    return Capability(
        name="msix",
        id=0x11,
        size=0x0C,
        registers=(
            Register(
                name="control",
                offset=0x02,
                width=2,
                value=vectors - 1,
                writable=MSIX_ENABLE | MSIX_MASK,
                meaning="vectors, less one",
            ),
            Register(name="table", offset=0x04, width=4, value=table | bar, sticky=True),
            Register(name="pending", offset=0x08, width=4, value=pending | bar, sticky=True),
        ),
    )


AER: Final = Capability(
    name="aer",
    id=0x0001,
    version=2,
    size=0x48,
    registers=(
        Register(name="uncorrectable-status", offset=0x04, width=4, clears=0x07FF_F030, sticky=True),
        Register(name="uncorrectable-mask", offset=0x08, width=4, writable=0x07FF_F030, sticky=True),
        Register(
            name="uncorrectable-severity",
            offset=0x0C,
            width=4,
            value=0x0046_2030,
            writable=0x07FF_F030,
            sticky=True,
        ),
        Register(name="correctable-status", offset=0x10, width=4, clears=0x0000_F1C1, sticky=True),
        Register(
            name="correctable-mask",
            offset=0x14,
            width=4,
            value=0x0000_6000,
            writable=0x0000_F1C1,
            sticky=True,
        ),
        Register(name="control", offset=0x18, width=4, writable=0x0000_0150, sticky=True),
        Register(name="header-log", offset=0x1C, width=8, sticky=True),
        Register(name="header-log-high", offset=0x24, width=8, sticky=True),
    ),
)
"""Advanced Error Reporting of an endpoint (PCIe §7.8.4)."""
