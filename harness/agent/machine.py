"""Facts on this machine: what a report must name, and for what the machine does not tell, why.

A file of /proc or /sys may be missing (another kernel, a container without /sys) or hidden from this user: that is a
fact on the machine, never a mistake of ours.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

from harness.agent import modules
from harness.model.observation import Machine

_LOCKDOWN: Final = "sys/kernel/security/lockdown"
_CLOCKSOURCE: Final = "sys/devices/system/clocksource/clocksource0/current_clocksource"


def facts(root: Path = Path("/"), *, tracing: bool) -> Machine:
    """Kernel, boot, Python and processors.

    Args:
        root: where /proc, /sys and /dev are.
        tracing: whether the kernel's probes can be set here.
    """
    kernel = os.uname()
    return Machine(
        release=kernel.release,
        version=kernel.version,
        machine=kernel.machine,
        host=kernel.nodename,
        command_line=told(root / "proc/cmdline"),
        boot_id=told(root / "proc/sys/kernel/random/boot_id"),
        python=".".join(map(str, sys.version_info[:3])),
        cpus=os.cpu_count() or 1,
        root=os.geteuid() == 0,
        tracefs=tracing,
        modules=tuple(sorted(modules.loaded())),
        vfio=os.access(root / "dev/vfio/vfio", os.F_OK),
        clocksource=told(root / _CLOCKSOURCE),
        lockdown=_in_force(told(root / _LOCKDOWN)),
    )


def _in_force(said: str) -> str:
    """The one in brackets of `none [integrity] confidentiality` (Linux security/lockdown/lockdown.c)."""
    return said.partition("[")[2].partition("]")[0] or said


def told(path: Path) -> str:
    """What a file of /proc or /sys says, or `unreadable:` and why."""
    try:
        return path.read_text(errors="replace").strip()
    except OSError as error:
        return f"unreadable: {error.strerror}"
