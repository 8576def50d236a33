"""What /proc/sys/kernel/tainted tells of a fault.

The bits that are not here tell of modules (P, F, R, C, O, E, K, T: our own set O and E), of the machine (S, A, I), of
user space (U) or of the distribution (X).  Whatever of these is worth a warning is in the log as well.
"""

from __future__ import annotations

from typing import Final

SOURCE: Final = "Linux Documentation/admin-guide/tainted-kernels.rst"
OOPS: Final = 1 << 7
_FAULTS: Final = {
    4: "a machine check",
    5: "a bad page",
    7: "an oops or BUG",
    9: "a kernel warning",
    14: "a soft lockup",
}


def faults_since(before: int, after: int) -> str:
    """What has shaken a kernel between two values of its taint, in words; empty when nothing has."""
    since = after & ~before
    return " and ".join(name for bit, name in _FAULTS.items() if since >> bit & 1)
