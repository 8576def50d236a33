"""Misuse of config locks, and the windows that it leaves, read out of traces written by hand."""

from __future__ import annotations

import pytest

from harness.history.columns import INTERRUPT
from harness.history.history import History
from harness.history.reading import Reading
from harness.history.windows import LOCK, TRYLOCK, UNLOCK, FaultKind, LockFault
from harness.model.units import US
from tests.unit.history.build import END, ENTRY, RETURN, Hit, history

STOLEN, TWICE = FaultKind.STOLEN, FaultKind.UNLOCKED_TWICE
NEVER, UNSEEN = FaultKind.NEVER_UNLOCKED, FaultKind.UNSEEN


def lock(at: int, tid: int, function: int = 0) -> list[Hit]:
    return [(at, tid, LOCK, ENTRY, function), (at + 1, tid, LOCK, RETURN)]


def unlock(at: int, tid: int, function: int = 0) -> list[Hit]:
    return [(at, tid, UNLOCK, ENTRY, function), (at + 1, tid, UNLOCK, RETURN)]


def windows(traced: History) -> list[tuple[int, int, int]]:
    """Opening and closing in microseconds, thread."""
    return [(w.opened_ns // US, w.closed_ns // US, w.tid) for w in Reading(traced).windows]


def told(faults: tuple[LockFault, ...]) -> list[tuple[FaultKind, int, int | None]]:
    """Kind, culprit, owner."""
    return [(fault.kind, fault.tid, fault.owner) for fault in faults]


def test_locks_that_are_given_back_are_no_misuse() -> None:
    assert Reading(history([*lock(10, 8), *unlock(20, 8), *lock(30, 9), *unlock(40, 9)])).lock_faults == ()


def test_a_refused_trylock_need_not_be_given_back() -> None:
    tried: list[Hit] = [(15, 9, TRYLOCK, ENTRY), (16, 9, TRYLOCK, RETURN, -1, 0)]
    assert Reading(history([*lock(10, 8), *tried, *unlock(20, 8)])).lock_faults == ()


@pytest.mark.parametrize(("taker", "giver"), [(INTERRUPT, 8), (8, INTERRUPT)])
def test_what_was_tried_for_may_be_given_back_by_an_interrupt(taker: int, giver: int) -> None:
    """A driver's reset is a job that timers carry on: it has no thread."""
    tried: list[Hit] = [(10, taker, TRYLOCK, ENTRY), (11, taker, TRYLOCK, RETURN, -1, 1)]
    traced = history([*tried, *unlock(50, giver)])
    assert Reading(traced).lock_faults == ()
    assert windows(traced) == [(11, 50, taker)]


@pytest.mark.parametrize(
    ("symbol", "taker", "giver"), [(TRYLOCK, 8, 9), (LOCK, 8, INTERRUPT), (LOCK, INTERRUPT, 8)]
)
def test_all_else_is_given_back_by_who_took_it(symbol: str, taker: int, giver: int) -> None:
    taken: list[Hit] = [(10, taker, symbol, ENTRY), (11, taker, symbol, RETURN, -1, 1)]
    assert told(Reading(history([*taken, *unlock(50, giver)])).lock_faults) == [(STOLEN, giver, taker)]


def test_a_stolen_lock_ends_the_owners_window_and_the_owners_unlock_is_the_thiefs_doing() -> None:
    traced = history([*lock(10, 8), *unlock(50, 7), *unlock(90, 8)])
    assert windows(traced) == [(11, 50, 8)]
    (fault,) = Reading(traced).lock_faults
    assert (fault.kind, fault.tid, fault.owner) == (STOLEN, 7, 8)
    assert (fault.time_ns, fault.until_ns) == (50 * US, 90 * US)
    assert fault.rows == (1, 2, 4)


def test_an_owner_that_never_notices_was_robbed_until_the_stage_ended() -> None:
    (fault,) = Reading(history([*lock(10, 8), *unlock(50, 7)])).lock_faults
    assert (fault.kind, fault.until_ns, fault.rows) == (STOLEN, END, (1, 2))


def test_whoever_takes_a_stolen_lock_is_robbed_by_the_first_owners_unlock_and_the_thief_is_to_blame() -> None:
    traced = history([*lock(10, 8), *unlock(50, 7), *lock(60, 9), *unlock(90, 8), *unlock(120, 9)])
    assert windows(traced) == [(11, 50, 8), (61, 90, 9)]
    (fault,) = Reading(traced).lock_faults
    assert (fault.kind, fault.tid, fault.owner, fault.until_ns) == (STOLEN, 7, 8, 90 * US)
    assert fault.rows == (1, 2, 6, 8)


def test_an_owner_that_locks_again_is_not_robbed_any_more() -> None:
    traced = history([*lock(10, 8), *unlock(50, 7), *lock(60, 8), *unlock(90, 8), *unlock(95, 8)])
    assert told(Reading(traced).lock_faults) == [(STOLEN, 7, 8), (TWICE, 8, 8)]


def test_a_second_unlock_names_who_held_it_last() -> None:
    traced = history([*lock(10, 8), *unlock(50, 8), *unlock(60, 8)])
    assert windows(traced) == [(11, 50, 8)]
    (fault,) = Reading(traced).lock_faults
    assert (fault.kind, fault.tid, fault.owner, fault.time_ns) == (TWICE, 8, 8, 60 * US)
    assert fault.rows == (1, 4)
    assert told(Reading(history([*lock(10, 8), *unlock(50, 8), *unlock(60, 7)])).lock_faults) == [
        (TWICE, 7, 8)
    ]


def test_an_unlock_of_what_nobody_was_seen_to_lock_has_no_owner() -> None:
    assert told(Reading(history(unlock(60, 8))).lock_faults) == [(TWICE, 8, None)]


def test_a_lock_that_is_never_given_back_is_open_at_the_end() -> None:
    traced = history([*lock(10, 8)])
    assert windows(traced) == [(11, END // US, 8)]
    (fault,) = Reading(traced).lock_faults
    assert (fault.kind, fault.tid, fault.owner, fault.time_ns) == (NEVER, 8, 8, 11 * US)
    assert fault.rows == (1,)


def test_a_lock_that_two_hold_at_once_was_free_since_nobody_knows_when() -> None:
    traced = history([*lock(10, 8), *lock(30, 9), *unlock(90, 9)])
    assert windows(traced) == [(11, 11, 8), (31, 90, 9)]
    assert Reading(traced).windows[0].released_ns == 31 * US
    assert told(Reading(traced).lock_faults) == [(UNSEEN, 9, 8)]


def test_functions_have_locks_of_their_own() -> None:
    traced = history(
        [*lock(10, 8, 0), *lock(12, 8, 1), *unlock(20, 7, 1), *unlock(30, 8, 0), *unlock(32, 8, 1)]
    )
    assert [(f.function, f.kind, f.tid) for f in Reading(traced).lock_faults] == [(1, STOLEN, 7)]


@pytest.mark.parametrize("function", [-1])
def test_functions_that_take_no_part_are_no_misuse(function: int) -> None:
    assert (
        Reading(
            history([*lock(10, 8, function), *unlock(20, 7, function), *unlock(30, 8, function)])
        ).lock_faults
        == ()
    )


# locks that are just being taken


def test_an_unlock_while_another_takes_the_lock_leaves_nothing_certain_of_its_window() -> None:
    """Whether the bit was set before or after nobody knows: the thread may have slept between bit and return."""
    hits: list[Hit] = [(10, 8, LOCK, ENTRY), *unlock(20, 7), (30, 8, LOCK, RETURN), *unlock(90, 8)]
    (window,) = Reading(history(hits)).windows
    assert (window.opened_ns, window.closed_ns, window.released_ns) == (30 * US, 30 * US, 91 * US)
    (fault,) = Reading(history(hits)).lock_faults
    assert (fault.kind, fault.tid, fault.owner) == (STOLEN, 7, 8)
    assert (fault.time_ns, fault.until_ns, fault.rows) == (20 * US, 90 * US, (3, 1, 4))


def test_nothing_is_certain_to_the_end_when_it_is_never_unlocked() -> None:
    hits: list[Hit] = [(10, 8, LOCK, ENTRY), *unlock(20, 7), (30, 8, LOCK, RETURN)]
    (window,) = Reading(history(hits)).windows
    assert (window.closed_ns, window.released_ns) == (30 * US, END)
    assert told(Reading(history(hits)).lock_faults) == [(STOLEN, 7, 8)]


def test_a_trylock_that_fails_after_all_was_not_robbed() -> None:
    hits: list[Hit] = [(10, 8, TRYLOCK, ENTRY), *unlock(20, 7), (30, 8, TRYLOCK, RETURN, -1, 0), *lock(40, 8)]
    traced = history([*hits, *unlock(90, 8)])
    assert windows(traced) == [(41, 90, 8)]
    assert told(Reading(traced).lock_faults) == [(STOLEN, 7, 8)]


def test_whoever_takes_another_functions_lock_is_not_concerned() -> None:
    hits: list[Hit] = [(10, 8, LOCK, ENTRY, 1), *unlock(20, 7), (30, 8, LOCK, RETURN), *unlock(90, 8, 1)]
    traced = history(hits)
    assert windows(traced) == [(30, 90, 8)]
    assert told(Reading(traced).lock_faults) == [(TWICE, 7, None)]
