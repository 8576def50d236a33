"""When a call of a model is overdue: what counts as its time, and what is the host's fault or ours."""

from __future__ import annotations

from itertools import pairwise

import pytest

from harness.lab.models.handlers import Called, Handler
from harness.lab.models.overdue import LIMIT, LOOK_EVERY, Account, Look
from harness.model.units import MS, SECOND

READS = Handler(1, 0x10, 4, Called.READ, 0)
PROMISED = 5 * SECOND


def overdue_at(*spans: tuple[int, str, float, float], handler: Handler = READS) -> float | None:
    """Seconds until it is overdue, looked at as it is in a process; None: never.

    Args:
        spans: how long, state at the end of each look, share of time that it ran, share that it was starved.
        handler: that is called.
    """
    account = Account()
    at = ran = starved = 0
    for lasting, state, runs, waits in ((0, spans[0][1], 0.0, 0.0), *spans):
        for _ in range(max(1, lasting // LOOK_EVERY)):
            if lasting:
                at += LOOK_EVERY
            ran += int(LOOK_EVERY * runs)
            starved += int(LOOK_EVERY * waits)
            if account.look(Look(at_ns=at, handler=handler, ran_ns=ran, starved_ns=starved, state=state)):
                return at / SECOND
    return None


@pytest.mark.parametrize(("state", "runs"), [("R", 1.0), ("S", 0.0), ("D", 0.0), ("S", 0.5)])
def test_whoever_loops_or_sleeps_is_overdue_within_what_is_promised(state: str, runs: float) -> None:
    at = overdue_at((10 * SECOND, state, runs, 0.0))
    assert at is not None
    assert LIMIT <= at * SECOND < PROMISED


def test_less_than_the_limit_is_not_overdue() -> None:
    for state, runs in (("R", 1.0), ("S", 0.0)):
        assert overdue_at((LIMIT - LOOK_EVERY, state, runs, 0.0)) is None


def test_one_that_waits_for_a_processor_is_not_overdue() -> None:
    assert overdue_at((600 * SECOND, "R", 0.0, 0.0)) is None, "a wait that goes on is in no account yet"
    assert overdue_at((600 * SECOND, "R", 0.0, 1.0)) is None
    assert overdue_at((600 * SECOND, "S", 0.0, 1.0)) is None


def test_a_wait_that_is_told_of_when_it_is_over_is_not_counted() -> None:
    account = Account()
    account.look(Look(at_ns=0, handler=READS, ran_ns=0, starved_ns=0, state="R"))
    for second in range(1, 60):
        look = Look(at_ns=second * SECOND, handler=READS, ran_ns=0, starved_ns=0, state="R")
        assert not account.look(look)
    over = Look(at_ns=60 * SECOND, handler=READS, ran_ns=MS, starved_ns=60 * SECOND, state="S")
    assert not account.look(over)


def test_one_that_loops_on_a_starved_host_is_overdue_by_what_it_ran() -> None:
    at = overdue_at((60 * SECOND, "R", 0.25, 0.75))
    assert at is not None
    assert LIMIT <= at * SECOND / 4 < PROMISED


def test_one_that_is_stopped_is_not_overdue_and_neither_is_what_it_does_around_it() -> None:
    assert overdue_at((600 * SECOND, "T", 0.0, 0.0)) is None
    assert (
        overdue_at((2 * SECOND, "S", 0.0, 0.0), (60 * SECOND, "T", 0.0, 0.0), (SECOND, "S", 0.0, 0.0)) is None
    )
    at = overdue_at((2 * SECOND, "S", 0.0, 0.0), (60 * SECOND, "T", 0.0, 0.0), (9 * SECOND, "S", 0.0, 0.0))
    assert at is not None
    assert LIMIT <= (at - 60) * SECOND < PROMISED


def test_whoever_waits_for_qemu_to_move_data_is_not_overdue_unless_it_runs_meanwhile() -> None:
    waits = READS._replace(waits=True)
    assert overdue_at((600 * SECOND, "S", 0.0, 0.0), handler=waits) is None
    assert overdue_at((60 * SECOND, "S", 0.5, 0.0), handler=waits) is not None


def test_a_stop_between_two_late_looks_is_believed_no_further_than_looks_are_apart() -> None:
    account = Account()
    for at, following in pairwise(range(0, 600, 60)):
        del at
        look = Look(at_ns=following * SECOND, handler=READS, ran_ns=0, starved_ns=0, state="S")
        assert not account.look(look)


def test_each_call_has_its_own_time() -> None:
    account = Account()
    for entry in range(1, 1000):
        look = Look(
            at_ns=entry * LOOK_EVERY,
            handler=READS._replace(entry=entry),
            ran_ns=entry * LOOK_EVERY,
            starved_ns=0,
            state="R",
        )
        assert not account.look(look)
    assert overdue_at((60 * SECOND, "R", 1.0, 0.0), handler=Handler()) is None, "nothing is called"
