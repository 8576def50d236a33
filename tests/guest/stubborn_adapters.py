"""Adapters that a reset of their bus does not reset: models for tests of what must notice that."""

from __future__ import annotations

from collections.abc import Callable

from harness.lab.models.interface import Told
from harness.lab.models.ipr import CROCODILE, Ipr
from harness.model.served import Happened


class _Lying(Ipr):
    """Tells of it, and that is all."""

    def bus_reset(self) -> None:
        """A new epoch, in which all is as it was."""
        self.resets += 1
        self.tell(Told(Happened.BUS_RESET, self._clock(), self.resets))


class _Keeping(Ipr):
    """Its queue survives: what is answered goes on to where it went before."""

    def forgotten(self) -> None:
        """All but the queue."""
        queue, slots = self._queue, self._queue_slots
        super().forgotten()
        self._queue, self._queue_slots = queue, slots


def lying(clock: Callable[[], int]) -> Ipr:
    """One that has just been powered on."""
    return _Lying(CROCODILE, clock)


def keeping(clock: Callable[[], int]) -> Ipr:
    """One that has just been powered on."""
    return _Keeping(CROCODILE, clock)
