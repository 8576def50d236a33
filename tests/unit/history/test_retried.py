"""Attempts at one and the same thing: the same actor, step and round, one after the other."""

from __future__ import annotations

import errno
from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from harness.history.columns import OPERATION, empty
from harness.history.history import History
from harness.history.reading import Reading
from harness.model.operation import VFIO_READ, VFIO_RESET
from harness.model.plan import Actor, File, Op, Plan, Step
from harness.model.policy import policy_of
from harness.model.units import Ns

VFIO = File(function="igb0", role="vfio")
RESET = Step(op=Op.RESET_DEVICE, means=VFIO_RESET, file=VFIO, retries=policy_of(VFIO_RESET).retries_plan())
READ = Step(op=Op.READ, means=VFIO_READ, file=File(function="igb0", role="vfio-config"), width=4)
PLAN = Plan(
    title="t",
    functions=("igb0",),
    actors=(Actor(name="resetter", steps=(RESET, READ)), Actor(name="rival", steps=(RESET,))),
    lasting_ns=Ns(1),
    deadline_ns=Ns(1),
)


def history(*rows: tuple[int, int, int, int]) -> History:
    """Rows of actor, step, round and errno, in the order of time."""
    operations = empty(OPERATION, len(rows))
    operations["begin_ns"] = np.arange(len(rows)) * 10
    operations["end_ns"] = operations["begin_ns"] + 5
    for name, column in zip(("actor", "step", "round", "error"), np.array(rows).T, strict=True):
        operations[name] = column
    return History(plan=PLAN, begin_ns=Ns(0), end_ns=Ns(1000), operations=operations)


AGAIN = errno.EAGAIN


def test_attempts_point_at_the_answer_that_stands() -> None:
    found = Reading(history((0, 0, 0, AGAIN), (0, 0, 0, AGAIN), (0, 0, 0, 0), (0, 1, 0, 0))).retried
    assert found.rows.tolist() == [0, 1]
    assert found.answers.tolist() == [2, 2]


def test_the_last_refusal_is_the_answer() -> None:
    found = Reading(history((0, 0, 0, AGAIN), (0, 0, 0, AGAIN))).retried
    assert (found.rows.tolist(), found.answers.tolist()) == ([0], [1])


def test_attempts_of_two_actors_may_alternate() -> None:
    found = Reading(
        history((0, 0, 0, AGAIN), (1, 0, 0, AGAIN), (0, 0, 0, AGAIN), (1, 0, 0, 0), (0, 0, 0, 0))
    ).retried
    assert found.rows.tolist() == [0, 1, 2]
    assert found.answers.tolist() == [4, 3, 4]


def test_another_round_is_another_operation() -> None:
    assert not len(Reading(history((0, 0, 0, AGAIN), (0, 0, 1, AGAIN), (0, 0, 2, 0))).retried.rows)


def test_a_step_that_takes_every_answer_has_no_attempts() -> None:
    assert not len(Reading(history((0, 1, 0, AGAIN), (0, 1, 0, 0))).retried.rows)


def test_an_empty_history_has_none() -> None:
    bare = replace(history((0, 0, 0, 0)), operations=empty(OPERATION))
    assert not len(Reading(bare).retried.rows)


@given(st.lists(st.tuples(st.integers(0, 1), st.just(0), st.integers(0, 2), st.sampled_from([0, AGAIN]))))
def test_it_agrees_with_a_slow_twin(rows: list[tuple[int, int, int, int]]) -> None:
    if not rows:
        return
    slow = {}
    for row, (actor, _, number, error) in enumerate(rows):
        later = [at for at in range(row + 1, len(rows)) if rows[at][::2] == (actor, number)]
        if error and later:
            slow[row] = later[-1]
    found = Reading(history(*rows)).retried
    assert dict(zip(found.rows.tolist(), found.answers.tolist(), strict=True)) == slow
