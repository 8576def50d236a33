"""Room on the disk that is kept for the end: when the disk is full, the last records and the report still fit."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

SIZE: Final = 1 << 20
"""Bytes that are kept: half for records, half for the report."""
_STEP: Final = 1 << 16


class Reserve:
    """A file of :data:`SIZE` bytes that is given up bit by bit; it goes when it is closed.

    A disk that has no room for it is no trouble yet: whoever writes next will say so.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._left = 0
        self._fd = -1
        with suppress(OSError):
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            os.posix_fallocate(self._fd, 0, SIZE)
            self._left = SIZE

    def give(self) -> bool:
        """Give some room up for a record; False when what is left is the report's."""
        if self._left <= SIZE // 2:
            return False
        self._left -= _STEP
        try:
            os.ftruncate(self._fd, self._left)
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Give everything up; a second call does nothing."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd, self._left = -1, 0
            self._path.unlink(missing_ok=True)
