"""A guest that is made ahead: taken once, by whoever fits, or ended.  Real ones are in tests/guest/test_parallel.py."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from harness.errors import ClockError, GuestError
from harness.plugin.lab.guests import Ahead, TargetSource


class Guest:
    """Knows where its console is, and whether it is fit for use."""

    def __init__(self, console: Path, trouble: Exception | None) -> None:
        self.console, self._trouble = console, trouble
        console.write_text("booted")

    def hand_over(self, console: Path) -> None:
        if self._trouble is not None:
            raise self._trouble
        self.console = self.console.rename(console)


class Place:
    """Makes such guests, and knows which are alive."""

    def __init__(self) -> None:
        self.made: list[str] = []
        self.alive: list[Guest] = []
        self.refuses: Exception | None = None
        self.unfit: Exception | None = None

    @contextmanager
    def clone(self, console: Path) -> Iterator[Any]:
        self.made.append(console.name)
        if self.refuses is not None:
            console.write_text("no way")
            raise self.refuses
        guest = Guest(console, self.unfit)
        self.alive.append(guest)
        yield guest
        self.alive.remove(guest)


@pytest.fixture
def place() -> Place:
    return Place()


@pytest.fixture
def ahead(place: Place, tmp_path: Path) -> Iterator[Ahead]:
    one = Ahead(place.clone, tmp_path, "gw0")
    yield one
    one.close()


def source(ahead: Ahead, console: Path) -> TargetSource:
    return TargetSource(ahead.lend, console, ahead)


def test_nothing_is_made_before_it_is_begun(place: Place, ahead: Ahead, tmp_path: Path) -> None:
    with ahead.lend(tmp_path / "mine.log"):
        assert place.made == ["mine.log"]  # now, for whoever asks


def test_one_is_made_and_taken_once_with_its_console(place: Place, ahead: Ahead, tmp_path: Path) -> None:
    ahead.begin()
    ahead.begin()
    mine = source(ahead, tmp_path / "mine.log")
    assert mine.target.console == tmp_path / "mine.log"
    assert mine.consoles == [tmp_path / "mine.log"]
    assert len(place.made) == len(place.alive) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["mine.log"]
    mine.renew()  # made now: none was begun
    assert place.made[1:] == ["mine.1.log"]
    assert len(place.alive) == 1
    mine.close()
    assert place.alive == []


def test_the_next_is_begun_when_this_test_has_its_own(place: Place, ahead: Ahead, tmp_path: Path) -> None:
    late, early = source(ahead, tmp_path / "late.log"), source(ahead, tmp_path / "early.log")
    late.another_follows()
    assert place.made == []  # or it would take what is meant for the next
    late.target  # noqa: B018 - makes it
    ahead.wait()
    assert len(place.made) == 2
    early.target  # noqa: B018
    assert len(place.made) == 2
    early.another_follows()
    ahead.wait()
    assert len(place.made) == 3
    late.close()
    early.close()


def test_who_boots_or_debugs_takes_none_and_the_next_has_one(
    place: Place, ahead: Ahead, tmp_path: Path
) -> None:
    mine = TargetSource(place.clone, tmp_path / "mine.log", ahead)
    assert mine.target.console == tmp_path / "mine.log"
    mine.another_follows()
    ahead.wait()
    assert len(place.alive) == 2
    mine.close()


@pytest.mark.parametrize("unfit", [ClockError("ran wild"), GuestError("died")])
def test_one_that_is_unfit_is_ended_and_another_is_made(
    place: Place, ahead: Ahead, tmp_path: Path, unfit: Exception
) -> None:
    place.unfit = unfit
    ahead.begin()
    ahead.wait()
    mine = source(ahead, tmp_path / "mine.log")
    assert cast("Any", mine.target) in place.alive
    assert len(place.made) == 2
    assert len(place.alive) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["mine.log"]
    mine.close()


def test_one_that_could_not_be_made_is_nobodys_trouble(place: Place, ahead: Ahead, tmp_path: Path) -> None:
    place.refuses = GuestError("no memory")
    ahead.begin()
    ahead.wait()
    place.refuses = None
    mine = source(ahead, tmp_path / "mine.log")
    assert mine.target.console == tmp_path / "mine.log"
    assert [path.name for path in tmp_path.iterdir()] == ["mine.log"]
    mine.close()


@pytest.mark.parametrize("refuses", [None, GuestError("no memory")])
def test_one_that_nobody_took_leaves_nothing(
    place: Place, ahead: Ahead, tmp_path: Path, refuses: Exception | None
) -> None:
    place.refuses = refuses
    ahead.begin()
    ahead.close()
    assert len(place.made) == 1
    assert place.alive == []
    assert list(tmp_path.iterdir()) == []
