"""Files that somebody else made: regular ones, and no larger than they may be."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

from harness.errors import UsageError
from harness.model.limits import Limit


def open_file(path: Path, *, what: str, hint: str = "") -> BinaryIO:
    """Open a file for reading, if it is a regular one: a pipe might never end, and a device has no size.

    Args:
        path: of the file.
        what: it is to be, for the error: `history`.
        hint: what to do when it cannot be read.

    Raises:
        UsageError: it cannot be opened, or is no regular file.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a pipe must not keep us
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISREG(mode):
            return os.fdopen(descriptor, "rb")
        os.close(descriptor)
        said = "Is a directory" if stat.S_ISDIR(mode) else "no regular file"
    except (OSError, ValueError) as error:  # a ValueError: NUL, or half of a surrogate pair, in its name
        said = getattr(error, "strerror", None) or str(error)
    raise UsageError(f"{what} {path}", said=said, hint=hint)


def read_file(path: Path, limit: Limit, *, what: str, hint: str = "") -> bytes:
    """Read a file whole.

    Args:
        path: of the file.
        limit: of its size.
        what: it is to be, for the error: `history`.
        hint: what to do when it cannot be read.

    Raises:
        UsageError: as :func:`open_file`, or it is too large.
    """
    with open_file(path, what=what, hint=hint) as stream:
        try:
            size = os.fstat(stream.fileno()).st_size
            data = b"" if limit.excess(size) else stream.read(limit.most + 1)  # it may grow meanwhile
        except OSError as error:
            raise UsageError(f"{what} {path}", said=error.strerror or str(error), hint=hint) from error
    if excess := limit.excess(max(size, len(data))):
        raise UsageError(f"{what} {path}", said=excess, hint=hint)
    return data
