"""Accesses that do the same to the same function, with the windows that they met.

Whether an access waited is known in two ways.  Config accesses wait in `pci_wait_cfg()`, which is probed.  Others
wait for locks that are not (registers for VFIO's `memory_lock`, attributes for device_lock): such an access waited
if it began while a window was certainly open and ended after it, or lasted as long as the whole of a long one (the
lock it waits for is taken shortly before the config lock); if it ended inside, it did not.

Accesses that are refused because the function is being taken out are nobody's fault and left out, as are those that ran
while a lock had been stolen and that no probe shows waiting.  From when it is gone on, accesses to its files have
promises of their own (:mod:`~harness.judge.evidence.absences`).

Source: Linux drivers/pci/access.c, `pci_user_read_config_*`, `pci_wait_cfg()`; drivers/vfio/pci/vfio_pci_rdwr.c,
`vfio_pci_bar_rw()`; fs/kernfs/file.c, `kernfs_get_active()`; fs/proc/inode.c, `use_pde()`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from harness.history.history import History
from harness.history.reading import OfFunction, Reading
from harness.history.steps import Rows
from harness.history.windows import NOBODY, DeviceWindow, LockWindow
from harness.judge.evidence.absences import GONE, Absence, gone, through_a_file
from harness.judge.evidence.meeting import Meetings, Times, meet
from harness.judge.evidence.stolen import while_stolen
from harness.model.operation import (
    UNPRIVILEGED_READ,
    Operation,
    after_removal,
    config_read,
    verb,
)
from harness.model.pci import AccessPath
from harness.model.plan import Step
from harness.model.promise import WindowKind
from harness.model.units import MS

CONFIG: Final = ("config-read", "config-write")
"""Verbs of accesses whose waiting is traced."""
REGISTERS: Final = ("bar-read", "bar-write")
VERBS: Final = (*CONFIG, *REGISTERS, "attribute-read", "attribute-write", "info")

KINDS: Final = tuple(WindowKind)
"""Windows as numbers, so that a column of them can be compared at once."""
EDGE: Final = -1
"""Stands for the kind of window of an access that may have met one or not."""

UNPRIVILEGED_BYTES: Final = 64
"""As much of config space as an opener without CAP_SYS_ADMIN may read (Linux drivers/pci/pci-sysfs.c,
`pci_read_config()`; 128 of a CardBus bridge, which nobody has any more)."""

_LONG: Final = 10 * MS
"""No access takes as long by itself on a machine that is not starved."""

Mask = npt.NDArray[np.bool_]
Kinds = npt.NDArray[np.int8]


@dataclass(frozen=True, slots=True, kw_only=True)
class Accesses:
    """Equal accesses to one function that returned; columns have one row an access.

    Attributes:
        history: where they are recorded.
        alias: of the function.
        operation: in the contract's words.
        promised_as: the operation whose entries apply.
        windows: config lock windows of the function, in order.
        devices: its device lock windows, in order.
        rows: of `History.operations`.
        begin, end: call and return, nanoseconds.
        error: errno of those that failed, else 0.
        short: did it get fewer bytes than it asked for?
        slept: row of `History.kernel` in which it began to wait for a config lock the last time, or -1.
        waited: did it wait for a window to end?  Blocked means until it ended: who came back inside did not.
        config, device: what it met of `windows` and of `devices`.
        kind: number in :data:`KINDS` of the window inside which it certainly ran, or waited and ended; NONE where no
            lock can have been held, or :data:`EDGE`.
        held: number of the window in which it waited; where `waited` is False, or none was open, :data:`EDGE`.
    """

    history: History
    alias: str
    operation: Operation
    promised_as: Operation
    windows: tuple[LockWindow, ...]
    devices: tuple[DeviceWindow, ...]
    rows: Rows
    begin: Times
    end: Times
    error: npt.NDArray[np.int32]
    short: Mask
    slept: npt.NDArray[np.intp]
    waited: Mask
    config: Meetings
    device: Meetings
    kind: Kinds
    held: Kinds

    @property
    def removed(self) -> bool:
        """Whether the function was gone already."""
        return self.promised_as == after_removal(self.operation)

    @property
    def traced(self) -> bool:
        """Whether the kernel's trace shows each wait; else it is known from begin and end."""
        return verb(self.operation) in CONFIG

    def touched(self, kind: WindowKind) -> Mask:
        """Accesses whose last window, if they met one at all, was of this kind."""
        of_kind: Mask = _chosen(_numbers(self.windows), self.config.touched) == KINDS.index(kind)
        return of_kind


def accesses(reading: Reading, absences: Mapping[str, Sequence[Absence]]) -> Iterator[Accesses]:
    """All accesses of a history, equal ones together.

    Args:
        reading: of the history.
        absences: by alias, when functions were taken out in it.
    """
    history, steps = reading.history, reading.steps
    groups = [
        (function, operation, operation, rows) for function, operation, rows in steps.groups(_is_access)
    ]
    groups += [
        (function, operation, config_read(AccessPath.SYSFS), rows)
        for function, operation, rows in steps.groups(_is_within_reach)
    ]
    table, width = history.operations, steps.column(lambda step: step.width, np.int64)
    for function, operation, promised_as, rows in _apart(reading, groups, absences):
        traced = verb(operation) in CONFIG
        if not traced:
            faults = reading.lock_faults
            stolen = while_stolen(faults, function.number, table["begin_ns"][rows], table["end_ns"][rows])
            rows = rows[~stolen]  # noqa: PLW2901
        begin, end = table["begin_ns"][rows], table["end_ns"][rows]
        own, own_devices = function.windows, function.device_windows
        if promised_as == after_removal(operation):
            own, own_devices = (), ()
        slept = reading.slept[rows] if traced else np.full(len(rows), NOBODY, dtype=np.intp)
        config = meet(own, begin, end, _waiting(history, function.number, slept))
        device = meet(own_devices, begin, end)
        spanned = _spanned(config, begin, end)
        held = (reading.waited[rows] if traced else (config.began >= 0) | spanned) & (config.inside < 0)
        held_in = config.touched if traced else np.where(config.began >= 0, config.began, config.touched)
        kinds, device_kinds = _numbers(own), _numbers(own_devices)
        kind = np.where(config.inside >= 0, _chosen(kinds, config.inside), EDGE).astype(np.int8)
        free = config.touched < 0
        kind[free] = np.where(device.inside >= 0, _chosen(device_kinds, device.inside), EDGE)[free]
        kind[free & (device.touched < 0)] = KINDS.index(WindowKind.NONE)
        yield Accesses(
            history=history,
            alias=function.alias,
            operation=operation,
            promised_as=promised_as,
            windows=own,
            devices=own_devices,
            rows=rows,
            begin=begin,
            end=end,
            error=table["error"][rows],
            short=(table["error"][rows] == 0) & (table["result"][rows] < width[steps.of_row[rows]]),
            slept=slept,
            waited=held,
            config=config,
            device=device,
            kind=kind,
            held=np.where(held, _chosen(kinds, held_in), EDGE).astype(np.int8),
        )


def _waiting(history: History, function: int, slept: npt.NDArray[np.intp]) -> Times:
    """When accesses began to wait for the config lock of this function the last time; 0 for those that did not."""
    if not len(history.kernel):
        return np.zeros(len(slept), dtype=np.int64)
    on = (slept != NOBODY) & (history.kernel["function"][slept] == function)
    times: Times = np.where(on, history.kernel["time_ns"][slept], 0)
    return times


def _spanned(meetings: Meetings, begin: Times, end: Times) -> Mask:
    """Accesses that began before a long window opened and ended after it had closed."""
    if not len(meetings.opened):
        return np.zeros(len(begin), dtype=np.bool_)
    opened, closed = meetings.opened[meetings.touched], meetings.closed[meetings.touched]
    return (meetings.touched >= 0) & (closed - opened >= _LONG) & (begin <= opened) & (end >= closed)


def _is_access(step: Step) -> bool:
    return verb(step.means) in VERBS and not _is_within_reach(step)


def _is_within_reach(step: Step) -> bool:
    """A read without privilege of what everybody may read is a read like any other."""
    return step.means == UNPRIVILEGED_READ and step.offset < UNPRIVILEGED_BYTES


def refusals(reading: Reading, alias: str) -> Rows:
    """Accesses, and calls through files of the function, that say that it is gone."""
    rows = reading.steps.on(alias, lambda step: verb(step.means) in VERBS or through_a_file(step.means))
    refused: Rows = rows[np.isin(reading.history.operations["error"][rows], GONE)]
    return refused


def _apart(
    reading: Reading,
    groups: Iterable[tuple[int, Operation, Operation, Rows]],
    absences: Mapping[str, Sequence[Absence]],
) -> Iterator[tuple[OfFunction, Operation, Operation, Rows]]:
    """The same groups without what is not judged; what came after a removal apart, held to what is promised then."""
    table = reading.history.operations
    for number, operation, promised_as, begun in groups:
        function = reading.of(number)
        rows = begun[table["end_ns"][begun] != 0]  # what never returned is another checker's business
        columns = (table[name][rows] for name in ("begin_ns", "end_ns", "error"))
        after, excused = gone(absences.get(function.alias, ()), operation, *columns)
        yield function, operation, promised_as, rows[~after & ~excused]
        if after.any():
            yield function, operation, after_removal(operation), rows[after]


def _numbers(windows: Sequence[LockWindow] | Sequence[DeviceWindow]) -> Kinds:
    return np.array([KINDS.index(window.kind) for window in windows], dtype=np.int8)


def _chosen(kinds: Kinds, numbers: npt.NDArray[np.intp]) -> Kinds:
    """The kind of each numbered window; :data:`EDGE` for -1."""
    return np.append(kinds, np.int8(EDGE))[numbers]
