"""What a host and an ipr adapter tell each other in memory: requests, scatter lists, status areas, tables.  Pure.

All of it is big endian, in two layouts: SIS32 with addresses of 32 bits, SIS64 with addresses of 64.  They are what the
Linux driver reads and writes (drivers/scsi/ipr.h); nothing was checked against an adapter.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

REQUEST_BYTES: Final = 128
ADAPTER: Final = 0xFFFF_FFFF
"""Resource handle of the adapter itself."""
_SHORT: Final = struct.Struct(">II")
"""Of a SIS32 scatter list: flags in bits 31:24 and length in 23:0, address."""
_LONG: Final = struct.Struct(">IIQ")
"""Of a SIS64 scatter list: flags, length, address."""
SCSI: Final = 0
"""Kind of a request that a disk is to carry out; the others are commands of the adapter itself."""
_LAST: Final = 0x0100_0000
_STATUS: Final = struct.Struct(">IHHI5I")
_SENSE: Final = struct.Struct(">HH")
_SENSE_FOLLOWS: Final = 0x4000_0000
_TO_ADAPTER: Final = 0x80
_IDENTITY_BYTES: Final = 44


class Status(enum.IntEnum):
    """Status codes that the driver understands."""

    GOOD = 0
    CHECK_CONDITION = 0x0444_8502
    FAILED = 0x0444_8600
    NOT_SUPPORTED = 0x0524_0000
    NO_SUCH_RESOURCE = 0x0525_0000


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A scatter list in memory, or inside the request itself; no bytes: there is none."""

    address: int = 0
    count: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request block.

    Attributes:
        handle: of the resource that it is for; :data:`ADAPTER` for the adapter.
        response: what its completion names.
        kind: what it is.
        command: 16 bytes.
        written: where the list of data for the adapter lies.
        read: where the list of places for data from the adapter lies.
        status: address of its status area.
        status_bytes: size of that.
    """

    handle: int
    response: int
    kind: int
    command: bytes
    written: Place
    read: Place
    status: int
    status_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """A line of the configuration table.

    Attributes:
        handle: by which requests name it.
        bus: of its address.
        target: of its address.
        lun: of its address.
        identity: standard INQUIRY data, 44 bytes.
    """

    handle: int
    bus: int
    target: int
    lun: int
    identity: bytes


class Layout(enum.Enum):
    """Which family."""

    SIS32 = "sis32"
    SIS64 = "sis64"

    def parse(self, data: bytes) -> Request:
        """Read a request block of 128 bytes.

        Raises:
            ValueError: it is shorter.
        """
        if len(data) < REQUEST_BYTES:
            raise ValueError(f"{len(data)} bytes")
        if self is Layout.SIS32:
            written = Place(address=_number(data, 36, 4), count=_number(data, 40, 4))
            read = Place(address=_number(data, 44, 4), count=_number(data, 48, 4))
            status = _number(data, 52, 4)
        else:
            both = Place(address=_number(data, 96, 8), count=_number(data, 40, 4))
            outward = bool(data[64] & _TO_ADAPTER)
            written, read = (both, Place()) if outward else (Place(), both)
            status = _number(data, 88, 8)
        return Request(
            handle=_number(data, 8, 4),
            response=_number(data, 12, 4),
            kind=data[62],
            command=data[66:82],
            written=written,
            read=read,
            status=status,
            status_bytes=_number(data, 56, 2),
        )

    def pieces(self, scatter: bytes) -> Iterator[tuple[int, int]]:
        """Address and length of each piece of a scatter list, up to the one that says it is the last."""
        found: Iterator[tuple[int, int, int]] = _LONG.iter_unpack(_whole(_LONG, scatter))
        if self is Layout.SIS32:
            short = _SHORT.iter_unpack(_whole(_SHORT, scatter))
            found = ((word, word & 0xFF_FFFF, address) for word, address in short)
        for flags, length, address in found:
            yield address, length
            if flags & _LAST:
                return

    def queue_of(self, command: bytes) -> tuple[int, int]:
        """What the command that names a response queue says: its address, and its size in bytes."""
        high = _number(command, 10, 4) if self is Layout.SIS64 and command[1] & 1 else 0
        return high << 32 | _number(command, 2, 4), _number(command, 7, 2)

    def status_area(self, code: int, sense: bytes = b"") -> bytes:
        """What a status area says.

        Args:
            code: see :class:`Status`.
            sense: of a disk that failed a command.
        """
        flags = _SENSE_FOLLOWS if sense else 0
        head = _STATUS.pack(code, _STATUS.size, _STATUS.size, 0, 0, 0, 0, 0, flags)
        if not sense:
            return head
        lies_at = 40 if self is Layout.SIS32 else 48
        return head.ljust(lies_at, b"\0") + _SENSE.pack(len(sense), 0) + sense

    def configuration(self, resources: Sequence[Resource], *, type_name: str) -> bytes:
        """The configuration table of an adapter with generic SCSI devices.

        Args:
            resources: disks.
            type_name: four hexadecimal digits, as `57B3`.
        """
        adapter = bytes((0x1F, 0, 0x02, 0x02, 39, 0, 0, 0)) + b"IBM     " + type_name.encode().ljust(16)
        count = len(resources) + 1
        if self is Layout.SIS32:
            lines = [_line(0x80, 0, 0x00FF_FFFF, ADAPTER, adapter)]
            lines += [
                _line(0, 1, one.bus << 16 | one.target << 8 | one.lun, one.handle, one.identity)
                for one in resources
            ]
            return bytes((count, 0, 0, 0)) + b"".join(lines)
        lines = [_long_line(0xFF, 0, ADAPTER, 0, adapter)]
        lines += [_long_line(1, 0, one.handle, one.target, one.identity) for one in resources]
        return struct.pack(">HHI8x", count, 0, 0) + b"".join(lines)


def _whole(entry: struct.Struct, data: bytes) -> bytes:
    return data[: len(data) // entry.size * entry.size]


def _number(data: bytes, at: int, width: int) -> int:
    return int.from_bytes(data[at : at + width], "big")


def _line(flags: int, subtype: int, address: int, handle: int, identity: bytes) -> bytes:
    """64 bytes."""
    head = struct.pack(">BBBBII8x", 0, 0, flags, subtype, address, handle)
    return head + identity.ljust(_IDENTITY_BYTES, b"\0")[:_IDENTITY_BYTES]


def _long_line(kind: int, flags: int, handle: int, device: int, identity: bytes) -> bytes:
    """128 bytes; `device` stands for its id, its path and the last byte of its name."""
    head = struct.pack(">BBHHHI4xQQ15xBQ", kind, 0, 0, flags, 0, handle, device, 0, device & 0xFF, device)
    return head + identity.ljust(_IDENTITY_BYTES, b"\0")[:_IDENTITY_BYTES] + bytes(28)
