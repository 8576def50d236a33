"""The programmable endpoint: what it is when nothing is wrong, and each thing that it can do wrong."""

from __future__ import annotations

import errno

import pytest

from harness.errors import UsageError
from harness.model.units import MS, Ns
from lab.models.endpoint import SCRATCH, SIGNATURE, endpoint
from lab.models.function import BAR_REGION, CONFIG_REGION, Function, Refused, SelfTest
from harness.model.fault import Fault, Misbehaviour, Occasion

COMMAND, REVISION, BIST, PIN = 0x04, 0x08, 0x0F, 0x3D
ONES = b"\xff" * 4


class Clock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.now = 1_000_000

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def function(clock: Clock) -> Function:
    one = endpoint(clock)
    one.write(CONFIG_REGION, COMMAND, b"\x06\x00")
    one.write(BAR_REGION, SCRATCH, b"mark")
    return one


def flr(function: Function) -> None:
    at = function.config.declaration("express-device-control").offset
    value = int.from_bytes(function.read(CONFIG_REGION, at, 2), "little") | 0x8000
    function.write(CONFIG_REGION, at, value.to_bytes(2, "little"))


def sleep_and_wake(function: Function) -> None:
    at = function.config.declaration("pm-control-status").offset
    function.write(CONFIG_REGION, at, b"\x03\x00")
    function.write(CONFIG_REGION, at, b"\x00\x00")


def scratch(function: Function) -> bytes:
    function.write(CONFIG_REGION, COMMAND, b"\x06\x00")
    return function.read(BAR_REGION, SCRATCH, 4)


RESETS = {"flr": flr, "pm": sleep_and_wake, "bus": Function.bus_reset}


@pytest.mark.parametrize("how", RESETS)
def test_every_reset_clears_command_and_scratch_and_begins_an_epoch(function: Function, how: str) -> None:
    RESETS[how](function)
    assert function.resets == 1
    assert function.read(CONFIG_REGION, COMMAND, 2) == bytes(2)
    assert scratch(function) == bytes(4)


def test_nothing_behind_the_bar_answers_without_memory_space_or_asleep(function: Function) -> None:
    assert function.read(BAR_REGION, 0, 4) == SIGNATURE.to_bytes(4, "little")
    function.write(CONFIG_REGION, COMMAND, b"\x00\x00")
    assert function.read(BAR_REGION, 0, 4) == ONES
    function.write(CONFIG_REGION, COMMAND, b"\x06\x00")
    at = function.config.declaration("pm-control-status").offset
    function.write(CONFIG_REGION, at, b"\x03\x00")
    function.write(BAR_REGION, SCRATCH, b"lost")
    assert function.read(BAR_REGION, 0, 4) == ONES


def test_initiate_flr_reads_as_zero(function: Function) -> None:
    flr(function)
    at = function.config.declaration("express-device-control").offset
    assert not int.from_bytes(function.read(CONFIG_REGION, at, 2), "little") & 0x8000


def test_not_ready_after_a_reset_until_its_time_is_over(function: Function, clock: Clock) -> None:
    function.load([Fault(what=Misbehaviour.NOT_READY, when=Occasion.FLR, lasting_ns=Ns(800 * MS))])
    assert function.read(CONFIG_REGION, 0, 4) != ONES
    flr(function)
    assert function.read(CONFIG_REGION, COMMAND, 4) == ONES
    assert function.read(BAR_REGION, 0, 4) == ONES
    assert function.read(CONFIG_REGION, PIN, 1) == b"\x01", "QEMU would switch INTx off for good"
    clock.now += 799 * MS
    assert function.read(CONFIG_REGION, COMMAND, 4) == ONES
    clock.now += 1 * MS
    assert function.read(CONFIG_REGION, 0, 4) == b"\xf4\x1a\xf0\x10"
    function.bus_reset()
    assert function.read(CONFIG_REGION, 0, 4) != ONES, "only an FLR does it"


@pytest.mark.parametrize(
    ("what", "config", "memory"),
    [
        (Misbehaviour.ALL_ONES_CONFIG, ONES, SIGNATURE.to_bytes(4, "little")),
        (Misbehaviour.ALL_ONES_MEMORY, b"\xf4\x1a\xf0\x10", ONES),
        (Misbehaviour.NOT_READY, ONES, ONES),
    ],
)
def test_all_ones(function: Function, what: Misbehaviour, config: bytes, memory: bytes) -> None:
    function.load([Fault(what=what)])
    assert (function.read(CONFIG_REGION, 0, 4), function.read(BAR_REGION, 0, 4)) == (config, memory)


def test_refusals(function: Function) -> None:
    function.load([Fault(what=Misbehaviour.REFUSE_CONFIG)])
    with pytest.raises(Refused) as refused:
        function.read(CONFIG_REGION, 0, 4)
    assert refused.value.errno == errno.EIO
    with pytest.raises(Refused):
        function.write(CONFIG_REGION, COMMAND, b"\0\0")
    assert function.read(BAR_REGION, 0, 4) == SIGNATURE.to_bytes(4, "little")


def test_an_flr_that_is_ignored(function: Function) -> None:
    function.load([Fault(what=Misbehaviour.IGNORE_FLR)])
    flr(function)
    assert (function.resets, scratch(function)) == (0, b"mark")


def test_a_reset_that_keeps_what_it_should_clear(function: Function) -> None:
    function.load([Fault(what=Misbehaviour.KEEP_SCRATCH)])
    function.bus_reset()
    assert (function.resets, scratch(function)) == (1, b"mark")


def test_a_register_whose_writes_get_lost(function: Function) -> None:
    function.load([Fault(what=Misbehaviour.LOSE_WRITES, register="command", when=Occasion.FLR)])
    flr(function)
    function.write(CONFIG_REGION, COMMAND, b"\x06\x00")
    assert function.read(CONFIG_REGION, COMMAND, 2) == bytes(2)


def test_a_wrong_value_in_whatever_width_it_is_read(function: Function) -> None:
    right = function.read(CONFIG_REGION, 0, 64)
    function.load([Fault(what=Misbehaviour.WRONG_VALUE, register="revision")])
    wrong = function.read(CONFIG_REGION, 0, 64)
    assert [at for at in range(64) if right[at] != wrong[at]] == [REVISION]
    assert function.read(CONFIG_REGION, REVISION, 1) == wrong[REVISION : REVISION + 1]


def test_a_fault_begins_after_so_many_accesses(function: Function) -> None:
    function.load([Fault(what=Misbehaviour.NOT_READY, when=Occasion.ACCESSES, after=3)])
    assert [function.read(CONFIG_REGION, 0, 4) == ONES for _ in range(4)] == [False, False, True, True]


def test_a_fault_that_comes_once_comes_once(function: Function, clock: Clock) -> None:
    function.load([Fault(what=Misbehaviour.NOT_READY, when=Occasion.FLR, lasting_ns=Ns(1), times=1)])
    flr(function)
    assert function.read(CONFIG_REGION, 0, 4) == ONES
    clock.now += 1
    flr(function)
    assert function.read(CONFIG_REGION, 0, 4) != ONES


def test_retry_status_at_the_ids_alone(function: Function) -> None:
    function.load([Fault(what=Misbehaviour.RETRY_STATUS)])
    assert function.read(CONFIG_REGION, 0, 4) == b"\x01\x00\xff\xff"
    assert function.read(CONFIG_REGION, 0, 2) == b"\x01\x00"
    assert function.read(CONFIG_REGION, REVISION, 1) == b"\x01"


def test_a_function_that_does_not_wake_up(function: Function, clock: Clock) -> None:
    at = function.config.declaration("pm-control-status").offset
    function.load([Fault(what=Misbehaviour.STAY_ASLEEP, when=Occasion.WAKE, lasting_ns=Ns(20 * MS))])
    sleep_and_wake(function)
    assert function.read(CONFIG_REGION, at, 2) == b"\x03\x00"
    assert scratch(function) == ONES
    clock.now += 20 * MS
    assert function.read(CONFIG_REGION, at, 2) == b"\x00\x00"
    assert scratch(function) == bytes(4)


def test_the_self_test_answers_nothing_then_resets_and_tells_its_result(
    function: Function, clock: Clock
) -> None:
    function.self_test = SelfTest(lasting_ns=Ns(100 * MS), result=5)
    assert function.read(CONFIG_REGION, BIST, 1) == b"\x80"
    function.write(CONFIG_REGION, BIST, b"\x40")
    assert function.read(CONFIG_REGION, BIST, 1) == b"\xff"
    assert function.read(BAR_REGION, 0, 4) == ONES
    clock.now += 100 * MS
    assert function.read(CONFIG_REGION, BIST, 1) == b"\x85"
    assert function.resets == 1


def test_a_fault_of_a_register_that_there_is_not_is_refused(function: Function) -> None:
    with pytest.raises(UsageError, match="express-device-control"):
        function.load([Fault(what=Misbehaviour.WRONG_VALUE, register="mood")])


def test_an_interrupt_goes_out_only_when_software_wants_it(function: Function) -> None:
    sent = []
    function.listen(lambda: sent.append(1))
    assert not function.interrupt()
    at = function.config.declaration("msi-control").offset
    function.write(CONFIG_REGION, at, b"\x81\x00")
    assert function.interrupt()
    function.load([Fault(what=Misbehaviour.LOSE_INTERRUPTS)])
    assert not function.interrupt()
    assert sent == [1]


@pytest.mark.parametrize(
    "wrong",
    [
        {"when": Occasion.ACCESSES},
        {"register": "command"},
        {"after": 3},
        {"lasting_ns": Ns(0)},
        {"times": -1},
    ],
)
def test_a_fault_that_makes_no_sense_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        Fault(what=Misbehaviour.NOT_READY, **wrong)  # type: ignore[arg-type]


def test_faults_travel_as_json() -> None:
    fault = Fault(what=Misbehaviour.NOT_READY, when=Occasion.FLR, lasting_ns=Ns(5), times=2)
    assert Fault.from_json(fault.to_json()) == fault
    assert Fault.from_json({"what": "not-ready"}) == Fault(what=Misbehaviour.NOT_READY)
    for wrong in ({}, {"what": "dances"}, {"what": "not-ready", "lasting_ns": "long"}):
        with pytest.raises(UsageError):
            Fault.from_json(wrong)
