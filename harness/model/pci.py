"""PCI words: addresses of functions, widths of accesses, reset methods, registers that tests name.

Sources: PCI Express Base Specification r6.0 §7.5 (configuration space), Linux `Documentation/ABI/testing/
sysfs-bus-pci` (reset_method).
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from typing import Final, Literal

from harness.errors import UsageError

_BDF: Final = re.compile(r"(?:([0-9a-fA-F]{4,8}):)?([0-9a-fA-F]{2}):([0-9a-fA-F]{2})\.([0-7])")


@dataclass(frozen=True, slots=True, order=True)
class Bdf:
    """Address of a PCI function: domain (0..), bus (0..255), device (0..31), function (0..7)."""

    domain: int
    bus: int
    device: int
    function: int

    @classmethod
    def parse(cls, text: str) -> Bdf:
        """Read `0000:01:00.0`; the domain may be left out and is then 0.

        Raises:
            UsageError: `text` is no address of a function.
        """
        match = _BDF.fullmatch(text.strip())
        if match is None or int(match[3], 16) > 0x1F:
            raise UsageError(
                f"address {text!r}",
                said="not a PCI function",
                hint="Write domain:bus:device.function: 0000:01:00.0.",
            )
        return cls(int(match[1] or "0", 16), int(match[2], 16), int(match[3], 16), int(match[4]))

    def __str__(self) -> str:
        return f"{self.domain:04x}:{self.bus:02x}:{self.device:02x}.{self.function}"


class Nature(enum.StrEnum):
    """What a function is made of; a weakness of QEMU's igb says nothing about a real 82576."""

    EMULATED = "emulated"
    PHYSICAL = "physical"


class ResetMethod(enum.StrEnum):
    """Names that Linux reads and writes in `reset_method`, in the kernel's own order of preference.

    Source: Linux drivers/pci, `pci_reset_fn_methods[]`.
    """

    DEVICE_SPECIFIC = "device_specific"
    ACPI = "acpi"
    FLR = "flr"
    AF_FLR = "af_flr"
    PM = "pm"
    BUS = "bus"
    CXL_BUS = "cxl_bus"

    @classmethod
    def named(cls, text: str) -> ResetMethod:
        """Look a method up by its sysfs name.

        Raises:
            UsageError: Linux knows no such method.
        """
        try:
            return cls(text)
        except ValueError:
            raise UsageError(
                f"reset method {text!r}", said="unknown to Linux", hint=f"Choose one of: {', '.join(cls)}."
            ) from None


MethodWord = ResetMethod | Literal["device_specific", "acpi", "flr", "af_flr", "pm", "bus", "cxl_bus"]
"""A reset method as tests name it: a misspelt one is told by the type checker, and by :meth:`ResetMethod.named`."""


class AccessPath(enum.StrEnum):
    """Ways by which user space reads config space."""

    SYSFS = "sysfs"
    """`/sys/bus/pci/devices/BDF/config`."""
    PROC = "proc"
    """`/proc/bus/pci/BB/DD.F`."""

    @classmethod
    def named(cls, text: str) -> AccessPath:
        """Look an access path up by name.

        Raises:
            UsageError: there is no such path.
        """
        try:
            return cls(text)
        except ValueError:
            raise UsageError(
                f"access path {text!r}", said="unknown", hint=f"Choose one of: {', '.join(cls)}."
            ) from None


AccessWord = AccessPath | Literal["sysfs", "proc"]
"""An access path as tests name it, likewise."""
Width = Literal[1, 2, 4]
"""Of an access to config space, in bytes."""
RegisterWidth = Literal[1, 2, 4, 8]
"""Of an access to a register of a BAR, in bytes."""

CONFIG_SPACE_BYTES: Final = 256
"""Config space of a conventional function (PCI Local Bus r3.0 §6.1)."""
EXTENDED_CONFIG_SPACE_BYTES: Final = 4096
"""Config space of a PCI Express function (PCIe r6.0 §7.2.2)."""

VENDOR_ID: Final = 0x00
COMMAND: Final = 0x04
"""Command (16 bits) and, in the upper half of the same dword, Status (PCIe r6.0 §7.5.1.1.3)."""
MEMORY_SPACE: Final = 0x02
"""Of COMMAND: the function decodes its memory (PCIe r6.0 §7.5.1.1.3)."""
REVISION_ID: Final = 0x08
CACHE_LINE_SIZE: Final = 0x0C
BAR0: Final = 0x10
SUBSYSTEM_ID: Final = 0x2C
CAPABILITIES_POINTER: Final = 0x34


def check_access(offset: int, width: int, *, size: int = EXTENDED_CONFIG_SPACE_BYTES) -> None:
    """Make sure that an access is one that config space knows.

    Args:
        offset: in bytes from the start of config space.
        width: in bytes: 1, 2 or 4.
        size: of the function's config space in bytes: 256 or 4096.

    Raises:
        UsageError: no number, another width, or an access that leaves config space.
    """
    if type(offset) is not int:
        raise UsageError(
            f"config access at {offset!r}",
            said="no offset in config space",
            hint="It is a number of bytes: at=0x04.",
        )
    if type(width) is not int or width not in (1, 2, 4):
        raise UsageError(
            f"config access of {width!r} bytes", said="no such width", hint="A width is 1, 2 or 4 bytes."
        )
    if not 0 <= offset <= size - width:
        raise UsageError(
            f"config access of {width} bytes at offset {offset:#x}",
            said=f"outside the {size} bytes of config space",
            hint=f"The last offset for this width is {size - width:#x}.",
        )


def check_register(alias: str, bar: int, offset: int, width: int) -> None:
    """Make sure that an access is one that a register of a BAR can have; how long the BAR is, only the target knows.

    Args:
        alias: of the function, for the message.
        bar: 0 to 5.
        offset: in bytes from the start of the BAR.
        width: in bytes: 1, 2, 4 or 8.

    Raises:
        UsageError: no such BAR, no number, before the BAR begins, or another width.
    """
    at = f"{offset:#x}" if type(offset) is int else repr(offset)
    what = f"register of {width!r} bytes at {at} in BAR {bar!r} of {alias}"
    if type(bar) is not int or bar not in range(6):
        raise UsageError(what, said="no such BAR", hint="BARs are 0 to 5.")
    if type(width) is not int or width not in (1, 2, 4, 8):
        raise UsageError(what, said="no such width", hint="A width is 1, 2, 4 or 8 bytes.")
    if type(offset) is not int:
        raise UsageError(what, said="no offset in a BAR", hint="It is a number of bytes: at=0x10.")
    if offset < 0:
        raise UsageError(what, said="before the BAR begins", hint="Offsets are 0 or more.")


def check_value(value: bytes) -> None:
    """Make sure that what is written is bytes.

    Raises:
        UsageError: it is something else.
    """
    if not isinstance(value, bytes):
        raise UsageError(
            f"writing {value!r}",
            said="no bytes",
            hint=r'Write them as they lie in memory: value=b"\x06\x00".',
        )
