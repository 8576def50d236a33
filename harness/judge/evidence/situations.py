"""Which locks a call met: what another thread held of its function when it began, or may have held before its end.

Where the trace shows it waiting for a config lock, it met what was held then.

A config lock window is traced, and so is device_lock where an unbind waits for its user or our own module holds
it.  Elsewhere device_lock is taken before and given back after what the trace shows: then all of the holder's
system call counts as possible, and only the traced part as certain.

Who reaches a function through VFIO may be inside VFIO's own lock of it, which no probe shows: a hot reset tries for
that of each function of the bus, and is refused.

Source: Linux drivers/pci/pci.c, `pci_dev_lock()`, `pci_reset_function()` (the port above since 6.10),
`pci_bus_trylock()`; drivers/base/dd.c, `device_release_driver_internal()`; drivers/vfio/pci/vfio_pci_core.c,
`vfio_pci_dev_set_hot_reset()`; vfio_pci_config.c, `vfio_basic_config_write()`; vfio_pci_rdwr.c,
`vfio_pci_core_do_io_rw()`: memory_lock.
"""

from __future__ import annotations

import errno
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from harness.history.reading import Reading
from harness.history.windows import NOBODY, TRACE_RESOLUTION, DeviceWindow, LockWindow
from harness.judge.evidence.meeting import UNLOCK_GRACE, Times
from harness.model.operation import (
    ACKNOWLEDGE,
    BAR_READ,
    BAR_WRITE,
    BIND,
    DISABLE_VFS,
    ENABLE_VFS,
    HOLD_CONFIG,
    HOLD_DEVICE,
    HOLD_PORT,
    HOT_RESET,
    MAPPED_READ,
    MAPPED_WRITE,
    REMOVE,
    RING,
    SUBORDINATE_RESET,
    TRY_CONFIG,
    UNBIND,
    UNDECODED_LOAD,
    UNDECODED_READ,
    VFIO_COMMAND,
    Operation,
    verb,
)
from harness.model.promise import WindowKind
from harness.model.units import Ns

_HOLDS_UNSEEN: Final = {
    UNBIND: WindowKind.DEVICE_LOCK,
    BIND: WindowKind.DEVICE_LOCK,
    REMOVE: WindowKind.DEVICE_LOCK,
    ENABLE_VFS: WindowKind.SRIOV,
    DISABLE_VFS: WindowKind.SRIOV,
}
"""Operations that hold device_lock for longer than the trace shows, and the window that this makes."""
_INSIDE_VFIO: Final = frozenset(
    {
        *(VFIO_COMMAND, BAR_READ, BAR_WRITE, MAPPED_READ, MAPPED_WRITE, UNDECODED_LOAD, UNDECODED_READ),
        *(RING, ACKNOWLEDGE),
    }
)
"""Accesses that take VFIO's memory_lock, or may: a mapping does for its page faults."""
_ONE_LOCK: Final = {
    WindowKind.CONFIG_LOCK: frozenset({"config"}),
    WindowKind.DEVICE_LOCK: frozenset({"device"}),
    WindowKind.UNBIND: frozenset({"device"}),
}
_BOTH_LOCKS: Final = frozenset({"config", "device"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A lock window of either kind, as traced.

    Attributes:
        kind: what was held, and by what.
        opened_ns, closed_ns: edges, each within the resolution of the trace.
        opened_row, closed_row: rows of `History.kernel`; -1: it was still open when the trace ended.
    """

    kind: WindowKind
    opened_ns: Ns
    closed_ns: Ns
    opened_row: int
    closed_row: int

    def covers(self, moment: int) -> bool:
        """Whether the lock was certainly held at that moment."""
        return self.opened_ns + TRACE_RESOLUTION < moment < self.closed_ns - TRACE_RESOLUTION


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What a call met.

    Attributes:
        kind: the window that an entry must speak of.
        window: that was traced; None when there was none, or none was traced.
        certain: the call began inside `window`, or the trace shows it waiting there; or, for no window, none can have
            been met.
    """

    kind: WindowKind
    window: Window | None
    certain: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Holding:
    """Locks of one function that one thread held, at most from `earliest_ns` to `latest_ns`."""

    kind: WindowKind
    function: int
    tid: int
    earliest_ns: int
    latest_ns: int
    window: Window | None

    @property
    def locks(self) -> frozenset[str]:
        return _ONE_LOCK.get(self.kind, _BOTH_LOCKS)

    def covers(self, moment: int) -> bool:
        """Whether the locks were certainly held at that moment."""
        return self.window is not None and self.window.covers(moment)

    def begins_by(self, moment: int) -> bool:
        """Whether the locks may have been held by that moment, if another thread got one of them then."""
        if self.window is not None and self.window.opened_ns > moment + TRACE_RESOLUTION:
            return False
        return self.earliest_ns <= moment


@dataclass(frozen=True, slots=True)
class _Held:
    """All holdings of one function, and their times as columns."""

    holdings: tuple[_Holding, ...]
    earliest: Times
    latest: Times

    @classmethod
    def of(cls, holdings: Sequence[_Holding]) -> _Held:
        return cls(
            tuple(holdings),
            np.array([holding.earliest_ns for holding in holdings], dtype=np.int64),
            np.array([holding.latest_ns for holding in holdings], dtype=np.int64),
        )

    def during(self, begin: int, end: int) -> Iterator[_Holding]:
        """Those that may overlap an interval."""
        for number in np.flatnonzero((self.earliest <= end) & (self.latest >= begin)).tolist():
            yield self.holdings[number]


class Locks:
    """Who held which lock of which function in one history."""

    def __init__(self, reading: Reading) -> None:
        """Gather the windows, and the operations that opened them."""
        self._reading = reading
        held: dict[int, list[_Holding]] = {}
        for holding in self._holdings():
            held.setdefault(holding.function, []).append(holding)
        self._held = {function: _Held.of(holdings) for function, holdings in held.items()}

    def met(self, operation: Operation, function: int, tid: int, begin: Ns, end: Ns) -> tuple[Situation, ...]:
        """What a call met: one situation when that is certain, several when it may have been any of them.

        Args:
            operation: in the contract's words.
            function: index of the function that it is about.
            tid: its thread, whose own locks are not another's.
            begin: of the call.
            end: its return.
        """
        taken = self._taken(operation, function)
        others = [h for h in self._before(taken, tid, begin, end) if _minds(operation, h)]
        slept = self._slept(tid, begin, end)
        certain = [holding for holding in others if holding.covers(slept.get(holding.function, begin))]
        if _minds_only_device(operation) and any("config" not in holding.locks for holding in certain):
            certain = [holding for holding in certain if holding.kind is not WindowKind.CONFIG_LOCK]
        if certain:
            later = [h for h in others if h not in certain and _goes_along(h, certain, end)]
            return (*(_situation(h, certain=True) for h in certain), *map(_situation, later))
        above = self._before(self._port(operation, function), tid, begin, end)
        holders = [holding.window for holding in above if holding.covers(slept.get(holding.function, begin))]
        if holders:
            port = Situation(kind=WindowKind.PORT_LOCK, window=holders[0], certain=True)
            return (port, *map(_situation, others))
        maybe = [Situation(kind=WindowKind.PORT_LOCK, window=None, certain=False)] if above else []
        free = Situation(kind=WindowKind.NONE, window=None, certain=not (others or above))
        return (free, *map(_situation, others), *maybe)

    def _slept(self, tid: int, begin: int, end: int) -> dict[int, int]:
        """When a thread began to wait for the config lock of each function the last time during a call."""
        found = {}
        for function in self._held:
            times = self._reading.sleeps.get((tid, function), [])
            last = bisect_right(times, end + TRACE_RESOLUTION) - 1
            if last >= 0 and times[last] >= begin:
                found[function] = times[last]
        return found

    def _taken(self, operation: Operation, function: int) -> tuple[int, ...]:
        """The functions whose own locks an operation takes."""
        plan = self._reading.history.plan
        if operation == HOLD_PORT:
            return ()
        if operation == SUBORDINATE_RESET:
            below = [alias for alias, port in plan.ports.items() if port == plan.functions[function]]
            return (function, *(plan.functions.index(alias) for alias in below))
        if operation == HOT_RESET:
            return self._reading.beside[plan.functions[function]]
        return (function,)

    def _port(self, operation: Operation, function: int) -> tuple[int, ...]:
        """The port above, if it takes part."""
        plan = self._reading.history.plan
        port = plan.ports.get(plan.functions[function])
        if port not in plan.functions or operation == SUBORDINATE_RESET:
            return ()
        return (plan.functions.index(port),)

    def _before(self, functions: Sequence[int], tid: int, begin: int, end: int) -> list[_Holding]:
        """What other threads may have held meanwhile, before the call had a lock itself.

        Only that can have kept it waiting, or refused it.
        """
        near = [holding for function in functions for holding in self._during(function, begin, end)]
        own = [
            holding.window.opened_ns
            for holding in near
            if holding.tid == tid
            and holding.window is not None
            and begin - TRACE_RESOLUTION <= holding.window.opened_ns <= end
        ]
        others = [holding for holding in near if holding.tid != tid]
        return [holding for holding in others if not own or holding.begins_by(min(own))]

    def _during(self, function: int, begin: int, end: int) -> Iterator[_Holding]:
        held = self._held.get(function)
        return iter(()) if held is None else held.during(begin, end)

    def _inside_vfio(self) -> Iterator[_Holding]:
        """Who may have been inside VFIO's own lock of a function when a hot reset was refused for that.

        One for each function and refusal: accesses are many.
        """
        reading, table = self._reading, self._reading.history.operations
        rows = reading.steps.rows(lambda step: step.means in _INSIDE_VFIO)
        ends = np.where(table["end_ns"][rows] == 0, reading.history.end_ns, table["end_ns"][rows])
        for reset in reading.steps.rows(lambda step: step.means == HOT_RESET).tolist():
            if table["error"][reset] != errno.EBUSY:
                continue
            during = (table["begin_ns"][rows] <= table["end_ns"][reset]) & (ends >= table["begin_ns"][reset])
            found: dict[int, _Holding] = {}
            for row, end in zip(rows[during].tolist(), ends[during].tolist(), strict=True):
                file = reading.steps.behind(row).file
                if file is None:
                    continue
                function = reading.history.plan.functions.index(file.function)
                found.setdefault(
                    function,
                    _Holding(
                        kind=WindowKind.VFIO_RESET,
                        function=function,
                        tid=reading.history.actors[int(table["actor"][row])].tid,
                        earliest_ns=int(table["begin_ns"][row]),
                        latest_ns=int(end),
                        window=None,
                    ),
                )
            yield from found.values()

    def _holdings(self) -> Iterator[_Holding]:
        reading, history, table = self._reading, self._reading.history, self._reading.history.operations
        for window in reading.windows:
            begin, end = window.asked_ns, window.released_ns
            if window.holder != NOBODY:
                begin = Ns(int(table["begin_ns"][window.holder]))
                end = Ns(int(table["end_ns"][window.holder]) or history.end_ns)
            yield _holding(window, begin, end)
        for device in reading.device_windows:
            yield _holding(device, device.asked_ns, device.released_ns)
        yield from self._inside_vfio()
        for row in reading.steps.rows(lambda step: step.means in _HOLDS_UNSEEN).tolist():
            step = reading.steps.behind(row)
            if step.file is not None:
                yield _Holding(
                    kind=_HOLDS_UNSEEN[step.means],
                    function=history.plan.functions.index(step.file.function),
                    tid=history.actors[int(table["actor"][row])].tid,
                    earliest_ns=int(table["begin_ns"][row]),
                    latest_ns=int(table["end_ns"][row]) or history.end_ns,
                    window=None,
                )


def _holding(window: LockWindow | DeviceWindow, begin: Ns | None, end: Ns | None) -> _Holding:
    """A window, widened to the operation of its holder, or else by how long its thread may lag."""
    return _Holding(
        kind=window.kind,
        function=window.function,
        tid=window.tid,
        earliest_ns=min(window.opened_ns - UNLOCK_GRACE if begin is None else begin, window.opened_ns)
        - TRACE_RESOLUTION,
        latest_ns=max(window.closed_ns + UNLOCK_GRACE if end is None else end, window.closed_ns)
        + TRACE_RESOLUTION,
        window=Window(
            kind=window.kind,
            opened_ns=window.opened_ns,
            closed_ns=window.closed_ns,
            opened_row=window.opened_row,
            closed_row=window.closed_row,
        ),
    )


def _minds(operation: Operation, holding: _Holding) -> bool:
    """Whether an operation takes a lock that this is about, or may be held up by."""
    if holding.kind is WindowKind.VFIO_RESET and holding.window is None:
        return operation == HOT_RESET  # an access inside memory_lock, which everybody else waits for
    if verb(operation) == "adapter-reset" and holding.kind is WindowKind.DRIVER_RESET:
        return False  # it is that reset which takes the lock
    if operation in (HOLD_CONFIG, TRY_CONFIG) or verb(operation) == "misuse":
        return "config" in holding.locks
    return True


def _minds_only_device(operation: Operation) -> bool:
    """Operations that need device_lock and not the config lock."""
    return verb(operation) in ("driver", "topology") or operation == HOLD_DEVICE


def _goes_along(holding: _Holding, certain: Sequence[_Holding], end: int) -> bool:
    """Whether a holding may have gone along with those that were certain, or followed them, before `end`."""
    earliest = holding.earliest_ns
    for other in certain:
        if holding.window is None and holding.tid == other.tid:
            return False  # the same locks, known better
        if other.window is None or not holding.locks & other.locks:
            continue
        gone = holding.latest_ns <= other.window.closed_ns
        if gone or (holding.window and holding.window.opened_ns <= other.window.opened_ns):
            return False  # they share a lock: it was free when the other got it
        earliest = max(earliest, other.window.closed_ns - TRACE_RESOLUTION)
    return earliest <= end


def _situation(holding: _Holding, *, certain: bool = False) -> Situation:
    return Situation(kind=holding.kind, window=holding.window, certain=certain)
