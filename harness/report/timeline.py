"""Lay a history out on one axis: a lane for each actor, lock windows, resets, kernel events, the marked pair.

The layout is plain values; :mod:`~harness.report.timeline_text` and :mod:`~harness.report.timeline_svg` only
draw it, so that both show the same.  All times in a layout are nanoseconds after the common release of the
actors.
"""

from __future__ import annotations

import enum
import errno
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from harness.history.columns import Edge, Table
from harness.history.history import History
from harness.history.windows import (
    LOCK,
    RESET_FUNCTIONS,
    TRYLOCK,
    UNLOCK,
    WAIT,
    LockWindow,
    lock_windows,
    resets,
    waited,
)
from harness.model.operation import HEARTBEAT, RENDEZVOUS, SET_UP
from harness.model.operation import WAIT as PAUSE
from harness.model.plan import Op
from harness.model.units import as_text
from harness.model.verdict import EventId, EventKind, Judgement
from harness.report.findings import headline

MOST_SPANS: Final = 5_000
"""More operations than this in one view are drawn as bins."""
_BINS: Final = 400
"""Bins of a lane, when it has too many operations to draw each."""
_LOCK_EDGES: Final = ((LOCK, Edge.ENTRY), (TRYLOCK, Edge.ENTRY))


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


def overview(history: History, judgement: Judgement) -> Layout:
    """The whole stage."""
    return _layout(history, judgement, (0, max(1, int(history.end_ns - history.begin_ns))))


def close_up(history: History, judgement: Judgement) -> Layout | None:
    """The time around the marked pair, or None when there is no pair or it fills the stage anyway."""
    whole = max(1, int(history.end_ns - history.begin_ns))
    marks = _marks(history, judgement, lock_windows(history))
    if not marks:
        return None
    begin, end = min(mark.begin for mark in marks), max(mark.end for mark in marks)
    for window in lock_windows(history):  # a window that touches the pair is shown as a whole
        opened, closed = int(window.opened_ns - history.begin_ns), int(window.closed_ns - history.begin_ns)
        if opened <= end and closed >= begin and closed - opened <= whole // 3:
            begin, end = min(begin, opened), max(end, closed)
    margin = max((end - begin) // 5, whole // 2_000, 1_000)
    begin, end = max(0, begin - margin), min(whole, end + margin)
    return None if end - begin > whole * 2 // 3 else _layout(history, judgement, (begin, end))


def _layout(history: History, judgement: Judgement, view: tuple[int, int]) -> Layout:
    windows, zero = lock_windows(history), int(history.begin_ns)
    marks = _marks(history, judgement, windows)
    names = history.plan.functions
    decisive = headline(judgement)
    rule = [decisive.promise, decisive.source] if decisive else []
    return Layout(
        title=history.plan.title,
        verdict=judgement.verdict.name,
        claim=decisive.claim if decisive else "nothing was judged",
        rule=", ".join(part for part in rule if part),
        facts=_facts(history),
        begin=view[0],
        end=view[1],
        lanes=_lanes(history, marks, view),
        windows=tuple(
            Window(
                function=names[window.function],
                begin=int(window.opened_ns) - zero,
                end=int(window.closed_ns) - zero,
                text=f"config lock of {names[window.function]} held "
                f"{as_text(window.closed_ns - window.opened_ns)} by thread {window.tid}"
                + ("" if window.closed_row >= 0 else ", never given back in this stage"),
            )
            for window in windows
            if _touches(int(window.opened_ns) - zero, int(window.closed_ns) - zero, view)
        ),
        resets=tuple(
            Reset(
                function=names[span.function],
                method=str(span.method),
                begin=int(span.begin_ns) - zero,
                end=int(span.end_ns) - zero,
                text=f"{span.method} of {names[span.function]}, {as_text(span.end_ns - span.begin_ns)}, "
                + ("never returned" if span.result is None else f"returned {_answer(span.result)}"),
            )
            for span in resets(history)
            if _touches(int(span.begin_ns) - zero, int(span.end_ns) - zero, view)
        ),
        instants=_instants(history, view),
        marks=marks,
        log=_log(history, judgement),
    )


def _touches(begin: int, end: int, view: tuple[int, int]) -> bool:
    return begin <= view[1] and end >= view[0]


def _answer(result: int) -> str:
    return "0" if result == 0 else errno.errorcode.get(-result, str(result))


def _facts(history: History) -> str:
    functions = [
        f"{f.alias} = {f.platform} {f.vendor:04x}:{f.device:04x} at {f.bdf}" for f in history.functions
    ]
    kernel = str(history.provenance.get("kernel.release", "kernel not known"))
    return "; ".join([*functions, kernel, f"seed {history.plan.seed}"])


# -- operations ------------------------------------------------------------------------------------


def _looks(history: History) -> npt.NDArray[np.int8]:
    """How each operation looks, as a column."""
    operations = history.operations
    looks = np.full(len(operations), Look.OK, dtype=np.int8)
    looks[waited(history)] = Look.BLOCKED
    for actor, plan in enumerate(history.plan.actors):
        for number, step in enumerate(plan.steps):
            if step.op in (Op.READ, Op.LOAD) and 0 < step.width <= 8:
                ones = np.uint64((1 << (8 * step.width)) - 1)
                mine = (operations["actor"] == actor) & (operations["step"] == number)
                looks[mine & (operations["value"] == ones) & (operations["result"] >= 0)] = Look.ALL_ONES
    looks[operations["error"] != 0] = Look.REFUSED
    looks[operations["end_ns"] == 0] = Look.IN_FLIGHT
    return looks


def _drawn(history: History) -> npt.NDArray[np.bool_]:
    """Which operations are accesses: pauses and rendezvous are only time that passes."""
    operations = history.operations
    drawn = np.ones(len(operations), dtype=np.bool_)
    for actor, plan in enumerate(history.plan.actors):
        for number, step in enumerate(plan.steps):
            if step.op is Op.PAUSE or step.means in (PAUSE, RENDEZVOUS, SET_UP, HEARTBEAT):
                drawn[(operations["actor"] == actor) & (operations["step"] == number)] = False
    return drawn


def _lanes(history: History, marks: tuple[Mark, ...], view: tuple[int, int]) -> tuple[Lane, ...]:
    operations, zero = history.operations, int(history.begin_ns)
    looks = _looks(history)
    for mark in marks:
        if mark.event.kind is EventKind.OPERATION:
            looks[mark.event.row] = Look.VIOLATING
    begins = operations["begin_ns"] - zero
    ends = np.where(operations["end_ns"] == 0, int(history.end_ns), operations["end_ns"]) - zero
    drawn = _drawn(history)
    seen = drawn & (begins <= view[1]) & (ends >= view[0])
    binned = int(seen.sum()) > MOST_SPANS
    lanes = []
    for number, actor in enumerate(history.plan.actors):
        mine = operations["actor"] == number
        record = history.actors[number] if number < len(history.actors) else None
        ended = record.end if record and record.end != "done" else ""
        if not ended and not (drawn & mine).any() and (len(operations) == 0 or mine.any()):
            continue  # only a heartbeat or the like: it paused and woke
        rows = np.flatnonzero(seen & mine)
        spans = (
            _bins(rows, begins, ends, looks, view)
            if binned and len(rows) > _BINS
            else [_span(history, int(row), int(begins[row]), int(ends[row]), int(looks[row])) for row in rows]
        )
        lanes.append(
            Lane(
                name=actor.name,
                function=next((step.file.function for step in actor.steps if step.file is not None), ""),
                spans=tuple(spans),
                count=int((drawn & mine).sum()),
                end=ended,
                marked=any(mark.lane == actor.name for mark in marks),
            )
        )
    return tuple(lanes)


def _bins(
    rows: npt.NDArray[np.intp],
    begins: npt.NDArray[np.int64],
    ends: npt.NDArray[np.int64],
    looks: npt.NDArray[np.int8],
    view: tuple[int, int],
) -> Iterable[Span]:
    """Neighbours that share a bin and are short become one span; what is worth a look stays on its own."""
    size = max(1, (view[1] - view[0]) // _BINS)
    short = rows[(ends[rows] - begins[rows] < size) & (looks[rows] != Look.VIOLATING)]
    spans = [
        Span(
            begin=int(begins[row]),
            end=int(ends[row]),
            look=Look(int(looks[row])),
            count=1,
            text=f"{MEANINGS[Look(int(looks[row]))]}, {as_text(int(ends[row] - begins[row]))}",
        )
        for row in np.setdiff1d(rows, short)
    ]
    numbers = (begins[short] - view[0]) // size
    for number in np.unique(numbers):
        members = short[numbers == number]
        worst = Look(int(looks[members].max()))
        spans.append(
            Span(
                begin=int(begins[members].min()),
                end=int(ends[members].max()),
                look=worst,
                count=len(members),
                text=f"{len(members)} operations, worst: {MEANINGS[worst]}",
            )
        )
    return sorted(spans, key=lambda span: span.begin)


def _span(history: History, row: int, begin: int, end: int, look: int) -> Span:
    text = f"operation:{row} {_shown(history, row)}, {as_text(end - begin)}"
    return Span(begin=begin, end=end, look=Look(look), count=1, text=text)


def _shown(history: History, row: int) -> str:
    """What an operation was, and what it showed."""
    event = history.operations[row]
    step = history.plan.actors[int(event["actor"])].steps[int(event["step"])]
    what = str(step.means)
    if step.file is not None and step.width:
        what += f" at {step.offset:#x}, {step.width} bytes"
    if int(event["end_ns"]) == 0:
        return f"{what}: never returned"
    if int(event["error"]):
        return f"{what}: {errno.errorcode.get(int(event['error']), int(event['error']))}"
    if step.op in (Op.READ, Op.LOAD):
        width = min(step.width or 8, 8)
        return f"{what}: read {int(event['value']):#0{2 + 2 * width}x}"
    return f"{what}: ok"


# -- the kernel ------------------------------------------------------------------------------------


def _instants(history: History, view: tuple[int, int]) -> tuple[Instant, ...]:
    zero, kernel = int(history.begin_ns), history.kernel
    times = kernel["time_ns"] - zero
    rows = np.flatnonzero((times >= view[0]) & (times <= view[1]))
    if len(rows) > MOST_SPANS:  # every n-th says as much in a picture
        rows = rows[:: len(rows) // MOST_SPANS + 1]
    found = [
        Instant(at=int(times[row]), letter=_letter(history, kernel, int(row)), text=_hit(history, int(row)))
        for row in rows
    ]
    found += [
        Instant(at=int(event.time_ns) - zero, letter="u", text=f"uevent {event.action} {event.path}")
        for event in history.uevents
        if view[0] <= event.time_ns - zero <= view[1]
    ]
    return tuple(sorted(found, key=lambda instant: instant.at))


def _letter(history: History, kernel: Table, row: int) -> str:
    probe = history.probes[int(kernel[row]["probe"])]
    if probe.symbol in (LOCK, TRYLOCK):
        return "l" if probe.edge is Edge.ENTRY else "L"
    if probe.symbol == UNLOCK:
        return "U"
    if probe.symbol == WAIT:
        return "w"
    if probe.symbol not in RESET_FUNCTIONS:
        return "k"
    return "R" if probe.edge is Edge.ENTRY else "r"


def _hit(history: History, row: int) -> str:
    event = history.kernel[row]
    probe, function = history.probes[int(event["probe"])], int(event["function"])
    whose = f" of {history.plan.functions[function]}" if 0 <= function < len(history.plan.functions) else ""
    how = "entered" if probe.edge is Edge.ENTRY else "returned"
    return f"kernel:{row} {probe.symbol} {how}{whose}, thread {int(event['tid'])}"


def _log(history: History, judgement: Judgement) -> tuple[str, ...]:
    """Kernel log lines that the decisive finding points at, else the first warnings or worse."""
    finding = judgement.decisive
    rows = [event.row for event in finding.events if event.kind is EventKind.LOG] if finding else []
    lines = [history.log[row] for row in rows if row < len(history.log)]
    lines = lines or [line for line in history.log if line.level <= 4]
    return tuple(line.text for line in lines[:4])


# -- the marked pair -------------------------------------------------------------------------------


def _marks(history: History, judgement: Judgement, windows: tuple[LockWindow, ...]) -> tuple[Mark, ...]:
    finding = judgement.decisive
    events = finding.events if finding else ()
    timed = [
        event
        for event in events
        if (event.kind is EventKind.OPERATION and event.row < len(history.operations))
        or (event.kind is EventKind.KERNEL and event.row < len(history.kernel))
    ][:2]
    timed.sort(key=lambda event: _time(history, event))
    marks = [_mark(history, event, letter, windows) for event, letter in zip(timed, "AB", strict=False)]
    if len(marks) == 2:
        gap = _time(history, timed[1]) - _time(history, timed[0])
        marks[1] = replace(marks[1], lines=(*marks[1].lines, f"{as_text(gap)} after A"))
    return tuple(marks)


def _time(history: History, event: EventId) -> int:
    if event.kind is EventKind.KERNEL:
        return int(history.kernel[event.row]["time_ns"])
    return int(history.operations[event.row]["begin_ns"])


def _mark(history: History, event: EventId, letter: str, windows: tuple[LockWindow, ...]) -> Mark:
    zero = int(history.begin_ns)
    if event.kind is EventKind.KERNEL:
        at = int(history.kernel[event.row]["time_ns"]) - zero
        said = (_hit(history, event.row), f"at {_ms(at)} ms")
        return Mark(letter=letter, event=event, begin=at, end=at, lane="kernel", lines=said)
    row = history.operations[event.row]
    begin, returned = int(row["begin_ns"]) - zero, int(row["end_ns"]) != 0
    end = (int(row["end_ns"]) if returned else int(history.end_ns)) - zero
    actor = history.plan.actors[int(row["actor"])]
    lines: list[str] = [f"{event} by {actor.name}: {_shown(history, event.row)}"]
    if returned:
        lines.append(f"began {_ms(begin)} ms, ended {_ms(end)} ms: took {as_text(end - begin)}")
    else:
        lines.append(f"began {_ms(begin)} ms, never returned: {as_text(end - begin)} until the stage ended")
    step = actor.steps[int(row["step"])]
    for window in windows:
        name = history.plan.functions[window.function]
        if step.file is not None and step.file.function != name:
            continue
        opened, closed = int(window.opened_ns) - zero, int(window.closed_ns) - zero
        if opened <= end and closed >= begin:
            lines.append(f"began {_apart(begin, opened)} the config lock of {name} was taken,")
            lines.append(f"ended {_apart(end, closed)} it was given back")
            break
    return Mark(letter=letter, event=event, begin=begin, end=end, lane=actor.name, lines=tuple(lines))


def _apart(at: int, edge: int) -> str:
    return f"{as_text(abs(at - edge))} {'after' if at >= edge else 'before'}"


def _ms(time_ns: int) -> str:
    return f"{time_ns / 1e6:.3f}"
