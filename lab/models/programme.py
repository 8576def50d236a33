"""A programme of faults, carried out: what is wrong with a function at a moment.

Pure: time comes as an argument.  Slowness is state, never a delay: a function that is not ready answers all-ones
until a point in time, at once.  So no reply can ever be late.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from harness.model.fault import Fault, Misbehaviour, Occasion

Tell = Callable[[int, int], object]
"""Told of a fault, by its number in the programme, at a time."""


@dataclass(slots=True, eq=False)
class Running:
    """One fault of a loaded programme.

    Attributes:
        number: in the programme.
        fault: what is wrong.
        passed: occasions so far.
        begun: how often it began.
        begins_ns, ends_ns: when it is wrong; None for ever.
        met: whether something showed it since it began last.
        over: whether its end was told since then.
    """

    number: int
    fault: Fault
    passed: int = 0
    begun: int = 0
    begins_ns: int = 0
    ends_ns: int | None = 0
    met: bool = False
    over: bool = False

    def active(self, now_ns: int) -> bool:
        """Whether it is wrong at this moment."""
        return self.begins_ns <= now_ns and (self.ends_ns is None or now_ns < self.ends_ns)

    def due(self) -> bool:
        """Count an occasion; whether the fault begins at it."""
        self.passed += 1
        if self.fault.when is Occasion.ACCESSES:
            return self.passed == self.fault.after
        return self.passed > self.fault.after and not (self.fault.times and self.begun >= self.fault.times)


class Programme:
    """The faults of one function."""

    def __init__(self, begins: Tell, ends: Tell, met: Tell) -> None:
        """Load nothing yet.

        Args:
            begins: told of each fault that begins; one that is timed is told of when the clock is set.
            ends: told of each whose time is over, at the next occasion.
            met: told of each that showed, once for each time it began.
        """
        self._running: Final[list[Running]] = []
        self._begins, self._ends, self._met = begins, ends, met

    def load(self, faults: Iterable[Fault], now_ns: int) -> None:
        """Replace what was loaded; those of :attr:`Occasion.NOW` begin."""
        self._end(now_ns)
        self._running[:] = [Running(number, fault) for number, fault in enumerate(faults)]
        self.occasion(Occasion.NOW, now_ns)

    def release(self, release_ns: int, now_ns: int) -> None:
        """The actors were released at that time, which may be past: those of :attr:`Occasion.TIME` are timed by it.

        What should have begun already begins now: nobody met it before.
        """
        for one in self._running:
            if one.fault.when is Occasion.TIME:
                self._begin(one, max(now_ns, release_ns + one.fault.at_ns))

    def occasion(self, what: Occasion, now_ns: int) -> None:
        """Something happened at which faults may begin."""
        self._end(now_ns)
        for one in self._running:
            if one.fault.when is what and one.due():
                self._begin(one, now_ns)

    def active(self, what: Misbehaviour, now_ns: int, register: str | None = None) -> Running | None:
        """The first fault of that kind, about that register if one is named, that is wrong at this moment."""
        for one in self._running:
            if one.fault.what is what and one.active(now_ns) and register in (None, one.fault.register):
                return one
        return None

    def meets(self, *kinds: Misbehaviour, at_ns: int, register: str | None = None) -> Fault | None:
        """The same, for whoever is about to show it."""
        if not self._running:
            return None
        for what in kinds:
            if (one := self.active(what, at_ns, register)) is not None:
                self._show(one, at_ns)
                return one.fault
        return None

    def meets_one_of(self, what: Misbehaviour, value: int, *, at_ns: int) -> Fault | None:
        """The same for a fault that names that value, or none."""
        for one in self._running:
            if one.fault.what is what and one.active(at_ns) and one.fault.value in (None, value):
                self._show(one, at_ns)
                return one.fault
        return None

    def running(self, number: int) -> Running:
        """A fault by its number."""
        return self._running[number]

    def shows(self, one: Running, at_ns: int) -> bool:
        """Whether a fault is wrong at this moment and still loaded, for whoever is about to show it."""
        wrong = one in self._running and one.active(at_ns)
        if wrong:
            self._show(one, at_ns)
        return wrong

    def registers(self, what: Misbehaviour, now_ns: int) -> tuple[str, ...]:
        """The registers that faults of that kind are about, now."""
        return tuple(
            one.fault.register for one in self._running if one.fault.what is what and one.active(now_ns)
        )

    def _begin(self, one: Running, at_ns: int) -> None:
        one.begun += 1
        one.met = one.over = False
        one.begins_ns = at_ns
        lasting = one.fault.lasting_ns
        one.ends_ns = None if lasting is None else at_ns + lasting
        self._begins(one.number, at_ns)

    def _end(self, now_ns: int) -> None:
        for one in self._running:
            if one.begun and not one.over and one.ends_ns is not None and one.ends_ns <= now_ns:
                one.over = True
                self._ends(one.number, one.ends_ns)

    def _show(self, one: Running, at_ns: int) -> None:
        if not one.met:
            one.met = True
            self._met(one.number, at_ns)
