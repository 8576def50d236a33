"""When functions were taken out, by whom, and what that explains.

From the moment that a removal begins a refusal may be its doing: files go before the kernel says that the function is
gone.  Once it is, every file of the function that somebody still has open is refused for ever, whatever comes into its
place, and no lock is asked for.  What goes by a name instead (its drivers, VFIO, our module) finds whatever has that
name by then: there a refusal is nobody's fault, and a success is judged like any other.

A slot takes out all functions on its bus, and whoever removes a port all functions below.

Source: Linux fs/kernfs/file.c, `kernfs_get_active()`; fs/proc/inode.c, `use_pde()`; drivers/pci/remove.c,
`pci_stop_and_remove_bus_device()`; drivers/vfio/group.c, `vfio_group_ioctl_get_device_fd()`.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from harness.history.reading import Reading
from harness.judge.evidence.incidents import AFTERMATH, Removal, told
from harness.model.operation import (
    DISABLE_VFS,
    ENABLE_VFS,
    OVERRIDE,
    REMOVE,
    Operation,
    is_reset,
    verb,
    way,
)
from harness.model.pci import ResetMethod
from harness.model.units import Ns

GONE: Final = (errno.ENODEV, errno.EIO, errno.ENOENT, errno.ENXIO)
"""Of an open file in sysfs, in /proc, of a path, and of a function that does not wake any more."""
_FILES: Final = ("config-read", "config-write", "attribute-read", "attribute-write")
_THROUGH_FILES: Final = frozenset({REMOVE, ENABLE_VFS, DISABLE_VFS, OVERRIDE})
NEVER: Final = np.iinfo(np.int64).max

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Absence:
    """A function that was taken out, or is being taken out.

    Attributes:
        alias: of the function.
        leaving_ns: since when a refusal may be because of that.
        gone_ns: since when it is certainly gone; None: it was not during the stage, as far as is known.
        back_ns: when the kernel said that one is in its place again, or None.
        row: of `History.operations`, of the plan's own call that did it; None: its slot.
    """

    alias: str
    leaving_ns: Ns
    gone_ns: Ns | None
    back_ns: Ns | None
    row: int | None


def absences(reading: Reading, removals: Iterable[Removal]) -> dict[str, tuple[Absence, ...]]:
    """By alias: when it was taken out, in order; a function that nobody took out is not in it."""
    found: dict[str, list[Absence]] = {}
    for one in (*_by_slots(reading, removals), *_by_the_plan(reading)):
        found.setdefault(one.alias, []).append(one)
    return {alias: tuple(sorted(own, key=lambda one: one.leaving_ns)) for alias, own in found.items()}


def _by_slots(reading: Reading, removals: Iterable[Removal]) -> Iterator[Absence]:
    for removal in removals:
        for number in reading.beside[removal.struck.incident.function]:
            alias = reading.history.plan.functions[number]
            gone, back = told(reading, alias, removal.struck.begin_ns)
            yield Absence(
                alias=alias, leaving_ns=removal.struck.begin_ns, gone_ns=gone, back_ns=back, row=None
            )


def _by_the_plan(reading: Reading) -> Iterator[Absence]:
    """What a call of the plan took out: the function itself, and all below, unless the call failed."""
    history, plan = reading.history, reading.history.plan
    for row in reading.steps.rows(lambda step: step.means == REMOVE).tolist():
        event, file = history.operations[row], reading.steps.behind(row).file
        if file is None or event["error"]:
            continue
        begin, end = Ns(int(event["begin_ns"])), Ns(int(event["end_ns"]))
        for alias in plan.functions:
            if file.function in (alias, plan.ports.get(alias)):
                _, back = told(reading, alias, begin)
                yield Absence(alias=alias, leaving_ns=begin, gone_ns=end or None, back_ns=back, row=row)


def through_a_file(operation: Operation) -> bool:
    """Whether an operation uses an open file of the function itself, which goes with it."""
    if verb(operation) in _FILES:
        return not way(operation).startswith("vfio")
    named = verb(operation) == "reset" and way(operation) in tuple(ResetMethod)
    return named or operation in _THROUGH_FILES


def gone(
    absences: Iterable[Absence],
    operation: Operation,
    begin: npt.NDArray[np.int64],
    end: npt.NDArray[np.int64],
    error: npt.NDArray[np.int32],
) -> tuple[Mask, Mask]:
    """Which operations came after a removal, and which of the others were refused because of one.

    Args:
        absences: of their function.
        operation: that all of them are.
        begin: of each.
        end: of each; one that never returned ends with the history.
        error: errno of each.

    Returns:
        Those that use a file which was gone before they began; and those whose refusal is nobody's fault.
    """
    after, excused = np.zeros(len(begin), dtype=np.bool_), np.zeros(len(begin), dtype=np.bool_)
    for one in absences:
        gone_ns = NEVER if one.gone_ns is None else one.gone_ns
        if through_a_file(operation):
            after |= begin > gone_ns
        excused |= (end >= one.leaving_ns) & np.isin(error, GONE)
        if is_reset(operation):  # its function went under it
            excused |= (begin <= gone_ns) & (end >= gone_ns - AFTERMATH) & (error == errno.ENOTTY)
    return after, excused & ~after
