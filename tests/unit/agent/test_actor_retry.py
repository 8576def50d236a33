"""Trying again what was refused: when, how often, how long, and what is written down.

A FIFO refuses a writer with ENXIO as long as nobody reads it: a refusal that clears.
"""

from __future__ import annotations

import errno
import os
import resource
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.agent.nursery import wait_any
from harness.bindings.actor import LaneState
from harness.history.columns import Table
from harness.model.units import MS
from tests.unit.agent.conftest import Watched
from tests.unit.agent.run import (
    begin,
    ioctl,
    opening,
    pause,
    program,
    read,
    retry,
    rows,
    run,
    staged,
    try_open,
    until,
)

ABSENT = try_open("/nonexistent/function")
NOBODY_READS = os.O_WRONLY | os.O_NONBLOCK


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    return path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "config"
    path.write_bytes(b"\x86\x80\xd3\x10")
    return path


def pauses(table: Table) -> list[int]:
    """From the end of each attempt to the begin of the next, in nanoseconds."""
    return [int(pause) for pause in table["begin_ns"][1:] - table["end_ns"][:-1]]


def test_a_refusal_that_clears_is_tried_until_it_does(fifo: Path, file: Path) -> None:
    steps = [try_open(fifo, NOBODY_READS, step=0), retry(errno.ENXIO), read(step=1)]
    with staged(program(steps, opens=[opening(file)]), lasting=60_000 * MS) as stage:
        thread = begin(stage, 0)
        until(lambda: stage.lane(0).count >= 4)
        reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
        thread.join(20)
        os.close(reader)
        table, lane = rows(stage, 0), stage.lane(0)
    refused, last = table[:-2], table[-2:]
    assert len(refused) >= 3
    assert set(refused["step"].tolist()) == {0}
    assert set(refused["result"].tolist()) == {-1}
    assert set(refused["error"].tolist()) == {errno.ENXIO}
    assert last["step"].tolist() == [0, 1]
    assert last["error"].tolist() == [0, 0]
    assert set(table["round"].tolist()) == {0}
    assert (lane.state, lane.rounds, lane.count, lane.lost) == (LaneState.DONE, 1, len(table), 0)


def test_a_descriptor_that_was_refused_at_first_is_used(nursery: Watched) -> None:
    """An actor that may have no more descriptors, until it may."""
    get_user, get_type = 0xB701, 0xB703  # Linux include/uapi/linux/nsfs.h
    steps = [
        ioctl(get_user, into=1, step=0),
        retry(errno.EMFILE),
        ioctl(get_type, slot=1, step=1),
    ]
    programs = [program(steps, opens=[opening("/proc/self/ns/net")]), program([pause(1)])]
    with staged(*programs, lasting=60_000 * MS) as stage:
        (actor,) = nursery.borrow(1)
        actor.begin(stage, 0)
        until(lambda: stage.lane(0).state is LaneState.ARRIVED)
        soft, hard = resource.prlimit(actor.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(actor.pid, resource.RLIMIT_NOFILE, (0, hard))
        other = begin(stage, 1)
        until(lambda: stage.lane(0).count >= 2)
        resource.prlimit(actor.pid, resource.RLIMIT_NOFILE, (soft, hard))
        assert wait_any([actor], 10) == [actor]
        other.join(20)
        table = rows(stage, 0)
    assert set(table["error"][:-2].tolist()) == {errno.EMFILE}
    assert table["step"][-2:].tolist() == [0, 1]
    assert table["error"][-2:].tolist() == [0, 0]
    assert table["result"][-1] == 0x10000000  # CLONE_NEWUSER


@pytest.mark.parametrize("attempts", [2, 3, 7])
def test_so_many_attempts_and_no_more_are_made_in_each_round(attempts: int, file: Path) -> None:
    steps = [ABSENT, retry(errno.ENOENT, attempts=attempts, first=MS // 10), read(step=1)]
    (table,) = run(program(steps, opens=[opening(file)], times=3), lasting=60_000 * MS)
    assert table["step"].tolist() == ([0] * attempts + [1]) * 3
    assert table["round"].tolist() == [number for number in range(3) for _ in range(attempts + 1)]


def test_success_is_not_tried_again(file: Path) -> None:
    (table,) = run(
        program([read(), retry(errno.ENOENT, 0)], opens=[opening(file)], times=3), lasting=60_000 * MS
    )
    assert table["round"].tolist() == [0, 1, 2]


@pytest.mark.parametrize("errnos", [(), (errno.EAGAIN,), (errno.EAGAIN, errno.EBUSY, 0, errno.ENOENT)])
def test_another_answer_is_final(errnos: tuple[int, ...]) -> None:
    (table,) = run(program([ABSENT, retry(*errnos)]))
    assert table["error"].tolist() == [errno.ENOENT]


@pytest.mark.parametrize("place", range(8))
def test_each_of_eight_answers_can_be_retried(place: int) -> None:
    errnos = [*range(200, 200 + place), errno.ENOENT, *range(300, 307 - place)]
    (table,) = run(program([ABSENT, retry(*errnos, attempts=3, first=MS // 10)]))
    assert len(table) == 3


def test_eight_answers_none_of_which_it_was_end_it() -> None:
    (table,) = run(program([ABSENT, retry(*range(200, 208))]))
    assert len(table) == 1


def test_an_answer_that_changes_into_a_final_one_ends_it(fifo: Path) -> None:
    steps = [try_open(fifo, NOBODY_READS), retry(errno.ENXIO)]
    with staged(program(steps), lasting=60_000 * MS) as stage:
        thread = begin(stage, 0)
        until(lambda: stage.lane(0).count >= 2)
        fifo.unlink()
        thread.join(20)
        table = rows(stage, 0)
    assert set(table["error"][:-1].tolist()) == {errno.ENXIO}
    assert table["error"][-1] == errno.ENOENT


@settings(max_examples=20)
@given(
    first=st.integers(0, MS),
    longest=st.integers(0, 2 * MS),
    attempts=st.integers(2, 7),
)
def test_pauses_double_up_to_the_longest(first: int, longest: int, attempts: int) -> None:
    steps = [ABSENT, retry(errno.ENOENT, attempts=attempts, first=first, longest=longest)]
    (table,) = run(program(steps))
    least = [min(first * 2**number, longest) for number in range(attempts - 1)]
    assert [pause >= wanted for pause, wanted in zip(pauses(table), least, strict=True)] == [True] * len(
        least
    )


def test_no_pause_is_longer_than_the_longest() -> None:
    """Without a limit, the last of these would take four seconds."""
    steps = [ABSENT, retry(errno.ENOENT, attempts=14, first=MS // 2, longest=2 * MS)]
    (table,) = run(program(steps))
    assert len(table) == 14
    assert max(pauses(table)) < 2000 * MS


def test_every_round_begins_with_the_first_pause_again() -> None:
    """If the second round went on doubling, its pauses alone would take seconds."""
    steps = [ABSENT, retry(errno.ENOENT, attempts=5, first=20 * MS, longest=60_000 * MS)]
    (table,) = run(program(steps, times=2), lasting=60_000 * MS)
    second = table[table["round"] == 1]
    assert len(second) == 5
    assert second["end_ns"][-1] - second["begin_ns"][0] < (20 + 40 + 80 + 160) * MS + 2000 * MS


def test_nothing_is_tried_beyond_the_patience(file: Path) -> None:
    steps = [ABSENT, retry(errno.ENOENT, first=200 * MS, within=1300 * MS), read(step=1)]
    (table,) = run(program(steps, opens=[opening(file)], times=2))
    for number in range(2):
        tried = table[(table["round"] == number) & (table["step"] == 0)]
        assert 2 <= len(tried) <= 7
        assert tried["begin_ns"][-2] - tried["begin_ns"][0] <= 1100 * MS
    assert (table["step"] == 1).sum() == 2


def test_a_pause_that_would_outlast_the_patience_is_not_begun() -> None:
    (table,) = run(program([ABSENT, retry(errno.ENOENT, first=60_000 * MS, within=50 * MS)]))
    assert len(table) == 1


def test_something_skipped_is_not_tried_again() -> None:
    """The answer to what came before it is not its own."""
    refused = ioctl(0xB702, into=3, step=0)  # NS_GET_PARENT of a network namespace: EINVAL
    steps = [refused, read(slot=3, step=1), retry(errno.EINVAL, first=30_000 * MS), ABSENT]
    with staged(program(steps, opens=[opening("/proc/self/ns/net")]), lasting=90_000 * MS) as stage:
        thread = begin(stage, 0)
        until(lambda: stage.lane(0).state is LaneState.DONE)
        thread.join(20)
        assert rows(stage, 0)["error"].tolist() == [errno.EINVAL, errno.ENOENT]


def test_stopping_ends_it() -> None:
    with staged(program([ABSENT, retry(errno.ENOENT)]), lasting=60_000 * MS) as stage:
        thread = begin(stage, 0)
        until(lambda: stage.lane(0).count >= 3)
        stage.stop()
        thread.join(20)
        assert stage.lane(0).state is LaneState.DONE


def test_no_attempt_is_made_when_the_stage_was_stopped_during_the_pause() -> None:
    steps = [ABSENT, retry(errno.ENOENT, first=2000 * MS)]
    with staged(program(steps), lasting=60_000 * MS) as stage:
        thread = begin(stage, 0)
        until(lambda: stage.lane(0).count == 1 and stage.lane(0).at == 3)
        stage.stop()
        thread.join(20)
        assert len(rows(stage, 0)) == 1


def test_attempts_without_room_are_counted_as_lost() -> None:
    with staged(program([ABSENT, retry(errno.ENOENT, attempts=10, first=MS // 10)]), room=4) as stage:
        begin(stage, 0).join(20)
        assert (stage.lane(0).count, stage.lane(0).lost) == (4, 6)
