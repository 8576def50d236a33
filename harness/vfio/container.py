"""A container: the I/O address space that its IOMMU groups share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Final

from harness.bindings import vfio
from harness.closing import Closing
from harness.errors import TargetError
from harness.model.pci import Bdf
from harness.vfio.device import Device
from harness.vfio.dma import DmaMapping
from harness.vfio.group import Group, number_of
from harness.vfio.step import Step, doing

_READ_WRITE: Final = vfio.DmaAccess.READ | vfio.DmaAccess.WRITE


class Container(Closing):
    """An open container.  Owns its descriptor, its groups, and what is mapped for their functions."""

    def __init__(self) -> None:
        """Open /dev/vfio/vfio.

        Raises:
            KernelRefusal: with the errno.
            TargetError: the kernel speaks another version of the interface.
        """
        self._groups: dict[int, Group] = {}
        self._attached = ExitStack()
        with ExitStack() as opening:
            with doing(Step.OPEN_CONTAINER):
                self.fd: Final = vfio.ContainerFd(os.open("/dev/vfio/vfio", os.O_RDWR | os.O_CLOEXEC))
                opening.callback(os.close, self.fd)
                version = vfio.api_version(self.fd)
                type1v2 = vfio.has_extension(self.fd, vfio.TYPE1V2)
            if version != vfio.API_VERSION or not type1v2:
                raise TargetError(
                    "opening /dev/vfio/vfio",
                    said=f"interface {version}, type 1 IOMMU: {'yes' if type1v2 else 'no'}",
                    hint="Load vfio_iommu_type1.",
                )
            self._closing = opening.pop_all()

    @property
    def groups(self) -> tuple[Group, ...]:
        """What is attached, in that order."""
        return tuple(group for group in self._groups.values() if not group.closed)

    def attach(self, bdf: Bdf) -> Group:
        """Open the IOMMU group of a function and put it in; a group that is in already is returned as it is.

        Raises:
            TargetError: no IOMMU group, or one that is not viable.
            KernelRefusal: which step, and the errno: EBUSY for a group that is open elsewhere, EPERM without
                interrupt remapping.
        """
        number = number_of(bdf)
        known = self._groups.get(number)
        if known is not None and not known.closed:
            return known
        with ExitStack() as attaching:
            group = attaching.enter_context(Group(bdf))
            if not group.viable:
                raise TargetError(
                    f"opening {bdf} through VFIO",
                    said=f"group {number} is not viable",
                    hint="Every function of the group must be bound to vfio-pci or to nothing.",
                )
            with doing(Step.SET_CONTAINER, bdf):
                vfio.set_container(group.fd, self.fd)
            if not self.groups:
                with doing(Step.SET_IOMMU, bdf):
                    vfio.set_iommu(self.fd, vfio.TYPE1V2)
            self._attached.push(attaching.pop_all())
        self._groups[number] = group
        return group

    def iommu_info(self) -> vfio.IommuInfo:
        """Page sizes and address ranges of the IOMMU; needs a group.

        Raises:
            KernelRefusal: EINVAL without a group.
        """
        with doing(Step.IOMMU_INFO):
            return vfio.iommu_info(self.fd)

    def map_dma(self, memory: Any, iova: int, access: vfio.DmaAccess = _READ_WRITE) -> DmaMapping:
        """Let functions of this container reach memory of this process.

        Args:
            memory: a writable buffer of whole pages, such as an anonymous mmap; it cannot be closed while it is mapped.
            iova: where functions see it, page-aligned, in bytes.
            access: what they may do with it.

        Raises:
            KernelRefusal: EEXIST where something is mapped already, EINVAL for what is not whole pages.
        """

        def map_pages(address: int, iova: int, size: int) -> None:
            with doing(Step.MAP_DMA):
                vfio.map_dma(self.fd, address=address, iova=iova, size=size, access=access)

        return self._closing.enter_context(
            DmaMapping(memory, iova, map_pages=map_pages, unmap_pages=self._unmap_pages)
        )

    def close(self) -> None:
        """Close devices, groups, and the container, in that order; memory stays mapped as long as a device is open.

        A second time does nothing.
        """
        try:
            self._attached.close()
        finally:
            self._closing.close()

    def _unmap_pages(self, iova: int, size: int) -> None:
        if self.groups:  # with its last group a container loses the IOMMU and everything that was mapped
            with doing(Step.UNMAP_DMA):
                vfio.unmap_dma(self.fd, iova=iova, size=size)


@contextmanager
def opened(bdf: Bdf) -> Iterator[Device]:
    """Open a function that is bound to vfio-pci through its group; closed again in the order device, group, container.

    Opening resets the function, and so does closing it.

    Raises:
        TargetError: no IOMMU group, or a group that is not viable.
        KernelRefusal: a step was refused; which one, and the errno.
    """
    with Container() as container:
        yield container.attach(bdf).open(bdf)
