"""A SCSI disk behind an adapter: what a driver asks of it while it is found, read and written.  Pure.

Source: SPC-4 (INQUIRY §6.6, MODE SENSE §6.11), SBC-3 (READ CAPACITY §5.16, READ §5.11, WRITE §5.32).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

BLOCK_BYTES: Final = 512
_EXTENT: Final = struct.Struct(">xxIxH")  # first block and count, of READ (10) and WRITE (10)
_ILLEGAL_REQUEST: Final = 0x05
_INVALID_OPCODE: Final = 0x20
_OUT_OF_RANGE: Final = 0x21
_INVALID_FIELD: Final = 0x24


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a command came to.

    Attributes:
        data: for the host; empty when there is none, or when it failed.
        sense: fixed-format sense data of a CHECK CONDITION; empty when the command was good.
    """

    data: bytes = b""
    sense: bytes = b""


class Disk:
    """A disk whose blocks are those that were written; the others read as zeros.

    Attributes:
        blocks: how many it has.
    """

    def __init__(self, blocks: int, *, serial: str) -> None:
        """An empty disk.

        Args:
            blocks: of 512 bytes.
            serial: at most 8 characters.
        """
        self.blocks: Final = blocks
        self._serial = serial.ljust(8)[:8].encode()
        self._written: dict[int, bytes] = {}
        self._sense = b""

    def identity(self) -> bytes:
        """Standard INQUIRY data, 44 bytes with the serial number at 36."""
        head = bytes((0x00, 0x00, 0x05, 0x02, 39, 0, 0, 0x02))
        return head + b"IBM     " + b"HIL MODEL DISK  " + b"0001" + self._serial

    def command(self, block: bytes, data: bytes = b"") -> Answer:
        """Carry out a command.

        Args:
            block: command descriptor block, 6 to 16 bytes.
            data: that came with it.
        """
        answer = self._answer(block, data)
        self._sense = answer.sense
        return answer

    def _answer(self, block: bytes, data: bytes) -> Answer:
        match block[0]:
            case 0x03:  # REQUEST SENSE: once
                return Answer(data=(self._sense or _NO_SENSE)[: block[4]])
            case 0x00 | 0x35 | 0x1B:  # TEST UNIT READY, SYNCHRONIZE CACHE, START STOP UNIT
                return Answer()
            case 0x12:
                return self._inquiry(block)
            case 0x1A:  # MODE SENSE (6): no pages, write cache off
                return Answer(data=bytes((3, 0, 0, 0))[: block[4]])
            case 0x5A:  # MODE SENSE (10)
                return Answer(data=bytes((0, 6, 0, 0, 0, 0, 0, 0))[: _u16(block, 7)])
            case 0x25:
                return Answer(data=struct.pack(">II", self.blocks - 1, BLOCK_BYTES))
            case 0x28:
                return self._read(*_EXTENT.unpack_from(block))
            case 0x2A:
                first, count = _EXTENT.unpack_from(block)
                return self._write(first, count, data)
            case _:
                return _refused(_INVALID_OPCODE)

    def _inquiry(self, block: bytes) -> Answer:
        wanted = _u16(block, 3)
        if not block[1] & 1:
            return Answer(data=self.identity()[:wanted])
        match block[2]:
            case 0x00:
                return Answer(data=bytes((0, 0x00, 0, 2, 0x00, 0x80))[:wanted])
            case 0x80:
                return Answer(data=(bytes((0, 0x80, 0, len(self._serial))) + self._serial)[:wanted])
            case _:
                return _refused(_INVALID_FIELD)

    def _read(self, first: int, count: int) -> Answer:
        if first + count > self.blocks:
            return _refused(_OUT_OF_RANGE)
        nothing = bytes(BLOCK_BYTES)
        return Answer(data=b"".join(self._written.get(at, nothing) for at in range(first, first + count)))

    def _write(self, first: int, count: int, data: bytes) -> Answer:
        if first + count > self.blocks or len(data) < count * BLOCK_BYTES:
            return _refused(_OUT_OF_RANGE)
        for number in range(count):
            self._written[first + number] = data[number * BLOCK_BYTES : (number + 1) * BLOCK_BYTES]
        return Answer()


def _u16(block: bytes, at: int) -> int:
    return int.from_bytes(block[at : at + 2], "big")


def _sense(key: int, additional: int) -> bytes:
    """Fixed-format sense data (SPC-4 §4.5.3)."""
    return bytes((0x70, 0, key, 0, 0, 0, 0, 10, 0, 0, 0, 0, additional, 0, 0, 0, 0, 0))


_NO_SENSE: Final = _sense(0, 0)


def _refused(additional: int) -> Answer:
    return Answer(sense=_sense(_ILLEGAL_REQUEST, additional))
