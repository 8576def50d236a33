"""A timeline as values: lanes, windows of locks, resets, kernel events and the marked pair on one axis.

:mod:`~harness.report.timeline.views` makes a :class:`Layout` of a history; the renderers only draw it, so that all
of them show the same.  All times are nanoseconds after the common release of the actors.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from harness.history.windows import FaultKind
from harness.model.promise import WindowKind
from harness.model.verdict import EventId
from harness.report.timeline.driver_lane import DriverLane
from harness.report.timeline.served import ServedLane


class Look(enum.IntEnum):
    """How an operation looks, by concern: when many share a bin, the largest is shown."""

    OK = 0
    BLOCKED = 1
    """Slept until a window ended."""
    RETRIED = 2
    """Came back with an errno, and another attempt was made."""
    REFUSED = 3
    """Came back with an errno, for good."""
    UNSEEN = 4
    """Should have reset the function and says that all is well, but the kernel's trace shows no reset."""
    ALL_ONES = 5
    """Success, and every byte is 0xff."""
    SIGBUS = 6
    """The kernel has taken the mapping away."""
    IN_FLIGHT = 7
    """Never returned."""
    VIOLATING = 8
    """One of the marked events."""


LETTERS: Final = {
    Look.OK: "o",
    Look.BLOCKED: "b",
    Look.RETRIED: "e",
    Look.REFUSED: "E",
    Look.UNSEEN: "n",
    Look.ALL_ONES: "1",
    Look.SIGBUS: "S",
    Look.IN_FLIGHT: "?",
    Look.VIOLATING: "!",
}
MEANINGS: Final = {
    Look.OK: "ok",
    Look.BLOCKED: "blocked (slept in the kernel)",
    Look.RETRIED: "refused, tried again",
    Look.REFUSED: "refused",
    Look.UNSEEN: "no reset seen",
    Look.ALL_ONES: "all ones",
    Look.SIGBUS: "SIGBUS",
    Look.IN_FLIGHT: "never returned",
    Look.VIOLATING: "marked event",
}

KINDS: Final = {
    WindowKind.CONFIG_LOCK: "config lock",
    WindowKind.SYSFS_RESET: "sysfs reset",
    WindowKind.VFIO_RESET: "VFIO reset",
    WindowKind.HOT_RESET: "hot reset",
    WindowKind.VFIO_OPEN: "VFIO open/close",
    WindowKind.SRIOV: "VFs on/off",
    WindowKind.DRIVER_RESET: "driver's reset",
    WindowKind.DEVICE_LOCK: "device lock",
    WindowKind.UNBIND: "unbind waits",
}
"""What a window is called: why its lock was held, where that is known.  Locks of a port are windows of the port."""
SHORT: Final = {
    WindowKind.CONFIG_LOCK: "lock",
    WindowKind.SYSFS_RESET: "sysfs",
    WindowKind.VFIO_RESET: "VFIO",
    WindowKind.HOT_RESET: "hot",
    WindowKind.VFIO_OPEN: "open",
    WindowKind.SRIOV: "VFs",
    WindowKind.DRIVER_RESET: "driver",
    WindowKind.DEVICE_LOCK: "lock",
    WindowKind.UNBIND: "unbind",
}
"""The same where there is little room."""
DEVICE_KINDS: Final = (WindowKind.DEVICE_LOCK, WindowKind.UNBIND)
"""Only the device lock is held: config access goes on."""
FAULTS: Final = {
    FaultKind.STOLEN: "stolen",
    FaultKind.UNLOCKED_TWICE: "unlocked twice",
    FaultKind.NEVER_UNLOCKED: "never unlocked",
    FaultKind.UNSEEN: "unlock missing",
}
"""What a misuse of a lock is called where there is little room."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """An operation, or a bin of them.

    Attributes:
        begin, end: ns after release; an operation that never returned ends with the stage.
        look: the worst of the bin.
        count: how many operations.
        text: tooltip: what it was and what it showed.
        means: what it was, in the contract's words; empty for a bin.
        error: name of its errno; empty when it has none.
    """

    begin: int
    end: int
    look: Look
    count: int
    text: str
    means: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """One actor.

    Attributes:
        name: of the actor.
        function: alias of the function that it acts on, empty when on none.
        spans: sorted by begin, never overlapping: an actor does one thing at a time.
        count: operations of the actor in the whole stage.
        end: what became of it, empty when it was done.
        marked: does a marked event lie in this lane?
    """

    name: str
    function: str
    spans: tuple[Span, ...]
    count: int
    end: str
    marked: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A time in which a function's config lock was held, or its device lock alone.

    Attributes:
        function: alias; that of a port for the locks of a port.
        kind: why; one of :data:`KINDS`.
        begin, end: ns after release.
        holder: who held it, and with which operation if that is known.
        text: all that is known of it.
    """

    function: str
    kind: WindowKind
    begin: int
    end: int
    holder: str
    text: str

    @property
    def blocks_config(self) -> bool:
        """Whether config access from user space had to wait meanwhile."""
        return self.kind not in DEVICE_KINDS

    @property
    def lock(self) -> str:
        """Which lock it is."""
        return "config lock" if self.blocks_config else "device lock"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A misuse of a function's config lock.

    Attributes:
        function: alias.
        kind: how.
        begin: ns after release: when; of a lock that was never given back the end of the stage.
        end: of a stolen lock when its owner gave back what it did not have any more, else as `begin`.
        text: who did what.
    """

    function: str
    kind: FaultKind
    begin: int
    end: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reset:
    """A reset method at work.

    Attributes:
        function: alias.
        method: `flr`, `bus` …, `hot reset`.
        begin, end: ns after release.
        text: result and length.
    """

    function: str
    method: str
    begin: int
    end: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Instant:
    """A kernel event, or a uevent.

    Attributes:
        at: ns after release.
        letter: how it is drawn: l lock asked for, L lock taken, v tried for in vain, U unlock, w wait, D and d span
            of a device lock entered and left, R and r reset function entered and left, u uevent, k anything else.
        text: what it was.
    """

    at: int
    letter: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """One of the two events that prove the claim.

    Attributes:
        letter: `A` or `B`.
        event: its row in the history.
        begin, end: ns after release; equal for an instant.
        lane: name of the actor, `kernel`, or the name of the lane of a served function or of a driver.
        lines: the event spelled out.
    """

    letter: str
    event: EventId
    begin: int
    end: int
    lane: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """A row above the lanes: one lock of one function, or one method that reset it.

    Attributes:
        name: for the label.
        function: alias.
        windows, faults, resets: what lies in it.
    """

    name: str
    function: str
    windows: tuple[Window, ...] = ()
    faults: tuple[Fault, ...] = ()
    resets: tuple[Reset, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """All that a renderer draws.

    Attributes:
        title: of the plan.
        verdict: `PASS`, `UNKNOWN` or `FAIL`.
        claim: the decisive finding's sentence.
        rule: promise and source that it was held against; may be empty.
        facts: functions, kernel, seed: one line.
        functions: aliases, in the plan's order.
        begin, end: of the drawn time.
        lanes, windows, faults, resets, instants: what lies in it.
        marks: at most two.
        notes: misuse of locks, resets by drivers, operations that were refused and tried again, what was staged, as
            sentences.
        log: lines of the kernel log that are marked, or the first warnings.
        served: functions that a model of ours serves.
        drivers: of functions whose drivers reset them, or were told of a reset.
    """

    title: str
    verdict: str
    claim: str
    rule: str
    facts: str
    functions: tuple[str, ...]
    begin: int
    end: int
    lanes: tuple[Lane, ...]
    windows: tuple[Window, ...]
    faults: tuple[Fault, ...]
    resets: tuple[Reset, ...]
    instants: tuple[Instant, ...]
    marks: tuple[Mark, ...]
    notes: tuple[str, ...]
    log: tuple[str, ...]
    served: tuple[ServedLane, ...] = ()
    drivers: tuple[DriverLane, ...] = ()

    @property
    def bands(self) -> tuple[Band, ...]:
        """What was done to each function, in the plan's order."""
        return tuple(band for function in self.functions for band in self._bands(function))

    def _bands(self, function: str) -> Iterator[Band]:
        windows = [window for window in self.windows if window.function == function]
        config = tuple(window for window in windows if window.blocks_config)
        device = tuple(window for window in windows if not window.blocks_config)
        faults = tuple(fault for fault in self.faults if fault.function == function)
        resets = [reset for reset in self.resets if reset.function == function]
        if config or faults:
            yield Band(name=f"lock {function}", function=function, windows=config, faults=faults)
        if device:
            yield Band(name=f"device {function}", function=function, windows=device)
        for method in dict.fromkeys(reset.method for reset in resets):
            mine = tuple(reset for reset in resets if reset.method == method)
            yield Band(name=f"{method} {function}", function=function, resets=mine)


def meaning(look: Look, spans: Iterable[Span]) -> str:
    """A letter and what it says; of refusals with every errno that was seen."""
    errors = sorted({span.error for span in spans if span.look is look and span.error} - {MEANINGS[look]})
    return f"{LETTERS[look]} {MEANINGS[look]}" + (f" ({', '.join(errors)})" if errors else "")
