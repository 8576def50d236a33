"""A lane that gets full: which accesses lose their rows, and what the rows that are left still say."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from harness.bindings.actor import Alike, Instruction, Lane, seen_from_outside
from harness.history.columns import Table
from harness.model.units import MS, US
from tests.unit.agent.run import Program, begin, opening, pause, program, read, rows, staged, until, write

LONG_ENOUGH = 60_000 * MS
"""For a busy machine: no access is taken for slow."""
MANY = 20_000


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "config"
    path.write_bytes(b"\x86\x80\xd3\x10" * 64)
    return path


def alike(step: Instruction, how: Alike = Alike.EQUAL) -> Instruction:
    return replace(step, alike=how)


def kept(
    what: Program, *, room: int = 1000, thin_from: int = 100, thin_ns: int = LONG_ENOUGH
) -> tuple[Lane, Table]:
    """Run one program to its end: the lane, and its rows in the order of time."""
    with staged(what, room=room, thinned=(thin_from, thin_ns)) as stage:
        begin(stage, 0).join(60)
        table = rows(stage, 0)
        return stage.lane(0), table[np.argsort(table["begin_ns"], kind="stable")]


def test_a_reader_that_is_faster_than_its_lane_loses_nothing(file: Path) -> None:
    lane, table = kept(program([alike(read())], opens=[opening(file)], times=MANY))
    assert (lane.lost, lane.lost_ns) == (0, 0)
    assert len(table) + lane.thinned == lane.rounds == MANY
    assert table["round"][:100].tolist() == list(range(100))
    assert len(table) <= 104, "the first and the last, the one before that, and whatever the loop holds"
    assert table["round"][-1] == MANY - 1
    assert set(table["value"].tolist()) == {0x10D38086}
    assert (table["begin_ns"] <= table["end_ns"]).all()
    assert (table["end_ns"][:-1] <= table["begin_ns"][1:]).all()


def test_what_is_left_out_is_no_longer_than_it_may_be(file: Path) -> None:
    """Of a stage that goes on, the first and the last row of each stretch are there."""
    bound = 2 * MS
    lane, table = kept(
        program([alike(read())], opens=[opening(file)], times=MANY), room=MANY, thin_from=50, thin_ns=bound
    )
    assert lane.thinned + len(table) == MANY
    missing = np.diff(table["round"].astype(np.int64)) - 1
    gaps = np.flatnonzero(missing > 0)
    assert len(gaps) > 0
    assert missing.sum() == lane.thinned
    assert (table["end_ns"][gaps + 1] - table["begin_ns"][gaps] <= bound).all()


def test_what_came_to_another_value_has_a_row(file: Path) -> None:
    """Two registers in turn through one step each, and a third whose value its own actor changes now and then."""
    steps = [
        alike(read(0, step=0)),
        alike(read(4, width=1, step=1)),
        *(write(value, 4, step=2 + number) for number, value in enumerate((b"a", b"b"))),
    ]
    lane, table = kept(
        program(
            [steps[0], steps[1], steps[2], replace(steps[1], step=4), steps[3]],
            opens=[opening(file, os.O_RDWR)],
            times=200,
        ),
        thin_from=10,
    )
    assert lane.lost == 0
    by_step = {step: table[table["step"] == step] for step in range(5)}
    assert [len(by_step[step]) for step in (2, 3)] == [200, 200], "writes are never left out"
    assert by_step[1]["value"].tolist()[:3] == [0x86, ord("b"), ord("b")]
    assert all(len(by_step[step]) < 30 for step in (0, 1, 4))
    assert set(by_step[4]["value"].tolist()) == {ord("a")}
    assert len(table) + lane.thinned == 5 * 200


def test_values_that_are_never_equal_are_lost_and_since_when() -> None:
    what = program([alike(read())], opens=[opening("/dev/urandom")], times=400)
    lane, table = kept(what, room=200)
    assert (len(table), lane.thinned, lane.lost) == (200, 0, 200)
    assert table["end_ns"][-1] <= lane.lost_ns


def test_data_of_a_register_is_alike_whatever_it_is() -> None:
    lane, table = kept(
        program([alike(read(width=8), Alike.DATA)], opens=[opening("/dev/urandom")], times=MANY)
    )
    assert (lane.lost, lane.thinned + len(table)) == (0, MANY)
    assert len(set(table["value"].tolist())) == len(table), "each row is an access as it was"


@pytest.mark.parametrize(
    ("how", "contents"),
    [
        (Alike.EQUAL, (b"\x01\0\0\0", b"\x02\0\0\0")),
        (Alike.DATA, (b"\x01\0\0\0", b"\xff\xff\xff\xff")),
        (Alike.DATA, (b"\0\0\0\0", b"\x02\0\0\0")),
        (Alike.DATA, (b"\0\0\0\0", b"\xff\xff\xff\xff")),
        (Alike.EQUAL, (b"", b"\0\0\0\0")),
    ],
    ids=("other data", "all-ones", "all-zero", "made up in two ways", "fewer bytes"),
)
def test_each_change_of_what_one_step_sees_has_a_row(
    file: Path, how: Alike, contents: tuple[bytes, bytes]
) -> None:
    """The file changes while it is read: each time some accesses see it as it was, and some as it is then."""
    changes = 20
    file.write_bytes(contents[0])
    reader = program([alike(read(), how)], opens=[opening(file)], times=0)
    with staged(reader, room=1000, thinned=(0, LONG_ENOUGH)) as stage:
        thread = begin(stage, 0)
        for number in range(changes):
            seen = stage.lane(0).rounds
            until(lambda seen=seen: stage.lane(0).rounds > seen + 5)
            os.truncate(file, len(contents[1 - number % 2]))
            with file.open("r+b") as writing:
                writing.write(contents[1 - number % 2])
        stage.stop()
        thread.join(20)
        table, lane = rows(stage, 0), stage.lane(0)
    table = table[np.argsort(table["begin_ns"], kind="stable")]
    told = list(zip(table["result"].tolist(), table["value"].tolist(), strict=True))
    assert sum(one != other for one, other in pairwise(told)) >= changes - 1
    assert (lane.lost, lane.thinned + len(table)) == (0, lane.rounds)
    assert len(table) < 4 * changes + 4


@pytest.mark.parametrize("how", [Alike.EQUAL, Alike.DATA])
def test_refusals_that_are_alike_are_left_out_too(file: Path, how: Alike) -> None:
    lane, table = kept(program([alike(read(), how)], opens=[opening(file, os.O_WRONLY)], times=MANY))
    assert set(table["error"].tolist()) == {errno.EBADF}
    assert (lane.lost, len(table) + lane.thinned) == (0, MANY)


def test_pauses_that_are_kept_in_time_leave_room(file: Path) -> None:
    paced = program(
        [alike(read()), alike(pause(20 * US, step=1), Alike.ALWAYS)], opens=[opening(file)], times=2000
    )
    lane, table = kept(paced, room=400)
    assert (lane.lost, len(table) + lane.thinned, lane.rounds) == (0, 4000, 2000)


def test_what_takes_longer_has_a_row(file: Path) -> None:
    """Here everything does."""
    lane, table = kept(program([alike(read())], opens=[opening(file)], times=500), thin_from=0, thin_ns=1)
    assert (lane.thinned, len(table)) == (0, 500)
    assert all(one["round"] < other["round"] for one, other in pairwise(table))


def test_nothing_is_left_out_of_steps_of_which_none_are_alike(file: Path) -> None:
    lane, table = kept(program([read()], opens=[opening(file)], times=500), thin_from=0)
    assert (lane.thinned, len(table)) == (0, 500)


def test_what_an_actor_has_done_is_counted_from_outside(file: Path) -> None:
    with staged(
        program([alike(read(step=3))], opens=[opening(file)], times=MANY), room=100, thinned=(50, LONG_ENOUGH)
    ) as stage:
        begin(stage, 0).join(60)
        lane_at = stage.lane_at(0)
        pages = {lane_at: stage._memory[lane_at : lane_at + 4096]}
        ((last,),) = (seen_from_outside(pages, stage.id)[1],)
    assert (last.count, last.round, last.step, last.returned) == (MANY, MANY - 1, 3, True)
