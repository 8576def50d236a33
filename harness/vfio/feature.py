"""Features of an open function: what it has, and its low-power states.

Source: include/uapi/linux/vfio.h, VFIO_DEVICE_FEATURE; Linux drivers/vfio/pci/vfio_pci_core.c,
`vfio_pci_core_ioctl_feature()`.
"""

from __future__ import annotations

import enum

from harness.bindings import vfio
from harness.model.pci import Bdf
from harness.vfio.step import Step, doing


class Feature(enum.StrEnum):
    """Features that can be probed; the value is the kernel's name of it."""

    LOW_POWER_ENTRY = "VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY"
    LOW_POWER_ENTRY_WITH_WAKEUP = "VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP"
    LOW_POWER_EXIT = "VFIO_DEVICE_FEATURE_LOW_POWER_EXIT"

    @property
    def number(self) -> int:
        """Its index.

        Raises:
            TargetError: the header that the bindings were compiled against lacks it.
        """
        return vfio.HEADER.value(self.value)


class Features:
    """The features of one open function; borrows its descriptor."""

    def __init__(self, bdf: Bdf, device: vfio.DeviceFd) -> None:
        self.bdf, self._device = bdf, device

    def has(self, feature: Feature, access: vfio.FeatureAccess = vfio.FeatureAccess.SET) -> bool:
        """Probe whether the function has a feature, and all these accesses to it.

        Raises:
            TargetError: the header that the bindings were compiled against lacks it.
            KernelRefusal: with the errno.
        """
        with doing(Step.FEATURE, self.bdf):
            return vfio.probe_feature(self._device, feature.number, access)

    def enter_low_power(self) -> None:
        """Let the function sleep; an ioctl or a read wakes it for its duration, a mapped access gives SIGBUS.

        Raises:
            TargetError: the header that the bindings were compiled against lacks it.
            KernelRefusal: EINVAL when it sleeps already.
        """
        with doing(Step.FEATURE, self.bdf):
            vfio.set_feature(self._device, Feature.LOW_POWER_ENTRY.number)

    def enter_low_power_with_wakeup(self, eventfd: int) -> None:
        """Let the function sleep until something wakes it, which ends the low-power state and signals an eventfd.

        Raises:
            TargetError: the header that the bindings were compiled against lacks it.
            KernelRefusal: EINVAL when it sleeps already.
        """
        with doing(Step.FEATURE, self.bdf):
            vfio.enter_low_power_with_wakeup(self._device, eventfd)

    def exit_low_power(self) -> None:
        """Wake the function; harmless when it is awake.

        Raises:
            TargetError: the header that the bindings were compiled against lacks it.
            KernelRefusal: with the errno.
        """
        with doing(Step.FEATURE, self.bdf):
            vfio.set_feature(self._device, Feature.LOW_POWER_EXIT.number)
