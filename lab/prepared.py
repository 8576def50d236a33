"""A lab that is prepared once in a run, by whichever of its processes needs it first.

A run is several processes: a supervisor, its pytest, workers of xdist.  They share a folder; who comes first prepares
and leaves there what was chosen and where it lies, and the others take that, without looking for it again.  Each holds
in the cache what it uses.  Should something have gone from the cache meanwhile, it is prepared again.
"""

from __future__ import annotations

import dataclasses
import fcntl
import os
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.lab.cache.store import Cache, key_of
from harness.lab.place import Place, Wishes, prepare
from harness.lab.template.template import KIND


def prepared(cache: Cache, wishes: Wishes, folder: Path) -> Place:
    """The lab that a process of this run has prepared, or else one that is prepared now.

    Args:
        cache: holds what the lab stands on, until it is closed.
        wishes: what the user has chosen.
        folder: what the processes of this run share; nobody else may write there, for what lies in it is executed.

    Raises:
        HarnessError: as :func:`harness.lab.place.prepare`.
    """
    file = folder / f"{_name(wishes)}.place"
    with _turn(file.with_suffix(".lock")):
        if file.exists() and (place := _taken(cache, file)) is not None:
            return place
        place = prepare(cache, wishes)
        whole = file.with_suffix(".new")
        whole.write_bytes(pickle.dumps((place, cache.held())))
        whole.replace(file)
        return place


def _name(wishes: Wishes) -> str:
    """Equal for equal wishes, wherever a relative path was written."""

    def plain(value: object) -> object:
        return value.absolute() if isinstance(value, Path) else value

    said = dataclasses.asdict(wishes) | {"own_modules": [plain(one) for one in wishes.own_modules]}
    return key_of({name: plain(value) for name, value in said.items()})


def _taken(cache: Cache, file: Path) -> Place | None:
    """What another process has left, with all that it stands on held here as well; None when some of that has gone."""
    place: Place
    place, held = pickle.loads(file.read_bytes())  # noqa: S301 - of this run's own, in a folder that is closed to others
    if not all(cache.entry(kind, key) for kind, key in held):
        return None
    lock = cache.lock_of(KIND, place.template.path.name)
    return dataclasses.replace(place, template=dataclasses.replace(place.template, lock=lock))


@contextmanager
def _turn(file: Path) -> Iterator[None]:
    """One process after the other."""
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
