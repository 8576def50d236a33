"""How much of the disk the cache may take: what goes when that is too much, and what goes in any case.

Only what is made here counts; what was fetched costs the network to have again.  What any process holds stays, whatever
the budget says.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from harness.errors import SetupError, UsageError
from harness.lab.cache.store import Cache, Entry
from harness.lab.progress import note

LIMIT_VARIABLE: Final = "VFIO_HARNESS_CACHE_LIMIT"
FETCHED: Final = frozenset({"debian"})
"""Kinds of entries that cost the network to have again: no budget takes them, only `harness cache --clean`."""
FORGOTTEN_S: Final = 7 * 86_400.0
"""What is made here and was not used for so long is of no use: nearly every change makes other ones necessary."""

_LIMIT_BYTES: Final = 3 << 30
_LIMIT_SHARE: Final = 0.1  # of the space that would be free without all that counts
_WORTH_BYTES: Final = 1_000_000  # to remove less than this would not bring a cache within its budget
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kMGT]?)i?B?", re.IGNORECASE)
_UNITS: Final = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


def budget_bytes(root: Path, counted_bytes: int) -> int:
    """Return how much space may be taken by what is made here: `$VFIO_HARNESS_CACHE_LIMIT`, as "2G" or "500M".

    Without the variable 3 GiB, or a tenth of the space that would be free without all of it, if that is less.

    Args:
        root: the cache folder.
        counted_bytes: what it takes now.

    Raises:
        UsageError: the variable is no size.
    """
    if not (wished := os.environ.get(LIMIT_VARIABLE, "").strip()):
        return min(_LIMIT_BYTES, int(_LIMIT_SHARE * (shutil.disk_usage(root).free + counted_bytes)))
    if (size := _SIZE.fullmatch(wished)) is None:
        raise UsageError(f"{LIMIT_VARIABLE}={wished}", said="not a size", hint="Write it as 2G or 500M.")
    return int(float(size[1]) * _UNITS[size[2].lower()])


def counts(entry: Entry) -> bool:
    """Whether an entry counts against the budget: it was made here, and may be removed."""
    return entry.kind not in FETCHED and not entry.objection


def collect(cache: Cache) -> list[Entry]:
    """Bring what is made here within its budget, and forget what was not used for a week.

    Least recently used first; what any process holds, or is not ours, is not touched, whatever the budget says.

    Args:
        cache: an open one.

    Returns:
        What was removed.

    Raises:
        UsageError: the budget that the user wishes is no size.
    """
    entries = cache.entries()
    strangers = [entry for entry in entries if entry.objection and time.time() - entry.used_s >= FORGOTTEN_S]
    if strangers:
        note(f"{len(strangers)} cache entries that nobody used for a week carry no marker of this harness and stay: "
             "`harness cache --clean --dry-run` names them")  # fmt: skip
    counted = sorted(filter(counts, entries), key=lambda entry: entry.used_s)
    taken_bytes = sum(entry.size_bytes for entry in counted)
    limit_bytes = budget_bytes(cache.root, taken_bytes)
    removed = []
    for entry in counted:
        forgotten = time.time() - entry.used_s >= FORGOTTEN_S
        too_much = taken_bytes > limit_bytes and entry.size_bytes >= _WORTH_BYTES
        if entry.in_use or not (forgotten or too_much):
            continue
        with suppress(SetupError):  # somebody began to use it a moment ago: then it stays
            cache.discard(entry.kind, entry.key)
            removed.append(entry)
            taken_bytes -= entry.size_bytes
    cache.sweep()
    return removed
