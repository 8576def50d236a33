"""The only way by which anything goes that was *found*: by its name, by a pattern, or by its age.

The law: what is found is removed only if it is a folder (no link to one) of this user's, has the mode that we gave it,
and carries a marker, a file that we wrote into it when we made it, for the same purpose.  Whatever has none belongs to
somebody, if only to an earlier version of the harness: it is named and left.  What the same process made under a name
of its own needs no marker.

Nothing is reached by its path twice: folder, marker and contents are looked at and removed through descriptors, so
whoever puts something else in the place of a folder meanwhile loses nothing.  The marker goes last: what a removal
leaves that was killed is still ours.  Nothing that is mounted below is entered.  lab/setup.sh has the same rule.
"""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

MARKER: Final = ".made-by-vfio-harness"
"""The marker's name in the folder that it speaks of."""

_MARKER_MODE: Final = 0o444
_LONGEST: Final = 200
_UNMARKED: Final = "nothing in it says that this harness made it"
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def mark(folder: Path, purpose: str) -> None:
    """Write the marker into a folder that was made a moment ago and has the mode that it shall have.

    Args:
        folder: empty, or holding nothing that its removal might lose.
        purpose: what it is for, in a few words; whoever removes it must name the same.

    Raises:
        OSError: it cannot be written, or there is one.
    """
    at = os.open(folder, _FOLDER)
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        marker = os.open(MARKER, flags, _MARKER_MODE, dir_fd=at)
        try:
            os.fchmod(marker, _MARKER_MODE)  # whatever the umask is
            text = _text(purpose, os.fstat(at))
            while text:
                text = text[os.write(marker, text) :]
        except OSError:
            os.unlink(MARKER, dir_fd=at)  # no half a marker
            raise
        finally:
            os.close(marker)
    finally:
        os.close(at)


def made(parent: Path, prefix: str, purpose: str, *, mode: int = 0o700) -> Path:
    """Make a folder with a name of its own, marked before anybody writes into it.

    Raises:
        OSError: it cannot be made.
    """
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
    try:
        folder.chmod(mode)
        mark(folder, purpose)
    except OSError:
        folder.rmdir()
        raise
    return folder


@contextmanager
def lent(parent: Path, prefix: str, purpose: str) -> Iterator[Path]:
    """A marked folder for a block of code; whoever is killed in it leaves what :func:`remove` knows as ours.

    Raises:
        OSError: it cannot be made.
    """
    folder = made(parent, prefix, purpose)
    try:
        yield folder
    finally:
        remove(folder, purpose)


def objection(folder: Path, purpose: str) -> str:
    """Why a folder must not be removed, in a few words; empty when it is ours.  Changes nothing."""
    with ExitStack() as opened:
        return _look(folder, purpose, opened)[1]


def remove(folder: Path, purpose: str) -> str:
    """Remove a folder that was found, if it is ours.

    Args:
        folder: which one; there may be none.
        purpose: what it was marked for.

    Returns:
        Empty when it is gone, or why it, or some of it, is still there.
    """
    with ExitStack() as opened:
        at, why = _look(folder, purpose, opened)
        if why or at < 0:
            return why
        try:
            parent = os.open(folder.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            opened.callback(os.close, parent)
            _empty(at, os.fstat(at).st_dev, spare=MARKER)
            os.unlink(MARKER, dir_fd=at)
            there = os.stat(folder.name, dir_fd=parent, follow_symlinks=False)
            if os.path.samestat(there, os.fstat(at)):
                os.rmdir(folder.name, dir_fd=parent)
        except FileNotFoundError:
            return ""  # somebody else is removing it
        except OSError as error:
            return error.strerror or str(error)
    return ""


def _look(folder: Path, purpose: str, opened: ExitStack) -> tuple[int, str]:
    """A folder's descriptor, which `opened` closes, or -1; and what speaks against its removal."""
    try:
        at = os.open(folder, _FOLDER)
    except FileNotFoundError:
        return -1, ""
    except OSError as error:
        if error.errno in (errno.ENOTDIR, errno.ELOOP):
            return -1, "it is no folder"
        return -1, error.strerror or str(error)
    opened.callback(os.close, at)
    status = os.fstat(at)
    if status.st_uid != os.geteuid():
        return at, "it belongs to another user"
    if (said := _marker(at)) is None or not said.startswith(_text(purpose, None)):
        return at, _UNMARKED
    if said != _text(purpose, status):
        return at, f"its mode is {stat.S_IMODE(status.st_mode):04o}, not what this harness gave it"
    return at, ""


def _marker(at: int) -> bytes | None:
    """What the marker in a folder says; None when there is none that this user wrote."""
    try:
        marker = os.open(MARKER, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=at)
    except OSError:
        return None
    try:
        status = os.fstat(marker)
        ours = stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid() and status.st_nlink == 1
        return os.read(marker, _LONGEST) if ours and stat.S_IMODE(status.st_mode) == _MARKER_MODE else None
    finally:
        os.close(marker)


def _text(purpose: str, status: os.stat_result | None) -> bytes:
    """What a marker says; without the folder's status, how it begins."""
    mode = "" if status is None else f"{stat.S_IMODE(status.st_mode):04o}\n"
    return f"made by vfio-harness, {purpose}: remove it whenever you like\nmode {mode}".encode()


def _empty(at: int, device: int, *, spare: str = "") -> None:
    for name in os.listdir(at):
        if name != spare:
            with suppress(FileNotFoundError):  # it went by itself, as a socket does with its owner
                _unlink(at, name, device)


def _unlink(at: int, name: str, device: int) -> None:
    if not stat.S_ISDIR(os.stat(name, dir_fd=at, follow_symlinks=False).st_mode):
        os.unlink(name, dir_fd=at)
        return
    below = os.open(name, _FOLDER, dir_fd=at)
    try:
        if os.fstat(below).st_dev != device:
            raise OSError(errno.EBUSY, f"something is mounted on {name}")
        _empty(below, device)
    finally:
        os.close(below)
    os.rmdir(name, dir_fd=at)
