"""A region: a BAR, the ROM or config space of an open function, as a range of its descriptor."""

from __future__ import annotations

import mmap
import os
from contextlib import ExitStack
from typing import Final

from harness.bindings import vfio
from harness.closing import Closing
from harness.errors import TargetError, UsageError
from harness.model.pci import Bdf
from harness.vfio.step import Step, doing, refused


class Region(Closing):
    """One region of an open function.  Owns the mappings that were made of it, and borrows the descriptor.

    A mapping keeps a function open however often its descriptor is closed: :meth:`close` takes them away.

    Attributes:
        info: what the kernel says of it.
        index: BARs are 0 to 5, the ROM 6, config space 7.
        flags: `REGION_READ`, `REGION_WRITE`, `REGION_MMAP` of the bindings.
        size: in bytes; 0 for one that the function does not have.
        offset: where it begins on the function's descriptor, in bytes.
        capabilities: what else the kernel says of it.
    """

    def __init__(self, bdf: Bdf, device: vfio.DeviceFd, info: vfio.RegionInfo) -> None:
        self.bdf: Final = bdf
        self.info: Final = info
        self.index: Final = info.index
        self.flags: Final = info.flags
        self.size: Final = info.size
        self.offset: Final = info.offset
        self.capabilities: Final = info.capabilities
        self._device = device
        self._mappings = ExitStack()

    def read(self, offset: int, width: int) -> int:
        """Read a little-endian register.

        Args:
            offset: in bytes from the start of the region.
            width: in bytes: 1, 2, 4 or 8.

        Raises:
            UsageError: no such access.
            KernelRefusal: EIO while memory decode is off or the function sleeps.
            TargetError: the kernel gave fewer bytes.
        """
        self._check(offset, width)
        try:
            data = os.pread(self._device, width, self.offset + offset)
        except OSError as error:
            raise refused(Step.READ_REGION, self.bdf, error) from error
        if len(data) != width:
            raise TargetError(
                f"reading region {self.index} of {self.bdf} at {offset:#x}",
                said=f"{len(data)} of {width} bytes",
            )
        return int.from_bytes(data, "little")

    def write(self, offset: int, width: int, value: int) -> None:
        """Write a little-endian register.

        Args:
            offset: in bytes from the start of the region.
            width: in bytes: 1, 2, 4 or 8.
            value: fits into them.

        Raises:
            UsageError: no such access, or a value that does not fit.
            KernelRefusal: EIO while memory decode is off or the function sleeps.
            TargetError: the kernel took fewer bytes.
        """
        self._check(offset, width)
        if not 0 <= value < 1 << 8 * width:
            raise UsageError(f"writing {value:#x} in {width} bytes", said="it does not fit")
        try:
            taken = os.pwrite(self._device, value.to_bytes(width, "little"), self.offset + offset)
        except OSError as error:
            raise refused(Step.WRITE_REGION, self.bdf, error) from error
        if taken != width:
            raise TargetError(
                f"writing region {self.index} of {self.bdf} at {offset:#x}", said=f"{taken} of {width} bytes"
            )

    def map(self, area: vfio.Area | None = None) -> mmap.mmap:
        """Map the region, or a part of it, for reading and writing; it lives until the region is closed.

        Args:
            area: one of `info.mappable_areas` where the kernel limits them; otherwise whole pages, or everything.

        Raises:
            UsageError: the region may not be mapped, or not this part of it.
            KernelRefusal: with the errno.
        """
        allowed = self.info.mappable_areas
        wanted = area or vfio.Area(offset=0, size=self.size)
        if not self.flags & vfio.REGION_MMAP:
            raise UsageError(f"mapping region {self.index} of {self.bdf}", said="it may not be mapped")
        if wanted.offset < 0 or wanted.size < 1 or wanted.offset + wanted.size > self.size:
            raise UsageError(f"mapping {wanted} of region {self.index} of {self.bdf}", said="outside of it")
        if allowed is not None and wanted not in allowed:
            raise UsageError(
                f"mapping region {self.index} of {self.bdf}",
                said="only parts of it may be mapped",
                hint="Map each of `info.mappable_areas`.",
            )
        with doing(Step.MAP_REGION, self.bdf):
            mapping = mmap.mmap(self._device, wanted.size, offset=self.offset + wanted.offset)
        return self._mappings.enter_context(mapping)

    def close(self) -> None:
        """Take all mappings away; a second time does nothing.

        Raises:
            BufferError: somebody still holds a view of a mapping.
        """
        self._mappings.close()

    def _check(self, offset: int, width: int) -> None:
        if width not in (1, 2, 4, 8):
            raise UsageError(
                f"access of {width} bytes", said="no such width", hint="A width is 1, 2, 4 or 8 bytes."
            )
        if not 0 <= offset <= self.size - width:
            raise UsageError(
                f"access of {width} bytes at {offset:#x} of region {self.index} of {self.bdf}",
                said=f"outside its {self.size} bytes",
            )
