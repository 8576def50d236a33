"""The guests of one test: the one it has now, and a fresh one when that one is of no use any more."""

from __future__ import annotations

import enum
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lab.place import GuestTarget, Place


class Start(enum.Enum):
    """How a test comes by its guest."""

    CLONE = "clone"
    BOOT = "boot"


class TargetSource:
    """Guests of one test: the one it has now, and a fresh one when that one is of no use any more."""

    def __init__(self, place: Place, start: Start, console: Path, gdb: str | None) -> None:
        self._place, self._start, self._console, self._gdb = place, start, console, gdb
        self._open = ExitStack()
        self.consoles: list[Path] = []
        self._target: GuestTarget | None = None

    @property
    def target(self) -> GuestTarget:
        """The guest, made at the first use."""
        return self._target or self.renew()

    def renew(self) -> GuestTarget:
        """Throw the guest away and make another one."""
        self.close()
        number = len(self.consoles)
        console = self._console.with_suffix(f".{number}.log") if number else self._console
        self.consoles.append(console)
        make = self._place.clone if self._start is Start.CLONE else self._place.boot
        self._target = self._open.enter_context(make(console, gdb=self._gdb))
        return self._target

    def check_clock(self) -> None:
        """Compare the clocks of guest and host over the whole test.

        Raises:
            ClockError: the guest's ran wild: what was timed cannot be believed.
        """
        target = self._target
        if target is None or not target.guest.running or target.guest.panicked or target.agent.lost:
            return  # whoever lost it has said so
        target.guest.check_clock()

    def close(self) -> None:
        """End the guest, if there is one."""
        self._target = None
        self._open.close()
