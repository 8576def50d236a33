"""The loop itself, on temporary files: what it does, when, and what it writes down."""

from __future__ import annotations

import errno
import gc
import mmap
import os
import threading
from pathlib import Path

import pytest

from harness.bindings.actor import Code, Instruction, LaneState, now
from harness.model.units import MS
from tests.unit.agent.gate import guarded
from tests.unit.agent.run import (
    begin,
    opening,
    pause,
    program,
    read,
    rows,
    run,
    staged,
    try_open,
    until,
    write,
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Eight thousand bytes, each the low byte of its offset."""
    path = tmp_path / "config"
    path.write_bytes(bytes(range(256)) * 32)
    return path


@pytest.mark.parametrize("width", [1, 2, 4, 8])
def test_a_read_keeps_what_it_read_little_endian(file: Path, width: int) -> None:
    (table,) = run(program([read(0x10, width)], opens=[opening(file)]))
    (row,) = table
    assert row["result"] == width
    assert int(row["value"]) == int.from_bytes(bytes(range(0x10, 0x10 + width)), "little")
    assert row["error"] == 0


def test_a_long_read_keeps_its_first_eight_bytes(file: Path) -> None:
    (table,) = run(program([read(1, 4096), read(0, 9000, step=1)], opens=[opening(file)]))
    assert table["result"].tolist() == [4096, 4096]
    assert int(table["value"][0]) == int.from_bytes(bytes(range(1, 9)), "little")


def test_a_short_read_and_an_empty_one_say_so(file: Path) -> None:
    (table,) = run(program([read(8190, 4), read(9000, 4)], opens=[opening(file)]))
    assert table["result"].tolist() == [2, 0]
    assert table["value"].tolist() == [0xFFFE, 0]


@pytest.mark.parametrize("data", [b"1", b"\x06\x05", b"\x04\x03\x02\x01", b"12345678"])
def test_a_write_lands_at_its_offset_and_is_kept(file: Path, data: bytes) -> None:
    (table,) = run(program([write(data, 0x40)], opens=[opening(file, os.O_WRONLY)]))
    (row,) = table
    assert (row["result"], int(row["value"])) == (len(data), int.from_bytes(data, "little"))
    assert file.read_bytes()[0x3F : 0x41 + len(data)] == b"\x3f" + data + bytes([0x40 + len(data)])


@pytest.mark.parametrize("width", [1, 2, 4, 8])
def test_a_mapped_register_is_stored_and_loaded_in_its_width(file: Path, width: int) -> None:
    data = bytes(range(0xA0, 0xA0 + width))
    steps = [
        Instruction(op=Code.STORE, offset=0x80, width=width, data=data, step=0),
        Instruction(op=Code.LOAD, offset=0x80, width=width, step=1),
        Instruction(op=Code.LOAD, offset=0x78, width=8, step=2),
    ]
    (table,) = run(program(steps, opens=[opening(file, os.O_RDWR), Instruction(op=Code.MAP)]))
    assert table["value"][:2].tolist() == [int.from_bytes(data, "little")] * 2
    assert table["result"].tolist() == [width, width, 8]
    assert int(table["value"][2]) == int.from_bytes(bytes(range(0x78, 0x80)), "little")
    assert file.read_bytes()[0x80 : 0x80 + width] == data
    assert file.read_bytes()[0x80 + width] == 0x80 + width


def test_a_failed_call_keeps_its_errno(file: Path) -> None:
    (table,) = run(program([write(b"1"), read(0, 2, step=1)], opens=[opening(file, os.O_RDONLY)]))
    assert table["result"].tolist() == [-1, 2]
    assert table["error"].tolist() == [errno.EBADF, 0]


def test_each_row_names_actor_step_and_round(file: Path) -> None:
    steps = [read(step=0), read(step=1)]
    tables = run(
        program(steps, opens=[opening(file)], times=3), program(steps, opens=[opening(file)], times=1)
    )
    assert tables[0]["round"].tolist() == [0, 0, 1, 1, 2, 2]
    assert tables[0]["step"].tolist() == [0, 1] * 3
    assert [sorted(set(table["actor"].tolist())) for table in tables] == [[0], [1]]


def test_the_rehearsal_reads_nothing(file: Path) -> None:
    """A read of no bytes, before the rendezvous, never reaches a device."""
    accounting = Path("/proc/self/io")
    if not accounting.exists():
        pytest.skip("this kernel does not count what a process reads (CONFIG_TASK_IO_ACCOUNTING)")

    def characters() -> int:
        return int(accounting.read_text().split()[1])

    before = characters()
    (table,) = run(program([read(0, 4096)], opens=[opening(file)]))
    assert table["result"].tolist() == [4096]
    assert 4096 <= characters() - before < 2 * 4096


def test_every_call_lies_between_its_time_stamps(file: Path) -> None:
    before = now()
    (table,) = run(program([read()], opens=[opening(file)], times=50))
    begins, ends = table["begin_ns"], table["end_ns"]
    assert before <= begins[0]
    assert ends[-1] <= now()
    assert (begins <= ends).all()
    assert (ends[:-1] <= begins[1:]).all()


def test_rounds_begin_as_long_as_the_stage_lasts(file: Path) -> None:
    """On a busy machine there may be time for the first round alone: so it is staged until there was more."""
    lasting = 30 * MS

    def more_than_the_first() -> bool:
        reading = program([read()], opens=[opening(file)], times=0)
        with staged(reading, lasting=lasting, room=600_000) as stage:
            begin(stage, 0).join(20)
            table, lane, end = rows(stage, 0), stage.lane(0), stage.release_ns + lasting
        assert lane.state is LaneState.DONE
        assert lane.count == lane.rounds == len(table)
        assert (table["begin_ns"][1:] < end).all()
        assert table["end_ns"][-1] >= end
        assert lane.lost == 0
        return len(table) > 1

    until(more_than_the_first, seconds=60)


def test_no_more_rounds_than_asked_for(file: Path) -> None:
    (table,) = run(program([read()], opens=[opening(file)], times=7), lasting=20_000 * MS)
    assert len(table) == 7


def test_the_first_round_begins_at_its_time(file: Path) -> None:
    starts = 20 * MS
    with staged(program([read()], opens=[opening(file)], starts_ns=starts)) as stage:
        begin(stage, 0).join(20)
        (row,) = rows(stage, 0)
        late = int(row["begin_ns"]) - stage.release_ns - starts
    assert 0 <= late < 1000 * MS


def test_who_would_begin_after_the_end_does_nothing(file: Path) -> None:
    (table,) = run(program([read()], opens=[opening(file)], starts_ns=60 * MS), lasting=50 * MS)
    assert len(table) == 0


def test_pauses_keep_the_pace_and_write_down_when_they_were_to_end(file: Path) -> None:
    """They count from the planned end of the last one, so that a late wake-up does not add up."""
    beat = 5 * MS
    beating = program([pause(beat, step=0), read(step=1)], opens=[opening(file)], times=0)
    with staged(beating, lasting=50 * MS) as stage:
        begin(stage, 0).join(20)
        table, release = rows(stage, 0), stage.release_ns
    beats = table[table["step"] == 0]
    assert 1 <= len(beats) <= 9
    assert beats["value"].tolist() == [release + beat * number for number in range(1, len(beats) + 1)]
    assert (beats["end_ns"] >= beats["value"]).all()
    assert beats["result"].tolist() == [0] * len(beats)


def test_a_pause_that_would_leave_the_stage_is_not_begun() -> None:
    (table,) = run(program([pause(1000 * MS)], times=0), lasting=20 * MS)
    assert len(table) == 0


def test_a_file_that_cannot_be_opened_refuses_before_the_others_are_released(tmp_path: Path) -> None:
    missing = program([read()], opens=[opening(tmp_path / "absent")])
    with staged(missing, program([pause(1)])) as stage:
        begin(stage, 0).join(20)
        waiting = begin(stage, 1)
        until(lambda: stage.lane(1).state is LaneState.ARRIVED)
        lane = stage.lane(0)
        assert (lane.state, lane.error, lane.at, lane.count) == (LaneState.REFUSED, errno.ENOENT, 0, 0)
        assert stage.release_ns == 0
        stage.stop()
        waiting.join(20)
        assert stage.lane(1).count == 0


def test_what_cannot_be_mapped_refuses(tmp_path: Path) -> None:
    empty = tmp_path / "resource0"
    empty.touch()
    with staged(program([read()], opens=[opening(empty, os.O_RDWR), Instruction(op=Code.MAP)])) as stage:
        begin(stage, 0).join(20)
        assert (stage.lane(0).error, stage.lane(0).at) == (errno.EINVAL, 1)


def test_operations_without_room_are_counted_as_lost(file: Path) -> None:
    with staged(program([read()], opens=[opening(file)], times=10), room=4) as stage:
        begin(stage, 0).join(20)
        lane, table = stage.lane(0), rows(stage, 0)
    assert (lane.count, lane.lost, lane.rounds) == (4, 6, 10)
    assert table["round"].tolist() == [0, 1, 2, 3]


def test_nothing_is_lost_when_there_is_just_enough_room(file: Path) -> None:
    with staged(program([read()], opens=[opening(file)], times=4), room=4) as stage:
        begin(stage, 0).join(20)
        assert (stage.lane(0).count, stage.lane(0).lost) == (4, 0)


def test_all_are_released_together_and_only_when_the_last_has_arrived(file: Path) -> None:
    programs = [program([read()], opens=[opening(file)]) for _ in range(3)]
    with staged(*programs) as stage:
        threads = [begin(stage, 0), begin(stage, 1)]
        until(lambda: all(stage.lane(n).state is LaneState.ARRIVED for n in (0, 1)))
        assert stage.release_ns == 0
        assert stage.lane(0).count == stage.lane(1).count == 0
        threads.append(begin(stage, 2))
        for thread in threads:
            thread.join(20)
        first = [int(rows(stage, number)["begin_ns"][0]) for number in range(3)]
        assert min(first) >= stage.release_ns > 0


def test_stopping_ends_rounds_without_number(file: Path) -> None:
    with staged(program([read()], opens=[opening(file)], times=0), lasting=60_000 * MS, room=64) as stage:
        thread = begin(stage, 0)
        until(lambda: stage.lane(0).rounds > 5)
        assert stage.lane(0).state is LaneState.RUNNING
        stage.stop()
        thread.join(20)
        assert not thread.is_alive()
        assert stage.lane(0).state is LaneState.DONE


def test_an_operation_in_flight_is_seen_from_outside(file: Path) -> None:
    """Begun, not ended: that is what the judge calls in-flight.  A FIFO opens for a reader when a writer comes."""
    fifo = file.with_name("fifo")
    os.mkfifo(fifo)
    long = program([read(step=0), try_open(fifo, step=1)], opens=[opening(file)])
    with staged(long) as stage:
        thread = begin(stage, 0)
        until(lambda: stage.lane(0).count == 2)
        table = rows(stage, 0)
        assert table["end_ns"][0] >= table["begin_ns"][0] > 0
        assert table["end_ns"][1] == 0
        assert thread.is_alive()
        writer = os.open(fifo, os.O_WRONLY)
        thread.join(20)
        os.close(writer)
        assert rows(stage, 0)["end_ns"][1] > 0


def test_the_thread_is_known(file: Path) -> None:
    with staged(program([read()], opens=[opening(file)])) as stage:
        thread = begin(stage, 0)
        thread.join(20)
        assert stage.lane(0).tid == thread.native_id
        assert stage.lane(0).tid != threading.get_native_id()


def test_no_descriptor_and_no_mapping_is_left_behind(file: Path) -> None:
    def held() -> tuple[set[str], int]:
        gc.collect()  # what earlier tests left would be closed at some moment of this one's
        maps = Path("/proc/self/maps").read_text()
        return {path.name for path in Path("/proc/self/fd").iterdir()}, maps.count(str(file)) + maps.count(
            "hil-stage"
        )

    before = held()
    opens = [opening(file, os.O_RDWR), Instruction(op=Code.MAP)]
    run(program([Instruction(op=Code.LOAD, width=mmap.PAGESIZE // 512)], opens=opens))
    assert held() == before


def test_a_read_that_sleeps_in_the_kernel_is_seen_from_outside(file: Path) -> None:
    """What the agent knows of an actor before a config lock: which read, since when, and not its end."""
    with (
        guarded(file) as gate,
        staged(program([read(step=0), read(8, step=1)], opens=[opening(file)]), lasting=20_000 * MS) as stage,
    ):
        thread = begin(stage, 0)
        gate.admit(gate.arrival(10))  # the rehearsal, of no bytes
        gate.admit(gate.arrival(10))
        stuck = gate.arrival(10)
        table = rows(stage, 0)
        assert stage.lane(0).count == 2
        assert table["step"].tolist() == [0, 1]
        assert table["end_ns"][0] > 0
        assert (table["begin_ns"][1] > 0, table["end_ns"][1]) == (True, 0)
        assert thread.is_alive()
        opened = now()
        gate.admit(stuck)
        thread.join(20)
        row = rows(stage, 0)[1]
        assert row["begin_ns"] < opened < row["end_ns"]
        assert int(row["value"]) == 0x0B0A0908
