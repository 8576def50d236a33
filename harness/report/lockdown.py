"""A kernel that is locked down, in a line: what it refuses to root himself, and so what is tested less, or otherwise.

Source: Linux security/lockdown/lockdown.c; measured on 6.12.118.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from harness.model.promise import Lockdown

_INTEGRITY: Final = "config writes and mappings through sysfs are refused, oracles go through VFIO"
_REFUSED: Final[Mapping[str, str]] = {
    Lockdown.INTEGRITY: _INTEGRITY,
    Lockdown.CONFIDENTIALITY: f"its trace cannot be read, so what needs a lock window has no verdict; {_INTEGRITY}",
}


def locked_down(release: str, state: str) -> str:
    """What to know of a kernel in that state of /sys/kernel/security/lockdown; empty where it refuses nothing."""
    return f"kernel {release}: {state}; {_REFUSED[state]}" if state in _REFUSED else ""
