"""What is to be done later, in its order; whoever holds it says when to look."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable

from harness.model.units import Ns


class Agenda:
    """Tasks, each with the time at which it is due; of two that are due at once the older comes first."""

    def __init__(self, clock: Callable[[], int]) -> None:
        """Begin with none.

        Args:
            clock: CLOCK_MONOTONIC, nanoseconds.
        """
        self._clock = clock
        self._tasks: list[tuple[int, int, Callable[[], object]]] = []
        self._order = itertools.count()

    def add(self, delay: Ns, task: Callable[[], object]) -> None:
        """Do something after a while; never before the next :meth:`run_due`."""
        heapq.heappush(self._tasks, (self._clock() + delay, next(self._order), task))

    def run_due(self) -> int | None:
        """Do what is due, also what that adds for now.

        Returns:
            when the next thing is due, CLOCK_MONOTONIC; None: nothing is.
        """
        while self._tasks and self._tasks[0][0] <= self._clock():
            heapq.heappop(self._tasks)[2]()
        return self._tasks[0][0] if self._tasks else None
