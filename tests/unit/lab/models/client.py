"""A client of vfio-user that says what QEMU says: the other side of a conversation under test."""

from __future__ import annotations

import struct

from harness.lab.models import wire
from harness.lab.models.wire import Command

VERSION = b'\0\0\0\0{"capabilities":{"max_msg_fds":16}}\0'


def message(command: Command, payload: bytes = b"", *, number: int = 1, flags: int = 0) -> bytes:
    return wire.HEADER.pack(number, command, wire.HEADER_BYTES + len(payload), flags, 0) + payload


def greeting() -> bytes:
    return message(Command.VERSION, VERSION)


def read(region: int, offset: int, count: int) -> bytes:
    return message(Command.REGION_READ, struct.pack("=QII", offset, region, count))


def write(region: int, offset: int, data: bytes, *, flags: int = 0) -> bytes:
    return message(Command.REGION_WRITE, struct.pack("=QII", offset, region, len(data)) + data, flags=flags)


def dma_map(address: int, size: int) -> bytes:
    return message(Command.DMA_MAP, struct.pack("=IIQQQ", 32, 3, 0, address, size))


def dma_unmap(address: int, size: int) -> bytes:
    return message(Command.DMA_UNMAP, struct.pack("=IIQQ", 24, 0, address, size))


def set_irqs(flags: int, index: int, start: int, count: int) -> bytes:
    return message(Command.DEVICE_SET_IRQS, struct.pack("=IIIII", 20, flags, index, start, count))
