"""How long a target may say nothing, and how a busy host is told from a target that is gone.

An agent that carries a stage out says once a second that it lives, and every byte that arrives counts.  Silence is
added up in short waits, and of each only the part counts in which something could have been heard:

* A wait counts with the length that was asked for, however much later we came back: a host that does not let *us* run,
  or that stopped us, is not silence of the target.
* The time in which a processor of the target was ready to run and had to wait for one of the host is taken off.
  Of a guest that is Linux's own account of the threads of its QEMU (`/proc/PID/task/TID/schedstat`, second number).
  One that was frozen (SIGSTOP, QMP `stop`) is not ready to run, and one whose kernel hangs runs: of both all time
  counts, as far as the host has processors for them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

DEFAULT_S: Final = 30.0
"""Thirty messages are missing then."""
WAIT_S: Final = 0.5
"""Longest single wait."""
LEAST_SHARE: Final = 0.25
"""What of a wait counts at least: however busy the host, four times the limit is the end."""

Starved = Callable[[], float]
"""Seconds, added up so far, in which a busy host kept the target from running; only differences mean anything."""


def never() -> float:
    """A target of which nobody can tell, such as a machine of its own."""
    return 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a target may say nothing.

    Attributes:
        limit_s: seconds, of which only those count in which it could have been heard.
        starved: tells of those in which it could not.
    """

    limit_s: float = DEFAULT_S
    starved: Starved = never


PATIENT: Final = Patience()


class Silence:
    """The silence of one target, added up from waits in which nothing was heard."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._starved_s = patience.starved()
        self._silent_s = 0.0

    def broken(self) -> None:
        """Something was heard."""
        self._silent_s = 0.0
        self._starved_s = self._patience.starved()

    def lasted(self, asked_s: float) -> None:
        """Nothing was heard in a wait for which so many seconds were asked, at most :data:`WAIT_S`."""
        starved_s = self._patience.starved()
        self._silent_s += max(LEAST_SHARE * asked_s, asked_s - (starved_s - self._starved_s))
        self._starved_s = starved_s

    @property
    def left_s(self) -> float:
        """Seconds until the patience is over; 0 when it is."""
        return max(0.0, self._patience.limit_s - self._silent_s)

    def __str__(self) -> str:
        return f"it has said nothing for {self._silent_s:.0f} s"


def starved_process(pid: int) -> Starved:
    """What to ask about a target that is a process of this machine, such as a QEMU.

    Where the kernel keeps no account (CONFIG_SCHED_INFO), nothing is taken off.
    """
    before: dict[str, int] = {}
    total_s = 0.0

    def starved() -> float:
        nonlocal before, total_s
        waited = _waited(pid)
        # The one that waited longest: its work is what the others may be waiting for.
        total_s += max((ns - before.get(thread, 0) for thread, ns in waited.items()), default=0) / 1e9
        before = waited
        return total_s

    return starved


def _waited(pid: int) -> dict[str, int]:
    """Nanoseconds that each thread of a process was ready to run and had to wait."""
    waited = {}
    for account in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        try:
            waited[account.parent.name] = int(account.read_text().split()[1])
        except (OSError, IndexError, ValueError):  # the thread has ended
            continue
    return waited
