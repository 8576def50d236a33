"""`<linux/vfio.h>` as it was compiled, against literals; and what becomes of errors."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator

import pytest

from harness.bindings import _vfio, vfio


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("VFIO_GET_API_VERSION", 0x3B64),
        ("VFIO_CHECK_EXTENSION", 0x3B65),
        ("VFIO_SET_IOMMU", 0x3B66),
        ("VFIO_GROUP_GET_STATUS", 0x3B67),
        ("VFIO_GROUP_SET_CONTAINER", 0x3B68),
        ("VFIO_GROUP_GET_DEVICE_FD", 0x3B6A),
        ("VFIO_DEVICE_GET_INFO", 0x3B6B),
        ("VFIO_DEVICE_GET_REGION_INFO", 0x3B6C),
        ("VFIO_DEVICE_RESET", 0x3B6F),
        ("VFIO_API_VERSION", 0),
        ("VFIO_TYPE1_IOMMU", 1),
        ("VFIO_TYPE1v2_IOMMU", 3),
        ("VFIO_GROUP_FLAGS_VIABLE", 1),
        ("VFIO_GROUP_FLAGS_CONTAINER_SET", 2),
        ("VFIO_DEVICE_FLAGS_RESET", 1),
        ("VFIO_DEVICE_FLAGS_PCI", 2),
        ("VFIO_REGION_INFO_FLAG_READ", 1),
        ("VFIO_REGION_INFO_FLAG_WRITE", 2),
        ("VFIO_REGION_INFO_FLAG_MMAP", 4),
        ("VFIO_REGION_INFO_FLAG_CAPS", 8),
        ("VFIO_PCI_CONFIG_REGION_INDEX", 7),
        ("VFIO_PCI_NUM_REGIONS", 9),
    ],
)
def test_the_kernel_interface_has_the_numbers_it_always_had(name: str, number: int) -> None:
    """Source: include/uapi/linux/vfio.h; all ioctls are `_IO(';', 100 + n)`."""
    assert getattr(_vfio.lib, name) == number


@pytest.mark.parametrize(
    ("struct", "fields"),
    [
        ("vfio_group_status", {"argsz": 0, "flags": 4}),
        ("vfio_device_info", {"argsz": 0, "flags": 4, "num_regions": 8, "num_irqs": 12}),
        (
            "vfio_region_info",
            {"argsz": 0, "flags": 4, "index": 8, "cap_offset": 12, "size": 16, "offset": 24},
        ),
    ],
)
def test_every_struct_is_laid_out_as_declared(struct: str, fields: dict[str, int]) -> None:
    """Cffi compares our declaration with the compiler's layout at the first use, and raises when they differ."""
    made = _vfio.ffi.new(f"struct {struct} *")
    assert {name: _vfio.ffi.offsetof(f"struct {struct}", name) for name in fields} == fields
    assert all(getattr(made, name) == 0 for name in fields)


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
    lambda fd: vfio.group_flags(vfio.GroupFd(fd)),
    lambda fd: vfio.set_container(vfio.GroupFd(fd), vfio.ContainerFd(fd)),
    lambda fd: vfio.device_fd(vfio.GroupFd(fd), "0000:01:00.0"),
    lambda fd: vfio.device_info(vfio.DeviceFd(fd)),
    lambda fd: vfio.region_info(vfio.DeviceFd(fd), vfio.CONFIG_REGION),
    lambda fd: vfio.device_reset(vfio.DeviceFd(fd)),
]


@pytest.mark.parametrize("call", CALLS)
def test_an_error_is_an_oserror_with_the_errno(call: Callable[[int], object], null: int) -> None:
    with pytest.raises(OSError, match=os.strerror(errno.ENOTTY)) as refused:
        call(null)
    assert refused.value.errno == errno.ENOTTY
    with pytest.raises(OSError, match=os.strerror(errno.EBADF)) as refused:
        call(-1)
    assert refused.value.errno == errno.EBADF
