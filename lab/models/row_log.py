"""The log of a model: rows in a file that is mapped, so that it outlives a process that is killed.

Whoever reads it needs no answer of the model, and costs it nothing.
"""

from __future__ import annotations

import mmap
import struct
from pathlib import Path
from typing import Final

from harness.lab.models import handlers
from harness.lab.models.handlers import Handler
from harness.lab.models.interface import Told
from harness.model.served import ROW

_HEADER: Final = struct.Struct("<QQ")
"""Rows written since the log began, and rows that it has room for."""
_UNANSWERED: Final = slice(_HEADER.size, _HEADER.size + 16)
"""Header of the request that is being answered; zeros when none is."""
_CALLED: Final = slice(_UNANSWERED.stop, _UNANSWERED.stop + handlers.BYTES)
"""What of the model has been called and has not returned."""
_ROWS: Final = _CALLED.stop
LENGTH: Final = 200_000
"""Rows that are kept, 7 MB: an enumeration is about 130, a second of busy reading some 10,000."""


class RowLog:
    """Takes rows down; when it is full, what comes is only counted."""

    def __init__(self, path: Path) -> None:
        """Make the file."""
        size = _ROWS + LENGTH * ROW.size
        with path.open("w+b") as file:
            file.truncate(size)
            self._map = mmap.mmap(file.fileno(), size)
        self._count = 0
        self.begin()

    def begin(self) -> None:
        """Forget all rows."""
        self._count = 0
        _HEADER.pack_into(self._map, 0, 0, LENGTH)

    def answering(self, header: bytes) -> None:
        """Say which request is being answered, by the 16 bytes of its header; zeros: none is."""
        self._map[_UNANSWERED] = header

    def calls(self, handler: bytes) -> None:
        """Say what has been called of the model, as :meth:`harness.lab.models.handlers.Handler.to_bytes`."""
        self._map[_CALLED] = handler

    def __call__(self, told: Told) -> None:
        """Take one row down; its time need not be later than that of the last."""
        what, at, value, address, region, width, error = told
        if self._count < LENGTH:
            ROW.pack_into(
                self._map, _ROWS + self._count * ROW.size, at, value, address, -1, what, region, width, error
            )
        self._count += 1
        _HEADER.pack_into(self._map, 0, self._count, LENGTH)


def read_rows(path: Path) -> tuple[bytes, int]:
    """Read a log, were its writer dead or alive.

    Returns:
        rows of :data:`~harness.model.served.ROW`, and how many more there were that found no room.

    Raises:
        OSError: there is none.
    """
    data = path.read_bytes()
    count, room = _HEADER.unpack_from(data)
    kept = min(count, room)
    return data[_ROWS : _ROWS + kept * ROW.size], count - kept


def unanswered(path: Path) -> bytes:
    """The header of the request that a dead writer was answering; empty when there was none.

    Raises:
        OSError: there is no log.
    """
    with path.open("rb") as file:
        header = file.read(_ROWS)[_UNANSWERED]
    return header if any(header) else b""


def called(path: Path) -> Handler:
    """What of a model has been called and has not returned, were it dead or alive; without a log: nothing."""
    try:
        with path.open("rb", buffering=0) as file:
            return Handler.from_bytes(file.read(_ROWS)[_CALLED])
    except FileNotFoundError:
        return Handler()
