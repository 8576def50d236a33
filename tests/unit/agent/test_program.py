"""From the actor of a plan to the instructions of the loop."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.agent.program import compile_actor
from harness.bindings.actor import Code
from harness.errors import StagingError
from harness.model.operation import ATTRIBUTE_READ, CHECK, HEARTBEAT, MARK, config_read, config_write, reset
from harness.model.pci import AccessPath, ResetMethod
from harness.model.plan import Actor, File, Op, Step
from harness.model.units import Ns

CONFIG = File(function="igb0", role="config")
READ = Step(op=Op.READ, means=config_read(AccessPath.SYSFS), file=CONFIG, offset=4, width=4)
WRITE = Step(op=Op.WRITE, means=config_write(AccessPath.SYSFS), file=CONFIG, offset=4, value=b"\x06\x05")
RESET = Step(op=Op.WRITE, means=reset(ResetMethod.FLR), file=File(function="igb0", role="reset"), value=b"1")
PAUSE = Step(op=Op.PAUSE, means=HEARTBEAT, time_ns=Ns(10_000))
MARKED = Step(
    op=Op.STORE, means=MARK, file=File(function="igb0", role="resource0"), offset=0x80, value=b"mark"
)
CHECKED = Step(op=Op.LOAD, means=CHECK, file=File(function="igb0", role="resource0"), offset=0x80, width=4)


def resolve(file: File) -> Path:
    return Path("/sys", file.function, file.role)


def compiled(*steps: Step, times: int | None = None, starts: int = 0) -> list[tuple[Code, int]]:
    program = compile_actor(Actor(name="a", steps=steps, times=times, starts_ns=Ns(starts)), resolve)
    return [(one.op, one.slot) for one in program]


def test_files_are_opened_before_the_rendezvous_and_steps_come_after() -> None:
    program = compile_actor(Actor(name="a", steps=(READ, PAUSE, RESET), starts_ns=Ns(7), times=3), resolve)
    assert [one.op for one in program] == [
        Code.OPEN,
        Code.OPEN,
        Code.RENDEZVOUS,
        Code.BEGIN,
        Code.READ,
        Code.PAUSE,
        Code.WRITE,
        Code.REPEAT,
    ]
    assert [one.data for one in program[:2]] == [b"/sys/igb0/config", b"/sys/igb0/reset"]
    begin, read, pause, write, again = program[3:]
    assert begin.time_ns == 7
    assert (read.offset, read.width, read.step) == (4, 4, 0)
    assert (pause.time_ns, pause.step) == (10_000, 1)
    assert (write.data, write.width, write.slot, write.step) == (b"1", 1, 1, 2)
    assert (again.slot, again.times) == (4, 3)


def test_without_a_number_rounds_are_repeated_until_the_end() -> None:
    assert compile_actor(Actor(name="a", steps=(READ,)), resolve)[-1].times == 0


def test_a_file_is_opened_once_however_often_it_is_used() -> None:
    assert [code for code, _ in compiled(READ, READ, WRITE, READ)].count(Code.OPEN) == 1
    assert [slot for code, slot in compiled(RESET, READ) if code is Code.READ] == [1]


@pytest.mark.parametrize(
    ("steps", "flags"),
    [
        ((READ,), os.O_RDONLY),
        ((RESET,), os.O_WRONLY),
        ((READ, WRITE), os.O_RDWR),
        ((MARKED, CHECKED), os.O_RDWR),
        ((CHECKED,), os.O_RDWR),
    ],
)
def test_no_more_access_is_asked_for_than_the_steps_need(steps: tuple[Step, ...], flags: int) -> None:
    """A reset file can only be written, a mapping needs both."""
    assert compile_actor(Actor(name="a", steps=steps), resolve)[0].width == flags


def test_registers_are_mapped_right_after_their_file_is_opened() -> None:
    assert [code for code, _ in compiled(MARKED, RESET, CHECKED)][:4] == [
        Code.OPEN,
        Code.MAP,
        Code.OPEN,
        Code.RENDEZVOUS,
    ]


def test_a_store_is_as_wide_as_its_value_and_a_load_as_asked() -> None:
    program = compile_actor(Actor(name="a", steps=(MARKED, CHECKED)), resolve)
    assert [(one.op, one.width) for one in program if one.op in (Code.STORE, Code.LOAD)] == [
        (Code.STORE, 4),
        (Code.LOAD, 4),
    ]


def test_sixteen_files_and_no_more() -> None:
    def steps(count: int) -> tuple[Step, ...]:
        return tuple(
            Step(op=Op.READ, means=ATTRIBUTE_READ, file=File(function="igb0", role=f"f{n}"), width=4)
            for n in range(count)
        )

    assert len(compile_actor(Actor(name="a", steps=steps(16)), resolve)) == 16 + 2 + 16 + 1
    with pytest.raises(StagingError, match=r"'a'.*more than 16 files"):
        compile_actor(Actor(name="a", steps=steps(17)), resolve)
