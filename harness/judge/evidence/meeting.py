"""Which operation met which window.

Two ideas of a window are needed.  The *certain* one, each edge moved inwards by the resolution of the trace:
the lock was held for all of it.  The *possible* one, from the locking thread's call to the unlocking
function's return: outside of it the lock was free.  Intervals are closed, because clocks can tie.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from harness.history.windows import TRACE_RESOLUTION
from harness.model.units import MS, Ns

UNLOCK_GRACE: Final = Ns(20 * MS)
"""How long the bit may stay set after the unlocking function was entered, when no probe shows its return: its
thread can be preempted in between."""

Times = npt.NDArray[np.int64]
Indices = npt.NDArray[np.intp]


class Window(Protocol):
    """What windows of all locks have in common."""

    @property
    def opened_ns(self) -> Ns:
        """When the lock was certainly held, to the resolution of the trace."""

    @property
    def closed_ns(self) -> Ns:
        """Until when it was certainly held."""

    @property
    def asked_ns(self) -> Ns | None:
        """Since when it may have been held; None: not known."""

    @property
    def released_ns(self) -> Ns | None:
        """When it was certainly given back; None: not known."""


@dataclass(frozen=True, slots=True)
class Meetings:
    """What a set of operations met; one row an operation, indices count the windows of one function.

    Attributes:
        opened, closed: edges of the windows as traced.
        began: the window within which the operation certainly began, or -1.
        inside: the window within which the operation certainly began, or was seen waiting, and certainly ended, or -1.
        touched: the last window that the operation may have overlapped, or -1.
    """

    opened: Times
    closed: Times
    began: Indices
    inside: Indices
    touched: Indices


def meet(windows: Sequence[Window], begin: Times, end: Times, waiting: Times | None = None) -> Meetings:
    """Hold operations against the windows of their function.

    Args:
        windows: of one function, in order; they do not overlap, for the lock has one holder.
        begin: of the operations, nanoseconds.
        end: of the operations, nanoseconds; one that never ended ends with the history.
        waiting: when the trace last shows them waiting for the lock, nanoseconds; before `begin` for one that did not.
    """
    opened = np.array([window.opened_ns for window in windows], dtype=np.int64)
    closed = np.array([window.closed_ns for window in windows], dtype=np.int64)
    if not windows:
        nothing = np.full(len(begin), -1, dtype=np.intp)
        return Meetings(opened, closed, nothing, nothing, nothing)
    began, _ = _within(opened, closed, begin)
    last, held_until = _within(opened, closed, begin if waiting is None else np.maximum(begin, waiting))
    inside = np.where(end < held_until, last, -1)
    earliest, latest = possible(windows)
    last = np.searchsorted(earliest, end, "right") - 1
    touched = np.where((last >= 0) & (latest[last] >= begin), last, -1)
    return Meetings(opened, closed, began, inside, touched)


def _within(opened: Times, closed: Times, moment: Times) -> tuple[Indices, Times]:
    """The window that was certainly open at each moment, or -1, and until when it certainly stayed open."""
    last = np.searchsorted(opened + TRACE_RESOLUTION, moment, "left") - 1
    held_until = np.where(last >= 0, closed[last] - TRACE_RESOLUTION, np.iinfo(np.int64).min)
    return np.where(moment < held_until, last, -1), held_until


def possible(windows: Sequence[Window]) -> tuple[Times, Times]:
    """The outermost edges of each window, both ascending.

    A lock that was asked for while another held it cannot have been taken before the other let go.
    """
    asked = [window.opened_ns if window.asked_ns is None else window.asked_ns for window in windows]
    free = [window.closed_ns for window in windows[:-1]]
    earliest = [asked[0], *(max(pair) for pair in zip(asked[1:], free, strict=True))]
    latest = [
        window.closed_ns + UNLOCK_GRACE if window.released_ns is None else window.released_ns
        for window in windows
    ]
    return (
        np.array(earliest, dtype=np.int64) - TRACE_RESOLUTION,
        np.maximum.accumulate(np.array(latest, dtype=np.int64) + TRACE_RESOLUTION),
    )
