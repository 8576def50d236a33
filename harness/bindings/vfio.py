"""`<linux/vfio.h>` as typed functions: descriptors are not mixed up, an error is an OSError with the errno."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, Final, NewType

from harness.bindings import _vfio

_ffi: Final[Any] = _vfio.ffi
_lib: Final[Any] = _vfio.lib

ContainerFd = NewType("ContainerFd", int)
GroupFd = NewType("GroupFd", int)
DeviceFd = NewType("DeviceFd", int)

API_VERSION: Final = int(_lib.VFIO_API_VERSION)
TYPE1: Final = int(_lib.VFIO_TYPE1_IOMMU)
TYPE1V2: Final = int(_lib.VFIO_TYPE1v2_IOMMU)
GROUP_VIABLE: Final = int(_lib.VFIO_GROUP_FLAGS_VIABLE)
DEVICE_RESET: Final = int(_lib.VFIO_DEVICE_FLAGS_RESET)
CONFIG_REGION: Final = int(_lib.VFIO_PCI_CONFIG_REGION_INDEX)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceInfo:
    """`struct vfio_device_info`: flags, number of regions, number of interrupt indexes."""

    flags: int
    regions: int
    irqs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionInfo:
    """`struct vfio_region_info`: flags, size in bytes, offset on the device's descriptor."""

    flags: int
    size: int
    offset: int


def api_version(container: ContainerFd) -> int:
    """VFIO_GET_API_VERSION: 0 on every kernel so far."""
    return _checked(_lib.hx_vfio_api_version(container))


def has_extension(container: ContainerFd, extension: int) -> bool:
    """VFIO_CHECK_EXTENSION."""
    return _checked(_lib.hx_vfio_has_extension(container, extension)) > 0


def set_iommu(container: ContainerFd, kind: int) -> None:
    """VFIO_SET_IOMMU; EPERM without interrupt remapping."""
    _checked(_lib.hx_vfio_set_iommu(container, kind))


def group_flags(group: GroupFd) -> int:
    """VFIO_GROUP_GET_STATUS."""
    status = _ffi.new("struct vfio_group_status *")
    _checked(_lib.hx_vfio_group_status(group, status))
    return int(status.flags)


def set_container(group: GroupFd, container: ContainerFd) -> None:
    """VFIO_GROUP_SET_CONTAINER."""
    _checked(_lib.hx_vfio_group_set_container(group, container))


def device_fd(group: GroupFd, bdf: str) -> DeviceFd:
    """VFIO_GROUP_GET_DEVICE_FD: the first one opens and *resets* the function; EAGAIN under contention."""
    return DeviceFd(_checked(_lib.hx_vfio_group_device_fd(group, bdf.encode())))


def device_info(device: DeviceFd) -> DeviceInfo:
    """VFIO_DEVICE_GET_INFO."""
    info = _ffi.new("struct vfio_device_info *")
    _checked(_lib.hx_vfio_device_info(device, info))
    return DeviceInfo(flags=info.flags, regions=info.num_regions, irqs=info.num_irqs)


def region_info(device: DeviceFd, index: int) -> RegionInfo:
    """VFIO_DEVICE_GET_REGION_INFO."""
    info = _ffi.new("struct vfio_region_info *", {"index": index})
    _checked(_lib.hx_vfio_region_info(device, info))
    return RegionInfo(flags=info.flags, size=info.size, offset=info.offset)


def device_reset(device: DeviceFd) -> None:
    """VFIO_DEVICE_RESET; EAGAIN while somebody holds a lock of the function."""
    _checked(_lib.hx_vfio_device_reset(device))


def _checked(result: int) -> int:
    if result < 0:
        number = int(_ffi.errno)
        raise OSError(number, os.strerror(number))
    return int(result)
