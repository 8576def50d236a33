"""Open a function through its IOMMU group and the type 1 container.

Source: Linux Documentation/driver-api/vfio.rst.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from harness.bindings import vfio
from harness.errors import KernelRefusal, TargetError
from harness.model.pci import Bdf, check_access
from harness.pci import sysfs


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """An open function; valid inside :func:`opened`."""

    bdf: Bdf
    fd: vfio.DeviceFd
    regions: int
    irqs: int
    config: vfio.RegionInfo

    def read_config(self, offset: int, width: int) -> int:
        """Read config space through VFIO: some bits come from a copy (`vfio_pci_config.c`), 0x04 and 0x08 do not.

        Raises:
            UsageError: no such access.
            KernelRefusal: with the errno.
        """
        check_access(offset, width, size=self.config.size)
        try:
            return int.from_bytes(os.pread(self.fd, width, self.config.offset + offset), "little")
        except OSError as error:
            raise KernelRefusal(
                f"reading config of {self.bdf} through VFIO", errno=error.errno or 0
            ) from error


@contextmanager
def opened(bdf: Bdf) -> Iterator[Device]:
    """Open a function that is bound to vfio-pci; closed again in the order device, group, container.

    Opening resets the function, and so does closing it.

    Raises:
        TargetError: no IOMMU group, or a group that is not viable.
        KernelRefusal: a step was refused; which one, and the errno.
    """
    link = sysfs.path_of(bdf, "iommu_group")
    if not link.exists():
        raise TargetError(
            f"opening {bdf} through VFIO",
            said="it has no IOMMU group",
            hint="Boot with intel_iommu=on or amd_iommu=on.",
        )
    group_path = f"/dev/vfio/{link.resolve().name}"
    with ExitStack() as closing:
        step = "opening /dev/vfio/vfio"
        try:
            container = vfio.ContainerFd(os.open("/dev/vfio/vfio", os.O_RDWR | os.O_CLOEXEC))
            closing.callback(os.close, container)
            step = f"opening {group_path} of {bdf}"
            group = vfio.GroupFd(os.open(group_path, os.O_RDWR | os.O_CLOEXEC))
            closing.callback(os.close, group)
            if not vfio.group_flags(group) & vfio.GROUP_VIABLE:
                raise TargetError(
                    f"opening {bdf} through VFIO",
                    said=f"group {link.resolve().name} is not viable",
                    hint="Every function of the group must be bound to vfio-pci or to nothing.",
                )
            step = f"putting {group_path} into a container"
            vfio.set_container(group, container)
            step = f"choosing the type 1 IOMMU for {bdf}"
            vfio.set_iommu(container, vfio.TYPE1V2)
            step = f"VFIO_GROUP_GET_DEVICE_FD of {bdf}"
            device = vfio.device_fd(group, str(bdf))
            closing.callback(os.close, device)
            step = f"asking {bdf} for its regions"
            info = vfio.device_info(device)
            config = vfio.region_info(device, vfio.CONFIG_REGION)
        except OSError as error:
            raise KernelRefusal(step, errno=error.errno or 0) from error
        yield Device(bdf=bdf, fd=device, regions=info.regions, irqs=info.irqs, config=config)
