"""A history, and what can be read out of it whatever was promised: each thing is worked out once.

Whoever draws a history reads it as this; whoever judges it, as :class:`~harness.judge.evidence.Evidence`, which is more
of the same.  One object goes from the judge to the pictures, so nothing is worked out twice on that way.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Self, TypeVar

import numpy as np
import numpy.typing as npt

from harness.history.gaps import Gaps, gaps
from harness.history.history import FunctionRecord, History
from harness.history.retried import Retried, retried
from harness.history.steps import Rows, Steps, places, steps_of, together
from harness.history.windows import (
    NOBODY,
    DeviceWindow,
    DriverReset,
    LockFault,
    LockTry,
    LockWindow,
    ResetSpan,
    Telling,
    Threads,
    device_doubts,
    device_windows,
    doubts,
    driver_resets,
    lock_tries,
    locks_taken,
    resets,
    sleeps,
    slept,
    tellings,
)
from harness.model.operation import Operation
from harness.model.pci import Bdf
from harness.model.served import Happened

_KINDS: Final = 256
"""More than there are words of what happens to a served function: they are a byte."""


_One = TypeVar("_One", LockWindow, DeviceWindow, ResetSpan, DriverReset)


def _by_function(found: Iterable[_One]) -> dict[int, tuple[_One, ...]]:
    shares: dict[int, list[_One]] = {}
    for one in found:
        shares.setdefault(one.function, []).append(one)
    return {number: tuple(share) for number, share in shares.items()}


@dataclass(frozen=True, eq=False)
class Reading:
    """What a history shows.  One is equal to itself alone; times are CLOCK_MONOTONIC in nanoseconds.

    Attributes:
        history: that is read.
    """

    history: History

    @classmethod
    def read(cls, seen: History | Self) -> Self:
        """A history as one of these; what is one already stays what it is."""
        return seen if isinstance(seen, cls) else cls(seen)  # type: ignore[arg-type]

    @cached_property
    def steps(self) -> Steps:
        """Which operation is which step of the plan; raises IndexError when the plan has no such step."""
        return steps_of(self.history)

    @property
    def functions(self) -> tuple[OfFunction, ...]:
        """What is shown of each function, in the plan's order."""
        return tuple(map(self.of, self.history.plan.functions))

    def of(self, function: str | int) -> OfFunction:
        """What is shown of one function.

        Args:
            function: its alias, or its number, as windows and resets have it.

        Raises:
            KeyError: it takes no part.
        """
        number = self.numbers[function] if isinstance(function, str) else function
        return OfFunction(self, number, self.history.plan.functions[number])

    @cached_property
    def numbers(self) -> dict[str, int]:
        """Indices into `Plan.functions` by alias."""
        return {alias: number for number, alias in enumerate(self.history.plan.functions)}

    @cached_property
    def bdfs(self) -> dict[str, Bdf]:
        """Addresses by alias, of those functions of which they were told."""
        return {record.alias: Bdf.parse(record.bdf) for record in self.history.functions}

    @cached_property
    def beside(self) -> dict[str, tuple[int, ...]]:
        """By alias: numbers of the functions on the same bus, itself included: what a reset of the bus resets."""
        buses: dict[str | tuple[int, int], list[int]] = {}
        for alias, number in self.numbers.items():
            bdf = self.bdfs.get(alias)
            buses.setdefault((bdf.domain, bdf.bus) if bdf else alias, []).append(number)
        shares = (tuple(numbers) for numbers in buses.values())
        return {self.history.plan.functions[number]: share for share in shares for number in share}

    @cached_property
    def threads(self) -> Threads:
        """Who did what when."""
        return Threads.of(self.history)

    @cached_property
    def windows(self) -> tuple[LockWindow, ...]:
        """Config lock windows of all functions, sorted by opening."""
        return self._locks[0]

    @cached_property
    def lock_faults(self) -> tuple[LockFault, ...]:
        """Misuses of config locks, sorted by time."""
        return self._locks[1]

    @cached_property
    def device_windows(self) -> tuple[DeviceWindow, ...]:
        """Windows of device_lock alone, sorted by opening."""
        return device_windows(self.history, self.threads)

    @cached_property
    def doubts(self) -> tuple[str, ...]:
        """Why config lock windows are not certain, in words; empty when they are."""
        return doubts(self.history)

    @cached_property
    def device_doubts(self) -> tuple[str, ...]:
        """The same of windows of device_lock."""
        return device_doubts(self.history)

    @cached_property
    def window_doubts(self) -> tuple[str, ...]:
        """Why windows of either lock are not certain, without repetition; empty when they are."""
        return tuple(dict.fromkeys((*self.doubts, *self.device_doubts)))

    @cached_property
    def waited(self) -> npt.NDArray[np.bool_]:
        """Which operations slept for a config lock: one boolean a row of `History.operations`."""
        waiting: npt.NDArray[np.bool_] = self.slept != NOBODY
        return waiting

    @cached_property
    def slept(self) -> npt.NDArray[np.intp]:
        """Where in `History.kernel` each operation began to sleep for a config lock the last time."""
        return slept(self.history, self.threads, self.gaps.before)

    @cached_property
    def gaps(self) -> Gaps:
        """Where accesses were left out that were like those around them."""
        return gaps(self.history)

    @cached_property
    def sleeps(self) -> dict[tuple[int, int], list[int]]:
        """When threads began to sleep for config locks: times in order, by thread and number of the function."""
        return sleeps(self.history)

    @cached_property
    def retried(self) -> Retried:
        """Attempts that were refused and made again."""
        return retried(self.steps)

    @cached_property
    def resets(self) -> tuple[ResetSpan, ...]:
        """Resets that the kernel performed, sorted by beginning."""
        return resets(self.history)

    @cached_property
    def driver_resets(self) -> tuple[DriverReset, ...]:
        """Resets of functions by their own drivers, sorted by beginning."""
        return driver_resets(self.history)

    @cached_property
    def lock_tries(self) -> tuple[LockTry, ...]:
        """Calls by which drivers asked for the config lock without waiting for it, in order of time."""
        return lock_tries(self.history, self.threads)

    @cached_property
    def tellings(self) -> tuple[Telling, ...]:
        """Calls by which drivers were told of resets, in order of time."""
        return tellings(self.history)

    @cached_property
    def _locks(self) -> tuple[tuple[LockWindow, ...], tuple[LockFault, ...]]:
        return locks_taken(self.history, self.threads)

    @cached_property
    def records(self) -> dict[str, FunctionRecord]:
        """What was known of each function, by alias."""
        return {record.alias: record for record in self.history.functions}

    @cached_property
    def windows_of(self) -> dict[int, tuple[LockWindow, ...]]:
        """Config lock windows by the number of their function."""
        return _by_function(self.windows)

    @cached_property
    def device_windows_of(self) -> dict[int, tuple[DeviceWindow, ...]]:
        """Windows of device_lock alone, likewise."""
        return _by_function(self.device_windows)

    @cached_property
    def resets_of(self) -> dict[int, tuple[ResetSpan, ...]]:
        """Resets by the kernel, likewise."""
        return _by_function(self.resets)

    @cached_property
    def resets_by(self) -> dict[int, list[ResetSpan]]:
        """Resets by the kernel by the thread that performed them."""
        found: dict[int, list[ResetSpan]] = {}
        for span in self.resets:
            found.setdefault(span.tid, []).append(span)
        return found

    @cached_property
    def driver_resets_of(self) -> dict[int, tuple[DriverReset, ...]]:
        """Resets by drivers, likewise."""
        return _by_function(self.driver_resets)

    @cached_property
    def served_of(self) -> dict[int, Rows]:
        """Rows of `History.served`; the key is 256 times the function's number, plus what happened."""
        table = self.history.served
        return places(table["function"].astype(np.int64) * _KINDS + table["what"])


@dataclass(frozen=True, slots=True, eq=False)
class OfFunction:
    """What is shown of one function: a view that keeps nothing itself.

    Attributes:
        whole: of which this is a part.
        number: index into `Plan.functions`.
        alias: its name in the plan.
    """

    whole: Reading
    number: int
    alias: str

    @property
    def record(self) -> FunctionRecord:
        """What was known of it when the stage began; raises KeyError where a lost target did not tell."""
        return self.whole.records[self.alias]

    @property
    def windows(self) -> tuple[LockWindow, ...]:
        """Its config lock windows, in order; they do not overlap."""
        return self.whole.windows_of.get(self.number, ())

    @property
    def device_windows(self) -> tuple[DeviceWindow, ...]:
        """Windows of its device_lock alone, in order."""
        return self.whole.device_windows_of.get(self.number, ())

    @property
    def resets(self) -> tuple[ResetSpan, ...]:
        """Resets of it that the kernel performed, in order; a hot reset counts where it was asked for."""
        return self.whole.resets_of.get(self.number, ())

    @property
    def driver_resets(self) -> tuple[DriverReset, ...]:
        """Resets of it by its own driver, in order."""
        return self.whole.driver_resets_of.get(self.number, ())

    def rows(self, *means: Operation) -> Rows:
        """The operations on it that are one of these."""
        return self.whole.steps.of(self.alias, *means)

    def served(self, *kinds: Happened, value: int | None = None) -> Rows:
        """Rows of `History.served` about it, in order of their time.

        Args:
            kinds: what they tell; none for whatever it is.
            value: what they hold, or None for any.
        """
        rows = together(self.whole.served_of.get(self.number * _KINDS + what) for what in kinds or Happened)
        return rows if value is None else rows[self.whole.history.served["value"][rows] == value]

    def served_in_time(self, *kinds: Happened, value: int | None = None) -> Rows:
        """Those of them that came before the stage was over."""
        rows, history = self.served(*kinds, value=value), self.whole.history
        kept: Rows = rows[history.served["time_ns"][rows] <= history.end_ns]
        return kept
