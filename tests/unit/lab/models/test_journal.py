"""The function with a record: what survives a reset, and what a reset in the wrong moment does to it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from harness.lab.models.function import Function
from harness.lab.models.interface import CONFIG_REGION, Told
from harness.lab.models.journal import (
    CHECKSUM,
    COMMIT,
    CRITICAL,
    RECORD,
    SIGNATURE,
    STATUS,
    checksum,
    journal,
)
from harness.model.fault import Fault, Misbehaviour
from harness.model.served import RESETS, Happened
from harness.model.units import MS

BAR = 0
FIRST, SECOND, THIRD = 0x1111, 0x2222, 0x3333
DECODING = b"\x06\x00"


class Watched:
    """A journal whose time passes when a test says so."""

    def __init__(self) -> None:
        self.now = 1_000_000
        self.told: list[Told] = []
        self.function = journal(lambda: self.now)
        self.function.tell = self.told.append
        self.function.write(CONFIG_REGION, 0x04, DECODING)

    def passes(self, ms: int) -> None:
        self.now += ms * MS
        self.function.run_due()

    def commit(self, record: int) -> None:
        self.function.write(BAR, COMMIT, record.to_bytes(4, "little"))

    def reset(self, how: Callable[[Function], object] = Function.bus_reset) -> None:
        how(self.function)
        self.function.write(CONFIG_REGION, 0x04, DECODING)

    def register(self, at: int) -> int:
        return int.from_bytes(self.function.read(BAR, at, 4), "little")

    @property
    def fits(self) -> bool:
        return self.register(CHECKSUM) == checksum(self.register(RECORD))

    def happened(self) -> list[tuple[Happened, int]]:
        wanted = (Happened.CRITICAL_BEGINS, Happened.CRITICAL_ENDS, Happened.CORRUPTED)
        return [(one.what, one.value) for one in self.told if one.what in wanted]


@pytest.fixture
def watched() -> Watched:
    return Watched()


def flr(function: Function) -> None:
    at = function.config.declaration("express-device-control").offset
    function.write(CONFIG_REGION, at, b"\x10\xa8")


def sleep_and_wake(function: Function) -> None:
    at = function.config.declaration("pm-control-status").offset
    function.write(CONFIG_REGION, at, b"\x03\x00")
    function.write(CONFIG_REGION, at, b"\x00\x00")


def test_a_new_one_has_a_record_that_fits(watched: Watched) -> None:
    assert (watched.register(0), watched.register(RECORD), watched.fits) == (SIGNATURE, 0, True)


def test_a_record_is_written_in_its_time_and_no_sooner(watched: Watched) -> None:
    watched.commit(FIRST)
    assert (watched.register(STATUS), watched.fits) == (1, False)
    watched.passes(CRITICAL // MS - 1)
    assert (watched.register(STATUS), watched.fits) == (1, False)
    watched.passes(1)
    assert (watched.register(STATUS), watched.register(RECORD), watched.fits) == (0, FIRST, True)
    assert watched.happened() == [(Happened.CRITICAL_BEGINS, FIRST), (Happened.CRITICAL_ENDS, FIRST)]


@pytest.mark.parametrize("how", [flr, sleep_and_wake, Function.bus_reset])
def test_a_reset_outside_of_that_harms_nothing(watched: Watched, how: Callable[[Function], object]) -> None:
    watched.commit(FIRST)
    watched.passes(200)
    watched.reset(how)
    assert (watched.register(RECORD), watched.fits) == (FIRST, True)
    assert Happened.CORRUPTED not in [what for what, _ in watched.happened()]


@pytest.mark.parametrize("how", [flr, sleep_and_wake, Function.bus_reset])
def test_a_reset_inside_corrupts_it_for_good(watched: Watched, how: Callable[[Function], object]) -> None:
    watched.commit(FIRST)
    watched.passes(199)
    watched.reset(how)
    watched.passes(1000)
    assert not watched.fits
    assert (watched.register(STATUS), watched.register(COMMIT)) == (0, 0), "these are no part of the record"
    watched.reset()
    assert not watched.fits, "no reset heals it"
    assert watched.happened() == [(Happened.CRITICAL_BEGINS, FIRST), (Happened.CORRUPTED, FIRST)]
    order = [one.what for one in watched.told if one.what in (*RESETS, Happened.CORRUPTED)]
    assert order[1] is Happened.CORRUPTED, "right behind the reset that did it"


def test_another_record_heals_it_and_takes_its_whole_time(watched: Watched) -> None:
    watched.commit(FIRST)
    watched.passes(150)
    watched.reset()
    watched.commit(SECOND)
    watched.passes(50)
    assert watched.register(STATUS) == 1, "what the first one had begun does not end the second"
    watched.passes(150)
    assert (watched.register(RECORD), watched.fits) == (SECOND, True)


def test_of_the_commits_in_the_middle_of_another_the_last_one_follows_it(watched: Watched) -> None:
    watched.commit(FIRST)
    watched.passes(100)
    watched.commit(THIRD)
    watched.commit(SECOND)
    watched.passes(100)
    assert (watched.register(STATUS), watched.fits) == (1, False)
    watched.passes(200)
    assert (watched.register(STATUS), watched.register(RECORD), watched.fits) == (0, SECOND, True)
    watched.passes(1000)
    assert [value for _, value in watched.happened()] == [FIRST, FIRST, SECOND, SECOND]


def test_a_reset_forgets_the_commits_that_had_no_turn(watched: Watched) -> None:
    watched.commit(FIRST)
    watched.commit(SECOND)
    watched.reset()
    watched.passes(1000)
    watched.commit(THIRD)
    watched.passes(1000)
    assert (watched.register(STATUS), watched.register(RECORD)) == (0, THIRD)
    assert [value for _, value in watched.happened()] == [FIRST, FIRST, THIRD, THIRD]


def test_an_flr_that_is_ignored_harms_nothing(watched: Watched) -> None:
    watched.function.load([Fault(what=Misbehaviour.IGNORE_FLR)])
    watched.commit(FIRST)
    flr(watched.function)
    watched.passes(200)
    assert watched.fits
