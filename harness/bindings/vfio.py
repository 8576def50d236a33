"""`<linux/vfio.h>` as typed functions: descriptors are not mixed up, an error is an OSError with the errno.

No logic beyond asking again with more room where the kernel says so.  What a header may lack is in :data:`HEADER`: a
function that needs it raises TargetError, which says what is lacking.
"""

from __future__ import annotations

import enum
import errno
import os
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NewType

from harness.bindings import _vfio
from harness.bindings.header import Header, read_table, version_text
from harness.bindings.info_capability import InfoCapability, chain

_ffi: Final[Any] = _vfio.ffi
_lib: Final[Any] = _vfio.lib

ContainerFd = NewType("ContainerFd", int)
GroupFd = NewType("GroupFd", int)
DeviceFd = NewType("DeviceFd", int)
IommuFd = NewType("IommuFd", int)

HEADER: Final = Header(
    "linux/vfio.h", version_text(_lib.LINUX_VERSION_CODE), read_table(_ffi, _lib.hx_vfio_newer)
)
"""What this build knows of the newer part of the interface."""

API_VERSION: Final = int(_lib.VFIO_API_VERSION)
TYPE1: Final = int(_lib.VFIO_TYPE1_IOMMU)
TYPE1V2: Final = int(_lib.VFIO_TYPE1v2_IOMMU)

GROUP_VIABLE: Final = int(_lib.VFIO_GROUP_FLAGS_VIABLE)

DEVICE_RESET: Final = int(_lib.VFIO_DEVICE_FLAGS_RESET)
DEVICE_PCI: Final = int(_lib.VFIO_DEVICE_FLAGS_PCI)

CONFIG_REGION: Final = int(_lib.VFIO_PCI_CONFIG_REGION_INDEX)

REGION_READ: Final = int(_lib.VFIO_REGION_INFO_FLAG_READ)
REGION_WRITE: Final = int(_lib.VFIO_REGION_INFO_FLAG_WRITE)
REGION_MMAP: Final = int(_lib.VFIO_REGION_INFO_FLAG_MMAP)

_SPARSE_MMAP: Final = int(_lib.VFIO_REGION_INFO_CAP_SPARSE_MMAP)
_IOVA_RANGE: Final = int(_lib.VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE)

REQUEST_GET_DEVICE_FD: Final = int(_lib.VFIO_GROUP_GET_DEVICE_FD)
REQUEST_REGION_INFO: Final = int(_lib.VFIO_DEVICE_GET_REGION_INFO)
REQUEST_DEVICE_RESET: Final = int(_lib.VFIO_DEVICE_RESET)
REQUEST_HOT_RESET: Final = int(_lib.VFIO_DEVICE_PCI_HOT_RESET)
REQUEST_SET_IRQS: Final = int(_lib.VFIO_DEVICE_SET_IRQS)


class Irq(enum.IntEnum):
    """Indexes of interrupts of a PCI function."""

    INTX = _lib.VFIO_PCI_INTX_IRQ_INDEX
    MSI = _lib.VFIO_PCI_MSI_IRQ_INDEX
    MSIX = _lib.VFIO_PCI_MSIX_IRQ_INDEX
    ERR = _lib.VFIO_PCI_ERR_IRQ_INDEX
    """Signalled when the function reported an uncorrectable error (AER)."""
    REQ = _lib.VFIO_PCI_REQ_IRQ_INDEX
    """Signalled when somebody waits for the function to be given back."""


class IrqFlag(enum.IntFlag):
    """`vfio_irq_info.flags`."""

    EVENTFD = _lib.VFIO_IRQ_INFO_EVENTFD
    MASKABLE = _lib.VFIO_IRQ_INFO_MASKABLE
    AUTOMASKED = _lib.VFIO_IRQ_INFO_AUTOMASKED
    NORESIZE = _lib.VFIO_IRQ_INFO_NORESIZE


class IrqAction(enum.IntEnum):
    """What VFIO_DEVICE_SET_IRQS does with the interrupts it names."""

    MASK = _lib.VFIO_IRQ_SET_ACTION_MASK
    UNMASK = _lib.VFIO_IRQ_SET_ACTION_UNMASK
    TRIGGER = _lib.VFIO_IRQ_SET_ACTION_TRIGGER


class FeatureAccess(enum.IntFlag):
    """What VFIO_DEVICE_FEATURE does with a feature, or would do when it is probed."""

    GET = _lib.VFIO_DEVICE_FEATURE_GET
    SET = _lib.VFIO_DEVICE_FEATURE_SET


class DmaAccess(enum.IntFlag):
    """What a function may do with memory that is mapped for it."""

    READ = _lib.VFIO_DMA_MAP_FLAG_READ
    WRITE = _lib.VFIO_DMA_MAP_FLAG_WRITE


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceInfo:
    """`struct vfio_device_info`: flags, number of regions, number of interrupt indexes."""

    flags: int
    regions: int
    irqs: int
    capabilities: tuple[InfoCapability, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Area:
    """A part of a region, in bytes from its start; or a range of I/O virtual addresses."""

    offset: int
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionInfo:
    """`struct vfio_region_info`: flags, size in bytes, offset on the device's descriptor."""

    index: int
    flags: int
    size: int
    offset: int
    capabilities: tuple[InfoCapability, ...] = ()

    @property
    def mappable_areas(self) -> tuple[Area, ...] | None:
        """The areas that may be mapped, or None where no capability limits them."""
        for capability in self.capabilities:
            if capability.id == _SPARSE_MMAP:
                (count,) = struct.unpack_from("<I4x", capability.data)
                areas = struct.iter_unpack("<QQ", capability.data[8 : 8 + 16 * count])
                return tuple(Area(offset=offset, size=size) for offset, size in areas)
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class IrqInfo:
    """`struct vfio_irq_info`: flags, and how many interrupts an index has."""

    index: Irq
    flags: IrqFlag
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class IommuInfo:
    """`struct vfio_iommu_type1_info`: a bitmap of page sizes in bytes, and capabilities."""

    page_sizes: int
    capabilities: tuple[InfoCapability, ...] = ()

    @property
    def iova_ranges(self) -> tuple[Area, ...]:
        """What may be used as I/O virtual addresses; empty when the kernel does not say."""
        for capability in self.capabilities:
            if capability.id == _IOVA_RANGE:
                (count,) = struct.unpack_from("<I4x", capability.data)
                ranges = struct.iter_unpack("<QQ", capability.data[8 : 8 + 16 * count])
                return tuple(Area(offset=first, size=last - first + 1) for first, last in ranges)
        return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AffectedFunction:
    """`struct vfio_pci_dependent_device`: a function that a hot reset resets too.

    Attributes:
        owner: number of its IOMMU group; for a device that was opened through its own file, an iommufd device id,
            0 when it is owned through its group, -1 as 32 bits when it is not owned.
        devfn: device << 3 | function.
    """

    owner: int
    segment: int
    bus: int
    devfn: int


# --- container --------------------------------------------------------------------------------------------


def api_version(container: ContainerFd) -> int:
    """VFIO_GET_API_VERSION: 0 on every kernel so far."""
    return _checked(_lib.hx_vfio_api_version(container))


def has_extension(container: ContainerFd, extension: int) -> bool:
    """VFIO_CHECK_EXTENSION."""
    return _checked(_lib.hx_vfio_has_extension(container, extension)) > 0


def set_iommu(container: ContainerFd, kind: int) -> None:
    """VFIO_SET_IOMMU; EPERM without interrupt remapping."""
    _checked(_lib.hx_vfio_set_iommu(container, kind))


def iommu_info(container: ContainerFd) -> IommuInfo:
    """VFIO_IOMMU_GET_INFO; after :func:`set_iommu`."""
    info, answer = _ask("struct vfio_iommu_type1_info", container, _lib.hx_vfio_iommu_info)
    first = info.cap_offset if info.flags & _lib.VFIO_IOMMU_INFO_CAPS else 0
    return IommuInfo(page_sizes=info.iova_pgsizes, capabilities=chain(answer, first))


def map_dma(container: ContainerFd, *, address: int, iova: int, size: int, access: DmaAccess) -> None:
    """VFIO_IOMMU_MAP_DMA: pin memory of this process and let functions reach it at `iova`.

    Args:
        container: with an IOMMU.
        address: of the memory in this process, page-aligned, in bytes.
        iova: where functions see it, page-aligned, in bytes.
        size: in bytes, whole pages.
        access: what functions may do with it.

    EEXIST when `iova` is taken, ENOMEM beyond the limit of locked memory.
    """
    request = _ffi.new("struct vfio_iommu_type1_dma_map *")
    request.argsz, request.flags = _ffi.sizeof(request[0]), access
    request.vaddr, request.iova, request.size = address, iova, size
    _checked(_lib.hx_vfio_map_dma(container, request))


def unmap_dma(container: ContainerFd, *, iova: int, size: int) -> int:
    """VFIO_IOMMU_UNMAP_DMA; returns how many bytes were unmapped, which may be 0."""
    request = _ffi.new("struct vfio_iommu_type1_dma_unmap *")
    request.argsz, request.iova, request.size = _ffi.sizeof(request[0]), iova, size
    _checked(_lib.hx_vfio_unmap_dma(container, request))
    return int(request.size)


def address_of(memory: Any) -> tuple[int, int]:
    """Where a writable buffer lies in this process, and its size, in bytes; keep the buffer while it is mapped."""
    view = _ffi.from_buffer(memory, require_writable=True)
    return int(_ffi.cast("uintptr_t", view)), len(view)


# --- group ------------------------------------------------------------------------------------------------


def group_flags(group: GroupFd) -> int:
    """VFIO_GROUP_GET_STATUS."""
    status = _ffi.new("struct vfio_group_status *")
    status.argsz = _ffi.sizeof(status[0])
    _checked(_lib.hx_vfio_group_status(group, status))
    return int(status.flags)


def set_container(group: GroupFd, container: ContainerFd) -> None:
    """VFIO_GROUP_SET_CONTAINER; EPERM when another driver owns a function of the group."""
    _checked(_lib.hx_vfio_group_set_container(group, container))


def device_fd(group: GroupFd, bdf: str) -> DeviceFd:
    """VFIO_GROUP_GET_DEVICE_FD: the first one opens and *resets* the function; EAGAIN under contention."""
    return DeviceFd(_checked(_lib.hx_vfio_group_device_fd(group, bdf.encode())))


# --- device -----------------------------------------------------------------------------------------------


def device_info(device: DeviceFd) -> DeviceInfo:
    """VFIO_DEVICE_GET_INFO."""
    info, answer = _ask("struct vfio_device_info", device, _lib.hx_vfio_device_info)
    first = info.cap_offset if info.flags & _lib.VFIO_DEVICE_FLAGS_CAPS else 0
    return DeviceInfo(
        flags=info.flags, regions=info.num_regions, irqs=info.num_irqs, capabilities=chain(answer, first)
    )


def region_info(device: DeviceFd, index: int) -> RegionInfo:
    """VFIO_DEVICE_GET_REGION_INFO; EINVAL for an index that the device does not have."""
    info, answer = _ask("struct vfio_region_info", device, _lib.hx_vfio_region_info, index=index)
    first = info.cap_offset if info.flags & _lib.VFIO_REGION_INFO_FLAG_CAPS else 0
    return RegionInfo(
        index=index,
        flags=info.flags,
        size=info.size,
        offset=info.offset,
        capabilities=chain(answer, first),
    )


def region_info_bytes(index: int) -> bytes:
    """`struct vfio_region_info` that asks for a region, for whoever makes the system call elsewhere."""
    info = _ffi.new("struct vfio_region_info *", {"index": index})
    info.argsz = _ffi.sizeof(info[0])
    return bytes(_ffi.buffer(info))


def irq_info(device: DeviceFd, index: Irq) -> IrqInfo:
    """VFIO_DEVICE_GET_IRQ_INFO; EINVAL for an index that the function does not have."""
    info = _ffi.new("struct vfio_irq_info *", {"index": index})
    info.argsz = _ffi.sizeof(info[0])
    _checked(_lib.hx_vfio_irq_info(device, info))
    return IrqInfo(index=index, flags=IrqFlag(info.flags), count=info.count)


def arm_irqs(device: DeviceFd, index: Irq, eventfds: Sequence[int], *, start: int = 0) -> None:
    """VFIO_DEVICE_SET_IRQS: signal one eventfd for each interrupt from `start` on; -1 leaves one out."""
    data = struct.pack(f"={len(eventfds)}i", *eventfds)
    _set_irqs(
        device,
        index,
        _lib.VFIO_IRQ_SET_DATA_EVENTFD | IrqAction.TRIGGER,
        start=start,
        count=len(eventfds),
        data=data,
    )


def act_on_irqs(device: DeviceFd, index: Irq, action: IrqAction, *, start: int = 0, count: int = 1) -> None:
    """VFIO_DEVICE_SET_IRQS: mask, unmask, or trigger armed interrupts as if the function had."""
    _set_irqs(device, index, _lib.VFIO_IRQ_SET_DATA_NONE | action, start=start, count=count)


def unmask_bytes(index: Irq) -> bytes:
    """`struct vfio_irq_set` that unmasks the first interrupt, for whoever makes the system call elsewhere."""
    request = _ffi.new("struct vfio_irq_set *", {"index": index, "count": 1})
    size = _ffi.sizeof("struct vfio_irq_set")
    request.argsz, request.flags = size, _lib.VFIO_IRQ_SET_DATA_NONE | IrqAction.UNMASK
    return bytes(_ffi.buffer(request, size))


def disarm_irqs(device: DeviceFd, index: Irq) -> None:
    """VFIO_DEVICE_SET_IRQS: tear all interrupts of an index down; EINVAL for some that are not armed."""
    _set_irqs(device, index, _lib.VFIO_IRQ_SET_DATA_NONE | IrqAction.TRIGGER, start=0, count=0)


def device_reset(device: DeviceFd) -> None:
    """VFIO_DEVICE_RESET; EAGAIN while somebody holds a lock of the function."""
    _checked(_lib.hx_vfio_device_reset(device))


def hot_reset_info(device: DeviceFd) -> tuple[int, tuple[AffectedFunction, ...]]:
    """VFIO_DEVICE_GET_PCI_HOT_RESET_INFO: flags, and every function that a hot reset of this one resets.

    ENODEV where neither its slot nor its bus can be reset.
    """
    room = 0
    while True:
        info = _ffi.new("struct vfio_pci_hot_reset_info *", {"devices": room})
        info.argsz = _ffi.sizeof("struct vfio_pci_hot_reset_info") + room * _ffi.sizeof(
            "struct vfio_pci_dependent_device"
        )
        try:
            _checked(_lib.hx_vfio_hot_reset_info(device, info))
        except OSError as error:
            if error.errno != errno.ENOSPC or info.count <= room:
                raise
            room = int(info.count)
            continue
        affected = [_lib.hx_vfio_affected(info, number) for number in range(info.count)]
        return int(info.flags), tuple(
            AffectedFunction(owner=one.owner, segment=one.segment, bus=one.bus, devfn=one.devfn)
            for one in affected
        )


def hot_reset(device: DeviceFd, group_fds: Sequence[int]) -> None:
    """VFIO_DEVICE_PCI_HOT_RESET.

    Args:
        device: any function of the slot or bus.
        group_fds: groups that own all functions; none for a device that was opened through its own file.

    EINVAL when a function is not owned, ENODEV where neither slot nor bus can be reset, EAGAIN and EBUSY under
    contention.  Source: Linux drivers/vfio/pci/vfio_pci_core.c, `vfio_pci_dev_set_hot_reset()`.
    """
    request = _ffi.from_buffer("struct vfio_pci_hot_reset *", hot_reset_bytes(group_fds))
    _checked(_lib.hx_vfio_hot_reset(device, request))


def hot_reset_bytes(group_fds: Sequence[int]) -> bytes:
    """`struct vfio_pci_hot_reset` with these groups, for whoever makes the system call elsewhere."""
    request = _ffi.new("struct vfio_pci_hot_reset *", {"group_fds": list(group_fds)})
    size = _ffi.sizeof("struct vfio_pci_hot_reset") + len(group_fds) * _ffi.sizeof("int32_t")
    request.argsz, request.count = size, len(group_fds)
    return bytes(_ffi.buffer(request, size))


# --- features ---------------------------------------------------------------------------------------------


def probe_feature(device: DeviceFd, feature: int, access: FeatureAccess) -> bool:
    """VFIO_DEVICE_FEATURE with PROBE: whether the device has a feature, and all these accesses to it."""
    try:
        _feature(device, _lib.VFIO_DEVICE_FEATURE_PROBE | access | feature)
    except OSError as error:
        if error.errno in (errno.ENOTTY, errno.EINVAL):
            return False
        raise
    return True


def set_feature(device: DeviceFd, feature: int) -> None:
    """VFIO_DEVICE_FEATURE with SET, for a feature that takes no data."""
    _feature(device, FeatureAccess.SET | feature)


def enter_low_power_with_wakeup(device: DeviceFd, eventfd: int) -> None:
    """VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP: signal an eventfd when the function woke up.

    Raises:
        TargetError: the header lacks it.
    """
    HEADER.value("VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP")
    _checked(_lib.hx_vfio_low_power_entry_with_wakeup(device, eventfd))


# --- device, opened through its own character device ------------------------------------------------------


def bind_iommufd(device: DeviceFd, iommufd: IommuFd) -> int:
    """VFIO_DEVICE_BIND_IOMMUFD: open and *reset* the function; returns its id in the iommufd.

    EBUSY while its group is open, EINVAL when it is bound already.

    Raises:
        TargetError: the header lacks it.
    """
    HEADER.value("VFIO_DEVICE_BIND_IOMMUFD")
    identifier = _ffi.new("uint32_t *")
    _checked(_lib.hx_vfio_bind_iommufd(device, iommufd, identifier))
    return int(identifier[0])


def attach_iommufd_pt(device: DeviceFd, page_table: int) -> int:
    """VFIO_DEVICE_ATTACH_IOMMUFD_PT: give the device an address space; returns the page table it got.

    Raises:
        TargetError: the header lacks it.
    """
    HEADER.value("VFIO_DEVICE_ATTACH_IOMMUFD_PT")
    identifier = _ffi.new("uint32_t *", page_table)
    _checked(_lib.hx_vfio_attach_iommufd_pt(device, identifier))
    return int(identifier[0])


def detach_iommufd_pt(device: DeviceFd) -> None:
    """VFIO_DEVICE_DETACH_IOMMUFD_PT: leave the device without an address space.

    Raises:
        TargetError: the header lacks it.
    """
    HEADER.value("VFIO_DEVICE_DETACH_IOMMUFD_PT")
    _checked(_lib.hx_vfio_detach_iommufd_pt(device))


# --- inside -----------------------------------------------------------------------------------------------


def _ask(kind: str, fd: int, call: Callable[[int, Any], int], **fields: int) -> tuple[Any, bytes]:
    """Ask an info ioctl, again with more room while it answers with a larger argsz; the struct, and all bytes."""
    room = _ffi.sizeof(kind)
    while True:
        memory = _ffi.new("char[]", room)
        info = _ffi.cast(f"{kind} *", memory)
        info.argsz = room
        for name, value in fields.items():
            setattr(info, name, value)
        _checked(call(fd, info))
        if info.argsz <= room:
            answer = bytes(_ffi.buffer(memory))
            return _ffi.from_buffer(f"{kind} *", answer), answer
        room = int(info.argsz)


def _set_irqs(device: DeviceFd, index: Irq, flags: int, *, start: int, count: int, data: bytes = b"") -> None:
    request = _ffi.new("struct vfio_irq_set *", {"data": data})
    request.argsz, request.flags = _ffi.sizeof("struct vfio_irq_set") + len(data), flags
    request.index, request.start, request.count = index, start, count
    _checked(_lib.hx_vfio_set_irqs(device, request))


def _feature(device: DeviceFd, flags: int) -> None:
    request = _ffi.new("struct vfio_device_feature *")
    request.argsz, request.flags = _ffi.sizeof("struct vfio_device_feature"), flags
    _checked(_lib.hx_vfio_feature(device, request))


def _checked(result: int) -> int:
    if result < 0:
        number = int(_ffi.errno)
        raise OSError(number, os.strerror(number))
    return int(result)
