"""Hot reset: a slot or bus is reset, and with it every function there.

Source: Linux drivers/vfio/pci/vfio_pci_core.c, `vfio_pci_ioctl_get_pci_hot_reset_info()` and
`vfio_pci_dev_set_hot_reset()`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from harness.bindings import vfio
from harness.model.pci import Bdf
from harness.vfio.step import Step, doing

_NOT_OWNED: Final = 0xFFFF_FFFF


@dataclass(frozen=True, slots=True, kw_only=True)
class Affected:
    """A function that a hot reset resets.

    Attributes:
        group: number of its IOMMU group; None when the device was opened through its own character device.
        owned: whether this user of the character device owns it; None when it was opened through a group.
    """

    bdf: Bdf
    group: int | None
    owned: bool | None


def affected(bdf: Bdf, device: vfio.DeviceFd) -> tuple[Affected, ...]:
    """Every function that a hot reset of this one resets, itself among them.

    Raises:
        KernelRefusal: ENODEV where neither slot nor bus can be reset.
    """
    with doing(Step.HOT_RESET_INFO, bdf):
        flags, functions = vfio.hot_reset_info(device)
    # A kernel sets this flag only for a character device, which cannot be opened without the header that has it.
    name = "VFIO_PCI_HOT_RESET_FLAG_DEV_ID"
    by_device = vfio.HEADER.present[name] and bool(flags & vfio.HEADER.value(name))
    return tuple(
        Affected(
            bdf=Bdf(one.segment, one.bus, one.devfn >> 3, one.devfn & 7),
            group=None if by_device else one.owner,
            owned=one.owner != _NOT_OWNED if by_device else None,
        )
        for one in functions
    )


def reset(bdf: Bdf, device: vfio.DeviceFd, group_fds: Sequence[vfio.GroupFd]) -> None:
    """Reset the slot or bus of a function.

    Args:
        bdf: the function.
        device: its descriptor.
        group_fds: the groups that own all its functions; none when it was opened through its character device.

    Raises:
        KernelRefusal: EINVAL when a function is not owned, ENODEV where nothing can be reset, EAGAIN or EBUSY under
            contention.
    """
    with doing(Step.HOT_RESET, bdf):
        vfio.hot_reset(device, group_fds)
