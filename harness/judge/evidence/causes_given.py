"""What became of causes for interrupts that none came of: whether the function can have heard of them.

A reset through sysfs turns memory decode off, and nobody holds a user's writes up meanwhile: what is written then
reaches nobody, and with decode goes bus mastering: what the function sends then reaches nobody, either.  VFIO's own
resets let writes wait for `memory_lock`.  A reset forgets what the function has not
answered yet.  The function's own log, where a model of ours writes one, tells which it was; else the trace tells what
may have been.

Source: Linux drivers/pci/pci.c, `pci_dev_save_and_disable()`, `pci_restore_state()` (config space before MSI);
drivers/vfio/pci/vfio_pci_rdwr.c, `vfio_pci_core_do_io_rw()`.
"""

from __future__ import annotations

import enum
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from harness.history.reading import OfFunction
from harness.history.windows import TRACE_RESOLUTION, LockWindow
from harness.model.fault import Misbehaviour
from harness.model.operation import RAW_RESETS, verb
from harness.model.pci import COMMAND, MEMORY_SPACE
from harness.model.plan import Step
from harness.model.promise import WindowKind
from harness.model.served import RESETS, Happened
from harness.model.units import MS

_CONFIG_REGION: Final = 7
_BUS_MASTER: Final = 0x04
_PASSED_ON: Final = 20 * MS
"""So long QEMU may take on a busy host: measured were 6 and 15 ms from a message that got lost to the write."""
_WRITES_WAIT: Final = frozenset({WindowKind.VFIO_RESET, WindowKind.HOT_RESET, WindowKind.VFIO_OPEN})
_RESETTING: Final = frozenset({WindowKind.SYSFS_RESET, WindowKind.DRIVER_RESET, *_WRITES_WAIT})


class Fate(enum.Enum):
    """What became of a cause that no interrupt came of."""

    UNHEARD = "reached nobody: memory decode was off, for it was being reset"
    FORGOTTEN = "were forgotten: it was reset before it had answered"
    UNDER_WAY = "were under way when bus mastering was switched off: QEMU takes a moment to pass a message on"
    OPEN = "may have been forgotten: it was reset before an interrupt came"
    """Nobody knows: the function keeps no log."""
    UNWRITTEN = "never reached it, and no reset explains why"
    LOST = "were lost"


@dataclass(frozen=True, slots=True)
class Cause:
    """A write that is a cause for an interrupt.

    Attributes:
        begin_ns, end_ns: of the write.
        until_ns: how long the interrupt was waited for.
        region, offset: which register, as models number regions.
        came: whether an interrupt came.
    """

    begin_ns: int
    end_ns: int
    until_ns: int
    region: int
    offset: int
    came: bool


def fates(function: OfFunction, causes: Sequence[Cause]) -> list[Fate | None]:
    """What became of each cause; None: an interrupt came of it.

    Args:
        function: that had these causes.
        causes: in order of their begin.
    """
    heard = _heard(function, causes)
    shut, resetting = list(_shut(function)), _resetting(function)
    if not _keeps_a_log(function):
        return [None if one.came else _guess(one, shut, resetting) for one in causes]
    return [
        None if one.came else _fate(function, one, row, _met(one, shut))
        for one, row in zip(causes, heard, strict=True)
    ]


def _keeps_a_log(function: OfFunction) -> bool:
    return bool(len(function.served(Happened.WRITTEN))) and not function.whole.history.served_lost


def _heard(function: OfFunction, causes: Sequence[Cause]) -> list[int | None]:
    """The row of the function's log in which it tells of each write; first of those that an interrupt came of."""
    served, error = function.whole.history.served, function.whole.history.served_error_ns
    rows = function.served(Happened.WRITTEN)
    rows = rows[
        (served["error"][rows] == 0) & np.isin(served["address"][rows], [one.offset for one in causes])
    ]
    free = [(int(served["time_ns"][row]), row) for row in rows.tolist()]
    found: list[int | None] = [None] * len(causes)
    for number in sorted(range(len(causes)), key=lambda number: (not causes[number].came, number)):
        one = causes[number]
        for place in range(bisect_left(free, (one.begin_ns - error, -1)), len(free)):
            time_ns, row = free[place]
            if time_ns > one.end_ns + error:
                break
            if (int(served["region"][row]), int(served["address"][row])) == (one.region, one.offset):
                found[number] = row
                del free[place]
                break
    return found


def _met(one: Cause, shut: Sequence[tuple[int, int]]) -> bool:
    """Whether memory decode was off while a cause was written, or may have been."""
    return any(begin <= one.end_ns and end >= one.begin_ns for begin, end in shut)


def _fate(function: OfFunction, one: Cause, row: int | None, during: bool) -> Fate:  # noqa: FBT001
    """By the function's own log, and whether a reset explains that it did not hear."""
    if row is None or not _decodes(function, row):
        unseen = bool(function.whole.doubts)
        return Fate.UNHEARD if during else Fate.OPEN if unseen else Fate.UNWRITTEN
    served = function.whole.history.served
    until = one.until_ns + function.whole.history.served_error_ns
    rows = function.served(*RESETS, Happened.INTERRUPT, Happened.INTERRUPT_LOST)
    for later in rows[np.searchsorted(rows, row) :].tolist():
        if int(served["time_ns"][later]) > until:
            break
        what = Happened(int(served["what"][later]))
        if what in RESETS:
            return Fate.FORGOTTEN
        if what is Happened.INTERRUPT:
            return Fate.UNDER_WAY if _switched_off_after(function, later) else Fate.LOST
        staged = any(
            f.what is Misbehaviour.LOSE_INTERRUPTS
            for f in function.whole.history.plan.faults_of(function.alias)
        )
        # Config space, and decode with it, is restored before MSI is: what is asked for in between is not sent.
        return Fate.FORGOTTEN if during and not staged else Fate.LOST
    return Fate.LOST


def _switched_off_after(function: OfFunction, row: int) -> bool:
    """Whether bus mastering was switched off right after an interrupt was signalled, by the function's own log.

    Its model signals an eventfd.  What QEMU's main loop makes of that later, behind all accesses that wait for the same
    lock, is dropped where the function is no bus master any more.  On hardware no access would overtake a message.
    """
    served = function.whole.history.served
    rows = function.served(Happened.WRITTEN)
    rows = rows[(served["region"][rows] == _CONFIG_REGION) & (served["address"][rows] == COMMAND)]
    later = rows[np.searchsorted(rows, row) :][:1]
    off = (served["value"][later] & _BUS_MASTER == 0) & (served["error"][later] == 0)
    soon = served["time_ns"][later] <= served["time_ns"][row] + _PASSED_ON
    return bool((off & soon).any())


def _guess(one: Cause, shut: Sequence[tuple[int, int]], resetting: Sequence[LockWindow]) -> Fate:
    """By the trace alone.  At the edge of a window a write may have reached nobody: that proves nothing."""
    if _met(one, shut):
        return Fate.UNHEARD
    met = any(
        window.opened_ns - TRACE_RESOLUTION <= one.until_ns
        and window.closed_ns + TRACE_RESOLUTION >= one.end_ns
        for window in resetting
    )
    return Fate.OPEN if met else Fate.LOST


def _shut(function: OfFunction) -> Iterator[tuple[int, int]]:
    """Spans of time in which the trace and the plan say that memory decode was off, or may have been."""
    history = function.whole.history
    for window in _resetting(function):
        if window.kind not in _WRITES_WAIT:
            yield window.opened_ns - TRACE_RESOLUTION, window.closed_ns + TRACE_RESOLUTION
    for row in function.rows(*RAW_RESETS)[:1].tolist():
        yield int(history.operations["begin_ns"][row]), int(history.end_ns)  # nobody restores anything
    for row, on in _switched(function):
        if not on:
            later = (
                int(history.operations["end_ns"][at])
                for at, again in _switched(function)
                if again and at > row
            )
            yield int(history.operations["begin_ns"][row]), next(later, int(history.end_ns))


def _switched(function: OfFunction) -> list[tuple[int, bool]]:
    """Writes of COMMAND by the plan, and whether they leave memory decode on."""
    steps = function.whole.steps

    def touches(step: Step) -> bool:
        return verb(step.means) == "config-write" and 0 <= COMMAND - step.offset < len(step.value)

    return [
        (row, bool(step.value[COMMAND - step.offset] & MEMORY_SPACE))
        for row in steps.on(function.alias, touches).tolist()
        for step in (steps.behind(row),)
    ]


def _resetting(function: OfFunction) -> list[LockWindow]:
    """Config lock windows in which the function was reset."""
    spans = function.whole.resets_by
    return [
        window
        for window in function.windows
        if window.kind in _RESETTING
        or any(
            one.begin_ns <= window.closed_ns and one.end_ns >= window.opened_ns
            for one in spans.get(window.tid, ())
        )
    ]


def _decodes(function: OfFunction, row: int) -> bool:
    """Whether the function decoded memory at a row of its log: since then neither reset nor switched off."""
    served = function.whole.history.served
    rows = function.served(*RESETS, Happened.WRITTEN)
    for at in rows[: np.searchsorted(rows, row)][::-1]:
        event = served[at]
        if int(event["what"]) != Happened.WRITTEN:
            return False
        if (int(event["region"]), int(event["address"])) == (_CONFIG_REGION, COMMAND) and not event["error"]:
            return bool(int(event["value"]) & MEMORY_SPACE)
    return True
