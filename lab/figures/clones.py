"""`clones`: many guests one after the other, and what they leave behind in the process that ran them.

Each row is growth from the first guest to the last: of memory, descriptors, threads, processes, zombies, and files in
the temporary folder and in the cache.  The peer is what one such guest had while it ran.  `HIL_CLONES` changes their
number.
"""

from __future__ import annotations

import gc
import os
import tempfile
import threading
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final

from harness.lab.cache.store import default_root
from harness.lab.figures.row import Row
from harness.lab.place import GuestTarget, Place
from harness.model.request import ReadClocks

_VARIABLE: Final = "HIL_CLONES"
_CLONES: Final = 500
_WARM: Final = 20
"""Guests before the first count: imports, the event loop of the monitors and the allocator's arenas come once."""
_RUN_FOLDERS: Final = "vfio-harness-*"
_UNITS: Final = {"memory": "kB"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What this process and its children hold.

    Attributes:
        memory: resident set of this process, kB.
        descriptors: open in this process.
        threads: of this process.
        processes: children that run.
        zombies: children that ended and were not waited for.
        run_folders: of guests, in the temporary folder.
        cache_files: in the cache folder.
    """

    memory: int
    descriptors: int
    threads: int
    processes: int
    zombies: int
    run_folders: int
    cache_files: int


def measure(place: Place, folder: Path) -> list[Row]:
    """Warm up, count, run the guests, count again."""
    console = folder / "clones.console.log"
    for _ in range(_WARM):
        _one(place, console)
    number = int(os.environ.get(_VARIABLE, _CLONES))
    before = _held()
    during = before
    for _ in range(number):
        during = _one(place, console)
    after = _held()
    return [
        Row(
            name=f"clones/{one.name}",
            ours=getattr(after, one.name) - getattr(before, one.name),
            peer=getattr(during, one.name),
            peer_name=f"held while a guest ran; growth over {number} clones",
            better="low",
            unit=_UNITS.get(one.name, "1"),
        )
        for one in fields(Held)
    ]


def _one(place: Place, console: Path) -> Held:
    """Clone, ask the agent something, look around."""
    with place.clone(console) as target:
        _ask(target)
        return _held()


def _ask(target: GuestTarget) -> None:
    target.agent.ask(ReadClocks())


def _held() -> Held:
    gc.collect()  # what waits for the collector is no leak
    children = [_state(pid) for pid in _children()]
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return Held(
        memory=int(status["VmRSS"].split()[0]),
        descriptors=sum(1 for _ in Path("/proc/self/fd").iterdir()),
        threads=threading.active_count(),
        processes=sum(state not in ("Z", "") for state in children),
        zombies=children.count("Z"),
        run_folders=len(list(Path(tempfile.gettempdir()).glob(_RUN_FOLDERS))),
        cache_files=sum(len(names) for _, _, names in os.walk(default_root())),
    )


def _children() -> list[int]:
    tasks = Path("/proc/self/task").glob("*/children")
    return [int(word) for task in tasks for word in task.read_text().split()]


def _state(pid: int) -> str:
    """Its state as one letter (proc(5)); empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""
