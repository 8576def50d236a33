"""The modules that a guest's kernel gets beside its own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from harness.lab.kernel.own_modules import OwnModule


@dataclass(frozen=True, slots=True, kw_only=True)
class Added:
    """Modules that no kernel comes with.

    Attributes:
        windows: the module for lock windows (lab/kernel/build_module.py), built for this kernel; None without it.
        own: modules of the user's own, each instead of the kernel's of that name, or beside them.
    """

    windows: Path | None = None
    own: tuple[OwnModule, ...] = ()


NOTHING: Final = Added()
