"""A timeline as values: lanes, lock windows, resets, kernel events and the marked pair on one axis.

:mod:`~harness.report.timeline` makes a :class:`Layout` of a history; the renderers only draw it, so that all
of them show the same.  All times are nanoseconds after the common release of the actors.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

from harness.model.verdict import EventId


class Look(enum.IntEnum):
    """How an operation looks, by concern: when many share a bin, the largest is shown."""

    OK = 0
    BLOCKED = 1
    """Slept until a window ended."""
    REFUSED = 2
    """Came back with an errno."""
    ALL_ONES = 3
    """Success, and every byte is 0xff."""
    IN_FLIGHT = 4
    """Never returned."""
    VIOLATING = 5
    """One of the marked events."""


LETTERS: Final = {
    Look.OK: "o",
    Look.BLOCKED: "b",
    Look.REFUSED: "E",
    Look.ALL_ONES: "1",
    Look.IN_FLIGHT: "?",
    Look.VIOLATING: "!",
}
MEANINGS: Final = {
    Look.OK: "ok",
    Look.BLOCKED: "blocked (slept in the kernel)",
    Look.REFUSED: "refused (errno)",
    Look.ALL_ONES: "all ones",
    Look.IN_FLIGHT: "never returned",
    Look.VIOLATING: "marked event",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """An operation, or a bin of them.

    Attributes:
        begin, end: ns after release; an operation that never returned ends with the stage.
        look: the worst of the bin.
        count: how many operations.
        text: tooltip: what it was and what it showed.
    """

    begin: int
    end: int
    look: Look
    count: int
    text: str


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
    """A time in which a function's config lock was held.

    Attributes:
        function: alias.
        begin, end: ns after release.
        text: who held it and how long.
    """

    function: str
    begin: int
    end: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reset:
    """A reset method at work.

    Attributes:
        function: alias.
        method: `flr`, `bus` …
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
        letter: how it is drawn: l lock asked for, L lock taken, U unlock, w wait, R and r reset
            function entered and left, u uevent, k anything else.
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
        lane: name of the actor, or `kernel`.
        lines: the event spelled out.
    """

    letter: str
    event: EventId
    begin: int
    end: int
    lane: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """All that a renderer draws.

    Attributes:
        title: of the plan.
        verdict: `PASS`, `UNKNOWN` or `FAIL`.
        claim: the decisive finding's sentence.
        rule: promise and source that it was held against; may be empty.
        facts: functions, kernel, seed: one line.
        begin, end: of the drawn time.
        lanes, windows, resets, instants: what lies in it.
        marks: at most two.
        log: lines of the kernel log that are marked, or the first warnings.
    """

    title: str
    verdict: str
    claim: str
    rule: str
    facts: str
    begin: int
    end: int
    lanes: tuple[Lane, ...]
    windows: tuple[Window, ...]
    resets: tuple[Reset, ...]
    instants: tuple[Instant, ...]
    marks: tuple[Mark, ...]
    log: tuple[str, ...]

    @property
    def functions(self) -> tuple[str, ...]:
        """Aliases that have a lock window or a reset here, in order of appearance."""
        return tuple(dict.fromkeys([w.function for w in self.windows] + [r.function for r in self.resets]))
