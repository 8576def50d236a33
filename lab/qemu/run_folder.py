"""A small private folder for the sockets of one guest, that does not stay behind.

It lies near the root of the file system, because a unix socket's path holds 108 bytes, too few for a results
folder of any depth.  Its owner holds a lock that the kernel drops when the owner dies; so what a killed
runner left is recognised and removed by the next one, by the law of harness/removal.py.  It refuses to touch what
somebody still holds.
"""

from __future__ import annotations

import fcntl
import os
import re
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from harness import removal
from harness.lab.progress import note

_PREFIX: Final = "vfio-harness-"
_NAME: Final = re.compile(re.escape(_PREFIX) + r"[a-z0-9_]{8}")
"""As mkdtemp makes names.  Whatever else is called vfio-harness-something was never a run folder."""
_PURPOSE: Final = "a guest's run folder"
_SOCKET_PATH_BYTES: Final = 90  # of 108, leaving room for the file's name
_NEW_S: Final = 60.0  # a folder is made a moment before it is locked
_named: Final[set[Path]] = set()  # what this process has told of: folders are made for every guest


class RunFolder:
    """A folder that exists until `remove`, or until the next one is made after its owner's death."""

    def __init__(self) -> None:
        base = _base()
        sweep(base)
        self.path: Final = removal.made(base, _PREFIX, _PURPOSE)
        self._lock = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def remove(self) -> None:
        """Remove it and all that is in it; does nothing the second time."""
        if self._lock >= 0:
            removal.remove(self.path, _PURPOSE)
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
    """Remove the folders of owners that are dead; name what looks like one and is none of ours, once.

    Args:
        base: where they lie.
        new_s: leave folders alone that are younger than this: their owner may not hold its lock yet.

    Returns:
        what was removed.
    """
    removed = []
    for folder in base.glob(f"{_PREFIX}*"):
        # Other users' are theirs to sweep, and others may sweep at the same time.
        with suppress(OSError):
            status = folder.lstat()
            old = time.time() - status.st_mtime >= new_s
            if not _NAME.fullmatch(folder.name) or status.st_uid != os.geteuid() or not old:
                continue
            if why := removal.objection(folder, _PURPOSE) or _removed(folder):
                _name_once(folder, why)
            elif not folder.exists():
                removed.append(folder)
    return removed


def _removed(folder: Path) -> str:
    """Remove one unless it is held; why it could not be, or nothing."""
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return ""
    else:
        return removal.remove(folder, _PURPOSE)
    finally:
        os.close(lock)


def _name_once(folder: Path, why: str) -> None:
    if folder not in _named:
        _named.add(folder)
        note(f"left {folder} alone: {why}")


def _base() -> Path:
    base = Path(tempfile.gettempdir())
    return base if len(os.fsencode(base)) + len(_PREFIX) < _SOCKET_PATH_BYTES else Path("/tmp")  # noqa: S108 - see above
