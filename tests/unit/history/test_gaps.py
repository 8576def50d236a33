"""Where accesses were left out: which rows lie on both sides, and how many are between."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from harness.history.gaps import gaps
from harness.history.history import History
from harness.history.reading import Reading
from harness.history.windows import NOBODY
from tests.property.thinned import thinned
from tests.unit.judge.build import Stage

WITHIN = 100_000
"""Nanoseconds: of accesses of 4 µs the first and the last of 25."""


def busy(rounds: int = 100, *, steps: int = 1) -> Stage:
    """A reader that goes through so many equal steps, each 4 µs long."""
    stage = Stage()
    me = stage.reader()
    step = stage._actors[me].steps[0]
    stage._actors[me] = replace(stage._actors[me], steps=(step,) * steps)
    for number in range(rounds * steps):
        stage.op(me, 10 + 4 * number, 14 + 4 * number, step=number % steps, round_=number // steps)
    return stage


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_every_access_has_a_row_or_lies_in_a_gap(steps: int) -> None:
    whole = busy(steps=steps).history()
    thin = thinned(whole, WITHIN)
    found = gaps(thin)
    assert thin.begun == len(whole.operations) == len(thin.operations) + found.count.sum()
    assert found.count.sum() == thin.actors[0].thinned > 0
    table = thin.operations
    assert (table["step"][found.before] == table["step"][found.after]).all()
    assert (table["round"][found.before] + found.count + 1 == table["round"][found.after]).all()
    assert (table["end_ns"][found.after] - table["begin_ns"][found.before] <= WITHIN).all()


def test_a_history_with_all_its_rows_has_none() -> None:
    assert len(gaps(busy().history()).count) == 0
    assert len(gaps(busy(0).history()).count) == 0


@pytest.mark.parametrize("changed", [{"thinned": 0}, {"thinned_ns": 10}])
def test_rounds_that_are_missing_for_another_reason_are_no_gap(changed: dict[str, Any]) -> None:
    """A step whose descriptor could not be had is not done in its round."""
    thin = thinned(busy().history(), WITHIN)
    other = replace(thin, actors=tuple(replace(actor, **changed) for actor in thin.actors))
    assert len(gaps(other).count) == 0


def seen_waiting(at: float) -> History:
    stage = busy()
    stage.wait(at, 0)
    return thinned(stage.history(), WITHIN)


def test_a_wait_belongs_to_the_row_in_which_it_was_seen_and_to_none_in_a_gap() -> None:
    thin = seen_waiting(50)
    (gap, *_) = gaps(thin).before.tolist()
    assert gap == 0
    assert (Reading(thin).slept == NOBODY).all()
    assert Reading(seen_waiting(12)).slept.tolist()[0] != NOBODY


@pytest.mark.parametrize("after", [0.0, 0.4, 0.9])
def test_a_wait_right_after_the_row_before_a_gap_is_that_of_what_was_left_out(after: float) -> None:
    """With all rows it is the next one's, which begins when that row ends."""
    thin = seen_waiting(14 + after)
    assert Reading(thin).slept.tolist()[0] == NOBODY
