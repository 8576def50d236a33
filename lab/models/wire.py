"""Messages of vfio-user: bytes to values and back.

Pure.  A message is a header of 16 bytes and a payload, in the byte order of the host; descriptors travel beside it.
Whatever the bytes are, :func:`decode` returns a request or raises :class:`Malformed` with the errno to answer; a
stream whose framing is lost (:func:`read_header`) cannot be saved and raises :class:`StreamLost`.

Source: the vfio-user protocol, version 0.0, as QEMU 11 speaks it.
"""

from __future__ import annotations

import enum
import errno
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

HEADER: Final = struct.Struct("=HHIII")
HEADER_BYTES: Final = HEADER.size
LONGEST_TRANSFER: Final = 1 << 20
"""Bytes of data that one message may carry: the default of the protocol."""
LONGEST_MESSAGE: Final = HEADER_BYTES + LONGEST_TRANSFER + 4096

MAJOR: Final = 0
MINOR: Final = 0

_REPLY: Final = 0x01
_TYPE: Final = 0x0F
_NO_REPLY: Final = 0x10
_ERROR: Final = 0x20

_VERSION: Final = struct.Struct("=HH")
_DMA_MAP: Final = struct.Struct("=IIQQQ")
_DMA_UNMAP: Final = struct.Struct("=IIQQ")
_DEVICE_INFO: Final = struct.Struct("=IIII")
_REGION_INFO: Final = struct.Struct("=IIIIQQ")
_IRQ_INFO: Final = struct.Struct("=IIII")
_IRQ_SET: Final = struct.Struct("=IIIII")
_REGION_ACCESS: Final = struct.Struct("=QII")
_DMA_ACCESS: Final = struct.Struct("=QQ")


class Command(enum.IntEnum):
    """What a message asks for."""

    VERSION = 1
    DMA_MAP = 2
    DMA_UNMAP = 3
    DEVICE_GET_INFO = 4
    DEVICE_GET_REGION_INFO = 5
    DEVICE_GET_REGION_IO_FDS = 6
    DEVICE_GET_IRQ_INFO = 7
    DEVICE_SET_IRQS = 8
    REGION_READ = 9
    REGION_WRITE = 10
    DMA_READ = 11
    DMA_WRITE = 12
    DEVICE_RESET = 13
    REGION_WRITE_MULTI = 15


class IrqAction(enum.IntFlag):
    """Flags of DEVICE_SET_IRQS."""

    NONE = 0x01
    BOOL = 0x02
    EVENTFD = 0x04
    MASK = 0x08
    UNMASK = 0x10
    TRIGGER = 0x20


class StreamLost(Exception):
    """Where the next message begins is not known any more: the connection must end."""


class Malformed(Exception):
    """A message that cannot be carried out.

    Attributes:
        errno: what to answer.
    """

    def __init__(self, why: str, number: int = errno.EINVAL) -> None:
        super().__init__(why)
        self.errno: Final = number


@dataclass(frozen=True, slots=True)
class Header:
    """The first 16 bytes of a message.

    Attributes:
        id: chosen by who asks; a reply repeats it.
        command: number of the command, known or not.
        size: of the whole message, in bytes.
        flags: type and what else is asked; see the properties.
        error: errno of an error reply, else 0.
    """

    id: int
    command: int
    size: int
    flags: int
    error: int

    @property
    def is_reply(self) -> bool:
        """Whether it answers a command of ours."""
        return self.flags & _TYPE == _REPLY

    @property
    def wants_reply(self) -> bool:
        """Whether the other side waits for an answer; to a reply there is none."""
        return not (self.is_reply or self.flags & _NO_REPLY)

    @property
    def is_error(self) -> bool:
        """Whether it is a reply that says that the command failed."""
        return bool(self.flags & _ERROR)


@dataclass(frozen=True, slots=True)
class Version:
    """The first request: which version and capabilities the client has."""

    major: int
    minor: int
    capabilities: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class DmaMap:
    """Guest memory that the function may reach: `size` bytes at `address`, at `offset` of a descriptor if one came."""

    flags: int
    offset: int
    address: int
    size: int


@dataclass(frozen=True, slots=True)
class DmaUnmap:
    """Take a map back; repeats address and size."""

    flags: int
    address: int
    size: int


@dataclass(frozen=True, slots=True)
class GetDeviceInfo:
    """How many regions and interrupts are there?"""


@dataclass(frozen=True, slots=True)
class GetRegionInfo:
    """How large is a region, and what may be done with it?"""

    index: int


@dataclass(frozen=True, slots=True)
class GetIrqInfo:
    """How many interrupts of a kind are there?"""

    index: int


@dataclass(frozen=True, slots=True)
class SetIrqs:
    """Use, mask, unmask, trigger or forget interrupts; eventfds travel beside it."""

    action: IrqAction
    index: int
    start: int
    count: int
    data: bytes


@dataclass(frozen=True, slots=True)
class RegionRead:
    """Read `count` bytes at `offset` of a region."""

    region: int
    offset: int
    count: int


@dataclass(frozen=True, slots=True)
class RegionWrite:
    """Write `data` at `offset` of a region."""

    region: int
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class DeviceReset:
    """Reset the function, as a bus reset does."""


@dataclass(frozen=True, slots=True)
class DmaReply:
    """The answer to a DMA_READ or DMA_WRITE of ours.

    Attributes:
        id: of our request.
        error: errno, 0 when it was done.
        data: what was read.
    """

    id: int
    error: int
    data: bytes = b""


Request = (
    Version
    | DmaMap
    | DmaUnmap
    | GetDeviceInfo
    | GetRegionInfo
    | GetIrqInfo
    | SetIrqs
    | RegionRead
    | RegionWrite
    | DeviceReset
    | DmaReply
)


def read_header(data: bytes) -> Header:
    """Read the first 16 bytes of a message.

    Raises:
        StreamLost: the size cannot be that of a message.
    """
    header = Header(*HEADER.unpack_from(data))
    if not HEADER_BYTES <= header.size <= LONGEST_MESSAGE:
        raise StreamLost(f"a message of {header.size} bytes (command {header.command})")
    return header


def decode(header: Header, payload: bytes) -> Request:
    """Read a whole message.

    Args:
        header: its first 16 bytes.
        payload: the rest, `header.size` - 16 bytes.

    Raises:
        Malformed: it is too short, too long, contradicts itself, or asks for what there is not.
    """
    if header.is_reply:
        return _dma_reply(header, payload)
    if header.flags & ~_NO_REPLY:
        raise Malformed(f"flags {header.flags:#x} are those of neither command nor reply")
    match header.command:
        case Command.VERSION:
            return _version(payload)
        case Command.DMA_MAP:
            _, flags, offset, address, size = _exactly(_DMA_MAP, payload, "DMA_MAP")
            return DmaMap(flags, offset, address, _span(address, size))
        case Command.DMA_UNMAP:
            _, flags, address, size = _exactly(_DMA_UNMAP, payload, "DMA_UNMAP")
            return DmaUnmap(flags, address, _span(address, size))
        case Command.DEVICE_GET_INFO:
            _exactly(_DEVICE_INFO, payload, "DEVICE_GET_INFO")
            return GetDeviceInfo()
        case Command.DEVICE_GET_REGION_INFO:
            return GetRegionInfo(_exactly(_REGION_INFO, payload, "DEVICE_GET_REGION_INFO")[2])
        case Command.DEVICE_GET_IRQ_INFO:
            return GetIrqInfo(_exactly(_IRQ_INFO, payload, "DEVICE_GET_IRQ_INFO")[2])
        case Command.DEVICE_SET_IRQS:
            return _set_irqs(payload)
        case Command.REGION_READ:
            offset, region, count = _exactly(_REGION_ACCESS, payload, "REGION_READ")
            return RegionRead(region, offset, _transfer(count))
        case Command.REGION_WRITE:
            offset, region, count = _at_least(_REGION_ACCESS, payload, "REGION_WRITE")
            data = payload[_REGION_ACCESS.size :]
            if len(data) != _transfer(count):
                raise Malformed(f"REGION_WRITE says {count} bytes and brings {len(data)}")
            return RegionWrite(region, offset, data)
        case Command.DEVICE_RESET:
            if payload:
                raise Malformed(f"DEVICE_RESET with {len(payload)} bytes")
            return DeviceReset()
        case _:
            raise Malformed(f"command {header.command} is not supported", errno.EOPNOTSUPP)


# --- what a server says -----------------------------------------------------------------------------------


def last_request(data: bytes) -> bytes:
    """The header of the last message in a chunk that wants a reply; zeros when none does.

    A chunk that begins in the middle of a message may be misread: then the answer is of no use, and does no harm.
    """
    found, at = bytes(HEADER_BYTES), 0
    while at + HEADER_BYTES <= len(data):
        number, command, size, flags, error = HEADER.unpack_from(data, at)
        if Header(number, command, size, flags, error).wants_reply:
            found = data[at : at + HEADER_BYTES]
        at += max(size, HEADER_BYTES)
    return found


def reply(header: Header, payload: bytes = b"") -> bytes:
    """Answer a request."""
    return HEADER.pack(header.id, header.command, HEADER_BYTES + len(payload), _REPLY, 0) + payload


def refusal(header: Header, error: int) -> bytes:
    """Answer that a request failed, with an errno."""
    return HEADER.pack(header.id, header.command, HEADER_BYTES, _REPLY | _ERROR, error)


def version_payload(capabilities: Mapping[str, Any]) -> bytes:
    """The payload of a VERSION reply: our version, and capabilities as JSON."""
    text = json.dumps({"capabilities": capabilities}, separators=(",", ":"))
    return _VERSION.pack(MAJOR, MINOR) + text.encode() + b"\0"


def device_info_payload(*, regions: int, irqs: int) -> bytes:
    """The payload of a DEVICE_GET_INFO reply: a PCI function that can be reset."""
    resettable_pci = 0x3
    return _DEVICE_INFO.pack(_DEVICE_INFO.size, resettable_pci, regions, irqs)


def region_info_payload(index: int, size: int, *, writable: bool = True) -> bytes:
    """The payload of a DEVICE_GET_REGION_INFO reply; a size of 0 says that there is no such region."""
    readable, writes = 0x1, 0x2
    flags = (readable | (writes if writable else 0)) if size else 0
    return _REGION_INFO.pack(_REGION_INFO.size, flags, index, 0, size, 0)


def irq_info_payload(index: int, count: int) -> bytes:
    """The payload of a DEVICE_GET_IRQ_INFO reply: interrupts by eventfd, never resized."""
    eventfd, noresize = 0x1, 0x8
    return _IRQ_INFO.pack(_IRQ_INFO.size, eventfd | noresize if count else 0, index, count)


def access_payload(access: RegionRead | RegionWrite, data: bytes = b"") -> bytes:
    """The payload of a REGION_READ or REGION_WRITE reply: the access, and what was read."""
    count = access.count if isinstance(access, RegionRead) else len(access.data)
    return _REGION_ACCESS.pack(access.offset, access.region, count) + data


def unmap_payload(unmap: DmaUnmap) -> bytes:
    """The payload of a DMA_UNMAP reply: the request itself."""
    return _DMA_UNMAP.pack(_DMA_UNMAP.size, unmap.flags, unmap.address, unmap.size)


def dma_read(number: int, address: int, count: int) -> bytes:
    """A request of ours: read guest memory."""
    return _ask(Command.DMA_READ, number, _DMA_ACCESS.pack(address, count))


def dma_write(number: int, address: int, data: bytes) -> bytes:
    """A request of ours: write guest memory."""
    return _ask(Command.DMA_WRITE, number, _DMA_ACCESS.pack(address, len(data)) + data)


# --- inside -----------------------------------------------------------------------------------------------


def _ask(command: Command, number: int, payload: bytes) -> bytes:
    return HEADER.pack(number, command, HEADER_BYTES + len(payload), 0, 0) + payload


def _exactly(layout: struct.Struct, payload: bytes, name: str) -> tuple[int, ...]:
    if len(payload) != layout.size:
        raise Malformed(f"{name} with {len(payload)} bytes instead of {layout.size}")
    return layout.unpack(payload)


def _at_least(layout: struct.Struct, payload: bytes, name: str) -> tuple[int, ...]:
    if len(payload) < layout.size:
        raise Malformed(f"{name} with {len(payload)} bytes, fewer than {layout.size}")
    return layout.unpack_from(payload)


def _transfer(count: int) -> int:
    if not 0 < count <= LONGEST_TRANSFER:
        raise Malformed(f"a transfer of {count} bytes")
    return count


def _span(address: int, size: int) -> int:
    if not size or address + size > 1 << 64:
        raise Malformed(f"a range of {size} bytes at {address:#x}")
    return size


def _version(payload: bytes) -> Version:
    major, minor = _at_least(_VERSION, payload, "VERSION")
    text = payload[_VERSION.size :]
    if text and not text.endswith(b"\0"):
        raise Malformed("the capabilities of VERSION do not end with NUL")
    try:
        capabilities = json.loads(text.rstrip(b"\0").decode() or "{}").get("capabilities", {})
    except (ValueError, AttributeError, RecursionError) as error:
        raise Malformed(f"the capabilities of VERSION: {error}") from error
    if not isinstance(capabilities, dict):
        raise Malformed("the capabilities of VERSION are no object")
    if major != MAJOR:
        raise Malformed(f"version {major}.{minor}", errno.ENOTSUP)
    return Version(major, minor, capabilities)


def _set_irqs(payload: bytes) -> SetIrqs:
    _, flags, index, start, count = _at_least(_IRQ_SET, payload, "DEVICE_SET_IRQS")
    data = payload[_IRQ_SET.size :]
    action = IrqAction(flags & 0x3F)
    kinds = action & (IrqAction.NONE | IrqAction.BOOL | IrqAction.EVENTFD)
    actions = action & (IrqAction.MASK | IrqAction.UNMASK | IrqAction.TRIGGER)
    if flags != action or kinds.bit_count() != 1 or actions.bit_count() != 1:
        raise Malformed(f"DEVICE_SET_IRQS with flags {flags:#x}")
    if IrqAction.BOOL in action and len(data) != count:
        raise Malformed(f"DEVICE_SET_IRQS says {count} truth values and brings {len(data)}")
    return SetIrqs(action, index, start, count, data)


def _dma_reply(header: Header, payload: bytes) -> DmaReply:
    if header.command not in (Command.DMA_READ, Command.DMA_WRITE):
        raise Malformed(f"a reply to command {header.command}, which we never ask")
    if header.is_error:
        return DmaReply(header.id, header.error or errno.EIO)
    _, count = _at_least(_DMA_ACCESS, payload, "the reply to a DMA")
    data = payload[_DMA_ACCESS.size :]
    if header.command == Command.DMA_READ and len(data) != count:
        raise Malformed(f"the reply to DMA_READ says {count} bytes and brings {len(data)}")
    return DmaReply(header.id, 0, data)
