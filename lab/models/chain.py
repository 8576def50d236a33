"""A function whose extended capabilities can be made to lie, and to lead back to themselves.

Vendor 1af4, device 10f2.  It has a PCI Express capability with FLR, PM and MSI, no BAR, and no extended capability: the
dwords at 0x100 and 0x140 read as zero until a fault gives them a value:

    first-header   0x100  Misbehaviour.WRONG_VALUE, value=header(0x000B, next=0x140)
    second-header  0x140  Misbehaviour.WRONG_VALUE, value=header(0x000B, next=0x100)

QEMU answers for the headers of extended capabilities itself, next pointers and all, when the dword at 0x100 was not
zero at the moment it connected; so a chain that lies must not be there then, and shows itself at a rescan.

The standard list cannot be made to loop through this client: QEMU walks it when it connects, and from then on answers
the pointer at 0x34 and the next pointer of every capability from its own copy, as it does for all of MSI and MSI-X.
The id and the body of any other standard capability are the model's each time: `pm-id`, `express-device-capabilities`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from harness.lab.models.declared import MSI, PCI_EXPRESS, POWER_MANAGEMENT, UNCLASSIFIED, endpoint_header
from harness.lab.models.endpoint import VENDOR
from harness.lab.models.function import Function
from harness.lab.models.registers import Register, config_space

DEVICE: Final = 0x10F2
FIRST: Final = 0x100
SECOND: Final = 0x140

_HIDDEN: Final = (
    Register(name="first-header", offset=FIRST, width=4, meaning="no extended capability, until a fault"),
    Register(name="second-header", offset=SECOND, width=4, meaning="likewise"),
)


def chain(clock: Callable[[], int]) -> Function:
    """Make one that has just been powered on.

    Args:
        clock: CLOCK_MONOTONIC, nanoseconds.
    """
    header = endpoint_header(vendor=VENDOR, device=DEVICE, class_code=UNCLASSIFIED)
    config = config_space((*header, *_HIDDEN), (POWER_MANAGEMENT, MSI, PCI_EXPRESS))
    return Function(config, {}, clock=clock)
