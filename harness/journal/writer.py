"""Append records to a journal so that a dead runner, a dead host or a full disk loses as little as possible.

One `write` a record on a descriptor opened with O_APPEND and O_CLOEXEC; what matters (starts, ends, failures)
is flushed to the disk before the call returns.  A disk that is full is remembered, never raised: hooks of
pytest that raise would take the run down, and the run is worth more than its record.
"""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from harness.errors import UsageError
from harness.journal.record import (
    PhaseReport,
    Record,
    SessionEnd,
    SessionStart,
    Status,
    TestFinish,
    TestStart,
    to_line,
)


class JournalWriter:
    """An open journal.  Owns its descriptor; use it as a context manager or call :meth:`close`.

    Attributes:
        trouble: what went wrong while writing, one sentence each, without repetition.
    """

    def __init__(self, path: Path) -> None:
        """Open `path` for appending and keep every other runner out of it.

        Raises:
            UsageError: the file cannot be opened, or another run is writing to it.
        """
        self.path = path
        self.trouble: list[str] = []
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
        self._torn = self._ends_torn()

    def append(self, record: Record) -> None:
        """Write one record down; flush it when it matters.  Never raises for a disk's trouble."""
        line = to_line(record)
        if self._torn:  # a newline of its own keeps a torn line from swallowing this one
            line = b"\n" + line
        try:
            written = os.write(self._fd, line)
            self._torn = written < len(line)
            if self._torn:
                self._remember(f"only {written} of {len(line)} bytes of a record fitted")
            if _matters(record):
                os.fsync(self._fd)
        except OSError as error:
            self._remember(f"{errno.errorcode.get(error.errno or 0, '?')} ({error.strerror})")

    def close(self) -> None:
        """Give the descriptor and the lock back; a second call does nothing."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

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
