"""A file whose reads wait in the kernel until a test lets them: what a locked config space looks like to an actor.

The kernel asks the owner of a fanotify permission mark before each read, and the reader sleeps meanwhile.  It
takes CAP_SYS_ADMIN and a kernel with CONFIG_FANOTIFY_ACCESS_PERMISSIONS.

Source: fanotify(7).
"""

from __future__ import annotations

import ctypes
import os
import select
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

_CLASS_CONTENT: Final = 0x4
_CLOEXEC: Final = 0x1
_MARK_ADD: Final = 0x1
_ACCESS_PERM: Final = 0x20000
_ALLOW: Final = 1
_EVENT: Final = struct.Struct("<IBBHQii")  # struct fanotify_event_metadata
_ANSWER: Final = struct.Struct("<iI")


class Gate:
    """Readers of one file wait here."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def arrival(self, seconds: float) -> int:
        """Wait for a read to begin; the descriptor by which :meth:`admit` knows it.

        Raises:
            TimeoutError: nobody reads.
        """
        if not select.select([self._fd], [], [], seconds)[0]:
            raise TimeoutError("nobody reads")
        return int(_EVENT.unpack_from(os.read(self._fd, 4096))[5])

    def admit(self, reader: int) -> None:
        """Let a read go on."""
        os.write(self._fd, _ANSWER.pack(reader, _ALLOW))
        os.close(reader)


@contextmanager
def guarded(path: Path) -> Iterator[Gate]:
    """Put a gate before a file; at the end everybody may read."""
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.fanotify_init(_CLASS_CONTENT | _CLOEXEC, os.O_RDONLY)
    if fd < 0:
        pytest.skip(f"needs fanotify and CAP_SYS_ADMIN: {os.strerror(ctypes.get_errno())}; run it as root")
    try:
        marked = libc.fanotify_mark(fd, _MARK_ADD, ctypes.c_uint64(_ACCESS_PERM), -100, os.fsencode(path))
        if marked < 0:
            pytest.skip(f"this kernel has no permission events: {os.strerror(ctypes.get_errno())}")
        yield Gate(fd)
    finally:
        os.close(fd)
