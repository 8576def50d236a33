"""What the kernel says only once, or too early for a plan: made ready for a stage, and put back after it.

Source: Linux Documentation/admin-guide/clearing-warn-once.rst, Documentation/admin-guide/sysctl/kernel.rst.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from harness.model.units import SECOND, Ns
from harness.pci import sysfs

_WARN_ONCE: Final = "sys/kernel/debug/clear_warn_once"
_SYSCTL: Final = "proc/sys/kernel"
_MARGIN_S: Final = 10  # the kernel looks for hung tasks now and then, and a stage takes a moment to end
_ABSENT: Final = (errno.ENOENT, errno.EPERM, errno.EACCES, errno.EROFS, errno.EINVAL)
"""This kernel has no such alarm, or somebody has locked it."""


@contextmanager
def armed(patience_ns: Ns, *, root: Path = Path("/")) -> Iterator[None]:
    """Have every alarm of the kernel ring, for a while.

    * `WARN_ON_ONCE()` and its like warn again (those of a module that keep their own memory do not).
    * Hung tasks are told of without end; their number counts down to silence otherwise.
    * A hung task is told of when the plan has run out of patience, not before.
    * `printk_ratelimit()` lets everything through: its callers share one allowance.
    * What user space writes to /dev/kmsg is not thrown away, or no stage could mark its lines.

    Whatever this kernel does not have stays as it is.

    Args:
        patience_ns: for how long an operation may be blocked before the plan gives it up.
        root: where /proc and /sys are.
    """
    _write(root / _WARN_ONCE, "1")
    with ExitStack() as undo:
        for name, wanted in _wishes(-(-patience_ns // SECOND)).items():
            path = root / _SYSCTL / name
            before = path.read_text().strip() if sysfs.is_there(path) else ""
            if before and (value := wanted(before)) != before and _write(path, value):
                undo.callback(_write, path, before)
        yield


def _wishes(patience_s: int) -> dict[str, Callable[[str], str]]:
    """What each setting shall be, by what it is."""

    def later(timeout: str) -> str:
        return timeout if timeout == "0" else str(max(int(timeout), patience_s + _MARGIN_S))

    return {
        "hung_task_warnings": lambda _: "-1",
        "hung_task_timeout_secs": later,
        "printk_ratelimit": lambda _: "0",
        "printk_devkmsg": lambda before: "on" if before == "off" else before,
    }


def _write(path: Path, value: str) -> bool:
    """Write an attribute; whether it took the value."""
    try:
        path.write_text(f"{value}\n")  # printk_devkmsg refuses a word that no newline ends
    except OSError as error:
        if error.errno not in _ABSENT:
            raise
        return False
    return True
