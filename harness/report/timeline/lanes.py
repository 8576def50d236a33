"""The lanes of a timeline: what each actor did, operation by operation, or in bins when there are many."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import numpy as np
import numpy.typing as npt

from harness.history.reading import Reading
from harness.history.windows import RESET_FUNCTIONS, TRACE_RESOLUTION
from harness.model.operation import HEARTBEAT, RENDEZVOUS, SET_UP, VFIO_CLOSE, VFIO_FLR_BIT, WAIT
from harness.model.plan import Op, Step
from harness.model.units import as_text
from harness.model.verdict import EventKind
from harness.report.refusals import SIGBUS, error_name
from harness.report.timeline.layout import MEANINGS, Lane, Look, Mark, Span
from harness.report.timeline.marks import shown

MOST_SPANS: Final = 5_000
"""More operations than this in one view are drawn as bins."""
_BINS: Final = 400
"""Bins of a lane, when it has too many operations to draw each."""
_FORGET: Final = (VFIO_FLR_BIT, VFIO_CLOSE)
"""Operations that reset a function and forget what came of it: they say that all is well even when nothing was done."""


def _looks(reading: Reading) -> npt.NDArray[np.int8]:
    """How each operation looks, as a column."""
    operations, steps = reading.history.operations, reading.steps
    looks = np.full(len(operations), Look.OK, dtype=np.int8)
    looks[reading.waited] = Look.BLOCKED
    ones = steps.column(_all_ones, np.uint64)[steps.of_row]
    looks[(ones != 0) & (operations["value"] == ones) & (operations["result"] >= 0)] = Look.ALL_ONES
    looks[_without_reset(reading)] = Look.UNSEEN
    looks[operations["error"] != 0] = Look.REFUSED
    looks[reading.retried.rows] = Look.RETRIED
    looks[operations["error"] == SIGBUS] = Look.SIGBUS
    looks[operations["end_ns"] == 0] = Look.IN_FLIGHT
    return looks


def _all_ones(step: Step) -> int:
    """What a step reads when nobody answers; 0 for one that reads nothing, or more than a history keeps."""
    reads = step.op in (Op.READ, Op.LOAD) and 0 < step.width <= 8
    return (1 << (8 * step.width)) - 1 if reads else 0


def _without_reset(reading: Reading) -> list[int]:
    """Rows of operations that should have reset their function, while the trace shows no reset by their thread."""
    history = reading.history
    seen = {probe.symbol for probe in history.probes if probe.present} & set(RESET_FUNCTIONS)
    if not seen or history.lost_kernel_events:
        return []
    operations, forgetting = history.operations, reading.steps.rows(lambda step: step.means in _FORGET)
    actors, missing = operations["actor"][forgetting], []
    for number in np.unique(actors).tolist():
        spans = reading.resets_by.get(history.actors[number].tid, ())
        begun = np.array([span.begin_ns for span in spans], dtype=np.int64)
        rows = forgetting[actors == number]
        first = np.searchsorted(begun, operations["begin_ns"][rows] - TRACE_RESOLUTION)
        last = np.searchsorted(begun, operations["end_ns"][rows] + TRACE_RESOLUTION)
        missing += rows[first >= last].tolist()
    return missing


def _passes(step: Step) -> bool:
    """Whether a step is no access, but only time that passes."""
    return step.op is Op.PAUSE or step.means in (WAIT, RENDEZVOUS, SET_UP, HEARTBEAT)


def lanes_of(reading: Reading, marks: tuple[Mark, ...], view: tuple[int, int]) -> tuple[Lane, ...]:
    """A lane for each actor that did more than pause, in the plan's order, with what it did in `view`."""
    history, operations = reading.history, reading.history.operations
    zero, looks = int(history.begin_ns), _looks(reading)
    for mark in marks:
        if mark.event.kind is EventKind.OPERATION:
            looks[mark.event.row] = Look.VIOLATING
    begins = operations["begin_ns"] - zero
    ends = np.where(operations["end_ns"] == 0, int(history.end_ns), operations["end_ns"]) - zero
    drawn = ~reading.steps.column(_passes, np.bool_)[reading.steps.of_row]
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
            else [_span(reading, int(row), int(begins[row]), int(ends[row]), int(looks[row])) for row in rows]
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
    joins = (ends[rows] - begins[rows] < size) & (looks[rows] != Look.VIOLATING)
    short = rows[joins]
    spans = [
        Span(
            begin=int(begins[row]),
            end=int(ends[row]),
            look=Look(int(looks[row])),
            count=1,
            text=f"{MEANINGS[Look(int(looks[row]))]}, {as_text(int(ends[row] - begins[row]))}",
        )
        for row in rows[~joins]
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


def _span(reading: Reading, row: int, begin: int, end: int, look: int) -> Span:
    error = int(reading.history.operations["error"][row])
    return Span(
        begin=begin,
        end=end,
        look=Look(look),
        count=1,
        text=f"operation:{row} {shown(reading.history, row)}, {as_text(end - begin)}",
        means=reading.steps.behind(row).means,
        error=error_name(error) if error else "",
    )


def worth_drawing(lanes: tuple[Lane, ...], most: int) -> tuple[list[Lane], list[Lane]]:
    """Part the lanes into at most `most` to draw and the rest, both in the plan's order.

    Marked lanes and unlucky actors come first, then those with the worst operations.
    """

    def concern(lane: Lane) -> tuple[bool, bool, int]:
        return (lane.marked, bool(lane.end), max((span.look for span in lane.spans), default=-1))

    best = {lane.name for lane in sorted(lanes, key=concern, reverse=True)[:most]}
    return [lane for lane in lanes if lane.name in best], [lane for lane in lanes if lane.name not in best]
