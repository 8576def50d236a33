"""What is to be done later is done in its order, and never before its time."""

from __future__ import annotations

import pytest

from harness.lab.models.agenda import Agenda
from harness.model.units import Ns
from tests.unit.lab.models.surroundings import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def agenda(clock: Clock) -> Agenda:
    return Agenda(clock)


def test_nothing_is_due_of_nothing(agenda: Agenda) -> None:
    assert agenda.run_due() is None


def test_what_is_due_is_done_in_its_order(agenda: Agenda, clock: Clock) -> None:
    done: list[str] = []
    agenda.add(Ns(20), lambda: done.append("second"))
    agenda.add(Ns(10), lambda: done.append("first"))
    agenda.add(Ns(20), lambda: done.append("third"))
    assert (agenda.run_due(), done) == (clock.now + 10, [])
    clock.now += 20
    assert (agenda.run_due(), done) == (None, ["first", "second", "third"])


def test_a_task_may_add_others_and_those_of_now_are_done_at_once(agenda: Agenda, clock: Clock) -> None:
    done: list[str] = []

    def first() -> None:
        done.append("first")
        agenda.add(Ns(0), lambda: done.append("at once"))
        agenda.add(Ns(5), lambda: done.append("later"))

    agenda.add(Ns(0), first)
    assert done == [], "whoever adds is answered first"
    assert (agenda.run_due(), done) == (clock.now + 5, ["first", "at once"])
    clock.now += 5
    assert (agenda.run_due(), done) == (None, ["first", "at once", "later"])
