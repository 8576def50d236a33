"""An open function: what it is, its regions and interrupts, its resets.

A device does not know how it was opened: through its IOMMU group (group.py) or its own character device (cdev.py).
Source: Linux Documentation/driver-api/vfio.rst.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

from harness.bindings import vfio
from harness.closing import Closing
from harness.model.pci import Bdf, check_access
from harness.vfio import hot_reset
from harness.vfio.feature import Features
from harness.vfio.interrupt import Interrupt
from harness.vfio.region import Region
from harness.vfio.step import Step, doing

if TYPE_CHECKING:
    from harness.vfio.group import Group


class Device(Closing):
    """An open function.  Owns its descriptor, and the mappings and eventfds that its regions and interrupts made."""

    def __init__(self, bdf: Bdf, fd: vfio.DeviceFd) -> None:
        """Take a descriptor over; it is closed also when this fails.

        Raises:
            KernelRefusal: it does not say what it is.
        """
        self.bdf: Final = bdf
        self.fd: Final = fd
        self._regions: dict[int, Region] = {}
        self._interrupts: dict[vfio.Irq, Interrupt] = {}
        with ExitStack() as opening:
            opening.callback(os.close, fd)
            with doing(Step.DEVICE_INFO, bdf):
                self.info: Final = vfio.device_info(fd)
            self._closing = opening.pop_all()

    @property
    def regions(self) -> int:
        """How many regions it has; BARs 0 to 5, ROM 6, config space 7, VGA 8, and any beyond."""
        return self.info.regions

    @property
    def irqs(self) -> int:
        """How many interrupt indexes it has."""
        return self.info.irqs

    def region(self, index: int) -> Region:
        """One of its regions; the same object each time.

        Raises:
            KernelRefusal: EINVAL for an index that it does not have.
        """
        if index not in self._regions:
            with doing(Step.REGION_INFO, self.bdf):
                info = vfio.region_info(self.fd, index)
            self._regions[index] = self._closing.enter_context(Region(self.bdf, self.fd, info))
        return self._regions[index]

    def interrupt(self, index: vfio.Irq) -> Interrupt:
        """One of its interrupt indexes; the same object each time.

        Raises:
            KernelRefusal: EINVAL for an index that it does not have.
        """
        if index not in self._interrupts:
            with doing(Step.IRQ_INFO, self.bdf):
                info = vfio.irq_info(self.fd, index)
            self._interrupts[index] = self._closing.enter_context(Interrupt(self.bdf, self.fd, info))
        return self._interrupts[index]

    @property
    def features(self) -> Features:
        """What else it can do."""
        return Features(self.bdf, self.fd)

    @property
    def config(self) -> Region:
        """Config space."""
        return self.region(vfio.CONFIG_REGION)

    def read_config(self, offset: int, width: int) -> int:
        """Read config space through VFIO: some bits come from a copy (`vfio_pci_config.c`), 0x04 and 0x08 do not.

        Raises:
            UsageError: no such access.
            KernelRefusal: with the errno.
        """
        check_access(offset, width, size=self.config.size)
        return self.config.read(offset, width)

    def reset(self) -> None:
        """VFIO_DEVICE_RESET: reset this function, and no other.

        Raises:
            KernelRefusal: EAGAIN under contention, EINVAL when it could not be reset at its opening, ENOTTY when no
                method worked.
        """
        with doing(Step.RESET, self.bdf):
            vfio.device_reset(self.fd)

    def hot_reset_info(self) -> tuple[hot_reset.Affected, ...]:
        """Every function that :meth:`hot_reset` would reset.

        Raises:
            KernelRefusal: ENODEV where neither slot nor bus can be reset.
        """
        return hot_reset.affected(self.bdf, self.fd)

    def hot_reset(self, groups: Sequence[Group] = ()) -> None:
        """VFIO_DEVICE_PCI_HOT_RESET: reset the slot or bus.

        Args:
            groups: those of all its functions; none when this was opened through its character device.

        Raises:
            KernelRefusal: EINVAL when a function is not owned, ENODEV where nothing can be reset, EAGAIN or EBUSY under
                contention.
        """
        hot_reset.reset(self.bdf, self.fd, [group.fd for group in groups])

    def close(self) -> None:
        """Take mappings and interrupts away, then close the function, which resets it; a second time does nothing."""
        self._closing.close()
