"""A programme: when each fault begins, how long it lasts, and what is told of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.lab.models.programme import Programme
from harness.model.fault import Fault, Misbehaviour, Occasion
from harness.model.units import Ns
from tests.unit.model.strategies import FAULTS

NOT_READY, SILENT = Misbehaviour.NOT_READY, Misbehaviour.ALL_ONES_CONFIG
COUNTED: list[Occasion] = [one for one in Occasion if one not in (Occasion.NOW, Occasion.TIME)]


class Told:
    """A programme, and what it tells."""

    def __init__(self, faults: Sequence[Fault], at_ns: int = 0) -> None:
        self.begun: list[tuple[int, int]] = []
        self.ended: list[tuple[int, int]] = []
        self.met: list[tuple[int, int]] = []
        self.programme = Programme(
            lambda number, at: self.begun.append((number, at)),
            lambda number, at: self.ended.append((number, at)),
            lambda number, at: self.met.append((number, at)),
        )
        self.programme.load(faults, at_ns)

    def wrong(self, at_ns: int, what: Misbehaviour = NOT_READY) -> bool:
        return self.programme.active(what, at_ns) is not None


def test_now_is_when_it_is_loaded() -> None:
    told = Told([Fault(what=NOT_READY, lasting_ns=Ns(10))], at_ns=5)
    assert told.begun == [(0, 5)]
    assert [told.wrong(at) for at in (4, 5, 14, 15)] == [False, True, True, False]


@pytest.mark.parametrize("when", COUNTED)
def test_an_occasion_begins_what_waits_for_it_and_nothing_else(when: Occasion) -> None:
    after = 1 if when is Occasion.ACCESSES else 0
    told = Told([Fault(what=SILENT, when=one, after=int(one is Occasion.ACCESSES)) for one in COUNTED])
    assert told.begun == []
    told.programme.occasion(when, 7)
    assert told.begun == [(COUNTED.index(when), 7)]
    assert told.programme.running(COUNTED.index(when)).fault == Fault(what=SILENT, when=when, after=after)


def test_so_many_accesses_come_once() -> None:
    told = Told([Fault(what=SILENT, when=Occasion.ACCESSES, after=3, lasting_ns=Ns(1))])
    for at in range(9):
        told.programme.occasion(Occasion.ACCESSES, at)
    assert told.begun == [(0, 2)]


def test_resets_that_do_no_harm_pass_first_and_then_so_many_do() -> None:
    told = Told([Fault(what=NOT_READY, when=Occasion.FLR, after=2, times=2, lasting_ns=Ns(1))])
    for at in range(10, 16):
        told.programme.occasion(Occasion.FLR, at)
    assert told.begun == [(0, 12), (0, 13)]


def test_the_clock_of_the_stage_begins_what_is_timed() -> None:
    told = Told([Fault(what=SILENT, when=Occasion.TIME, at_ns=Ns(100), lasting_ns=Ns(10))])
    assert not told.wrong(10**9, SILENT)
    told.programme.release(1000, 1050)
    assert told.begun == [(0, 1100)]
    assert [told.wrong(at, SILENT) for at in (1099, 1100, 1109, 1110)] == [False, True, True, False]


def test_what_should_have_begun_already_begins_now_and_lasts_its_time() -> None:
    told = Told([Fault(what=SILENT, when=Occasion.TIME, at_ns=Ns(100), lasting_ns=Ns(10))])
    told.programme.release(1000, 1107)
    assert told.begun == [(0, 1107)]
    assert [told.wrong(at, SILENT) for at in (1107, 1116, 1117)] == [True, True, False]


def test_what_begins_again_before_its_end_lasts_longer_and_ends_once() -> None:
    told = Told([Fault(what=NOT_READY, when=Occasion.FLR, lasting_ns=Ns(10))])
    told.programme.occasion(Occasion.FLR, 0)
    told.programme.occasion(Occasion.FLR, 8)
    assert told.wrong(17)
    told.programme.occasion(Occasion.ACCESSES, 100)
    told.programme.occasion(Occasion.ACCESSES, 101)
    assert (told.begun, told.ended) == ([(0, 0), (0, 8)], [(0, 18)])


def test_an_end_is_told_at_the_latest_when_the_next_programme_comes() -> None:
    told = Told([Fault(what=NOT_READY, lasting_ns=Ns(10)), Fault(what=SILENT)])
    told.programme.load([], 9)
    assert told.ended == [], "its time was not over"
    told = Told([Fault(what=NOT_READY, lasting_ns=Ns(10)), Fault(what=SILENT)])
    told.programme.load([], 10)
    assert told.ended == [(0, 10)]


def test_what_never_began_never_ends() -> None:
    told = Told([Fault(what=NOT_READY, when=Occasion.FLR, lasting_ns=Ns(10))])
    told.programme.occasion(Occasion.ACCESSES, 100)
    told.programme.load([], 200)
    assert told.ended == []


def test_it_is_met_once_for_each_time_it_begins() -> None:
    told = Told([Fault(what=NOT_READY, when=Occasion.FLR, lasting_ns=Ns(10))])
    assert told.programme.meets(NOT_READY, at_ns=0) is None
    for begins in (10, 100):
        told.programme.occasion(Occasion.FLR, begins)
        for at in (begins + 1, begins + 2):
            assert told.programme.meets(SILENT, NOT_READY, at_ns=at) is not None
    assert told.met == [(0, 11), (0, 101)]


def test_what_is_about_a_register_is_met_there() -> None:
    kind = Misbehaviour.LOSE_WRITES
    told = Told([Fault(what=kind, register=name) for name in ("command", "bist", "command")])
    assert told.programme.registers(kind, 0) == ("command", "bist", "command")
    fault = told.programme.meets(kind, at_ns=3, register="bist")
    assert fault is not None
    assert fault.register == "bist"
    assert told.programme.meets(kind, at_ns=3, register="status") is None
    assert told.met == [(1, 3)]


def test_what_was_replaced_shows_nothing_any_more() -> None:
    same = [Fault(what=Misbehaviour.INTERRUPT_STORM)]
    told = Told(same)
    old = told.programme.running(0)
    assert told.programme.shows(old, 1)
    told.programme.load(same, 2)
    assert not told.programme.shows(old, 3)
    assert told.programme.shows(told.programme.running(0), 3)
    assert told.met == [(0, 1), (0, 3)]


EVENTS = st.lists(st.tuples(st.sampled_from([*COUNTED, Occasion.TIME]), st.integers(0, 50)), max_size=20)
SMALL = FAULTS.map(
    lambda fault: dataclasses.replace(
        fault,
        after=min(fault.after, 3),
        times=min(fault.times, 3),
        at_ns=Ns(fault.at_ns % 50),
        lasting_ns=None if fault.lasting_ns is None else Ns(1 + fault.lasting_ns % 50),
    )
)


def expected(fault: Fault, events: Sequence[tuple[Occasion, int]]) -> list[int]:
    """When a fault begins, the slow and obvious way."""
    if fault.when is Occasion.NOW:
        return [0]
    now, came = 0, list[int]()
    for what, later in events:
        now += later
        if what is fault.when:
            came.append(now + fault.at_ns)
    if fault.when is Occasion.TIME:
        return came
    if fault.when is Occasion.ACCESSES:
        return came[fault.after - 1 : fault.after]
    due = came[fault.after :]
    return due[: fault.times] if fault.times else due


@given(st.lists(SMALL, max_size=4), EVENTS)
def test_any_programme_is_carried_out_as_it_reads(
    faults: list[Fault], events: list[tuple[Occasion, int]]
) -> None:
    told, now = Told(faults), 0
    for what, later in events:
        now += later
        if what is Occasion.TIME:
            told.programme.release(now, now)
        else:
            told.programme.occasion(what, now)
        for number, fault in enumerate(faults):
            one = told.programme.running(number)
            begins = [at for which, at in told.begun if which == number]
            lasts = fault.lasting_ns is None or (begins and now < begins[-1] + fault.lasting_ns)
            assert one.active(now) == bool(begins and begins[-1] <= now and lasts)
            assert told.programme.shows(one, now) == one.active(now)
    for number, fault in enumerate(faults):
        assert [at for which, at in told.begun if which == number] == expected(fault, events)
    ends = {(number, at + (faults[number].lasting_ns or 0)) for number, at in told.begun}
    assert set(told.ended) <= ends
    assert {number for number, _ in told.met} <= {number for number, _ in told.begun}
    assert all(faults[number].lasting_ns is not None for number, _ in told.ended)
