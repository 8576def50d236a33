"""A small private folder for the sockets of one guest, that does not stay behind.

It lies near the root of the file system, because a unix socket's path holds 108 bytes, too few for a results
folder of any depth.  Its owner holds a lock that the kernel drops when the owner dies; so what a killed
runner left is recognised and removed by the next one.  It refuses to touch what somebody still holds.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

_PREFIX: Final = "vfio-harness-"
_SOCKET_PATH_BYTES: Final = 90  # of 108, leaving room for the file's name
_NEW_S: Final = 60.0  # a folder is made a moment before it is locked


class RunFolder:
    """A folder that exists until `remove`, or until the next one is made after its owner's death."""

    def __init__(self) -> None:
        base = _base()
        sweep(base)
        self.path: Final = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=base))
        self._lock = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def remove(self) -> None:
        """Remove it and all that is in it; does nothing the second time."""
        shutil.rmtree(self.path, ignore_errors=True)
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


@contextmanager
def run_folder() -> Iterator[Path]:
    """A run folder for a block of code."""
    folder = RunFolder()
    try:
        yield folder.path
    finally:
        folder.remove()


def sweep(base: Path, *, new_s: float = _NEW_S) -> list[Path]:
    """Remove the folders of owners that are dead.

    Args:
        base: where they lie.
        new_s: leave folders alone that are younger than this: their owner may not hold its lock yet.

    Returns:
        what was removed.
    """
    removed = []
    for folder in base.glob(f"{_PREFIX}*"):
        # Other users' folders cannot be opened, and others may sweep at the same time.
        with suppress(OSError):
            if time.time() - folder.stat().st_mtime < new_s:
                continue
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder)
                removed.append(folder)
            finally:
                os.close(lock)
    return removed


def _base() -> Path:
    base = Path(tempfile.gettempdir())
    return base if len(os.fsencode(base)) + len(_PREFIX) < _SOCKET_PATH_BYTES else Path("/tmp")  # noqa: S108 - see above
