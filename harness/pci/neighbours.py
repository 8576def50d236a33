"""The functions around those of a plan: what a reset of a bus takes along with them, and the ports above.

Around a function are the others of its bus, with all that lies below them; on a root bus, which nobody resets, the
others of its device alone; what lies below it, when it is a bridge; and every port above.  Virtual functions are left
out: whatever resets their physical function resets them, and nobody promises what they hold afterwards.

Source: Linux drivers/pci/pci.c, `pci_bus_save_and_disable_locked()`, `pci_parent_bus_reset()`; PCIe r6.0 §9.2.2.2.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Final

from harness.bindings.actor import now
from harness.errors import KernelRefusal
from harness.model.pci import Bdf
from harness.model.units import Ns
from harness.pci import sysfs
from harness.pci.aside import Aside

_NAME: Final = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]")


def around(bdfs: Collection[Bdf]) -> tuple[Bdf, ...]:
    """The functions around some, themselves left out, in order of their addresses."""
    found = folders_around((sysfs.DEVICES / str(bdf)).resolve() for bdf in bdfs)
    return tuple(sorted({Bdf.parse(folder.name) for folder in found} - set(bdfs)))


def folders_around(folders: Iterable[Path]) -> Iterator[Path]:
    """The same in the tree of /sys/devices, where what lies below a bridge is in its folder; some more than once."""
    for folder in folders:
        above = folder.parent
        yield from (parent for parent in folder.parents if _NAME.fullmatch(parent.name))
        if _NAME.fullmatch(above.name):
            yield from _below(above)
        else:
            device = folder.name.partition(".")[0]
            yield from (path for path in _children(above) if path.name.partition(".")[0] == device)
            yield from _below(folder)


def configs(bdfs: Collection[Bdf], patience: Ns) -> dict[Bdf, bytes]:
    """Read the config space of functions, each in a thread of its own.

    Args:
        bdfs: which.
        patience: how long all of them together may take.

    Returns:
        by function; empty of one that is not there, cannot be read, or whose lock nobody gave back in time.
    """
    looks = {bdf: Aside(partial(_config, bdf)) for bdf in bdfs}
    until = Ns(now() + patience)
    return {bdf: next(iter(look.results(until)), b"") for bdf, look in looks.items()}


def _below(folder: Path) -> Iterator[Path]:
    for child in _children(folder):
        yield child
        yield from _below(child)


def _children(folder: Path) -> list[Path]:
    """The functions right below a bridge, or a root bus."""
    try:
        names = sorted(path.name for path in folder.iterdir())
    except OSError:
        return []  # it has left
    found = [folder / name for name in names if _NAME.fullmatch(name)]
    return [path for path in found if not sysfs.is_there(path / "physfn")]


def _config(bdf: Bdf) -> bytes:
    try:
        return sysfs.read_config(bdf)
    except KernelRefusal:
        return b""
