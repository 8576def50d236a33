"""The cache folder itself: whose it is, who may write into it, and whether it is a cache of ours at all.

What lies in it is executed here and booted in guests.  So it is refused where strangers could have put it there; and a
folder that holds other things is no cache, whatever `VFIO_HARNESS_CACHE` says.
"""

from __future__ import annotations

import fcntl
import grp
import os
import pwd
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

from harness.errors import SetupError
from harness.lab.progress import note

VARIABLE: Final = "VFIO_HARNESS_CACHE"
RESERVED: Final = frozenset({"locks", "building", "work"})
"""Folders in it that hold no entries."""

TAG: Final = "CACHEDIR.TAG"  # backup programs skip a folder with this file
_MADE: Final = "made by vfio-harness"
_TOLD: Final = "_VFIO_HARNESS_CACHE_TOLD"
"""Set to the cache that was told of: a run has many processes, and one line is enough."""


def make(root: Path) -> None:
    """Make the cache folder, or take one that is there for one, and its folders.

    Raises:
        SetupError: it is refused, see :func:`look`.
        OSError: it can be neither made nor written to.
    """
    root.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError):
        root.mkdir(mode=0o755)
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with suppress(OSError):  # a network file system without locks of folders
            fcntl.flock(descriptor, fcntl.LOCK_EX)  # whoever comes next finds the tag, too
        look(root)
        tag = root / TAG
        if not tag.exists():
            tag.write_text(f"Signature: 8a477f597d28d172789f06886806bc55\n# {_MADE}\n")
    finally:
        os.close(descriptor)
    for name in RESERVED:
        make_below(root, name)
    _tell_of_group(root)


def make_below(root: Path, name: str) -> None:
    """Make a folder in the cache, which whoever may write into the cache may write into, and nobody else.

    Raises:
        OSError: it cannot be made.
    """
    with suppress(FileExistsError):
        (root / name).mkdir(mode=mode_below(root))


def mode_below(root: Path) -> int:
    """What mode a folder in the cache has: a group that shares the cache shares it."""
    return stat.S_IMODE(root.stat().st_mode) & 0o775


def look(root: Path) -> None:
    """Refuse a folder that must not be used as a cache; writes nothing.  One that is not there is none.

    Raises:
        SetupError: it belongs to neither this user nor root, anybody may write into it, or it holds other things and
            no tag of ours.
        OSError: it cannot be looked at.
    """
    if not root.exists():
        return
    tried = f"using the cache folder {root}"
    status = root.stat()
    if status.st_uid not in (os.geteuid(), 0):
        raise SetupError(
            tried,
            said=f"it belongs to {_user(status.st_uid)}, neither to you nor to root",
            hint=f"What lies in it would be executed.  Set {VARIABLE}=/another/folder, or type: "
            f"sudo chown -R {os.geteuid()} {root}",
        )
    names = sorted(path.name for path in root.iterdir())
    if names and not _is_tagged(root):
        raise SetupError(
            tried,
            said=f"it holds other things ({', '.join(names[:3])}{', ...' if names[3:] else ''}) "
            "and no tag of this harness",
            hint=f"Set {VARIABLE} to a folder that is empty or not there yet, such as {root / 'vfio-harness'}",
        )
    for folder in (root, *root.glob("*/"), *root.glob("*/*/")):
        if folder.stat().st_mode & stat.S_IWOTH:
            raise SetupError(
                tried,
                said=f"anybody may write into {folder}",
                hint=f"What lies in it is executed: empty it if others were here.  Type: chmod -R o-w {root}",
            )


def _is_tagged(root: Path) -> bool:
    with suppress(OSError):
        return _MADE in (root / TAG).read_text(errors="replace")
    return False


def _tell_of_group(root: Path) -> None:
    """Say once in a run who else may change what is executed."""
    status = root.stat()
    if status.st_mode & stat.S_IWGRP and os.environ.get(_TOLD) != str(root):
        os.environ[_TOLD] = str(root)
        note(f"whoever is in the group {_group(status.st_gid)} may change what is executed from {root} "
             f"(to end that: chmod -R g-w {root})")  # fmt: skip


def _user(number: int) -> str:
    with suppress(KeyError):
        return pwd.getpwuid(number).pw_name
    return f"user {number}"


def _group(number: int) -> str:
    with suppress(KeyError):
        return grp.getgrgid(number).gr_name
    return str(number)
