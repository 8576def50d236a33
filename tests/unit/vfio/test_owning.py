"""What owns a descriptor, a mapping or a buffer gives it back: also when its opening fails, and only once."""

from __future__ import annotations

import errno
import gc
import mmap
import os
from pathlib import Path

import pytest

from harness.bindings import vfio
from harness.errors import KernelRefusal, TargetError, UsageError
from harness.model.pci import Bdf
from harness.vfio import cdev
from harness.vfio.device import Device
from harness.vfio.dma import DmaMapping
from harness.vfio.group import Group, number_of
from harness.vfio.interrupt import Interrupt

_NOBODY = Bdf.parse("ffff:ff:1f.7")


def open_descriptors() -> int:
    gc.collect()  # what earlier tests left would be closed at some moment of this one's
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_device_that_does_not_say_what_it_is_is_closed() -> None:
    fd = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    with pytest.raises(KernelRefusal, match=f"asking {_NOBODY} what it is: ENOTTY"):
        Device(_NOBODY, vfio.DeviceFd(fd))
    with pytest.raises(OSError, match=os.strerror(errno.EBADF)):
        os.fstat(fd)


def test_a_function_without_a_group_is_an_error_that_says_what_to_do() -> None:
    for ask in (number_of, Group):
        with pytest.raises(TargetError, match=f"{_NOBODY}.*no IOMMU group.*intel_iommu=on"):
            ask(_NOBODY)


def test_a_function_without_a_character_device_is_an_error_that_says_what_to_do() -> None:
    with pytest.raises(TargetError, match=f"character device of {_NOBODY}: none.*CONFIG_VFIO_DEVICE_CDEV"):
        cdev.device_file(_NOBODY)


def test_interrupts_that_cannot_be_armed_leave_no_eventfd() -> None:
    fd = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    try:
        info = vfio.IrqInfo(index=vfio.Irq.MSIX, flags=vfio.IrqFlag.EVENTFD, count=3)
        with Interrupt(_NOBODY, vfio.DeviceFd(fd), info) as interrupt:
            before = open_descriptors()
            with pytest.raises(KernelRefusal, match=f"arming interrupts of {_NOBODY}: ENOTTY"):
                interrupt.arm(3)
            assert open_descriptors() == before
            assert interrupt.eventfds == ()
            for count in (0, 4):
                with pytest.raises(UsageError, match="it has 3"):
                    interrupt.arm(count)
            with pytest.raises(UsageError, match="not armed"):
                interrupt.wait(deadline_s=1)
            interrupt.close()
    finally:
        os.close(fd)


def test_memory_is_held_as_long_as_it_is_mapped_and_unmapped_once() -> None:
    calls: list[tuple[int, ...]] = []
    memory = mmap.mmap(-1, 2 * mmap.PAGESIZE)
    with DmaMapping(
        memory, 0x10000, map_pages=lambda *of: calls.append(of), unmap_pages=lambda *of: calls.append(of)
    ) as mapping:
        assert mapping.size == 2 * mmap.PAGESIZE
        with pytest.raises(BufferError):
            memory.close()
    mapping.close()
    memory.close()
    (address, iova, size), unmapped = calls
    assert address % mmap.PAGESIZE == 0
    assert (iova, size) == unmapped == (0x10000, 2 * mmap.PAGESIZE)


def test_memory_that_could_not_be_mapped_is_free_again() -> None:
    def refuse(*_: int) -> None:
        raise KernelRefusal("mapping", errno=errno.EEXIST)

    memory = mmap.mmap(-1, mmap.PAGESIZE)
    with pytest.raises(KernelRefusal):
        DmaMapping(memory, 0, map_pages=refuse, unmap_pages=refuse)
    memory.close()


def test_memory_is_free_again_even_when_unmapping_is_refused() -> None:
    def refuse(*_: int) -> None:
        raise KernelRefusal("unmapping", errno=errno.EINVAL)

    memory = mmap.mmap(-1, mmap.PAGESIZE)
    mapping = DmaMapping(memory, 0, map_pages=lambda *_: None, unmap_pages=refuse)
    with pytest.raises(KernelRefusal):
        mapping.close()
    mapping.close()
    memory.close()
