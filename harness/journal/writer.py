"""Append records to a journal so that a dead runner, a dead host or a full disk loses as little as possible.

One `write` a record on a descriptor opened with O_APPEND and O_CLOEXEC; what matters (starts, ends, failures)
is flushed to the disk before the call returns.  A disk that is full is remembered, never raised: hooks of
pytest that raise would take the run down, and the run is worth more than its record.  What matters then still fits:
room for it is kept (:mod:`harness.journal.reserve`).
"""

from __future__ import annotations

import errno
import fcntl
import os
from dataclasses import replace
from pathlib import Path
from typing import Final

from harness.closing import Closing
from harness.errors import UsageError
from harness.journal.lines import to_line
from harness.journal.record import (
    AttemptRecord,
    PhaseReport,
    Record,
    SessionEnd,
    SessionStart,
    Status,
    TestFinish,
    TestStart,
)
from harness.journal.reserve import Reserve

_FULL: Final = (errno.ENOSPC, errno.EDQUOT)
_SHORT: Final = 1000
"""Characters of a text that a record keeps when the disk is full."""


class JournalWriter(Closing):
    """An open journal.  Owns its descriptor; use it as a context manager or call :meth:`close`.

    Attributes:
        trouble: what went wrong while writing, one sentence each, without repetition.
    """

    def __init__(self, path: Path, *, reserve: Reserve | None = None) -> None:
        """Open `path` for appending and keep every other runner out of it.

        Args:
            path: the journal.
            reserve: room for what matters when the disk is full; it is the writer's from now on.

        Raises:
            UsageError: the file cannot be opened, or another run is writing to it.
        """
        self.path = path
        self.trouble: list[str] = []
        self._reserve = reserve
        self._full = False
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise UsageError(
                f"journal {path}",
                said=os.strerror(error.errno or 0),
                hint="Name a results folder that can be written.",
            ) from error
        try:
            # A POSIX record lock: children that pytest forks do not inherit it, so it ends with this process.
            fcntl.lockf(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._fd)
            if error.errno not in (errno.EACCES, errno.EAGAIN):
                raise UsageError(f"lock on journal {path}", said=os.strerror(error.errno or 0)) from error
            raise UsageError(
                f"journal {path}",
                said="another run is writing to it",
                hint="Wait for that run, or name another results folder.",
            ) from error
        if not _same_file(self._fd, path):  # another run put it away while we waited at its door
            os.close(self._fd)
            raise UsageError(
                f"journal {path}", said="another run is starting here", hint="Name another results folder."
            )
        self._torn = self._ends_torn()

    def append(self, record: Record) -> None:
        """Write one record down; flush it when it matters.  Never raises for a disk's trouble."""
        line = to_line(_shortened(record) if self._full else record)
        if self._torn:  # a newline of its own keeps a torn line from swallowing this one
            line = b"\n" + line
        left = line
        try:
            while left:
                try:
                    left = left[os.write(self._fd, left) :]
                except OSError as error:
                    if not self._makes_room(error):
                        raise
                    if (
                        left == line and not self._torn
                    ):  # nothing of it is there yet: what is left is for what matters
                        left = line = to_line(_shortened(record))
            if _matters(record):
                os.fsync(self._fd)
        except OSError as error:
            self._remember(f"{errno.errorcode.get(error.errno or 0, '?')} ({error.strerror})")
            if 0 < len(left) < len(line):
                self._remember(f"only {len(line) - len(left)} of {len(line)} bytes of a record fitted")
        self._torn = self._torn if left == line else bool(left)

    def give_room(self) -> None:
        """Give up what is left of the reserve: the report wants it."""
        if self._reserve is not None:
            self._reserve.close()

    def _makes_room(self, error: OSError) -> bool:
        if error.errno not in _FULL or self._reserve is None or not self._reserve.give():
            return False
        self._full = True
        self._remember(
            f"{errno.errorcode[error.errno]}: the disk is full; long texts of later records are cut"
        )
        return True

    def close(self) -> None:
        """Give the descriptor, the lock and the reserve back; a second call does nothing."""
        self.give_room()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _remember(self, trouble: str) -> None:
        sentence = f"journal {self.path}: {trouble}"
        if sentence not in self.trouble:
            self.trouble.append(sentence)

    def _ends_torn(self) -> bool:
        """Did an earlier runner die in the middle of a line?"""
        # Read through our own descriptor: closing another one would drop the POSIX lock.
        size = os.lseek(self._fd, 0, os.SEEK_END)
        return size > 0 and os.pread(self._fd, 1, size - 1) != b"\n"


def _matters(record: Record) -> bool:
    match record:
        case SessionStart() | SessionEnd() | TestStart() | TestFinish():
            return True
        case PhaseReport(status=status):
            return status in (Status.ERROR, Status.FAILURE)
        case _:
            return False


def _shortened(record: Record) -> Record:
    match record:
        case PhaseReport():
            return replace(record, output="", details=record.details[:_SHORT])
        case AttemptRecord():
            return replace(record, details=record.details[:_SHORT])
        case _:
            return record


def _same_file(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except OSError:
        return False
