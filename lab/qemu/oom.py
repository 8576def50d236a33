"""Whether the kernel's out-of-memory killer was at work: the one who kills a QEMU without a word.

Counts, to be compared with a count from before.  Refuses to say whom it killed: no counter tells.

Sources: the kernel's admin-guide/cgroup-v2.rst (memory.events, oom_kill), cgroup-v1/memory.rst (memory.oom_control),
/proc/vmstat (oom_kill, of the whole machine).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

_ROOT: Final = Path("/sys/fs/cgroup")
_COUNT: Final = re.compile(r"^oom_kill (\d+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class OomKills:
    """Processes killed so far.

    Attributes:
        group: of the memory group that this process belongs to; None when that cannot be read.
        machine: of the whole machine, as far as this process sees it; None when that cannot be read.
    """

    group: int | None
    machine: int | None

    @classmethod
    def now(cls) -> Self:
        """Count."""
        return cls(group=_first(_group_files()), machine=_first([Path("/proc/vmstat")]))

    def since(self, before: OomKills) -> str:
        """What to say of a process that was killed since then, in a few words."""
        if self.group is not None and before.group is not None and self.group > before.group:
            return "the out-of-memory killer did it: the memory of its group (cgroup) is used up"
        if self.machine is not None and before.machine is not None and self.machine > before.machine:
            return "it may have been the out-of-memory killer, which was at work on this machine"
        if self.group is None and self.machine is None:
            return "it may have been the out-of-memory killer: nothing here counts its victims"
        return "not by the out-of-memory killer, which has killed nobody here since the guest was started"


def _group_files() -> list[Path]:
    """Where the count may be, the likeliest first; in a container the path may lead nowhere, the root to us."""
    files = []
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            files += [_ROOT / path.lstrip("/") / "memory.events", _ROOT / "memory.events"]
        elif "memory" in controllers.split(","):
            v1 = _ROOT / "memory"
            files += [v1 / path.lstrip("/") / "memory.oom_control", v1 / "memory.oom_control"]
    return files


def _first(files: list[Path]) -> int | None:
    for file in files:
        try:
            found = _COUNT.search(file.read_text())
        except OSError:
            continue
        if found:
            return int(found[1])
    return None
