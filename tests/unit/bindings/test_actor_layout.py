"""A record of the actor loop is a row of a history, byte for byte."""

from __future__ import annotations

import errno
import struct
import time

import pytest

from harness.agent.program import _SLOTS
from harness.bindings import _actor
from harness.bindings.actor import (
    RECORD_BYTES,
    Alike,
    Code,
    Instruction,
    LaneState,
    Room,
    SharedStage,
    act,
    now,
    patience,
)
from harness.errors import HarnessError
from harness.history.columns import OPERATION
from harness.model.units import Ns


def test_a_record_is_a_row_of_operations() -> None:
    assert OPERATION.itemsize == RECORD_BYTES
    names = OPERATION.names
    assert names is not None
    fields = dict(_actor.ffi.typeof("struct hx_record").fields)
    assert list(fields) == list(names)
    for name in names:
        assert fields[name].offset == OPERATION.fields[name][1], name  # type: ignore[index]
        assert _actor.ffi.sizeof(fields[name].type) == OPERATION[name].itemsize, name


@pytest.mark.parametrize("name", ["hx_step", "hx_record", "hx_stage", "hx_lane", "hx_patience"])
def test_every_struct_is_laid_out_as_declared(name: str) -> None:
    """Cffi compares our declaration with the compiler's layout at the first use, and raises when they differ."""
    made = _actor.ffi.new(f"struct {name} *")
    assert bytes(_actor.ffi.buffer(made)) == bytes(_actor.ffi.sizeof(f"struct {name}"))


def test_patience_is_two_times_and_eight_errnos() -> None:
    data = patience(Ns(5), Ns(2**40), (errno.EAGAIN, errno.EBUSY, errno.EINTR))
    assert struct.unpack("=2q8i", data) == (5, 2**40, errno.EAGAIN, errno.EBUSY, errno.EINTR, 0, 0, 0, 0, 0)
    assert struct.unpack("=2q8i", patience(Ns(0), Ns(0), range(1, 9)))[2:] == tuple(range(1, 9))


def test_more_than_eight_errnos_are_not_cut_short() -> None:
    with pytest.raises(IndexError):
        patience(Ns(0), Ns(0), range(1, 10))


def test_codes_and_states_are_those_of_the_loop() -> None:
    assert [code.value for code in Code] == list(range(len(Code)))
    assert [state.value for state in LaneState] == list(range(len(LaneState)))
    assert [alike.value for alike in Alike] == list(range(len(Alike)))


def test_the_clock_is_monotonic_time() -> None:
    before = time.monotonic_ns()
    assert before <= now() <= time.monotonic_ns()


def test_lanes_do_not_overlap() -> None:
    programs = [[Instruction(op=Code.RENDEZVOUS, data=b"x" * 5000)], [Instruction(op=Code.RENDEZVOUS)]]
    stage = SharedStage(programs, Ns(0), [Room(1000, 1000, Ns(0)), Room(3, 3, Ns(0))])
    try:
        first, second = stage.lane_at(0), stage.lane_at(1)
        assert first % 4096 == second % 4096 == 0
        assert second - first >= 5000 + 1000 * RECORD_BYTES
        assert stage.size_bytes >= second + 3 * RECORD_BYTES
        assert stage.lane(1).state is LaneState.NEW
    finally:
        stage.close()


def test_memory_that_cannot_be_mapped_is_an_error_of_ours() -> None:
    with pytest.raises(HarnessError, match="Bad file descriptor"):
        act(-1, 4096, 0)


def test_the_compiler_of_programs_knows_how_many_files_the_loop_can_hold() -> None:
    """One slot too many is refused by the loop, the last one is not."""
    for slot, error in ((_SLOTS - 1, 0), (_SLOTS, 22)):
        program = [
            Instruction(op=Code.OPEN, slot=slot, data=b"/dev/null"),
            Instruction(op=Code.RENDEZVOUS),
            Instruction(op=Code.BEGIN),
        ]
        stage = SharedStage([program], Ns(0), [Room(1, 1, Ns(0))])
        act(stage.fd, stage.size_bytes, stage.lane_at(0))
        assert stage.lane(0).error == error
        stage.close()
