"""How much room the records of a stage get, and how long it lasts where that is less than they may need."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.agent.room import LARGEST_LANE, LONGEST, MOST, SHORTEST, rooms
from harness.bindings.actor import Alike, Room
from harness.model.units import MS, SECOND, Ns
from tests.unit.agent.run import Program, close, ioctl, load, pause, program, read, retry, store, try_open


def readers(count: int, *, registers: int = 1) -> list[Program]:
    """Actors that read so many registers in turn, as fast as they can."""
    steps = [replace(read(step=step), alike=Alike.EQUAL) for step in range(registers)]
    return [program(steps, times=0)] * count


@pytest.mark.parametrize(
    ("steps", "times", "lasting", "room"),
    [
        ([read()], 100, SECOND, 100),
        ([read(), read()], 100, SECOND, 200),
        ([read()], 1, SECOND, 64),
        ([read()], 0, 10 * MS, 10_002),
        ([pause(10 * MS)], 0, 2 * SECOND, 202),
        ([pause(10 * MS), read()], 0, 2 * SECOND, 404),
        ([try_open("x"), close(), ioctl(1), load(), store(b"1")], 100, SECOND, 500),
    ],
)
def test_there_is_room_for_the_fastest_pace(steps: Program, times: int, lasting: int, room: int) -> None:
    """And then nothing is ever left out."""
    assert rooms([program(steps, times=times)], Ns(lasting)) == [Room(room, room, Ns(0))]


@pytest.mark.parametrize("times", [100, 0])
def test_there_is_room_for_every_attempt(times: int) -> None:
    steps = [read(), retry(11, attempts=5), pause(10 * MS)]
    (room,) = rooms([program(steps, times=times)], Ns(990 * MS))
    assert room.records >= 100 * (5 + 1)


@pytest.mark.parametrize("count", [1, 2, 8, 64])
def test_all_lanes_together_are_bounded(count: int) -> None:
    given = rooms(readers(count), Ns(60 * SECOND))
    assert sum(room.records for room in given) <= MOST
    assert {room.records for room in given} == {min(LARGEST_LANE, MOST // count)}


def test_who_needs_little_gets_it_and_leaves_the_rest_to_the_others() -> None:
    paced = program([pause(10 * MS), read()], times=0)
    given = rooms([readers(1)[0], paced, *readers(3)], Ns(60 * SECOND))
    assert given[1] == Room(12_004, 12_004, Ns(0))
    assert {room.records for room in (given[0], *given[2:])} == {(MOST - 12_004) // 4}


@pytest.mark.parametrize("count", [1, 2, 8])
@pytest.mark.parametrize("registers", [1, 3])
@pytest.mark.parametrize("lasting", [SECOND, 10 * SECOND, 60 * SECOND])
def test_a_lane_lasts_as_long_as_the_stage(count: int, registers: int, lasting: int) -> None:
    """However the steps take turns, and though an access is slow as often as one can be."""
    for room in rooms(readers(count, registers=registers), Ns(lasting)):
        assert SHORTEST <= room.thin_ns <= LONGEST
        rows = (2 * registers + 1) * lasting / room.thin_ns
        assert rows <= room.records - room.thin_from + 1


def test_a_minute_of_eight_readers_keeps_apart_what_is_two_milliseconds_apart() -> None:
    for room in rooms(readers(8), Ns(60 * SECOND)):
        assert room.thin_ns <= 2 * MS
