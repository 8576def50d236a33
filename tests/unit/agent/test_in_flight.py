"""What a lane says of the operation in flight to whoever has nothing but a few pages of physical memory."""

from __future__ import annotations

import collections
import mmap
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.bindings import _actor
from harness.bindings import actor as module
from harness.bindings.actor import Code, Instruction, SharedStage, seen_from_outside
from harness.model.loss import InFlight
from harness.model.units import MS
from tests.unit.agent.conftest import Watched
from tests.unit.agent.gate import Gate, guarded
from tests.unit.agent.run import begin, opening, pause, program, read, rows, staged, until


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "config"
    path.write_bytes(bytes(256))
    return path


@pytest.fixture
def gate(file: Path) -> Iterator[Gate]:
    with guarded(file) as gate:
        yield gate


def content(stage: SharedStage) -> dict[int, bytes]:
    """The pages as somebody else sees them: through another mapping of the same memory."""
    with mmap.mmap(stage.fd, stage.size_bytes, prot=mmap.PROT_READ) as memory:
        lanes = [stage.lane_at(number) for number in range(len(stage._lanes))]
        return {at: memory[at : at + mmap.PAGESIZE] for at in (0, *lanes)}


def seen(stage: SharedStage, number: int = 0) -> InFlight:
    return seen_from_outside(content(stage), stage.id)[1][number]


def test_an_actor_that_has_not_begun_is_in_no_step() -> None:
    with staged(program([read()])) as stage:
        nothing = InFlight(actor=0, step=None, tid=0, round=0, begin_ns=0, count=0, returned=True)
        assert seen_from_outside(content(stage), stage.id) == (0, (nothing,))


def test_an_operation_that_sleeps_in_the_kernel_is_seen_with_its_step_round_and_time(
    file: Path, gate: Gate
) -> None:
    steps = [pause(1), read(step=1), read(4, step=2)]
    with staged(program(steps, opens=[opening(file)], times=9), lasting=60_000 * MS) as stage:
        thread = begin(stage, 0)
        for _ in range(2 * 3):  # three rounds; the rehearsal is that of a pause, and reads nothing
            gate.admit(gate.arrival(10))
        held = gate.arrival(10)
        row = rows(stage, 0)[-1]
        now = seen(stage)
        assert (now.step, now.round, now.returned) == (1, 3, False)
        assert (now.begin_ns, now.count, now.tid) == (row["begin_ns"], len(rows(stage, 0)), stage.lane(0).tid)
        assert seen_from_outside(content(stage), stage.id)[0] == stage.release_ns > 0
        gate.admit(held)
        held = gate.arrival(10)
        assert (seen(stage).step, seen(stage).round) == (2, 3)
        stage.stop()
        gate.admit(held)
        thread.join(10)
        assert seen(stage).returned


def test_what_has_returned_says_so(file: Path) -> None:
    with staged(program([read(step=3)], opens=[opening(file)], times=5)) as stage:
        begin(stage, 0).join(10)
        last = seen(stage)
        assert (last.step, last.round, last.returned, last.count) == (3, 4, True, 5)
        assert last.begin_ns == rows(stage, 0)[-1]["begin_ns"]


def test_operations_without_room_for_a_record_are_seen_too(file: Path) -> None:
    with staged(program([read(step=1)], opens=[opening(file)], times=50), room=4) as stage:
        begin(stage, 0).join(10)
        assert (seen(stage).round, seen(stage).count) == (49, 50)


def test_a_pause_is_an_operation_too(nursery: Watched) -> None:
    """In a process, which can be ended: a thread would go on for half a minute beside the tests that follow."""
    with staged(program([pause(30_000 * MS, step=2)])) as stage:
        (actor,) = nursery.borrow(1)
        actor.begin(stage, 0)
        until(lambda: stage.lane(0).count == 1)
        until(lambda: not seen(stage).returned)
        assert (seen(stage).step, seen(stage).begin_ns) == (2, rows(stage, 0)[0]["begin_ns"])
        assert nursery.fate(actor.pid) == "still there"


def test_a_page_of_another_stage_or_another_place_is_left_out() -> None:
    """What the kernel leaves behind when it moves a page, and what it puts there afterwards."""
    with staged(program([read()]), program([read()])) as stage, staged(program([read()])) as other:
        pages = content(stage)
        first, second = stage.lane_at(0), stage.lane_at(1)
        assert [one.actor for one in seen_from_outside(pages, stage.id)[1]] == [0, 1]
        assert seen_from_outside(pages, other.id) == (0, ())
        swapped = {first: pages[second], second: pages[first]}
        assert seen_from_outside(swapped, stage.id) == (0, ())
        for damaged in (b"", bytes(4096), b"\xff" * 4096, pages[first][:20]):
            assert [one.actor for one in seen_from_outside(pages | {first: damaged}, stage.id)[1]] == [1]


def lane(*, since: int, doing: int) -> InFlight:
    """What is read from a lane that holds these two words."""
    made = _actor.ffi.new("struct hx_lane *", {"since_ns": since, "doing": doing})
    return module._in_flight(made)


def word(begin_ns: int, step: int, number: int, *, flying: bool) -> int:
    """As take_off() and land() of cdefs/actor.csrc.c write it."""
    return (1 << 63 if flying else 1 << 62) | (begin_ns & 0x3FFF) << 48 | step << 32 | number


@given(
    first=st.integers(1, 2**62),
    apart=st.integers(1, 2**14 - 1) | st.integers(1, 2**40).map(lambda n: 2**14 * n + 1),
    step=st.integers(0, 0xFFFF),
    number=st.integers(0, 2**32 - 1),
    flying=st.booleans(),
)
def test_a_reader_who_comes_between_two_stores_claims_no_wrong_time(
    first: int, apart: int, step: int, number: int, *, flying: bool
) -> None:
    """One word is of one operation and the other of the next: the time is not known, and the rest is of one of them."""
    torn = lane(since=first + apart, doing=word(first, step, number, flying=flying))
    assert (torn.step, torn.round, torn.returned, torn.begin_ns) == (step, number, not flying, 0)
    whole = lane(since=first, doing=word(first, step, number, flying=flying))
    assert (whole.step, whole.round, whole.returned, whole.begin_ns) == (step, number, not flying, first)


def test_who_watches_all_the_time_never_sees_a_time_that_is_not_of_that_operation(file: Path) -> None:
    """On a busy machine a watcher may get a single look at a whole stage: so stages are watched until all was seen."""
    met: collections.Counter[bool] = collections.Counter()

    def watched() -> bool:
        found: list[InFlight] = []
        with staged(
            program([read(step=0), read(step=1)], opens=[opening(file)], times=20_000),
            room=50_000,
            lasting=3_000 * MS,
        ) as stage:
            thread = begin(stage, 0)
            while thread.is_alive():
                found.append(seen(stage))
            table = rows(stage, 0)
        begins = {(int(row["step"]), int(row["round"])): int(row["begin_ns"]) for row in table}
        timed = [one for one in found if one.step is not None and one.begin_ns]
        assert all(begins[one.step or 0, one.round] == one.begin_ns for one in timed)
        met.update(one.returned for one in timed)
        return met[True] > 0 and met[False] > 0 and met.total() > 100

    until(watched, seconds=60)


def test_the_agent_knows_where_the_pages_lie() -> None:
    """Another mapping of the same memory has the same frames."""
    if os.geteuid() != 0:
        pytest.skip("frames are told to root alone")
    with staged(program([read()]), program([read()])) as stage:
        told = stage.pages()
        assert sorted(told) == [0, stage.lane_at(0), stage.lane_at(1)]
        assert len(set(told.values())) == 3
        with mmap.mmap(stage.fd, stage.size_bytes) as again:
            base = int(_actor.ffi.cast("uintptr_t", _actor.ffi.from_buffer(again)))
            for at, physical in told.items():
                assert again[at] is not None  # touch it: a page table is filled at the first access
                entry = os.pread(
                    (pagemap := os.open("/proc/self/pagemap", os.O_RDONLY)), 8, (base + at) // 4096 * 8
                )
                os.close(pagemap)
                assert (int.from_bytes(entry, "little") & ((1 << 55) - 1)) * 4096 == physical


def test_who_may_not_know_frames_tells_none() -> None:
    """The kernel hides frames without CAP_SYS_ADMIN, or the whole file."""
    with staged(program([read()])) as stage:
        pid = os.fork()
        if pid == 0:
            try:
                os.setresuid(65534, 65534, 65534) if os.geteuid() == 0 else None
                os._exit(0 if stage.pages() == {} else 1)
            finally:
                os._exit(2)
        assert os.waitpid(pid, 0)[1] == 0


def test_both_pages_are_locked() -> None:
    with staged(program([read()])):
        locked = [
            line
            for line in Path("/proc/self/smaps").read_text().splitlines()
            if line.startswith("Locked:") and line.split()[1] != "0"
        ]
        assert locked


def test_every_kind_of_operation_leaves_its_last_word(file: Path) -> None:
    """Also the calls that are not small reads go through the same words."""
    closing = Instruction(op=Code.CLOSE, step=7)
    with staged(program([read(0, 64, step=1), closing], opens=[opening(file)])) as stage:
        thread = threading.Thread(target=lambda: begin(stage, 0).join(10))
        thread.start()
        thread.join(10)
        assert (seen(stage).step, seen(stage).returned) == (7, True)


def test_the_rehearsal_is_no_operation(file: Path) -> None:
    with staged(program([read()], opens=[opening(file)]), program([read()], opens=[opening(file)])) as stage:
        thread = begin(stage, 0)
        until(lambda: stage.lane(0).state.name == "ARRIVED")
        assert seen(stage).step is None
        stage.stop()
        thread.join(10)
