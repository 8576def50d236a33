"""Write an archive in the kernel's initramfs format ("newc" cpio), as bytes.

Pure: no root rights, no external tool, no clock.  The same entries give the same bytes: they are sorted by
path, every time stamp is zero, everything belongs to root, and missing parent folders are added.
It refuses relative tricks in paths and two entries with one path; it never reads the file system.

Source: Documentation/driver-api/early-userspace/buffer-format.rst of Linux.
"""

from __future__ import annotations

import stat
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_MAGIC = "070701"
_TRAILER = "TRAILER!!!"
_ALIGNMENT_BYTES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One object of the archive.

    Attributes:
        path: where it appears in the guest, without leading slash ("etc/modules.order").
        mode: type and permission bits, as in `st_mode`.
        content: bytes of a file, target of a symbolic link, empty for folders and device nodes.
        device: (major, minor) of a device node.
    """

    path: str
    mode: int
    content: bytes = b""
    device: tuple[int, int] = (0, 0)


def folder(path: str) -> Entry:
    """Describe a folder that everybody may read."""
    return Entry(path=path, mode=stat.S_IFDIR | 0o755)


def file(path: str, content: bytes, permissions: int = 0o644) -> Entry:
    """Describe a regular file."""
    return Entry(path=path, mode=stat.S_IFREG | permissions, content=content)


def link(path: str, target: str) -> Entry:
    """Describe a symbolic link."""
    return Entry(path=path, mode=stat.S_IFLNK | 0o777, content=target.encode())


def character_device(path: str, major: int, minor: int) -> Entry:
    """Describe a character device node."""
    return Entry(path=path, mode=stat.S_IFCHR | 0o600, device=(major, minor))


def archive(entries: Iterable[Entry]) -> bytes:
    """Pack entries into one archive.

    Args:
        entries: in any order; parent folders may be left out.

    Returns:
        the archive, its length a multiple of 512 bytes.

    Raises:
        ValueError: a path is absolute, climbs upwards, or occurs twice.
    """
    out = bytearray()
    for inode, entry in enumerate(_with_parents(entries), start=1):
        _append(out, entry, inode)
    _append(out, Entry(path=_TRAILER, mode=0), 0)
    out += bytes(-len(out) % 512)
    return bytes(out)


def _with_parents(entries: Iterable[Entry]) -> Iterator[Entry]:
    """Sort, and put every folder before what lies in it."""
    by_path: dict[str, Entry] = {}
    for entry in entries:
        path = PurePosixPath(entry.path)
        if path.is_absolute() or ".." in path.parts or str(path) != entry.path or entry.path == ".":
            raise ValueError(f"path of an archive entry must be plain and relative, got {entry.path!r}")
        if entry.path in by_path:
            raise ValueError(f"two archive entries for {entry.path!r}")
        by_path[entry.path] = entry
    for path_text in list(by_path):
        for parent in PurePosixPath(path_text).parents:
            if str(parent) != ".":
                by_path.setdefault(str(parent), folder(str(parent)))
    # Sorting by parts, not by text: "a/b" must come before "a-c/d" only if folder "a" does.
    yield from (by_path[key] for key in sorted(by_path, key=lambda text: PurePosixPath(text).parts))


def _append(out: bytearray, entry: Entry, inode: int) -> None:
    name = entry.path.encode() + b"\0"
    links = 2 if stat.S_ISDIR(entry.mode) else 1
    fields = (
        inode,
        entry.mode,
        0,  # uid
        0,  # gid
        links,
        0,  # time of modification
        len(entry.content),
        0,  # device that holds the file
        0,
        *entry.device,
        len(name),
        0,  # checksum: unused in this variant
    )
    out += (_MAGIC + "".join(f"{field:08x}" for field in fields)).encode()
    out += name
    out += bytes(-len(out) % _ALIGNMENT_BYTES)
    out += entry.content
    out += bytes(-len(out) % _ALIGNMENT_BYTES)
