"""The typed calls of VFIO: what becomes of errors, of answers with capabilities, and of what a header lacks."""

from __future__ import annotations

import errno
import mmap
import os
import struct
from collections.abc import Callable, Iterator

import pytest

from harness.bindings import iommufd, vfio
from harness.bindings.header import Header, version_text
from harness.bindings.info_capability import InfoCapability, chain
from harness.errors import TargetError


@pytest.fixture
def null() -> Iterator[int]:
    """A descriptor that knows none of these ioctls."""
    fd = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    yield fd
    os.close(fd)


CALLS: list[Callable[[int], object]] = [
    lambda fd: vfio.api_version(vfio.ContainerFd(fd)),
    lambda fd: vfio.has_extension(vfio.ContainerFd(fd), vfio.TYPE1),
    lambda fd: vfio.set_iommu(vfio.ContainerFd(fd), vfio.TYPE1V2),
    lambda fd: vfio.iommu_info(vfio.ContainerFd(fd)),
    lambda fd: vfio.map_dma(
        vfio.ContainerFd(fd), address=4096, iova=0, size=4096, access=vfio.DmaAccess.READ
    ),
    lambda fd: vfio.unmap_dma(vfio.ContainerFd(fd), iova=0, size=4096),
    lambda fd: vfio.group_flags(vfio.GroupFd(fd)),
    lambda fd: vfio.set_container(vfio.GroupFd(fd), vfio.ContainerFd(fd)),
    lambda fd: vfio.device_fd(vfio.GroupFd(fd), "0000:01:00.0"),
    lambda fd: vfio.device_info(vfio.DeviceFd(fd)),
    lambda fd: vfio.region_info(vfio.DeviceFd(fd), vfio.CONFIG_REGION),
    lambda fd: vfio.irq_info(vfio.DeviceFd(fd), vfio.Irq.MSIX),
    lambda fd: vfio.arm_irqs(vfio.DeviceFd(fd), vfio.Irq.MSIX, [fd, -1]),
    lambda fd: vfio.act_on_irqs(vfio.DeviceFd(fd), vfio.Irq.INTX, vfio.IrqAction.MASK),
    lambda fd: vfio.disarm_irqs(vfio.DeviceFd(fd), vfio.Irq.MSIX),
    lambda fd: vfio.device_reset(vfio.DeviceFd(fd)),
    lambda fd: vfio.hot_reset_info(vfio.DeviceFd(fd)),
    lambda fd: vfio.hot_reset(vfio.DeviceFd(fd), [fd]),
    lambda fd: vfio.set_feature(vfio.DeviceFd(fd), 5),
]


@pytest.mark.parametrize("call", CALLS)
def test_an_error_is_an_oserror_with_the_errno(call: Callable[[int], object], null: int) -> None:
    with pytest.raises(OSError, match=os.strerror(errno.ENOTTY)) as refused:
        call(null)
    assert refused.value.errno == errno.ENOTTY
    with pytest.raises(OSError, match=os.strerror(errno.EBADF)) as refused:
        call(-1)
    assert refused.value.errno == errno.EBADF


def test_a_feature_that_nobody_knows_is_no_error_and_a_bad_descriptor_is_one(null: int) -> None:
    assert not vfio.probe_feature(vfio.DeviceFd(null), 5, vfio.FeatureAccess.SET)
    with pytest.raises(OSError, match=os.strerror(errno.EBADF)):
        vfio.probe_feature(vfio.DeviceFd(-1), 5, vfio.FeatureAccess.SET)


def test_only_writable_memory_has_an_address_for_functions() -> None:
    with mmap.mmap(-1, 8192) as memory:
        address, size = vfio.address_of(memoryview(memory))
        assert address % mmap.PAGESIZE == 0
        assert size == 8192
    with pytest.raises(BufferError):
        vfio.address_of(b"read-only")


# --- bytes for whoever makes the system call --------------------------------------------------------------


def test_the_bytes_of_a_hot_reset_are_its_struct() -> None:
    assert vfio.hot_reset_bytes([3, 400]) == struct.pack("=IIIii", 20, 0, 2, 3, 400)
    assert vfio.hot_reset_bytes([]) == struct.pack("=III", 12, 0, 0)


def test_the_bytes_of_a_question_for_a_region_are_its_struct() -> None:
    assert vfio.region_info_bytes(7) == struct.pack("=IIIIQQ", 32, 0, 7, 0, 0, 0)


def test_requests_are_the_numbers_of_the_kernel() -> None:
    assert (vfio.REQUEST_GET_DEVICE_FD, vfio.REQUEST_REGION_INFO) == (0x3B6A, 0x3B6C)
    assert (vfio.REQUEST_DEVICE_RESET, vfio.REQUEST_HOT_RESET) == (0x3B6F, 0x3B71)


# --- capabilities -----------------------------------------------------------------------------------------


def _capability(number: int, following: int, data: bytes = b"", version: int = 1) -> bytes:
    return struct.pack("<HHI", number, version, following) + data


def test_a_chain_is_followed_in_its_own_order() -> None:
    answer = bytes(16) + _capability(3, 0) + _capability(2, 16, b"eightmor")
    assert chain(answer, 24) == (
        InfoCapability(id=2, version=1, data=b"eightmor"),
        InfoCapability(id=3, version=1, data=b""),
    )
    assert chain(answer, 0) == ()


@pytest.mark.parametrize(
    ("answer", "first", "numbers"),
    [
        (bytes(8) + _capability(1, 8), 8, [1]),  # points to itself
        (bytes(8) + _capability(1, 16) + _capability(2, 8), 8, [1, 2]),  # a loop
        (bytes(8) + _capability(1, 900), 8, [1]),  # leaves the answer
        (bytes(8) + _capability(1, 0)[:5], 8, []),  # cut off
        (b"", 8, []),
    ],
)
def test_a_broken_chain_ends(answer: bytes, first: int, numbers: list[int]) -> None:
    assert [capability.id for capability in chain(answer, first)] == numbers


def _region(*capabilities: InfoCapability) -> vfio.RegionInfo:
    return vfio.RegionInfo(index=2, flags=15, size=0x4000, offset=2 << 40, capabilities=capabilities)


def test_the_areas_of_a_region_that_may_be_mapped() -> None:
    data = struct.pack("<IIQQQQ", 2, 0, 0, 0x1000, 0x2000, 0x2000)
    region = _region(InfoCapability(id=1, version=1, data=data))
    assert region.mappable_areas == (vfio.Area(offset=0, size=0x1000), vfio.Area(offset=0x2000, size=0x2000))
    assert _region(InfoCapability(id=1, version=1, data=struct.pack("<II", 0, 0))).mappable_areas == ()
    assert _region().mappable_areas is None


def test_the_address_ranges_of_an_iommu() -> None:
    data = struct.pack("<IIQQQQ", 2, 0, 0, 0xFEDF_FFFF, 0xFEF0_0000, (1 << 48) - 1)
    info = vfio.IommuInfo(page_sizes=0x1000, capabilities=(InfoCapability(id=1, version=1, data=data),))
    assert [(area.offset, area.offset + area.size) for area in info.iova_ranges] == [
        (0, 0xFEE0_0000),
        (0xFEF0_0000, 1 << 48),
    ]
    assert vfio.IommuInfo(page_sizes=0x1000).iova_ranges == ()


# --- what a header lacks ----------------------------------------------------------------------------------


def test_what_a_header_lacks_is_an_error_that_names_header_version_and_remedy() -> None:
    header = Header("linux/vfio.h", "6.1.187", {"VFIO_NEW": ("6.6", -1), "VFIO_OLD": ("6.1", 0)})
    assert header.present == {"VFIO_NEW": False, "VFIO_OLD": True}
    assert header.value("VFIO_OLD") == 0
    with pytest.raises(TargetError) as lacking:
        header.value("VFIO_NEW")
    said = str(lacking.value)
    assert "using VFIO_NEW" in said
    assert "<linux/vfio.h> of Linux 6.1.187" in said
    assert "came with Linux 6.6" in said


def test_a_version_is_written_as_people_do() -> None:
    assert version_text(393659) == "6.1.187"
    assert version_text(0x060CFF) == "6.12.255"


CDEV_CALLS: list[Callable[[int], object]] = [
    lambda fd: vfio.bind_iommufd(vfio.DeviceFd(fd), vfio.IommuFd(fd)),
    lambda fd: vfio.attach_iommufd_pt(vfio.DeviceFd(fd), 1),
    lambda fd: vfio.detach_iommufd_pt(vfio.DeviceFd(fd)),
    lambda fd: iommufd.allocate_ioas(vfio.IommuFd(fd)),
    lambda fd: iommufd.map_ioas(vfio.IommuFd(fd), iommufd.IoasId(1), address=4096, iova=0, size=4096),
    lambda fd: iommufd.unmap_ioas(vfio.IommuFd(fd), iommufd.IoasId(1), iova=0, size=4096),
    lambda fd: iommufd.destroy(vfio.IommuFd(fd), 1),
    lambda fd: vfio.enter_low_power_with_wakeup(vfio.DeviceFd(fd), fd),
]
_NEEDED = [
    vfio.HEADER.present["VFIO_DEVICE_BIND_IOMMUFD"],
    vfio.HEADER.present["VFIO_DEVICE_ATTACH_IOMMUFD_PT"],
    vfio.HEADER.present["VFIO_DEVICE_DETACH_IOMMUFD_PT"],
    *[iommufd.HEADER.present["IOMMU_IOAS_ALLOC"]] * 4,
    vfio.HEADER.present["VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP"],
]


@pytest.mark.parametrize(("call", "present"), list(zip(CDEV_CALLS, _NEEDED, strict=True)))
def test_a_call_that_the_header_lacks_says_so_and_another_reaches_the_kernel(
    *, call: Callable[[int], object], present: bool, null: int
) -> None:
    if present:
        with pytest.raises(OSError, match=os.strerror(errno.ENOTTY)):
            call(null)
    else:
        with pytest.raises(TargetError, match="which the bindings were compiled against, lacks it"):
            call(null)
