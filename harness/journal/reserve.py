"""Room on the disk that is kept for the end: when the disk is full, the last records and the report still fit."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import IO, Final

SIZE: Final = 1 << 20
"""Bytes that are kept: half for records, half for the report."""
_STEP: Final = 1 << 16


class Reserve:
    """A file of :data:`SIZE` bytes that is given up bit by bit; it goes when it is closed.

    It has no name: nobody else's can be in its way, and it goes with whoever is killed.  A disk that has no room for
    it is no trouble yet: whoever writes next will say so.
    """

    def __init__(self, folder: Path) -> None:
        """Take the room.

        Args:
            folder: on the disk where it is wanted.
        """
        self._left = 0
        self._file: IO[bytes] | None = None
        with suppress(OSError):
            self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - kept until `close`
            os.posix_fallocate(self.fileno(), 0, SIZE)
            self._left = SIZE

    def fileno(self) -> int:
        """Its descriptor; -1 when there is none."""
        return -1 if self._file is None else self._file.fileno()

    def give(self) -> bool:
        """Give some room up for a record; False when what is left is the report's."""
        if self._left <= SIZE // 2:
            return False
        self._left -= _STEP
        try:
            os.ftruncate(self.fileno(), self._left)
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Give everything up; a second call does nothing."""
        if self._file is not None:
            self._file.close()
            self._file, self._left = None, 0
