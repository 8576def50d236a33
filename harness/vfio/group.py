"""An IOMMU group: the unit of isolation, and the legacy way to its functions."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from harness.bindings import vfio
from harness.closing import Closing
from harness.errors import TargetError
from harness.model.pci import Bdf
from harness.pci import sysfs
from harness.vfio.device import Device
from harness.vfio.step import Step, doing

_FOLDER: Final = Path("/dev/vfio")


def number_of(bdf: Bdf) -> int:
    """Number of a function's IOMMU group.

    Raises:
        TargetError: it has none.
    """
    link = sysfs.path_of(bdf, "iommu_group")
    if not sysfs.is_there(link):
        raise TargetError(
            f"opening {bdf} through VFIO",
            said="it has no IOMMU group",
            hint="Boot with intel_iommu=on or amd_iommu=on.",
        )
    return int(link.resolve().name)


class Group(Closing):
    """An open IOMMU group.  Owns its descriptor and the devices opened through it."""

    def __init__(self, bdf: Bdf) -> None:
        """Open the group of a function; it has one user at a time.

        Raises:
            TargetError: the function has no group.
            KernelRefusal: EBUSY when it is open elsewhere, ENOENT when no function of it is bound to vfio-pci.
        """
        self.number: Final = number_of(bdf)
        self._closing = ExitStack()
        self._closed = False
        with doing(Step.OPEN_GROUP, bdf):
            self.fd: Final = vfio.GroupFd(os.open(_FOLDER / str(self.number), os.O_RDWR | os.O_CLOEXEC))
        self._closing.callback(os.close, self.fd)

    @property
    def viable(self) -> bool:
        """Whether every function of the group is bound to vfio-pci, or to nothing.

        Raises:
            KernelRefusal: with the errno.
        """
        with doing(Step.GROUP_STATUS, f"group {self.number}"):
            return bool(vfio.group_flags(self.fd) & vfio.GROUP_VIABLE)

    def open(self, bdf: Bdf) -> Device:
        """Open a function of the group, which resets it; it is closed with the group at the latest.

        Raises:
            KernelRefusal: EAGAIN under contention, ENODEV when it is not in the group or not bound to vfio-pci.
        """
        with doing(Step.GET_DEVICE, bdf):
            fd = vfio.device_fd(self.fd, str(bdf))
        return self._closing.enter_context(Device(bdf, fd))

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._closed

    def close(self) -> None:
        """Close devices, then the group; a second time does nothing."""
        self._closed = True
        self._closing.close()
