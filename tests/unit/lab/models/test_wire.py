"""Messages of vfio-user: what QEMU sends is understood, whatever else comes is refused with an errno."""

from __future__ import annotations

import errno
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.lab.models import wire
from harness.lab.models.wire import (
    Command,
    DeviceReset,
    DmaMap,
    DmaReply,
    DmaUnmap,
    GetDeviceInfo,
    GetIrqInfo,
    GetRegionInfo,
    Header,
    IrqAction,
    Malformed,
    RegionRead,
    RegionWrite,
    SetIrqs,
    StreamLost,
    Version,
)
from tests.unit.lab.models import client

VERSION = b'\x00\x00\x00\x00{"capabilities":{"max_msg_fds":16}}\x00'


def header(command: int, payload: bytes, flags: int = 0, error: int = 0) -> Header:
    return Header(7, command, wire.HEADER_BYTES + len(payload), flags, error)


def decoded(command: int, payload: bytes = b"") -> object:
    return wire.decode(header(command, payload), payload)


def test_the_header_is_16_bytes_in_host_order() -> None:
    assert wire.HEADER_BYTES == 16
    said = bytes.fromhex("07000900200000001000000000000000")
    assert wire.read_header(said) == Header(7, Command.REGION_READ, 32, 0x10, 0)
    assert not wire.read_header(said).wants_reply


@pytest.mark.parametrize("flags", [0x02, 0x0F, 0x20, 0x30, 0x40, 0x8000_0000])
def test_flags_that_neither_command_nor_reply_has_are_refused(flags: int) -> None:
    with pytest.raises(Malformed, match="flags"):
        wire.decode(header(Command.DEVICE_RESET, b"", flags=flags), b"")


def test_a_reply_is_not_answered() -> None:
    assert header(Command.DEVICE_RESET, b"").wants_reply
    assert not header(Command.DEVICE_RESET, b"", flags=0x10).wants_reply
    assert not header(Command.DMA_READ, b"", flags=0x01).wants_reply
    assert not header(Command.DMA_READ, b"", flags=0x21).wants_reply


def test_the_last_request_of_a_chunk_is_the_one_that_somebody_waits_for() -> None:
    asked, posted = client.read(7, 0, 4), client.write(0, 4, b"mark", flags=0x10)
    reply = client.message(Command.DMA_READ, bytes(16), number=9, flags=1)
    assert wire.last_request(asked + posted + reply) == asked[: wire.HEADER_BYTES]
    assert wire.last_request(client.greeting() + asked[:20]) == asked[: wire.HEADER_BYTES], "not yet whole"
    for nothing in (b"", posted, reply, asked[:15]):
        assert wire.last_request(nothing) == bytes(wire.HEADER_BYTES)


@given(st.binary(max_size=200))
def test_the_last_request_of_any_bytes_is_a_header_or_nothing(data: bytes) -> None:
    assert len(wire.last_request(data)) == wire.HEADER_BYTES


@given(region=st.integers(0, 8), offset=st.integers(0, 2**64 - 1), data=st.binary(min_size=1, max_size=64))
def test_accesses_survive_the_wire(region: int, offset: int, data: bytes) -> None:
    said = client.write(region, offset, data)
    written = wire.decode(wire.read_header(said), said[wire.HEADER_BYTES :])
    assert written == RegionWrite(region, offset, data)
    assert wire.access_payload(written) == said[wire.HEADER_BYTES : wire.HEADER_BYTES + 16]
    said = client.read(region, offset, len(data))
    read = wire.decode(wire.read_header(said), said[wire.HEADER_BYTES :])
    assert read == RegionRead(region, offset, len(data))
    assert wire.access_payload(read, data) == said[wire.HEADER_BYTES :] + data


@pytest.mark.parametrize("size", [0, 15, wire.LONGEST_MESSAGE + 1, 0xFFFFFFFF])
def test_a_size_that_no_message_has_loses_the_stream(size: int) -> None:
    with pytest.raises(StreamLost):
        wire.read_header(struct.pack("=HHIII", 1, 9, size, 0, 0))


@pytest.mark.parametrize(
    ("command", "payload", "expected"),
    [
        (Command.VERSION, VERSION, Version(0, 0, {"max_msg_fds": 16})),
        (Command.VERSION, b"\0\0\0\0", Version(0, 0, {})),
        (
            Command.DMA_MAP,
            struct.pack("=IIQQQ", 32, 3, 0x1000, 0x100000, 0x2000),
            DmaMap(3, 0x1000, 0x100000, 0x2000),
        ),
        (Command.DMA_UNMAP, struct.pack("=IIQQ", 24, 0, 0x100000, 0x2000), DmaUnmap(0, 0x100000, 0x2000)),
        (Command.DEVICE_GET_INFO, struct.pack("=IIII", 16, 0, 0, 0), GetDeviceInfo()),
        (Command.DEVICE_GET_REGION_INFO, struct.pack("=IIIIQQ", 32, 0, 7, 0, 0, 0), GetRegionInfo(7)),
        (Command.DEVICE_GET_IRQ_INFO, struct.pack("=IIII", 16, 0, 3, 0), GetIrqInfo(3)),
        (
            Command.DEVICE_SET_IRQS,
            struct.pack("=IIIII", 20, 0x24, 1, 0, 1),
            SetIrqs(IrqAction.EVENTFD | IrqAction.TRIGGER, 1, 0, 1, b""),
        ),
        (Command.REGION_READ, struct.pack("=QII", 4, 7, 2), RegionRead(7, 4, 2)),
        (Command.REGION_WRITE, struct.pack("=QII", 4, 7, 2) + b"\x06\x00", RegionWrite(7, 4, b"\x06\x00")),
        (Command.DEVICE_RESET, b"", DeviceReset()),
    ],
)
def test_what_qemu_asks_is_understood(command: Command, payload: bytes, expected: object) -> None:
    assert decoded(command, payload) == expected


@pytest.mark.parametrize(
    ("command", "payload", "number"),
    [
        (Command.VERSION, b"\0\0", errno.EINVAL),
        (Command.VERSION, b"\1\0\0\0{}\0", errno.ENOTSUP),
        (Command.VERSION, b"\0\0\0\0{}", errno.EINVAL),  # no NUL
        (Command.VERSION, b"\0\0\0\0[]\0", errno.EINVAL),
        (Command.VERSION, b"\0\0\0\0{{\0", errno.EINVAL),
        (Command.VERSION, b"\0\0\0\0\xff\0", errno.EINVAL),
        (Command.VERSION, b'\0\0\0\0{"capabilities":7}\0', errno.EINVAL),
        (Command.DMA_MAP, b"", errno.EINVAL),
        (Command.DMA_MAP, struct.pack("=IIQQQ", 32, 3, 0, 0x1000, 0), errno.EINVAL),
        (Command.DMA_MAP, struct.pack("=IIQQQ", 32, 3, 0, 0xFFFFFFFFFFFFF000, 0x2000), errno.EINVAL),
        (Command.DMA_UNMAP, b"1234", errno.EINVAL),
        (Command.DEVICE_SET_IRQS, struct.pack("=IIIII", 20, 0x20, 1, 0, 1), errno.EINVAL),  # no kind of data
        (Command.DEVICE_SET_IRQS, struct.pack("=IIIII", 20, 0x01, 1, 0, 1), errno.EINVAL),  # nothing to do
        (Command.DEVICE_SET_IRQS, struct.pack("=IIIII", 20, 0x124, 1, 0, 1), errno.EINVAL),
        (Command.DEVICE_SET_IRQS, struct.pack("=IIIII", 20, 0x22, 1, 0, 2) + b"\1", errno.EINVAL),
        (Command.REGION_READ, struct.pack("=QII", 0, 7, 0), errno.EINVAL),
        (Command.REGION_READ, struct.pack("=QII", 0, 7, wire.LONGEST_TRANSFER + 1), errno.EINVAL),
        (Command.REGION_WRITE, struct.pack("=QII", 0, 7, 4) + b"\1\2", errno.EINVAL),
        (Command.REGION_WRITE, b"\0" * 8, errno.EINVAL),
        (Command.DEVICE_RESET, b"\0", errno.EINVAL),
        (Command.REGION_WRITE_MULTI, b"", errno.EOPNOTSUPP),
        (99, b"", errno.EOPNOTSUPP),
    ],
)
def test_whatever_else_comes_is_refused_with_an_errno(command: int, payload: bytes, number: int) -> None:
    with pytest.raises(Malformed) as refused:
        decoded(command, payload)
    assert refused.value.errno == number


def test_the_answer_to_a_dma_of_ours() -> None:
    said = struct.pack("=QQ", 0x1000, 4) + b"abcd"
    assert wire.decode(header(Command.DMA_READ, said, flags=1), said) == DmaReply(7, 0, b"abcd")
    assert wire.decode(header(Command.DMA_READ, b"", flags=0x21, error=7), b"") == DmaReply(7, 7)
    for command, payload in ((Command.DMA_READ, said[:-1]), (Command.REGION_READ, said)):
        with pytest.raises(Malformed):
            wire.decode(header(command, payload, flags=1), payload)


@given(command=st.integers(0, 20), flags=st.integers(0, 0x3F), payload=st.binary(max_size=80))
def test_no_bytes_raise_anything_else(command: int, flags: int, payload: bytes) -> None:
    asked = header(command, payload, flags)
    refused = 0
    try:
        wire.decode(asked, payload)
    except Malformed as error:
        refused = error.errno
    assert wire.read_header(wire.refusal(asked, refused)) == Header(7, command, 16, 0x21, refused)
