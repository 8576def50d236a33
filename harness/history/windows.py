"""Lock windows and resets, read out of the kernel's trace.

A window opens when `pci_cfg_access_lock` *returns* (or `pci_cfg_access_trylock` returns true) and closes when
`pci_cfg_access_unlock` is *entered*: a probe on the lock's entry fires before the lock is taken.  Return
probes carry no function, so the entry of the same thread says which one it was.

Source: Linux drivers/pci/access.c, `pci_cfg_access_lock()`, `pci_wait_cfg()`, `pci_cfg_access_unlock()`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from harness.history.columns import Edge
from harness.history.history import History
from harness.model.pci import ResetMethod
from harness.model.units import Ns

TRACE_RESOLUTION: Final = Ns(1_000)
"""The kernel prints trace times in whole microseconds, rounded: an edge is known to this length."""

LOCK: Final = "pci_cfg_access_lock"
TRYLOCK: Final = "pci_cfg_access_trylock"
UNLOCK: Final = "pci_cfg_access_unlock"
WAIT: Final = "pci_wait_cfg"

RESET_FUNCTIONS: Final = {
    "pcie_flr": ResetMethod.FLR,
    "pci_af_flr": ResetMethod.AF_FLR,
    "pci_pm_reset": ResetMethod.PM,
    "pci_reset_bus_function": ResetMethod.BUS,
    "cxl_reset_bus_function": ResetMethod.CXL_BUS,
    "pci_dev_specific_reset": ResetMethod.DEVICE_SPECIFIC,
    "pci_dev_acpi_reset": ResetMethod.ACPI,
}
"""Kernel functions that perform one method each (Linux drivers/pci/pci.c, `pci_reset_fn_methods[]`).

All but `pcie_flr` are also called to *probe* for the method; the agent fetches that argument as `value`, and
an entry with a value other than 0 is no reset."""

EVIDENCE: Final = ((LOCK, Edge.ENTRY), (LOCK, Edge.RETURN), (UNLOCK, Edge.ENTRY), (WAIT, Edge.ENTRY))
"""Probes without which no window can be certain."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LockWindow:
    """User config access to one function was blocked; closed interval, CLOCK_MONOTONIC.

    Attributes:
        function: index into `Plan.functions`.
        opened_ns, closed_ns: edges, each within :data:`TRACE_RESOLUTION` of the truth.  A window still open
            when the trace ended closes at the end of the stage and has `closed_row` -1.
        tid: thread that took the lock.
        opened_row, closed_row: rows of `History.kernel`.
        asked_ns: entry of the locking function: the lock may have been taken since then; None: not seen.
        released_ns: return of the unlocking function: the lock is certainly gone; None: no such probe.
    """

    function: int
    opened_ns: Ns
    closed_ns: Ns
    tid: int
    opened_row: int
    closed_row: int
    asked_ns: Ns | None = None
    released_ns: Ns | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ResetSpan:
    """One reset method at work, from entry to return of its kernel function.

    Attributes:
        function: index into `Plan.functions`.
        method: which one.
        begin_ns, end_ns: entry and return.
        result: what the function returned: 0 or a negative errno; None when it never returned in the trace.
        tid: thread.
        row: of the entry in `History.kernel`.
    """

    function: int
    method: ResetMethod
    begin_ns: Ns
    end_ns: Ns
    result: int | None
    tid: int
    row: int


def doubts(history: History) -> tuple[str, ...]:
    """Reasons why windows of this history are not certain; empty when they are.

    Only a window that the kernel's own trace shows can convict: lost events, missed or absent probes leave
    UNKNOWN.
    """
    reasons = []
    if history.lost_kernel_events:
        reasons.append(f"{history.lost_kernel_events} trace events were lost")
    known = {(probe.symbol, probe.edge): probe for probe in history.probes}
    for symbol, edge in EVIDENCE:
        probe = known.get((symbol, edge))
        if probe is None or not probe.present:
            reasons.append(f"no probe on {edge} of {symbol}" + (f" ({probe.reason})" if probe else ""))
        elif probe.missed:
            reasons.append(f"{probe.missed} hits on {edge} of {symbol} were missed")
    return tuple(reasons)


def reset_doubts(history: History, method: ResetMethod) -> tuple[str, ...]:
    """Reasons why the trace does not show for certain whether `method` was performed; empty when it does."""
    reasons = [f"{history.lost_kernel_events} trace events were lost"] if history.lost_kernel_events else []
    symbols = {symbol for symbol, performs in RESET_FUNCTIONS.items() if performs is method}
    for edge in Edge:
        probes = [probe for probe in history.probes if probe.symbol in symbols and probe.edge is edge]
        if not any(probe.present for probe in probes):
            reasons.append(f"no probe on {edge} of {' or '.join(sorted(symbols))}")
        reasons.extend(
            f"{probe.missed} hits on {edge} of {probe.symbol} were missed" for probe in probes if probe.missed
        )
    return tuple(reasons)


def lock_windows(history: History) -> tuple[LockWindow, ...]:
    """All config-lock windows of the plan's functions, sorted by opening."""
    index = {(probe.symbol, probe.edge): number for number, probe in enumerate(history.probes)}
    take_entry = {index.get((LOCK, Edge.ENTRY)), index.get((TRYLOCK, Edge.ENTRY))} - {None}
    lock_return, try_return = index.get((LOCK, Edge.RETURN)), index.get((TRYLOCK, Edge.RETURN))
    unlock, unlocked = index.get((UNLOCK, Edge.ENTRY)), index.get((UNLOCK, Edge.RETURN))
    asking: dict[int, list[tuple[int, Ns]]] = {}  # tid -> functions it is about to lock, innermost last
    opened: dict[int, tuple[Ns, Ns, int, int]] = {}  # function -> asked, opened, tid, row
    windows: list[LockWindow] = []
    releasing: dict[int, int] = {}  # tid that is in unlock -> index of the window that it closes
    for row, probe, tid, function, time, value in _events(
        history, {*take_entry, lock_return, try_return, unlock, unlocked}
    ):
        if probe in take_entry:
            asking.setdefault(tid, []).append((function, time))
        elif probe in (lock_return, try_return) and asking.get(tid):
            taking, asked = asking[tid].pop()
            taken = probe == lock_return or value & 0xFF != 0
            if taking >= 0 and taken:
                opened[taking] = (asked, time, tid, row)
        elif probe == unlock and function in opened:
            asked, since, owner, opened_row = opened.pop(function)
            releasing[tid] = len(windows)
            windows.append(
                LockWindow(
                    function=function,
                    opened_ns=since,
                    closed_ns=time,
                    tid=owner,
                    opened_row=opened_row,
                    closed_row=row,
                    asked_ns=asked,
                )
            )
        elif probe == unlocked and tid in releasing:
            number = releasing.pop(tid)
            windows[number] = replace(windows[number], released_ns=time)
    windows.extend(
        LockWindow(
            function=function,
            opened_ns=since,
            closed_ns=history.end_ns,
            tid=owner,
            opened_row=row,
            closed_row=-1,
            asked_ns=asked,
        )
        for function, (asked, since, owner, row) in opened.items()
    )
    return tuple(sorted(windows, key=lambda window: (window.opened_ns, window.function)))


def _events(history: History, probes: Collection[int | None]) -> Iterator[tuple[int, int, int, int, Ns, int]]:
    """Row, probe, tid, function, time and value of the hits of some probes, in order of time."""
    kernel = history.kernel
    rows = np.flatnonzero(np.isin(kernel["probe"], [probe for probe in probes if probe is not None]))
    hits = kernel[rows]
    columns = (hits[name].tolist() for name in ("probe", "tid", "function", "time_ns", "value"))
    return zip(rows.tolist(), *columns, strict=True)


def resets(history: History) -> tuple[ResetSpan, ...]:
    """All resets of the plan's functions that the kernel performed, sorted by beginning."""
    spans: list[ResetSpan] = []
    running: dict[tuple[int, str], list[tuple[int, Ns, int, bool]]] = {}
    wanted = {number for number, probe in enumerate(history.probes) if probe.symbol in RESET_FUNCTIONS}
    for row, number, tid, function, time, value in _events(history, wanted):
        probe = history.probes[number]
        method, key = RESET_FUNCTIONS[probe.symbol], (tid, probe.symbol)
        if probe.edge is Edge.ENTRY:
            entry = (function, time, row, value == 0)
            running.setdefault(key, []).append(entry)
        elif running.get(key):
            resetting, begin, entry_row, real = running[key].pop()
            if real and resetting >= 0:
                spans.append(
                    ResetSpan(
                        function=resetting,
                        method=method,
                        begin_ns=begin,
                        end_ns=time,
                        result=_signed(value),
                        tid=key[0],
                        row=entry_row,
                    )
                )
    for (tid, symbol), entries in running.items():
        spans.extend(
            ResetSpan(
                function=function,
                method=RESET_FUNCTIONS[symbol],
                begin_ns=begin,
                end_ns=history.end_ns,
                result=None,
                tid=tid,
                row=row,
            )
            for function, begin, row, real in entries
            if real and function >= 0
        )
    return tuple(sorted(spans, key=lambda span: span.begin_ns))


def waited(history: History) -> npt.NDArray[np.bool_]:
    """For each operation: did `pci_wait_cfg` fire in its own thread between call and return?

    Returns:
        One boolean a row of `History.operations`.
    """
    operations, kernel = history.operations, history.kernel
    result = np.zeros(len(operations), dtype=np.bool_)
    wait = next(
        (n for n, probe in enumerate(history.probes) if (probe.symbol, probe.edge) == (WAIT, Edge.ENTRY)),
        None,
    )
    if wait is None or not len(operations):
        return result
    hits = kernel[kernel["probe"] == wait]
    for number, actor in enumerate(history.actors):
        times = hits["time_ns"][hits["tid"] == actor.tid]
        rows = np.flatnonzero(operations["actor"] == number) if len(times) else times
        if not len(rows):
            continue
        # A thread does one thing at a time: a hit belongs to the last operation that had begun by then.
        begin, end = operations["begin_ns"][rows], operations["end_ns"][rows]
        last = np.searchsorted(begin, times + TRACE_RESOLUTION // 2, "right") - 1
        until = np.where(end == 0, history.end_ns, end)[last] + TRACE_RESOLUTION
        result[rows[last[(last >= 0) & (times <= until)]]] = True
    return result


def _signed(value: int) -> int:
    """Return value of a kernel function of type int, whatever width the probe printed it in."""
    low = value & 0xFFFF_FFFF
    return low - 0x1_0000_0000 if low & 0x8000_0000 else low
