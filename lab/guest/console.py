"""The recorder of a guest's console: all that is written, and bounded on disk whatever is written.

QEMU writes into a pipe, and a thread of ours moves the bytes to a file: the first 4 MiB of them, the last 4 MiB
(up to twice as many while the guest runs), and between them a line that says how many were left out.  The file can
be read at any time, and what has reached it survives us.  A disk that is full costs bytes, and it is said how many;
it never stops the guest.  When the thread ends, so does the pipe, and QEMU drops what it would have written.

Sources: pipe(7); QEMU's serial port waits for a full pipe (which slows the guest down) and ignores a broken one.
"""

from __future__ import annotations

import fcntl
import os
import select
import struct
import termios
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from harness.errors import GuestError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HEAD_BYTES: Final = 4 << 20
"""How much of the beginning is kept."""
TAIL_BYTES: Final = 4 << 20
"""How much of the end is kept at least."""

_CHUNK_BYTES: Final = 256 << 10
_PIPE_BYTES: Final = 1 << 20  # the most that an ordinary user may have
_LINE_BYTES: Final = 512  # a cut end begins with a whole line when one begins so soon
_LOOKED_AT_BYTES: Final = 64 << 10
_ENDS_WITHIN_S: Final = 5.0


class BoundedFile:
    """A file that keeps the beginning and the end of what is written to it; no write raises."""

    def __init__(self, path: Path, *, head_bytes: int = HEAD_BYTES, tail_bytes: int = TAIL_BYTES) -> None:
        """Make it, or empty it.

        Args:
            path: where.
            head_bytes: how much of the beginning is kept.
            tail_bytes: how much of the end is kept at least.

        Raises:
            GuestError: it cannot be made.
        """
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise GuestError(f"record a console in {path}", said=error.strerror or str(error)) from error
        self._head, self._tail = head_bytes, tail_bytes
        self._size = 0
        self._left_out = 0
        self._lost = 0
        self._why_lost = ""

    def write(self, data: bytes) -> None:
        """Append; what finds no room is counted and lost."""
        if self._lost and not self._append(self._complaint()):
            self._lost = 0
        self._lost += self._append(data)
        if self._size > self._head + 2 * (self._tail + len(_mark(0))):
            self._shorten()

    def text(self, last_bytes: int | None = None) -> str:
        """All that it keeps, or the end of it."""
        at = 0 if last_bytes is None else max(0, self._size - last_bytes)
        kept = os.pread(self._file, self._size - at, at)
        return (kept + (self._complaint() if self._lost else b"")).decode(errors="replace")

    def close(self) -> None:
        """Shorten it to what is promised, and close it."""
        if self._size > self._head + len(_mark(0)) + self._tail:
            self._shorten()
        if self._lost and self._append(complaint := self._complaint()):
            # No room even for that: the last bytes give way to it.
            with suppress(OSError):
                os.pwrite(self._file, complaint, max(0, self._size - len(complaint)))
        os.close(self._file)

    def _append(self, data: bytes) -> int:
        """Write at the end; returns how many bytes found no room."""
        left = memoryview(data)
        while left:
            try:
                written = os.pwrite(self._file, left, self._size)
            except OSError as error:
                self._why_lost = error.strerror or str(error)
                return len(left)
            self._size += written
            left = left[written:]
        return 0

    def _shorten(self) -> None:
        """Move the end down over what precedes it.

        Killed in the middle of it, the file still ends with the end: only then is it cut.
        """
        end_at = self._size - self._tail
        first_line = os.pread(self._file, _LINE_BYTES, end_at).find(b"\n") + 1
        source, target = end_at + first_line, self._head + len(_mark(0))
        left_out = self._left_out + source - (target if self._left_out else self._head)
        with suppress(OSError):  # nothing here takes room that the file does not have
            at = target
            while data := os.pread(self._file, min(_CHUNK_BYTES, self._size - source), source):
                os.pwrite(self._file, data, at)
                source, at = source + len(data), at + len(data)
            os.pwrite(self._file, _mark(left_out), self._head)
            os.ftruncate(self._file, at)
            self._size, self._left_out = at, left_out

    def _complaint(self) -> bytes:
        return f"\n[lab: {self._lost} bytes of the console were lost: {self._why_lost}]\n".encode()


class Recorder:
    """Moves what comes out of a pipe into a :class:`BoundedFile`, from its making until `close`."""

    def __init__(self, path: Path, *, head_bytes: int = HEAD_BYTES, tail_bytes: int = TAIL_BYTES) -> None:
        """Open the pipe and begin.

        Args:
            path: where to record.
            head_bytes: how much of the beginning is kept.
            tail_bytes: how much of the end is kept at least.

        Raises:
            GuestError: the file cannot be made.
        """
        self._file = BoundedFile(path, head_bytes=head_bytes, tail_bytes=tail_bytes)
        self._pipe, self._inlet = os.pipe()
        with suppress(OSError):  # where it is not allowed the guest waits for us sooner
            fcntl.fcntl(self._pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        self._bell = os.eventfd(0)
        self._moved = threading.Condition()
        self._ended = False
        self._closed = False
        self._thread = threading.Thread(target=self._record, name="console", daemon=True)
        self._thread.start()

    @property
    def inlet(self) -> int:
        """Descriptor of the end to write to; -1 when it was handed over."""
        return self._inlet

    def handed_over(self) -> None:
        """Somebody else holds the inlet now; recording ends when nobody does any more."""
        if self._inlet >= 0:
            os.close(self._inlet)
            self._inlet = -1

    def text(self, settled_s: float = 1.0) -> str:
        """All that is kept, with everything that was written before the call.

        Args:
            settled_s: for how long to wait for what is still in the pipe.
        """
        with self._moved:
            self._moved.wait_for(lambda: self._ended or not self._waiting(), settled_s)
            return "" if self._closed else self._file.text()

    def wait_for(self, wanted: Callable[[str], bool], timeout_s: float) -> bool:
        """Wait until the last 64 KiB of the text are as wanted.

        Returns:
            whether it was within the time.
        """
        with self._moved:
            return self._moved.wait_for(
                lambda: not self._closed and wanted(self._file.text(_LOOKED_AT_BYTES)), timeout_s
            )

    def close(self) -> None:
        """Record what is still in the pipe, and end; does nothing the second time."""
        self.handed_over()
        self._thread.join(_ENDS_WITHIN_S)
        if self._thread.is_alive():  # somebody inherited the inlet and holds it
            os.eventfd_write(self._bell, 1)
            self._thread.join()
        with self._moved:
            if not self._closed:
                self._closed = True
                os.close(self._bell)
                self._file.close()

    def _record(self) -> None:
        ready = select.poll()
        ready.register(self._pipe, select.POLLIN)
        ready.register(self._bell, select.POLLIN)
        try:
            while not any(source == self._bell for source, _ in ready.poll()):
                with self._moved:
                    data = os.read(self._pipe, _CHUNK_BYTES)
                    self._file.write(data)
                    self._moved.notify_all()
                if not data:
                    break
        finally:
            with self._moved:
                self._ended = True
                os.close(self._pipe)
                self._moved.notify_all()

    def _waiting(self) -> int:
        """Bytes in the pipe."""
        answer = fcntl.ioctl(self._pipe, termios.FIONREAD, struct.pack("i", 0))
        return int(struct.unpack("i", answer)[0])


def _mark(left_out: int) -> bytes:
    """The line between beginning and end; always of the same length."""
    return f"\n[lab: {left_out:20d} bytes of the console are left out here]\n".encode()
