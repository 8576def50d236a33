"""How many guests fit on this machine at once: by cores, and by memory that is really there.

Looks at what the scheduler and every control group above this process allow, not at what the machine has: in a
container these differ.  Refuses to guess how busy the machine will be: a guest that is starved says so itself
(harness/judge/evidence/starvation.py).

Sources: sched_setaffinity(2); the kernel's admin-guide/cgroup-v2.rst (cpu.max, memory.max) and cgroup-v1
(cpu.cfs_quota_us, memory.limit_in_bytes); proc(5) for MemAvailable.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from harness.lab.progress import size_text
from harness.lab.qemu.machine import Machine

GUEST_BYTES: Final = 100_000_000
"""What one more clone takes for itself: Pss of its QEMU (smaps_rollup), 65 to 93 MB while tests ran."""
WORKER_BYTES: Final = 240_000_000
"""What the process takes that stages and judges: Pss of 224 MB in the middle of the shipped scenarios."""
_CORES: Final = Machine().vcpus

_V1_UNLIMITED: Final = 1 << 60
"""Without a limit cgroup v1 answers the largest number of whole pages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What this process may use.

    Attributes:
        cores: that it may run on at once; a quota of half a core counts as half.
        memory_bytes: that can be had without pushing anybody out.
    """

    cores: float
    memory_bytes: int

    def guests(self) -> int:
        """How many guests may stage at once without sharing a core; at least 1, which has always been run."""
        return max(1, min(self._by_cores, self._by_memory))

    def spare_cores(self, guests: int) -> float:
        """How many cores so many guests leave to others; negative when they share."""
        return self.cores - guests * _CORES

    def why(self) -> str:
        """Half a sentence on where the number of guests comes from."""
        cores = f"{self.cores:g} cores, {_CORES} for each"
        each = size_text(GUEST_BYTES + WORKER_BYTES)
        return f"{cores}; {size_text(self.memory_bytes)} of memory, {each} for each"

    @property
    def _by_cores(self) -> int:
        return int(self.cores // _CORES)

    @property
    def _by_memory(self) -> int:
        return self.memory_bytes // (GUEST_BYTES + WORKER_BYTES)


def look(proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")) -> Room:
    """Look at what this process may use here and now.

    Args:
        proc: where procfs is.
        cgroups: where the control groups are.
    """
    cores = float(len(os.sched_getaffinity(0)))
    memory = _available_bytes(proc / "meminfo")
    for folder in _groups(proc / "self" / "cgroup", cgroups):
        cores = min(cores, _quota(folder))
        memory = min(memory, _left_bytes(folder))
    return Room(cores=cores, memory_bytes=int(max(0, memory)))


def _available_bytes(meminfo: Path) -> float:
    fields = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
    return float(int(fields["MemAvailable"].split()[0]) * 1024)


def _groups(mine: Path, root: Path) -> Iterator[Path]:
    """Every control group that this process is in, of both versions, and all that these are in."""
    with suppress(OSError):
        for line in mine.read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            for name in controllers.split(",") if controllers else ("", "unified"):
                top = root / name
                inside = top / path.lstrip("/")
                for folder in (inside, *inside.parents):
                    if folder.is_relative_to(top):
                        yield folder  # in a container some of these cannot be seen; what can be counts


def _quota(folder: Path) -> float:
    """Cores that a group may use; infinity without a quota."""
    with suppress(OSError, ValueError):  # version 2: "max 100000" or "150000 100000"
        quota, period = (folder / "cpu.max").read_text().split()
        return float(quota) / float(period)
    with suppress(OSError, ValueError):  # version 1: -1 for none
        us = int((folder / "cpu.cfs_quota_us").read_text())
        if us > 0:
            return us / int((folder / "cpu.cfs_period_us").read_text())
    return float("inf")


def _left_bytes(folder: Path) -> float:
    """Memory that a group may still take; file pages that were not used lately make room.  Infinity without a limit."""
    for limit_name, used_name in (
        ("memory.max", "memory.current"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes"),
    ):
        with suppress(OSError, ValueError):  # "max" is no number
            limit, used = int((folder / limit_name).read_text()), int((folder / used_name).read_text())
            if limit < _V1_UNLIMITED:
                return float(limit - used + _inactive_file_bytes(folder / "memory.stat"))
    return float("inf")


def _inactive_file_bytes(stat: Path) -> int:
    with suppress(OSError, ValueError, KeyError):
        fields = dict(line.split() for line in stat.read_text().splitlines())
        return int(fields.get("total_inactive_file") or fields["inactive_file"])
    return 0
