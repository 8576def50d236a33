"""A function through its own character device and iommufd: the newer way, beside container and group.

Needs a kernel with CONFIG_IOMMUFD and CONFIG_VFIO_DEVICE_CDEV, and bindings that were compiled against the headers of
Linux 6.6 or later.  The devices are those of device.py; hot reset of them takes no groups.
Source: Linux Documentation/driver-api/vfio.rst, "VFIO Device cdev"; Documentation/userspace-api/iommufd.rst.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from harness.bindings import iommufd, vfio
from harness.closing import Closing
from harness.errors import TargetError
from harness.model.pci import Bdf
from harness.pci import sysfs
from harness.vfio.device import Device
from harness.vfio.dma import DmaMapping
from harness.vfio.step import CDEV_HINT, Step, doing

IOMMUFD: Final = Path("/dev/iommu")
DEVICES: Final = Path("/dev/vfio/devices")


def device_file(bdf: Bdf) -> Path:
    """The character device of a function that is bound to vfio-pci.

    Raises:
        TargetError: it has none.
    """
    names = sorted(path.name for path in sysfs.path_of(bdf, "vfio-dev").glob("vfio*"))
    if not names:
        raise TargetError(f"looking for the character device of {bdf}", said="none", hint=CDEV_HINT)
    return DEVICES / names[0]


class AddressSpace(Closing):
    """An open iommufd with one I/O address space.  Owns its descriptor and the devices that were opened into it."""

    def __init__(self) -> None:
        """Open /dev/iommu and make the address space.

        Raises:
            TargetError: the bindings were compiled without the header.
            KernelRefusal: ENOENT without CONFIG_IOMMUFD.
        """
        with ExitStack() as opening:
            with doing(Step.OPEN_IOMMUFD):
                self.fd: Final = vfio.IommuFd(os.open(IOMMUFD, os.O_RDWR | os.O_CLOEXEC))
            opening.callback(os.close, self.fd)
            with doing(Step.ALLOCATE_IOAS):
                self.identifier: Final = iommufd.allocate_ioas(self.fd)
            # Mappings lie between the descriptor and the devices: unmapped when no device can reach them any more.
            self._mappings = opening.enter_context(ExitStack())
            self._closing = opening.pop_all()

    def open(self, bdf: Bdf) -> Device:
        """Open a function that is bound to vfio-pci, which resets it, and give it this address space.

        Raises:
            TargetError: it has no character device, or the bindings were compiled without the header.
            KernelRefusal: EBUSY while its group is open, EINVAL when it is bound already, EAGAIN under contention.
        """
        path = device_file(bdf)
        with ExitStack() as opening:
            with doing(Step.OPEN_CDEV, bdf):
                fd = vfio.DeviceFd(os.open(path, os.O_RDWR | os.O_CLOEXEC))
            opening.callback(os.close, fd)
            with doing(Step.BIND_IOMMUFD, bdf):
                vfio.bind_iommufd(fd, self.fd)
            with doing(Step.ATTACH_IOAS, bdf):
                vfio.attach_iommufd_pt(fd, self.identifier)
            opening.pop_all()  # the device takes it over
        return self._closing.enter_context(Device(bdf, fd))

    def map_dma(self, memory: Any, iova: int) -> DmaMapping:
        """Let functions of this address space read and write memory of this process.

        Args:
            memory: a writable buffer of whole pages; it cannot be closed while it is mapped.
            iova: where functions see it, page-aligned, in bytes.

        Raises:
            TargetError: the bindings were compiled without the header.
            KernelRefusal: EEXIST where something is mapped already, EINVAL for what is not whole pages.
        """

        def map_pages(address: int, iova: int, size: int) -> None:
            with doing(Step.MAP_DMA):
                iommufd.map_ioas(self.fd, self.identifier, address=address, iova=iova, size=size)

        def unmap_pages(iova: int, size: int) -> None:
            with doing(Step.UNMAP_DMA):
                iommufd.unmap_ioas(self.fd, self.identifier, iova=iova, size=size)

        return self._mappings.enter_context(
            DmaMapping(memory, iova, map_pages=map_pages, unmap_pages=unmap_pages)
        )

    def close(self) -> None:
        """Close devices, then the address space with all that is mapped in it; a second time does nothing."""
        self._closing.close()
