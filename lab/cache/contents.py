"""What lies in the cache folder, whose it is, and what a cleaning would take.  Looking writes nothing."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from harness import removal
from harness.lab.cache.root import RESERVED

STAMP: Final = ".complete.json"
ENTRY: Final = "a cache entry"
"""What an entry is marked for, a half-made one too (harness/removal.py)."""
WORKSPACE: Final = "a working folder of the cache"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One complete entry, or what else a cleaning looks at: a working folder (`work`), a half-made entry (`building`).

    Attributes:
        size_bytes: space it takes on the disk (allocated blocks: sparse files count what they hold).
        made_s: when it was published, seconds since the epoch.
        used_s: when it was last handed out, seconds since the epoch.
        in_use: whether a process (this one included) holds it now.
        objection: why it is not removed whatever is asked for, in a few words; empty when it is ours.
    """

    kind: str
    key: str
    path: Path
    size_bytes: int
    made_s: float
    used_s: float
    in_use: bool
    objection: str

    def __str__(self) -> str:
        return f"{self.kind} {self.key}"


def entries(root: Path) -> list[Entry]:
    """List the complete entries, the largest first."""
    found = []
    for stamp in root.glob(f"*/*/{STAMP}"):
        where = stamp.parent
        if where.parent.name in RESERVED:
            continue
        with suppress(OSError, ValueError):
            made_s = float(json.loads(stamp.read_text())["made_s"])
            entry = _seen(where, f"{where.parent.name}@{where.name}", ENTRY)
            found.append(replace(entry, made_s=made_s, used_s=stamp.stat().st_mtime))
    return sorted(found, key=lambda entry: entry.size_bytes, reverse=True)


def due(root: Path, *, kind: str | None = None, unused_for_s: float = 0.0) -> list[Entry]:
    """What a cleaning would take that nobody uses; what has an objection would be left.

    Args:
        root: the cache folder; there may be none.
        kind: only entries of this kind; all kinds, and what dead builders and the working folders hold, when None.
        unused_for_s: only entries not handed out for so many seconds.
    """
    old = [one for one in entries(root) if time.time() - one.used_s >= unused_for_s]
    found = [one for one in old if kind in (None, one.kind)]
    if kind is None:
        found += others(root)
    return [one for one in found if not one.in_use]


def others(root: Path) -> list[Entry]:
    """What else takes space and may be cleaned: the working folders, and what is or was being made."""
    return [*_workspaces(root), *half_made(root)]


def half_made(root: Path) -> Iterator[Entry]:
    """What lies where entries are built: the builder of one that is not in use is dead."""
    for where in sorted(root.glob("building/*")):
        yield _seen(where, lock_name(where), ENTRY)


def _workspaces(root: Path) -> Iterator[Entry]:
    for where in sorted(root.glob("work/*")):
        yield _seen(where, f"work@{where.name}", WORKSPACE)


def lock_name(half: Path) -> str:
    """The name of the lock that the builder of a half-made entry holds."""
    return half.name.rpartition("@")[0]


def _seen(where: Path, lock: str, purpose: str) -> Entry:
    changed_s = where.lstat().st_mtime
    return Entry(
        kind=where.parent.name,
        key=where.name,
        path=where,
        size_bytes=allocated_bytes(where),
        made_s=changed_s,
        used_s=changed_s,
        in_use=_is_locked(where.parent.parent / "locks" / lock),
        objection=removal.objection(where, purpose),
    )


def _is_locked(lock: Path) -> bool:
    try:
        descriptor = os.open(lock, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(descriptor)


def allocated_bytes(folder: Path) -> int:
    """Add up the disk space of a folder and of all in it, as du does; what is linked twice counts once."""
    seen: set[tuple[int, int]] = set()
    total = 0
    for parent, folders, files in os.walk(folder):
        for name in (".", *folders, *files):
            with suppress(OSError):
                status = os.lstat(Path(parent, name))
                if (status.st_dev, status.st_ino) not in seen:
                    seen.add((status.st_dev, status.st_ino))
                    total += status.st_blocks * 512
    return total
