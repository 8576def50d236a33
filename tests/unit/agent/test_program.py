"""From the actor of a plan to the instructions of the loop."""

from __future__ import annotations

import errno
import os
import struct
from dataclasses import replace

import pytest

from harness.agent import files as module
from harness.agent.files import Files
from harness.agent.program import _CODES, RECORDED, compile_actor
from harness.bindings.actor import Alike, Code, Instruction, patience
from harness.errors import StagingError, UsageError
from harness.model.operation import (
    ATTRIBUTE_READ,
    BAR_WRITE,
    BIND,
    CHECK,
    HEARTBEAT,
    HOT_RESET,
    MAPPED_READ,
    MARK,
    SELF_TEST_RESULT,
    SYSFS_MAPPED_READ,
    TAKE,
    UNMASK,
    UNPRIVILEGED_OPEN,
    VFIO_CLOSE,
    VFIO_INFO,
    VFIO_OPEN,
    VFIO_READ,
    VFIO_RESET,
    VFIO_WRITE,
    WAIT,
    config_read,
    config_write,
    reset,
)
from harness.model.pci import AccessPath, Bdf, ResetMethod
from harness.model.plan import Actor, File, Op, Plan, Privilege, Retries, Step
from harness.model.units import Ns
from tests.unit.agent import vfio

CONFIG = File(function="igb0", role="config")
READ = Step(op=Op.READ, means=config_read(AccessPath.SYSFS), file=CONFIG, offset=4, width=4)
WRITE = Step(op=Op.WRITE, means=config_write(AccessPath.SYSFS), file=CONFIG, offset=4, value=b"\x06\x05")
RESET = Step(op=Op.WRITE, means=reset(ResetMethod.FLR), file=File(function="igb0", role="reset"), value=b"1")
PAUSE = Step(op=Op.PAUSE, means=HEARTBEAT, time_ns=Ns(10_000))
MARKED = Step(
    op=Op.STORE, means=MARK, file=File(function="igb0", role="resource0"), offset=0x80, value=b"mark"
)
CHECKED = Step(op=Op.LOAD, means=CHECK, file=File(function="igb0", role="resource0"), offset=0x80, width=4)


RETRIES = Retries(errnos=(errno.EAGAIN,), attempts=5, first_ns=Ns(1), longest_ns=Ns(1), patience_ns=Ns(9))
WHERE = {"igb0": Bdf.parse("0000:ff:1e.0"), "igb1": Bdf.parse("0000:ff:1f.0")}
FOLDER = b"/sys/bus/pci/devices/0000:ff:1e.0"


def files_of(*actors: Actor) -> Files:
    return Files(
        Plan(title="t", functions=tuple(WHERE), actors=actors, lasting_ns=Ns(1), deadline_ns=Ns(1)), WHERE
    )


def compiled(actor: Actor) -> list[Instruction]:
    with files_of(actor) as files:
        return compile_actor(actor, files)


def codes(*steps: Step) -> list[tuple[Code, int]]:
    return [(one.op, one.slot) for one in compiled(Actor(name="a", steps=steps))]


def body(actor: Actor) -> list[Instruction]:
    """What is repeated."""
    program = compiled(actor)
    return program[program[-1].slot : -1]


@pytest.fixture
def container(monkeypatch: pytest.MonkeyPatch) -> vfio.Container:
    made = vfio.Container()
    monkeypatch.setattr(module, "Container", lambda: made)
    return made


def test_files_are_opened_before_the_rendezvous_and_steps_come_after() -> None:
    program = compiled(Actor(name="a", steps=(READ, PAUSE, RESET), starts_ns=Ns(7), times=3))
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
    assert [one.data for one in program[:2]] == [FOLDER + b"/config", FOLDER + b"/reset"]
    begin, read, pause, write, again = program[3:]
    assert begin.time_ns == 7
    assert (read.offset, read.width, read.step) == (4, 4, 0)
    assert (pause.time_ns, pause.step) == (10_000, 1)
    assert (write.data, write.width, write.slot, write.step) == (b"1", 1, 1, 2)
    assert (again.slot, again.times) == (4, 3)


@pytest.mark.parametrize(
    ("step", "alike"),
    [
        (READ, Alike.EQUAL),
        (replace(READ, means=ATTRIBUTE_READ, file=File(function="igb0", role="vendor")), Alike.EQUAL),
        (replace(CHECKED, means=SYSFS_MAPPED_READ), Alike.DATA),
        (replace(PAUSE, means=WAIT), Alike.ALWAYS),
        (replace(READ, retries=RETRIES), Alike.NEVER),
        (replace(READ, means=SELF_TEST_RESULT), Alike.NEVER),
        *((step, Alike.NEVER) for step in (WRITE, RESET, PAUSE, MARKED, CHECKED)),
    ],
)
def test_what_is_looked_at_as_a_column_may_be_left_out(step: Step, alike: Alike) -> None:
    """Heartbeats, writes, calls and oracles are looked at one by one, and so is what is tried again."""
    (instruction, *_) = body(Actor(name="a", steps=(step,)))
    assert instruction.alike is alike


def test_without_a_number_rounds_are_repeated_until_the_end() -> None:
    assert compiled(Actor(name="a", steps=(READ,)))[-1].times == 0


def test_a_file_is_opened_once_however_often_it_is_used() -> None:
    assert [code for code, _ in codes(READ, READ, WRITE, READ)].count(Code.OPEN) == 1
    assert [slot for code, slot in codes(RESET, READ) if code is Code.READ] == [1]


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
    assert compiled(Actor(name="a", steps=steps))[0].width == flags


def test_registers_are_mapped_from_their_file_before_the_rendezvous() -> None:
    program = compiled(Actor(name="a", steps=(RESET, MARKED, CHECKED)))
    assert [one.op for one in program][:4] == [Code.OPEN, Code.OPEN, Code.MAP, Code.RENDEZVOUS]
    assert (program[2].slot, program[2].width, program[2].offset, program[2].time_ns) == (0, 1, 0, 0)
    assert [one.slot for one in program if one.op in (Code.STORE, Code.LOAD)] == [0, 0]


def test_a_store_is_as_wide_as_its_value_and_a_load_as_asked() -> None:
    program = compiled(Actor(name="a", steps=(MARKED, CHECKED)))
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

    assert len(compiled(Actor(name="a", steps=steps(16)))) == 16 + 2 + 16 + 1
    with pytest.raises(StagingError, match=r"'a'.*more than 16 files"):
        compiled(Actor(name="a", steps=steps(17)))


def test_every_step_has_an_instruction_and_leaves_a_row() -> None:
    assert set(_CODES) == set(Op)
    assert {Code.RETRY, Code.REPEAT, Code.RENDEZVOUS, Code.BEGIN, Code.OPEN, Code.TAKE, Code.MAP} == set(
        Code
    ) - RECORDED - {Code.DROP}


DEVICE = File(function="igb0", role="vfio")
CONFIG_REGION = File(function="igb0", role="vfio-config")
BAR = File(function="igb0", role="vfio-bar0")
OPEN_DEVICE = Step(op=Op.OPEN_DEVICE, means=VFIO_OPEN, file=DEVICE)
CLOSE = Step(op=Op.CLOSE, means=VFIO_CLOSE, file=DEVICE)
INFO = Step(op=Op.INFO, means=VFIO_INFO, file=DEVICE)
RESET_DEVICE = Step(op=Op.RESET_DEVICE, means=VFIO_RESET, file=DEVICE)
MAPPED = Step(op=Op.LOAD, means=MAPPED_READ, file=BAR, offset=0x18, width=4)
GET_DEVICE_FD, DEVICE_RESET, DEVICE_HOT_RESET, REGION_INFO = 0x3B6A, 0x3B6F, 0x3B71, 0x3B6C
DEVICE_SET_IRQS = 0x3B6E


@pytest.mark.usefixtures("container")
def test_accesses_of_regions_share_a_descriptor_and_lie_where_the_region_does() -> None:
    steps = (
        Step(op=Op.READ, means=VFIO_READ, file=CONFIG_REGION, offset=4, width=2),
        Step(op=Op.WRITE, means=VFIO_WRITE, file=CONFIG_REGION, offset=0x0C, value=b"\x10"),
        Step(op=Op.WRITE, means=BAR_WRITE, file=BAR, offset=0x18, value=b"1234"),
    )
    actor = Actor(name="a", steps=steps)
    with files_of(actor) as files:
        taking, _, _, *rest, _ = compile_actor(actor, files)
        assert taking == Instruction(op=Code.TAKE, slot=0, width=files.number(DEVICE))
    assert [(one.op, one.slot, one.offset, one.width) for one in rest] == [
        (Code.READ, 0, (7 << 40) + 4, 2),
        (Code.WRITE, 0, (7 << 40) + 0x0C, 1),
        (Code.WRITE, 0, 0x18, 4),
    ]


@pytest.mark.usefixtures("container")
def test_a_region_is_mapped_where_it_lies_and_as_large_as_it_is() -> None:
    other = Step(op=Op.LOAD, means=MAPPED_READ, file=CONFIG_REGION, offset=8, width=2)
    program = compiled(Actor(name="a", steps=(READ, MAPPED, other)))
    assert [(one.op, one.slot, one.width, one.offset, one.time_ns) for one in program[1:4]] == [
        (Code.TAKE, 1, 100 + 1, 0, 0),
        (Code.MAP, 0, 1, 0, vfio.PAGE),
        (Code.MAP, 1, 1, 7 << 40, 256),
    ]
    assert [(one.slot, one.offset, one.width) for one in program if one.op is Code.LOAD] == [
        (0, 0x18, 4),
        (1, 8, 2),
    ]


@pytest.mark.usefixtures("container")
def test_a_device_that_is_opened_by_a_step_comes_into_its_slot_from_the_group() -> None:
    actor = Actor(name="a", steps=(OPEN_DEVICE, INFO, CLOSE))
    program = compiled(actor)
    assert [one.op for one in program] == [
        Code.TAKE,
        Code.RENDEZVOUS,
        Code.BEGIN,
        Code.IOCTL,
        Code.IOCTL,
        Code.CLOSE,
        Code.REPEAT,
    ]
    opened, info, closed = body(actor)
    assert (opened.slot, opened.offset, opened.times) == (0, GET_DEVICE_FD, 1 + 1)
    assert (opened.data, opened.width) == (b"0000:ff:1e.0\0", 13)
    assert (info.slot, info.offset, info.times, info.step) == (1, REGION_INFO, 0, 1)
    assert info.data == struct.pack("=IIIIQQ", 32, 0, 7, 0, 0, 0)
    assert (closed.slot, closed.step) == (1, 2)


@pytest.mark.usefixtures("container")
def test_what_an_actor_opens_itself_cannot_be_mapped_before() -> None:
    with pytest.raises(StagingError, match=r"'a'.*maps vfio-bar0 of igb0"):
        compiled(Actor(name="a", steps=(OPEN_DEVICE, MAPPED, CLOSE)))


@pytest.mark.usefixtures("container")
def test_resets_are_requests_on_the_device() -> None:
    (one,) = body(Actor(name="a", steps=(RESET_DEVICE,)))
    assert one == Instruction(op=Code.IOCTL, slot=0, offset=DEVICE_RESET)


@pytest.mark.usefixtures("container")
def test_intx_is_let_through_again_by_a_request_on_the_device() -> None:
    (one,) = body(Actor(name="a", steps=(Step(op=Op.UNMASK, means=UNMASK, file=DEVICE),)))
    assert (one.op, one.slot, one.offset, one.width) == (Code.IOCTL, 0, DEVICE_SET_IRQS, 20)
    no_data, unmask, intx = 0x01, 0x10, 0
    assert struct.unpack("=IIIII", one.data) == (20, no_data | unmask, intx, 0, 1)


@pytest.mark.usefixtures("container")
def test_an_interrupt_is_counted_on_a_descriptor_that_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.bindings.vfio.arm_irqs", lambda *_: None)
    taken = File(function="igb0", role="vfio-msi")
    actor = Actor(name="a", steps=(Step(op=Op.COUNT, means=TAKE, file=taken, width=8),))
    with files_of(actor) as files:
        taking, *_, count, _ = compile_actor(actor, files)
        assert taking == Instruction(op=Code.TAKE, slot=0, width=files.number(taken))
    assert (count.op, count.slot, count.width) == (Code.COUNT, 0, 8)


@pytest.mark.usefixtures("container")
def test_a_hot_reset_shows_the_groups_of_its_owners_by_the_numbers_the_actor_knows() -> None:
    step = Step(op=Op.HOT_RESET, means=HOT_RESET, file=DEVICE, owners=("igb1", "igb0"))
    actor = Actor(name="a", steps=(step,))
    with files_of(actor) as files:
        program = compile_actor(actor, files)
        shown = [files.number(File(function=alias, role="vfio-group")) for alias in ("igb1", "igb0")]
        assert set(shown) <= set(files.granted(actor))
    (one,) = program[-2:-1]
    assert (one.op, one.slot, one.offset, one.width) == (Code.IOCTL, 0, DEVICE_HOT_RESET, 20)
    assert struct.unpack("=IIIii", one.data) == (20, 0, 2, *shown)


def test_a_path_is_opened_for_reading_or_writing_and_not_before() -> None:
    file = File(function="igb0", role="reset")
    steps = tuple(Step(op=Op.OPEN, means=UNPRIVILEGED_OPEN, file=file, width=width) for width in (0, 1))
    program = compiled(Actor(name="a", steps=steps))
    assert [one.op for one in program[:2]] == [Code.RENDEZVOUS, Code.BEGIN]
    assert [(one.op, one.width, one.data, one.step) for one in program[2:4]] == [
        (Code.TRY_OPEN, os.O_RDONLY, FOLDER + b"/reset", 0),
        (Code.TRY_OPEN, os.O_WRONLY, FOLDER + b"/reset", 1),
    ]


@pytest.mark.parametrize("role", ["driver/unbind", "drivers_probe", "driver_override", "windows"])
def test_text_names_the_address_of_the_function(role: str) -> None:
    step = Step(op=Op.WRITE, means=BIND, file=File(function="igb0", role=role), value=b"<{bdf}>")
    (one,) = body(Actor(name="a", steps=(step,)))
    assert (one.data, one.width) == (b"<0000:ff:1e.0>", 14)


@pytest.mark.usefixtures("container")
@pytest.mark.parametrize("role", ["config", "proc", "vfio-config", "vfio-bar0"])
def test_data_is_never_taken_for_text(role: str) -> None:
    step = Step(op=Op.WRITE, means=BAR_WRITE, file=File(function="igb0", role=role), value=b"{bdf}")
    (one,) = body(Actor(name="a", steps=(step,)))
    assert (one.data, one.width) == (b"{bdf}", 5)


def test_what_may_be_retried_is_followed_by_how() -> None:
    retries = Retries(
        errnos=(errno.EAGAIN, errno.EBUSY),
        attempts=5,
        first_ns=Ns(10),
        longest_ns=Ns(70),
        patience_ns=Ns(900),
    )
    again = Step(op=Op.READ, means=config_read(AccessPath.SYSFS), file=CONFIG, width=4, retries=retries)
    program = compiled(Actor(name="a", steps=(RESET, again, READ)))
    retried = program[6]
    assert program[5].op is program[7].op is Code.READ
    assert retried == Instruction(
        op=Code.RETRY,
        slot=5,
        times=5,
        time_ns=900,
        data=patience(Ns(10), Ns(70), (errno.EAGAIN, errno.EBUSY)),
    )
    assert [one.step for one in program[4:8]] == [0, 1, 0, 2]
    assert program[-1].slot == 4


@pytest.mark.usefixtures("container")
@pytest.mark.parametrize(
    ("privilege", "places"),
    [(Privilege.ROOT, []), (Privilege.NONE, [0]), (Privilege.DROPPED, [3])],
)
def test_privilege_is_given_up_before_or_after_the_files_are_opened(
    privilege: Privilege, places: list[int]
) -> None:
    actor = Actor(name="a", steps=(READ, MAPPED), privilege=privilege, times=2)
    program = compiled(actor)
    assert [place for place, one in enumerate(program) if one.op is Code.DROP] == places
    assert [one.op for one in program if one.op is not Code.DROP] == [
        Code.OPEN,
        Code.TAKE,
        Code.MAP,
        Code.RENDEZVOUS,
        Code.BEGIN,
        Code.READ,
        Code.LOAD,
        Code.REPEAT,
    ]
    assert program[program[-1].slot].op is Code.READ


@pytest.mark.usefixtures("container")
def test_more_mappings_than_files_are_counted_too() -> None:
    """Seven regions of one device are one file, and seven mappings."""
    steps = tuple(
        Step(op=Op.LOAD, means=MAPPED_READ, file=File(function=alias, role=role), width=4)
        for alias in WHERE
        for role in ("vfio-config", *(f"vfio-bar{bar}" for bar in range(6)), "resource0")
    )
    assert len(steps) == 16
    assert [one.op for one in compiled(Actor(name="a", steps=steps))].count(Code.MAP) == 16
    one_more = Step(op=Op.LOAD, means=CHECK, file=File(function="igb0", role="resource2"), width=4)
    with pytest.raises(StagingError, match="more than 16"):
        compiled(Actor(name="a", steps=(*steps, one_more)))


def test_a_descriptor_that_nobody_was_given_is_a_mistake_of_the_plan() -> None:
    stranger = Actor(name="b", steps=(RESET_DEVICE,))
    with files_of(Actor(name="a", steps=(READ,))) as files, pytest.raises(UsageError, match="vfio of igb0"):
        compile_actor(stranger, files)
