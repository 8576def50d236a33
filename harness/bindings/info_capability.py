"""Capability chains behind the info structs of VFIO: device, region and IOMMU info end in one.

Works on bytes alone.  A chain that leaves its buffer or turns back ends there; it never raises.
Source: include/uapi/linux/vfio.h, `struct vfio_info_cap_header`.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

_HEADER: Final = struct.Struct(
    "<HHI"
)  # id, version, offset of the next one from the start of the info struct


@dataclass(frozen=True, slots=True, kw_only=True)
class InfoCapability:
    """One capability of an info struct.

    Attributes:
        id: what it is; each info ioctl counts its own.
        version: of its layout.
        data: what follows the header, up to the next capability or the end of the answer.
    """

    id: int
    version: int
    data: bytes


def chain(answer: bytes, first: int) -> tuple[InfoCapability, ...]:
    """All capabilities of an answer, in the order of the chain.

    Args:
        answer: the info struct and everything that the kernel wrote behind it.
        first: offset of the first capability in bytes, 0 for none.
    """
    offsets: list[int] = []
    at = first
    while 0 < at <= len(answer) - _HEADER.size and at not in offsets:
        offsets.append(at)
        at = _HEADER.unpack_from(answer, at)[2]
    found = []
    for at in offsets:
        number, version, _ = _HEADER.unpack_from(answer, at)
        end = min((other for other in offsets if other > at), default=len(answer))
        found.append(InfoCapability(id=number, version=version, data=answer[at + _HEADER.size : end]))
    return tuple(found)
