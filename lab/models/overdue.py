"""When a call of a model is overdue: decided from what the kernel tells of its process.  Pure.

Time counts in which the process ran, or slept, while one and the same call had not returned.  What does not
count is the host's fault or ours: time in which it was ready to run and had to wait for a processor, in which it was
stopped (SIGSTOP, as a staged stall is made), and in which it waited for QEMU.  A sleep between two looks is believed
no further than looks are apart, for a stop may have hidden in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from harness.lab.models.handlers import Handler
from harness.model.units import MS, SECOND, Ns

LIMIT: Final = Ns(4 * SECOND)
"""A call takes microseconds; 5 s are promised until it is told, and finding out where it is takes part of them."""
LOOK_EVERY: Final = Ns(200 * MS)

_STOPPED: Final = frozenset("Tt")
_READY: Final = "R"


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What one look at a process shows; times in nanoseconds, of which only differences mean anything.

    Attributes:
        at_ns: when.
        handler: what has been called.
        ran_ns: processor time that it has had.
        starved_ns: how long it was ready to run and had to wait, as far as that is over.
        state: as in /proc/PID/stat.
    """

    at_ns: int
    handler: Handler
    ran_ns: int
    starved_ns: int
    state: str


class Account:
    """Adds up the time of the call that has not returned, look by look."""

    def __init__(self, limit: Ns = LIMIT) -> None:
        """Begin; a call that has taken `limit` is overdue."""
        self._limit = limit
        self._last: Look | None = None
        self._counted_ns = 0
        self._open_ns = 0

    def look(self, now: Look) -> bool:
        """Take one look more, some :data:`LOOK_EVERY` after the last.

        Returns:
            whether the call is overdue.
        """
        last, self._last = self._last, now
        if last is None or not now.handler.entry or now.handler.entry != last.handler.entry:
            self._counted_ns = self._open_ns = 0
            return False
        ran = now.ran_ns - last.ran_ns
        self._counted_ns += ran
        if {last.state, now.state} & _STOPPED or last.handler.waits or now.handler.waits:
            self._open_ns = 0
            return self._counted_ns >= self._limit
        # Neither run nor known to be starved.  Of one that is ready now it is not known yet: the kernel adds a wait
        # for a processor to its account when it is over (Linux kernel/sched/stats.h, sched_info_arrive()).
        unexplained = now.at_ns - last.at_ns - ran - (now.starved_ns - last.starved_ns)
        self._open_ns += min(unexplained, 2 * LOOK_EVERY)
        if now.state != _READY:
            self._counted_ns += max(0, self._open_ns)
            self._open_ns = 0
        return self._counted_ns >= self._limit
