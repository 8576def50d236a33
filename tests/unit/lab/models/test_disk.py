"""The disk: what is written is read, and what it does not know it refuses with sense data."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.lab.models.disk import BLOCK_BYTES, Answer, Disk

BLOCKS = 64


def extent(code: int, first: int, count: int) -> bytes:
    return struct.pack(">BxIxHx", code, first, count)


@pytest.fixture
def disk() -> Disk:
    return Disk(BLOCKS, serial="HIL00001")


@given(st.lists(st.tuples(st.integers(0, BLOCKS - 4), st.binary(min_size=1, max_size=4)), max_size=20))
def test_it_is_a_row_of_blocks(writes: list[tuple[int, bytes]]) -> None:
    disk, twin = Disk(BLOCKS, serial="x"), bytearray(BLOCKS * BLOCK_BYTES)
    for first, letters in writes:
        data = b"".join(bytes([letter]) * BLOCK_BYTES for letter in letters)
        assert disk.command(extent(0x2A, first, len(letters)), data) == Answer()
        twin[first * BLOCK_BYTES : first * BLOCK_BYTES + len(data)] = data
    assert disk.command(extent(0x28, 0, BLOCKS)).data == bytes(twin)


@pytest.mark.parametrize(("code", "first", "count"), [(0x28, BLOCKS, 1), (0x28, BLOCKS - 1, 2), (0x2A, 0, 2)])
def test_what_lies_outside_or_came_without_data_is_refused(
    disk: Disk, code: int, first: int, count: int
) -> None:
    answer = disk.command(extent(code, first, count), bytes(BLOCK_BYTES))
    assert (answer.data, answer.sense[0], answer.sense[2], answer.sense[12]) == (b"", 0x70, 5, 0x21)


def test_a_refusal_is_told_once_more_when_asked_for_sense(disk: Disk) -> None:
    refused = disk.command(bytes((0x9E, 0x10)) + bytes(14)).sense
    ask = bytes((0x03, 0, 0, 0, 96, 0))
    assert disk.command(ask).data == refused
    assert disk.command(ask).data[2] == 0, "and only once"


def test_who_it_is(disk: Disk) -> None:
    assert disk.command(bytes((0x12, 0, 0, 0, 36, 0))).data == disk.identity()[:36]
    assert disk.command(bytes((0x12, 1, 0x80, 0, 255, 0))).data[4:] == b"HIL00001"
    assert disk.command(bytes((0x12, 1, 0xB0, 0, 255, 0))).sense[12] == 0x24
    assert disk.command(bytes((0x25,)) + bytes(9)).data == struct.pack(">II", BLOCKS - 1, BLOCK_BYTES)
    for code in (0x00, 0x35, 0x1B):
        assert disk.command(bytes((code,)) + bytes(9)) == Answer()
    assert len(disk.command(bytes((0x1A, 0, 0x3F, 0, 4, 0))).data) == 4
    assert len(disk.command(bytes((0x5A, 8, 10, 0, 0, 0, 0, 0, 2, 0))).data) == 2
