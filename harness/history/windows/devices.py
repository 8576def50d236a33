"""Spans in which device_lock of a function is certainly held while its config access is free.

The kernel offers no probe point on device_lock itself: it is a mutex that is taken in hundreds of places.  Two
functions run with it held and sleep: the one in which an unbind waits for its user, and that of our own module.

Source: Linux drivers/vfio/vfio_main.c, `vfio_unregister_group_dev()`; drivers/base/dd.c,
`device_release_driver_internal()`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from harness.history.columns import Edge
from harness.history.history import History
from harness.history.windows.threads import NOBODY, Threads
from harness.history.windows.trace import HOLD_DEVICE_LOCK, UNREGISTER, hits, missing
from harness.model import operation as words
from harness.model.promise import WindowKind
from harness.model.units import Ns

_KINDS: Final = {UNREGISTER: WindowKind.UNBIND, HOLD_DEVICE_LOCK: WindowKind.DEVICE_LOCK}
_HOLDS: Final = frozenset({words.HOLD_DEVICE, words.HOLD_BOTH, words.HOLD_PORT})
_UNBINDS: Final = frozenset({words.UNBIND, words.REMOVE})


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceWindow:
    """device_lock of one function was held; closed interval, CLOCK_MONOTONIC.

    Attributes:
        function: index into `Plan.functions`.
        opened_ns, closed_ns: entry and return of a function that runs with the lock held: it was held for all of it,
            and before and after.  A window still open when the trace ended closes at the end of the stage.
        tid: thread that held it.
        opened_row, closed_row: rows of `History.kernel`; `closed_row` -1: still open at the end.
        kind: `unbind` where an unbind waits for the function's user, else `device-lock`.
        asked_ns, released_ns: begin and end of the operation in which its thread was: outside of them the lock was not
            held by that thread; None when it is no actor's, or had not returned.
        holder: row of that operation in `History.operations`; -1: no actor's.
    """

    function: int
    opened_ns: Ns
    closed_ns: Ns
    tid: int
    opened_row: int
    closed_row: int
    kind: WindowKind = WindowKind.DEVICE_LOCK
    asked_ns: Ns | None = None
    released_ns: Ns | None = None
    holder: int = NOBODY


def device_windows(history: History, threads: Threads) -> tuple[DeviceWindow, ...]:
    """All spans of the plan's functions, sorted by opening."""
    entered: dict[tuple[int, str], list[DeviceWindow]] = {}  # thread and symbol -> still open, innermost last
    windows: list[DeviceWindow] = []
    for row, (symbol, edge), tid, function, time, _ in hits(history, _KINDS):
        inside = entered.setdefault((tid, symbol), [])
        if edge is Edge.ENTRY:
            inside.append(
                DeviceWindow(
                    function=function,
                    opened_ns=time,
                    closed_ns=history.end_ns,
                    tid=tid,
                    opened_row=row,
                    closed_row=-1,
                    kind=_KINDS[symbol],
                )
            )
        elif inside:
            windows.append(replace(inside.pop(), closed_ns=time, closed_row=row))
    windows.extend(window for still_open in entered.values() for window in still_open)
    windows = [window for window in windows if window.function >= 0]
    windows.sort(key=lambda window: (window.opened_ns, window.function))
    return tuple(_held(history, window, threads.at(window.tid, window.opened_ns)) for window in windows)


def _held(history: History, window: DeviceWindow, row: int) -> DeviceWindow:
    """The window with its holder, and the outermost edges that the operation of its holder allows."""
    if row == NOBODY:
        return window
    begin, end = (int(history.operations[edge][row]) for edge in ("begin_ns", "end_ns"))
    return replace(window, asked_ns=Ns(begin), released_ns=Ns(end) if end else None, holder=row)


def device_doubts(history: History) -> tuple[str, ...]:
    """Reasons why the trace may not show every such span; empty when it does, or when the plan opens none.

    An unbind holds the lock for longer than it takes only while somebody has the function open: without a step
    that goes through VFIO nobody does, and the module with that probe point need not even be loaded.
    """
    steps = [step for actor in history.plan.actors for step in actor.steps]
    means = {step.means for step in steps}
    symbols = []
    if means & _UNBINDS and any(step.file and step.file.role.startswith("vfio") for step in steps):
        symbols.append(UNREGISTER)
    if means & _HOLDS:
        symbols.append(HOLD_DEVICE_LOCK)
    return missing(history, [(symbol, edge) for symbol in symbols for edge in Edge]) if symbols else ()
