"""Regions over a file that stands in for a function's descriptor: what they allow, and what they give back."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.bindings import vfio
from harness.bindings.info_capability import InfoCapability
from harness.errors import KernelRefusal, TargetError, UsageError
from harness.model.pci import Bdf
from harness.vfio.region import Region

_BDF = Bdf.parse("0000:01:00.0")
_PAGE = mmap.PAGESIZE
_ALL = vfio.REGION_READ | vfio.REGION_WRITE | vfio.REGION_MMAP
_SPARSE = InfoCapability(
    id=1, version=1, data=(1).to_bytes(4, "little") + bytes(4) + bytes(8) + _PAGE.to_bytes(8, "little")
)


@pytest.fixture
def fd(tmp_path: Path) -> Iterator[vfio.DeviceFd]:
    """Three pages: the region of the tests begins at the second."""
    path = tmp_path / "function"
    path.write_bytes(bytes(_PAGE) + bytes(range(256)) * (2 * _PAGE // 256))
    opened = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    yield vfio.DeviceFd(opened)
    os.close(opened)


def region(fd: vfio.DeviceFd, *, flags: int = _ALL, size: int = 2 * _PAGE, sparse: bool = False) -> Region:
    capabilities = (_SPARSE,) if sparse else ()
    info = vfio.RegionInfo(index=0, flags=flags, size=size, offset=_PAGE, capabilities=capabilities)
    return Region(_BDF, fd, info)


def test_registers_are_little_endian_and_begin_at_the_region(fd: vfio.DeviceFd) -> None:
    one = region(fd)
    assert one.read(4, 1) == 0x04
    assert one.read(4, 2) == 0x0504
    assert one.read(4, 4) == 0x07060504
    assert one.read(8, 8) == 0x0F0E0D0C0B0A0908
    one.write(4, 4, 0xA1B2C3D4)
    assert os.pread(fd, 4, _PAGE + 4) == bytes.fromhex("d4c3b2a1")
    one.write(2 * _PAGE - 1, 1, 0x5A)
    assert one.read(2 * _PAGE - 1, 1) == 0x5A


@pytest.mark.parametrize(
    ("offset", "width"), [(0, 3), (0, 0), (0, 16), (-1, 1), (2 * _PAGE, 1), (2 * _PAGE - 2, 4)]
)
def test_an_access_that_the_region_does_not_have_is_a_usage_error(
    fd: vfio.DeviceFd, offset: int, width: int
) -> None:
    with pytest.raises(UsageError):
        region(fd).read(offset, width)
    with pytest.raises(UsageError):
        region(fd).write(offset, width, 0)


@pytest.mark.parametrize("value", [-1, 0x100])
def test_a_value_that_does_not_fit_is_a_usage_error(fd: vfio.DeviceFd, value: int) -> None:
    with pytest.raises(UsageError, match="does not fit"):
        region(fd).write(0, 1, value)


def test_an_answer_that_is_too_short_is_an_error(fd: vfio.DeviceFd) -> None:
    with pytest.raises(TargetError, match="0 of 4 bytes"):
        region(fd, size=10 * _PAGE).read(8 * _PAGE, 4)


def test_a_refused_access_names_the_function(tmp_path: Path) -> None:
    opened = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with pytest.raises(KernelRefusal, match=r"reading a region of 0000:01:00.0 through VFIO: EISDIR"):
            region(vfio.DeviceFd(opened)).read(0, 4)
        with pytest.raises(KernelRefusal, match=r"writing a region of 0000:01:00.0 through VFIO: EBADF"):
            region(vfio.DeviceFd(opened)).write(0, 4, 0)
    finally:
        os.close(opened)


def test_a_mapping_is_the_region_and_ends_with_it(fd: vfio.DeviceFd) -> None:
    one = region(fd)
    with one:
        mapping = one.map()
        assert len(mapping) == 2 * _PAGE
        mapping[0:4] = b"abcd"
        assert one.read(0, 4) == int.from_bytes(b"abcd", "little")
    with pytest.raises(ValueError, match="closed"):
        mapping[0]
    one.close()


def test_only_what_the_kernel_allows_is_mapped(fd: vfio.DeviceFd) -> None:
    with pytest.raises(UsageError, match="may not be mapped"):
        region(fd, flags=vfio.REGION_READ).map()
    with pytest.raises(UsageError, match="only parts of it") as limited:
        region(fd, sparse=True).map()
    assert "mappable_areas" in limited.value.hint
    with region(fd, sparse=True) as one:
        assert one.info.mappable_areas is not None
        assert len(one.map(one.info.mappable_areas[0])) == _PAGE
    for outside in ((0, 3 * _PAGE), (-_PAGE, _PAGE), (0, 0)):
        with pytest.raises(UsageError, match="outside of it"):
            region(fd).map(vfio.Area(offset=outside[0], size=outside[1]))


def test_a_view_that_somebody_holds_is_an_error_and_not_a_leak(fd: vfio.DeviceFd) -> None:
    one = region(fd)
    view = memoryview(one.map())
    with pytest.raises(BufferError):
        one.close()
    view.release()
    one.close()
