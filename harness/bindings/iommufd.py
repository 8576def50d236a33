"""`<linux/iommufd.h>` as typed functions: an error is an OSError with the errno.

The header came with Linux 6.2.  Where it was lacking at build time every function raises TargetError, which says so.
"""

from __future__ import annotations

import os
from typing import Any, Final, NewType

from harness.bindings import _iommufd, vfio
from harness.bindings.header import Header, read_table
from harness.bindings.vfio import IommuFd

_ffi: Final[Any] = _iommufd.ffi
_lib: Final[Any] = _iommufd.lib

IoasId = NewType("IoasId", int)

HEADER: Final = Header("linux/iommufd.h", vfio.HEADER.version, read_table(_ffi, _lib.hx_iommufd_newer))
"""What this build knows of the interface: all of it or nothing."""


def allocate_ioas(iommufd: IommuFd) -> IoasId:
    """IOMMU_IOAS_ALLOC: make an empty I/O address space.

    Raises:
        TargetError: the header is lacking.
    """
    HEADER.value("IOMMU_IOAS_ALLOC")
    identifier = _ffi.new("uint32_t *")
    _checked(_lib.hx_iommufd_ioas_alloc(iommufd, identifier))
    return IoasId(int(identifier[0]))


def map_ioas(iommufd: IommuFd, ioas: IoasId, *, address: int, iova: int, size: int) -> None:
    """IOMMU_IOAS_MAP: pin memory of this process and let devices read and write it at `iova`.

    Args:
        iommufd: that has the address space.
        ioas: the address space.
        address: of the memory in this process, in bytes.
        iova: where devices see it, in bytes.
        size: in bytes.

    Raises:
        TargetError: the header is lacking.
    """
    HEADER.value("IOMMU_IOAS_MAP")
    _checked(_lib.hx_iommufd_ioas_map(iommufd, ioas, address, size, iova))


def unmap_ioas(iommufd: IommuFd, ioas: IoasId, *, iova: int, size: int) -> int:
    """IOMMU_IOAS_UNMAP; returns how many bytes were unmapped; ENOENT for a range that is not mapped.

    Raises:
        TargetError: the header is lacking.
    """
    HEADER.value("IOMMU_IOAS_UNMAP")
    length = _ffi.new("uint64_t *", size)
    _checked(_lib.hx_iommufd_ioas_unmap(iommufd, ioas, iova, length))
    return int(length[0])


def destroy(iommufd: IommuFd, identifier: int) -> None:
    """IOMMU_DESTROY: give an object back; EBUSY while a device is attached to it.

    Raises:
        TargetError: the header is lacking.
    """
    HEADER.value("IOMMU_DESTROY")
    _checked(_lib.hx_iommufd_destroy(iommufd, identifier))


def _checked(result: int) -> int:
    if result < 0:
        number = int(_ffi.errno)
        raise OSError(number, os.strerror(number))
    return int(result)
