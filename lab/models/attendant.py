"""Attends to the process of a model from outside: sees that it ended, and that a call of it is overdue.

The thin edge of :mod:`harness.lab.models.overdue`, which decides.  From outside, because a model may hold Python's lock
while it loops, as a regular expression that backtracks does.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from harness.lab.models.handlers import Handler
from harness.lab.models.overdue import LOOK_EVERY, Account, Look
from harness.lab.models.row_log import called
from harness.model.units import MS, Ns

_STACK_WITHIN_S: Final = 2.0
_TICK_NS: Final = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
_STATE, _USER, _SYSTEM = 0, 11, 12  # of /proc/PID/stat, counted behind the name (proc_pid_stat(5))


def attend(pid: int, life: int, log: Path, limit: Ns, overdue: Callable[[Handler], object]) -> None:
    """Return when a process has ended.

    Args:
        pid: of the process.
        life: pidfd of it.
        log: of the model that it serves; it may not be there yet.
        limit: how long one call may take.
        overdue: told of a call that does not return, once; it ends the process.
    """
    account, end = Account(limit), select.poll()
    end.register(life, select.POLLIN)
    while not end.poll(LOOK_EVERY / MS):
        handler = called(log)
        look = _look(pid, handler) if handler.entry else None
        if look is not None and account.look(look):
            overdue(handler)
            end.poll()
            return


def stack_of(file: Path) -> str:
    """What a process that was asked for its stack has written, when it is whole; what there is after a while."""
    until, before = time.monotonic() + _STACK_WITHIN_S, b""
    waiting = select.poll()
    while time.monotonic() < until:
        waiting.poll(50)
        text = file.read_bytes()
        if text and text == before:
            break
        before = text
    return before.decode(errors="replace")


def _look(pid: int, handler: Handler) -> Look | None:
    """What the kernel tells of its first thread, which is the one that calls the model; None: it has ended."""
    thread = Path(f"/proc/{pid}/task/{pid}")
    try:
        stat = (thread / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return Look(
        at_ns=time.monotonic_ns(),
        handler=handler,
        ran_ns=(int(stat[_USER]) + int(stat[_SYSTEM])) * _TICK_NS,
        starved_ns=_starved_ns(thread),
        state=stat[_STATE],
    )


def _starved_ns(thread: Path) -> int:
    """How long a thread was ready to run and had to wait; 0 where the kernel keeps no account (CONFIG_SCHED_INFO)."""
    try:
        return int((thread / "schedstat").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return 0
