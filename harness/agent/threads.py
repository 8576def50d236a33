"""Threads that are there before somebody needs one.

In a clone of an emulated guest the first start of a thread, and the first end of one, take longer than most requests:
all that the kernel does for it is code that was not run there before.  So threads wait in the frozen guest, as actors
do (:mod:`harness.agent.nursery`), and go on waiting when their work is done.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Final

Work = Callable[[], object]


class _Thread:
    """One that waits for work; it ends with the process, or with work that raises."""

    def __init__(self) -> None:
        self.work: Final[SimpleQueue[Work]] = SimpleQueue()
        threading.Thread(target=self._live, name="prepared", daemon=True).start()

    def _live(self) -> None:
        while True:
            self.work.get()()
            _IDLE.append(self)


_IDLE: Final[list[_Thread]] = []


def prepare(count: int) -> None:
    """Have so many threads wait."""
    while len(_IDLE) < count:
        _IDLE.append(_Thread())


def begin(work: Work) -> None:
    """Let a thread that waits do this, or a new one when none does; returns at once."""
    try:
        thread = _IDLE.pop()
    except IndexError:
        thread = _Thread()
    thread.work.put(work)
