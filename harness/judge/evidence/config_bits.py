"""Config space with bits that do not count: the common ground of checkers that compare it."""

from __future__ import annotations

import errno
from collections.abc import Collection, Iterable, Iterator
from typing import Final

import numpy as np

from harness.history.reading import OfFunction
from harness.model.operation import (
    BIND,
    DISABLE_VFS,
    ENABLE_VFS,
    RAW_RESETS,
    REMOVE,
    RESCAN,
    UNBIND,
    Operation,
    verb,
)
from harness.model.pci import COMMAND, MEMORY_SPACE
from harness.model.terms import VolatileField
from harness.pci.capabilities import find

IDENTITY: Final = (*range(4), *range(0x08, 0x0C), *range(0x2C, 0x30))
"""Vendor, device, revision, class and subsystem: bytes that nobody can write (PCIe r6.0 §7.5.1.1)."""

_OWNERS: Final = frozenset({UNBIND, BIND, REMOVE, RESCAN})
_VFS: Final = frozenset({ENABLE_VFS, DISABLE_VFS})
_BY_UIO: Final = ("driver", "uio_pci_generic")
_PMCSR: Final = 4  # offset in the capability
_SRIOV_BYTES: Final = 0x40  # PCIe r6.0 §9.3.3

_SHOWN: Final = 4
"""So many places are spelled out."""


def counting(size: int, fields: Iterable[VolatileField], function: str) -> bytearray:
    """A mask of `size` bytes, set where bits of config space of `function` may be compared."""
    mask = bytearray(b"\xff" * size)
    for field in fields:
        if field.function == function:
            for number, bits in enumerate(field.value.to_bytes(field.width, "little")):
                if field.offset + number < size:
                    mask[field.offset + number] &= ~bits & 0xFF
    return mask


_REFUSED: Final = (errno.EPERM, errno.EACCES, errno.ENODEV)
"""Of writes that nobody may make, and of those to a function that is gone."""


def written(function: OfFunction, baseline: bytes) -> dict[int, int]:
    """Bytes of config space that the plan's own doing changed: offset → when that first could have happened.

    * A write changes what it writes; the value that is there already changes nothing, nor does a write that was refused
      before it came to the function.  A raw reset is not listed: it changes everything.
    * VFIO enables the function, and wakes it, when it is opened: the Command register and PMCSR of a function that
      the plan uses through VFIO differ from what they were before it was opened
      (Linux drivers/vfio/pci/vfio_pci_core.c, `vfio_pci_core_enable()`).
    * The handler of a driver for UIO masks INTx each time it comes, by Interrupt Disable in the Command register
      (Linux drivers/uio/uio_pci_generic.c, `irqhandler()`).
    * A driver that comes or goes writes whatever it likes, but not what is wired: :data:`IDENTITY`.
    * Enabling VFs writes the SR-IOV capability, and lets a function decode its memory that did not (Linux
      drivers/pci/iov.c, `sriov_enable()`: `pci_enable_resources()`).
    """
    since: dict[int, int] = {}
    for offset, time in _changes(function, baseline):
        since[offset] = min(since.get(offset, time), time)
    return since


def _changes(function: OfFunction, baseline: bytes) -> Iterator[tuple[int, int]]:
    """Every byte that something changed, and when that could have happened first."""
    history, steps = function.whole.history, function.whole.steps
    for number, step in steps.numbers(function.alias):
        if verb(step.means) != "config-write" or step.means in RAW_RESETS or number not in steps.rows_of:
            continue
        if baseline[step.offset : step.offset + len(step.value)] == step.value:
            continue
        rows = steps.rows_of[number]
        rows = rows[~np.isin(history.operations["error"][rows], _REFUSED)]
        if not len(rows):
            continue
        begin = int(history.operations["begin_ns"][rows[0]])
        for offset in range(step.offset, step.offset + len(step.value)):
            yield offset, begin
    config = function.record.config_before
    if any(
        step.file is not None and step.file.role.startswith("vfio")
        for _, step in steps.numbers(function.alias)
    ):
        for capability in find(config, "pm"):
            yield from ((capability.offset + _PMCSR + byte, 0) for byte in range(2))
        yield from ((COMMAND + byte, 0) for byte in range(2))
    if any(
        (one.function, one.attribute, one.value) == (function.alias, *_BY_UIO)
        for one in history.plan.settings
    ):
        yield COMMAND + 1, 0
    owned = _first(function, _OWNERS)
    if owned is not None:
        yield from ((offset, owned) for offset in range(len(config)) if offset not in IDENTITY)
    enabled = _first(function, _VFS)
    if enabled is not None:
        if config and not config[COMMAND] & MEMORY_SPACE:
            yield COMMAND, enabled
        for capability in find(config, "sriov"):
            yield from ((capability.offset + byte, enabled) for byte in range(_SRIOV_BYTES))


def differing(before: bytes, after: bytes, mask: bytes | bytearray) -> tuple[list[int], str]:
    """Compare config space with what it was, in the bits that count.

    Args:
        before: all of it.
        after: the same number of bytes.
        mask: the bits that count, likewise.

    Returns:
        offsets of the bytes that differ, and the first four places in words; nothing when none does.
    """
    offsets = [offset for offset, bits in enumerate(mask) if (before[offset] ^ after[offset]) & bits]
    places = list(dict.fromkeys(offset & ~3 for offset in offsets))[:_SHOWN]
    shown = (f"{at:#05x} {before[at : at + 4].hex()} → {after[at : at + 4].hex()}" for at in places)
    return offsets, ", ".join(shown)


def _first(function: OfFunction, operations: Collection[Operation]) -> int | None:
    """When the first of some operations on a function began."""
    rows = function.rows(*operations)
    return int(function.whole.history.operations["begin_ns"][rows[0]]) if len(rows) else None
