"""What a reading finds by its indices, against twins that look at every row."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.history.columns import SERVED
from harness.history.history import History
from harness.history.reading import Reading
from harness.history.windows import NOBODY, TRACE_RESOLUTION
from harness.lab.figures.synthetic import synthetic
from harness.model.plan import Plan, Step
from harness.model.served import Happened
from harness.model.units import US
from tests.unit.history.build import history


@st.composite
def operations(draw: st.DrawFn) -> list[tuple[int, int, int]]:
    """One after another for each actor, some of which never return."""
    found = []
    for actor in range(2):
        edges = sorted(set(draw(st.lists(st.integers(1, 60), max_size=10))))
        for begin, end in zip(edges[::2], edges[1::2], strict=False):
            found.append((begin, draw(st.sampled_from((0, end, end))), actor))
    return sorted(found)


def doing(traced: History, tid: int, time_ns: int) -> int:
    """The twin of `Threads.at`: the last operation of that thread that had begun, unless it was over."""
    found = NOBODY
    for actor, record in enumerate(traced.actors):
        begun = [
            row
            for row, event in enumerate(traced.operations)
            if event["actor"] == actor and event["begin_ns"] <= time_ns + TRACE_RESOLUTION // 2
        ]
        if record.tid == tid and begun:
            end = traced.operations["end_ns"][begun[-1]]
            if end == 0 or end >= time_ns - TRACE_RESOLUTION:
                found = begun[-1]
    return found


@settings(max_examples=200, deadline=None)
@given(operations(), st.lists(st.tuples(st.sampled_from((501, 502, 999)), st.integers(0, 700)), max_size=12))
def test_who_did_what_when(rows: list[tuple[int, int, int]], moments: list[tuple[int, int]]) -> None:
    traced = history([], rows)
    threads = Reading(traced).threads
    for tid, tenths in moments:
        moment = tenths * US // 10  # half the resolution of the trace makes a difference
        assert threads.at(tid, moment) == doing(traced, tid, moment)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 2), st.sampled_from(list(Happened)), st.integers(0, 3)), max_size=30),
    st.sets(st.sampled_from(list(Happened)), max_size=4),
    st.none() | st.integers(0, 3),
)
def test_what_a_served_function_saw(
    rows: list[tuple[int, Happened, int]], kinds: set[Happened], value: int | None
) -> None:
    table = np.zeros(len(rows), dtype=SERVED)
    for row, (function, what, held) in enumerate(rows):
        table[row] = (row, held, 0, function, what, 0, 0, 0)
    whole = Reading(replace(synthetic(40, functions=3), served=table))
    for number in range(3):
        wanted = [
            row
            for row, (function, what, held) in enumerate(rows)
            if function == number and (not kinds or what in kinds) and value in (None, held)
        ]
        assert whole.of(number).served(*kinds, value=value).tolist() == wanted


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 1)), max_size=30), st.sets(st.integers(0, 3)))
def test_which_operations_are_which_step(rows: list[tuple[int, int]], offsets: set[int]) -> None:
    made = synthetic(40)
    read = made.plan.actors[0].steps[0]
    actors = tuple(
        replace(actor, steps=(replace(read, offset=n), replace(read, offset=3 - n)))
        for n, actor in enumerate(made.plan.actors[:4])
    )
    plan: Plan = replace(made.plan, actors=actors)
    table = np.zeros(len(rows), dtype=made.operations.dtype)
    table["actor"], table["step"] = ([row[n] for row in rows] for n in range(2))
    steps = Reading(replace(made, plan=plan, operations=table)).steps

    def wanted(step: Step) -> bool:
        return step.offset in offsets

    slow = [row for row, (actor, step) in enumerate(rows) if wanted(plan.actors[actor].steps[step])]
    assert steps.rows(wanted).tolist() == slow
    assert steps.on("dut", wanted).tolist() == slow
    assert [steps.behind(row).offset in offsets for row in slow] == [True] * len(slow)
