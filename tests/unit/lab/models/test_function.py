"""The programmable endpoint: what it is when nothing is wrong, each thing that it can do wrong, and what it tells."""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from harness.errors import UsageError
from harness.lab.models.declared import INTX_PENDING
from harness.lab.models.endpoint import ACKNOWLEDGE, SCRATCH, SIGNATURE, TRIGGER, endpoint
from harness.lab.models.function import Function, SelfTest
from harness.lab.models.interface import CONFIG_REGION, INTX, MSI, Refused, Told
from harness.model.fault import Fault, Misbehaviour, Occasion
from harness.model.served import NO_REGION, Happened
from harness.model.units import MS, Ns
from tests.unit.lab.models.surroundings import Clock, Machine

BAR = 0
COMMAND, REVISION, BIST, PIN = 0x04, 0x08, 0x0F, 0x3D
ONES = b"\xff" * 4
IDS = b"\xf4\x1a\xf0\x10"
SIGNED = SIGNATURE.to_bytes(4, "little")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def machine() -> Machine:
    return Machine()


@pytest.fixture
def told() -> list[Told]:
    return []


@pytest.fixture
def function(clock: Clock, machine: Machine, told: list[Told]) -> Function:
    one = endpoint(clock)
    one.outlets = machine
    one.write(CONFIG_REGION, COMMAND, b"\x06\x00")
    one.write(BAR, SCRATCH, b"mark")
    one.tell = told.append
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
    return function.read(BAR, SCRATCH, 4)


def switch_msi_on(function: Function) -> None:
    function.write(CONFIG_REGION, function.config.declaration("msi-control").offset, b"\x81\x00")


RESETS = {"flr": flr, "pm": sleep_and_wake, "bus": Function.bus_reset}

# nothing is wrong


@pytest.mark.parametrize("how", RESETS)
def test_every_reset_clears_command_and_scratch_and_begins_an_epoch(function: Function, how: str) -> None:
    RESETS[how](function)
    assert function.resets == 1
    assert function.read(CONFIG_REGION, COMMAND, 2) == bytes(2)
    assert scratch(function) == bytes(4)


def test_what_is_kept_no_reset_clears(function: Function) -> None:
    function.write(BAR, 8, b"kept")
    for reset in RESETS.values():
        reset(function)
    function.write(CONFIG_REGION, COMMAND, b"\x06\x00")
    assert function.read(BAR, 8, 4) == b"kept"


def test_nothing_behind_the_bar_answers_without_memory_space_or_asleep(function: Function) -> None:
    assert function.read(BAR, 0, 4) == SIGNED
    function.write(CONFIG_REGION, COMMAND, b"\x00\x00")
    assert function.read(BAR, 0, 4) == ONES
    function.write(CONFIG_REGION, COMMAND, b"\x06\x00")
    at = function.config.declaration("pm-control-status").offset
    function.write(CONFIG_REGION, at, b"\x03\x00")
    function.write(BAR, SCRATCH, b"lost")
    assert function.read(BAR, 0, 4) == ONES
    assert function.bars[BAR]["scratch"] == int.from_bytes(b"mark", "little")


def test_initiate_flr_reads_as_zero(function: Function) -> None:
    flr(function)
    at = function.config.declaration("express-device-control").offset
    assert not int.from_bytes(function.read(CONFIG_REGION, at, 2), "little") & 0x8000


def test_the_self_test_answers_nothing_then_resets_and_tells_its_result(
    function: Function, clock: Clock, told: list[Told]
) -> None:
    function.self_test = SelfTest(lasting_ns=Ns(100 * MS), result=5)
    assert function.read(CONFIG_REGION, BIST, 1) == b"\x80"
    function.write(CONFIG_REGION, BIST, b"\x40")
    assert function.read(CONFIG_REGION, BIST, 1) == b"\xff"
    assert function.read(BAR, 0, 4) == ONES
    clock.now += 100 * MS - 1
    assert function.run_due() == clock.now + 1
    assert function.read(CONFIG_REGION, BIST, 1) == b"\xff"
    clock.now += 1
    assert function.run_due() is None
    assert function.read(CONFIG_REGION, BIST, 1) == b"\x85"
    assert (Happened.SELF_TESTED, 1) in [(one.what, one.value) for one in told]


def test_a_model_of_ones_own_is_told_of_its_registers_and_of_resets(clock: Clock) -> None:
    seen: list[object] = []

    class Own(Function):
        def stored(self, written: Any) -> None:
            seen.append((written.name, written.after))

        def forgotten(self) -> None:
            seen.append("forgotten")

    plain = endpoint(clock)
    own = Own(plain.config, plain.bars, clock=clock)
    own.write(CONFIG_REGION, COMMAND, b"\x06\x00")
    own.write(BAR, SCRATCH, b"\x07\0\0\0")
    own.bus_reset()
    own.write(BAR, SCRATCH, b"\x07\0\0\0")  # decodes nothing any more
    assert seen == [("scratch", 7), "forgotten"]


# interrupts and memory


def test_an_msi_goes_out_only_when_software_wants_it(function: Function, machine: Machine) -> None:
    switch_msi_on(function)
    assert function.interrupt()
    machine.listens = False
    assert not function.interrupt()
    function.write(CONFIG_REGION, COMMAND, b"\x02\x00")
    assert not function.interrupt(), "an MSI is a write, and it is no bus master"
    assert machine.signalled == [(MSI, 0), (MSI, 0)]


def test_a_level_is_raised_again_until_its_cause_is_gone(function: Function, machine: Machine) -> None:
    status = 0x06
    function.write(BAR, TRIGGER, b"\1\0\0\0")
    assert function.read(CONFIG_REGION, status, 1)[0] & 0x08
    function.unmasked()
    function.write(BAR, ACKNOWLEDGE, b"\1\0\0\0")
    function.unmasked()
    assert not function.read(CONFIG_REGION, status, 1)[0] & 0x08
    assert machine.signalled == [(INTX, 0)] * 2


def test_a_level_that_software_forbade_waits_until_it_may(
    function: Function, machine: Machine, told: list[Told]
) -> None:
    function.write(CONFIG_REGION, COMMAND, b"\x06\x04")
    assert not function.interrupt()
    function.unmasked()
    assert function.read(CONFIG_REGION, 0x06, 1)[0] & 0x08
    assert machine.signalled == []
    function.write(CONFIG_REGION, COMMAND, b"\x06\x00")
    assert machine.signalled == [(INTX, 0)]
    assert [one.what for one in told].count(Happened.INTERRUPT_LOST) == 0


def test_memory_of_the_guest_is_moved_and_told_of(function: Function, told: list[Told]) -> None:
    function.dma_write(8, b"hello")
    assert function.dma_read(7, 7) == b"\0hello\0"
    with pytest.raises(OSError, match="nobody mapped"):
        function.dma_read(60, 8)
    function.outlets = None
    with pytest.raises(OSError, match="no machine"):
        function.dma_write(0, b"x")
    hello = int.from_bytes(b"hello", "little")
    assert [(one.what, one.address, one.width, one.value, one.error) for one in told] == [
        (Happened.DMA_WRITTEN, 8, 5, hello, 0),
        (Happened.DMA_READ, 7, 7, hello << 8, 0),
        (Happened.DMA_READ, 60, 8, 0, errno.EFAULT),
        (Happened.DMA_WRITTEN, 0, 1, 0, errno.ENOTCONN),
    ]
    assert {one.region for one in told} == {NO_REGION}


@pytest.mark.parametrize(
    ("before", "error"), [(b"\x06\x00", errno.ECANCELED), (b"\x02\x00", errno.ENODEV)], ids=["master", "none"]
)
def test_what_is_under_way_when_bus_mastering_goes_is_cut_off(
    function: Function, told: list[Told], before: bytes, error: int
) -> None:
    """QEMU may serve a write of COMMAND, and a reset, before the transfer that was asked for first."""

    class Overtaken(Machine):
        def dma_write(self, address: int, data: bytes) -> None:
            function.write(CONFIG_REGION, COMMAND, b"\x00\x00")
            raise OSError(errno.ENODEV, f"{len(data)} bytes at {address}")

    function.write(CONFIG_REGION, COMMAND, before)
    function.outlets = Overtaken()
    with pytest.raises(OSError, match="1 bytes at 8"):
        function.dma_write(8, b"x")
    assert [one.error for one in told if one.what is Happened.DMA_WRITTEN] == [error]


# what it can do wrong: how a fault begins, and what of it software sees

Act = Callable[[Function], Any]


def reads(region: int, offset: int, count: int = 4) -> Act:
    def act(function: Function) -> Any:
        try:
            return function.read(region, offset, count)
        except Refused as refused:
            return errno.errorcode[refused.errno]

    return act


def writes(region: int, offset: int, data: bytes) -> Act:
    def act(function: Function) -> Any:
        try:
            function.write(region, offset, data)
        except Refused as refused:
            return errno.errorcode[refused.errno]
        return bytes(function.config.read(offset, len(data)))

    return act


def after_bist(function: Function) -> bytes:
    assert isinstance(function._clock, Clock)
    function.write(CONFIG_REGION, BIST, b"\x40")
    function._clock.now += 100 * MS
    function.run_due()
    return function.read(CONFIG_REGION, BIST, 1)


def after(reset: Act) -> Act:
    def act(function: Function) -> bytes:
        reset(function)
        return scratch(function)

    return act


def acts_by_itself(function: Function) -> list[Any]:
    assert isinstance(function.outlets, Machine)
    function.run_due()
    return [bytes(function.outlets.memory[:8]), *function.outlets.signalled]


def interrupts(function: Function) -> Any:
    assert isinstance(function.outlets, Machine)
    switch_msi_on(function)
    return function.interrupt(), function.outlets.signalled


CONFIG, MEMORY = reads(CONFIG_REGION, 0), reads(BAR, 0)
POWER = reads(CONFIG_REGION, 0x44, 2)

SHOWN: dict[Misbehaviour, tuple[dict[str, Any], Sequence[tuple[Act, Any]]]] = {
    Misbehaviour.NOT_READY: ({"lasting_ns": Ns(800 * MS)}, [(CONFIG, ONES), (MEMORY, ONES)]),
    Misbehaviour.NEVER_READY: ({}, [(CONFIG, ONES), (MEMORY, ONES)]),
    Misbehaviour.RETRY_STATUS: (
        {},
        [
            (CONFIG, b"\x01\x00\xff\xff"),
            (reads(CONFIG_REGION, 0, 2), b"\x01\x00"),
            (reads(CONFIG_REGION, 2, 2), b"\xff\xff"),
            (reads(CONFIG_REGION, 2, 4), b"\xff\xff\x06\x00"),
        ],
    ),
    Misbehaviour.ALL_ONES_CONFIG: ({}, [(CONFIG, ONES)]),
    Misbehaviour.ALL_ONES_MEMORY: ({}, [(MEMORY, ONES)]),
    Misbehaviour.REFUSE_CONFIG: ({}, [(CONFIG, "EIO"), (writes(CONFIG_REGION, COMMAND, b"\0\0"), "EIO")]),
    Misbehaviour.REFUSE_MEMORY: ({}, [(MEMORY, "EIO"), (writes(BAR, SCRATCH, b"\0\0"), "EIO")]),
    Misbehaviour.IGNORE_FLR: ({}, [(after(flr), b"mark")]),
    Misbehaviour.KEEP_SCRATCH: ({}, [(after(reset), b"mark") for reset in RESETS.values()]),
    Misbehaviour.LOSE_WRITES: (
        {"register": "command"},
        [
            (writes(CONFIG_REGION, COMMAND, b"\0\0"), b"\x06\x00"),
            (writes(CONFIG_REGION, COMMAND + 1, b"\x05"), b"\x00"),
        ],
    ),
    Misbehaviour.WRONG_VALUE: (
        {"register": "vendor", "value": 0x1234},
        [(CONFIG, b"\x34\x12\xf0\x10"), (reads(CONFIG_REGION, 1, 2), b"\x12\xf0")],
    ),
    Misbehaviour.STAY_ASLEEP: ({}, [(POWER, b"\x03\x00"), (MEMORY, ONES)]),
    Misbehaviour.SELF_TEST_FAILS: ({"value": 9}, [(after_bist, b"\x89")]),
    Misbehaviour.SELF_TEST_SLOW: ({}, [(after_bist, b"\xff")]),
    Misbehaviour.LOSE_INTERRUPTS: ({}, [(interrupts, (False, []))]),
    Misbehaviour.INTERRUPT_STORM: ({}, [(acts_by_itself, [bytes(8), (INTX, 0)])]),
    Misbehaviour.STRAY_DMA: ({"value": 0}, [(acts_by_itself, [b"stray!!\n"])]),
    Misbehaviour.UNIT_CHECK: ({}, [(acts_by_itself, [bytes(8), (INTX, 0)])]),
}
"""What each looks like to software, once it has begun."""
RIGHT: dict[Act, Any] = {CONFIG: IDS, MEMORY: SIGNED, POWER: b"\x00\x00"}
"""What software sees where nothing is wrong."""


OF_FIRMWARE = {
    Misbehaviour.CRITICAL_SLOW,
    Misbehaviour.NEVER_OPERATIONAL,
    Misbehaviour.LOSE_COMMANDS,
    Misbehaviour.REFUSE_COMMANDS,
}
"""What only a model with firmware can show: see test_ipr.py."""


def test_each_misbehaviour_has_a_look() -> None:
    assert set(SHOWN) == set(Misbehaviour) - OF_FIRMWARE


@pytest.mark.parametrize("what", sorted(OF_FIRMWARE))
def test_what_only_firmware_shows_is_never_met_here(
    what: Misbehaviour, function: Function, told: list[Told]
) -> None:
    """So that a stage in which it is staged for the wrong function shows nothing, and the verdict says so."""
    function.load([Fault(what=what)])
    told.clear()
    for act, right in RIGHT.items():
        assert act(function) == right
    assert acts_by_itself(function) == [bytes(8)]
    assert Happened.FAULT_MET not in [row.what for row in told]


@pytest.mark.parametrize("what", SHOWN)
def test_it_is_seen_and_met(
    what: Misbehaviour, clock: Clock, told: list[Told], request: pytest.FixtureRequest
) -> None:
    given, looks = SHOWN[what]
    for act, shown in looks:
        one = endpoint(clock)
        one.outlets = Machine()
        one.write(CONFIG_REGION, COMMAND, b"\x06\x00")
        one.write(BAR, SCRATCH, b"mark")
        right = act(one)
        one = request.getfixturevalue("function")
        one.load([])
        one.write(CONFIG_REGION, COMMAND, b"\x06\x00")
        one.write(BAR, SCRATCH, b"mark")
        told.clear()
        one.load([Fault(what=what, **given)])
        assert act(one) == shown != right
        rows = [(row.what, row.value) for row in told]
        assert (Happened.FAULT_BEGINS, 0) in rows
        assert rows.count((Happened.FAULT_MET, 0)) == 1


@pytest.mark.parametrize("what", SHOWN)
def test_elsewhere_nothing_of_it_is_seen(what: Misbehaviour, function: Function, told: list[Told]) -> None:
    given, looks = SHOWN[what]
    function.load([Fault(what=what, **given)])
    told.clear()
    for act, right in RIGHT.items():
        if act not in [look for look, _ in looks] and what not in (
            Misbehaviour.NOT_READY,
            Misbehaviour.NEVER_READY,
            Misbehaviour.ALL_ONES_CONFIG,
            Misbehaviour.REFUSE_CONFIG,
        ):
            assert act(function) == right
            assert not [row for row in told if row.what is Happened.FAULT_MET]
    function.load([])
    assert [act(function) for act in RIGHT] == [*RIGHT.values()], "over is over"


def test_the_pin_is_told_while_nothing_else_is(function: Function) -> None:
    function.load([Fault(what=Misbehaviour.NEVER_READY)])
    assert function.read(CONFIG_REGION, PIN, 1) == b"\x01", "QEMU would switch INTx off for good"


def test_writes_to_what_is_not_there_are_lost(function: Function) -> None:
    function.load([Fault(what=Misbehaviour.NOT_READY, lasting_ns=Ns(1))])
    function.write(CONFIG_REGION, COMMAND, b"\0\0")
    function.write(BAR, SCRATCH, b"lost")
    flr(function)
    function.load([])
    assert (function.resets, function.read(CONFIG_REGION, COMMAND, 2)) == (0, b"\x06\x00")
    assert function.read(BAR, SCRATCH, 4) == b"mark"


def test_not_ready_after_a_reset_until_its_time_is_over(
    function: Function, clock: Clock, told: list[Told]
) -> None:
    function.load([Fault(what=Misbehaviour.NOT_READY, when=Occasion.FLR, lasting_ns=Ns(800 * MS))])
    assert function.read(CONFIG_REGION, 0, 4) != ONES
    flr(function)
    begun = clock.now
    clock.now += 799 * MS
    assert function.read(CONFIG_REGION, COMMAND, 4) == ONES
    clock.now += 1 * MS
    assert function.read(CONFIG_REGION, 0, 4) == IDS
    function.bus_reset()
    assert function.read(CONFIG_REGION, 0, 4) != ONES, "only an FLR does it"
    faults = (Happened.FAULT_BEGINS, Happened.FAULT_ENDS, Happened.FAULT_MET)
    assert [(one.what, one.at_ns) for one in told if one.what in faults] == [
        (Happened.FAULT_BEGINS, begun),
        (Happened.FAULT_MET, begun + 799 * MS),
        (Happened.FAULT_ENDS, begun + 800 * MS),
    ]


def test_what_a_reset_restores_is_lost_while_writes_are(function: Function) -> None:
    function.load([Fault(what=Misbehaviour.LOSE_WRITES, register="command", when=Occasion.FLR)])
    flr(function)
    function.write(CONFIG_REGION, COMMAND, b"\x06\x00")
    assert function.read(CONFIG_REGION, COMMAND, 2) == bytes(2)


def test_a_function_that_does_not_wake_up(function: Function, clock: Clock) -> None:
    at = function.config.declaration("pm-control-status").offset
    function.load([Fault(what=Misbehaviour.STAY_ASLEEP, when=Occasion.WAKE, lasting_ns=Ns(20 * MS))])
    sleep_and_wake(function)
    assert function.read(CONFIG_REGION, at, 2) == b"\x03\x00"
    assert scratch(function) == ONES
    clock.now += 20 * MS
    assert function.read(CONFIG_REGION, at, 2) == b"\x00\x00"
    assert scratch(function) == bytes(4)


# occasions

OCCASIONS: dict[Occasion, Act] = {
    Occasion.NOW: lambda _: None,
    Occasion.FLR: flr,
    Occasion.BUS_RESET: Function.bus_reset,
    Occasion.WAKE: sleep_and_wake,
    Occasion.ACCESSES: CONFIG,
    Occasion.TIME: lambda function: function.release(function._clock()),
}


@pytest.mark.parametrize("when", Occasion)
def test_each_occasion_begins_what_waits_for_it(when: Occasion, function: Function, told: list[Told]) -> None:
    faults = [
        Fault(what=Misbehaviour.LOSE_INTERRUPTS, when=one, after=int(one is Occasion.ACCESSES))
        for one in Occasion
        if one in (when, Occasion.FLR, Occasion.BUS_RESET, Occasion.WAKE, Occasion.TIME)
    ]
    function.load(faults)
    OCCASIONS[when](function)
    begun = [one.value for one in told if one.what is Happened.FAULT_BEGINS]
    assert [faults[number].when for number in begun] == [when]


def test_a_fault_begins_after_so_many_accesses_of_any_kind(function: Function) -> None:
    function.load([Fault(what=Misbehaviour.NEVER_READY, when=Occasion.ACCESSES, after=3)])
    assert function.read(CONFIG_REGION, 0, 4) == IDS
    function.write(BAR, SCRATCH, b"....")
    assert [function.read(CONFIG_REGION, 0, 4) for _ in range(2)] == [ONES, ONES]


def test_an_flr_that_was_ignored_is_no_occasion(function: Function, told: list[Told]) -> None:
    function.load(
        [Fault(what=Misbehaviour.IGNORE_FLR), Fault(what=Misbehaviour.NEVER_READY, when=Occasion.FLR)]
    )
    flr(function)
    assert function.read(CONFIG_REGION, 0, 4) == IDS
    assert (Happened.FLR_IGNORED, 0) in [(one.what, one.value) for one in told]


def test_the_occasion_is_told_of_before_what_it_begins(function: Function, told: list[Told]) -> None:
    function.load([Fault(what=Misbehaviour.LOSE_INTERRUPTS, when=Occasion.FLR)])
    flr(function)
    assert [one.what for one in told] == [
        Happened.READ,
        Happened.WRITTEN,
        Happened.FLR,
        Happened.FAULT_BEGINS,
    ]


# what it does of its own accord


def signals(function: Function, clock: Clock, for_ns: int) -> int:
    """How many interrupts it sends while time passes."""
    assert isinstance(function.outlets, Machine)
    before, until = len(function.outlets.signalled), clock.now + for_ns
    while (due := function.run_due()) is not None and due <= until:
        clock.now = due
    clock.now = until
    return len(function.outlets.signalled) - before


def test_a_storm_begins_by_the_clock_and_ends_with_its_time(function: Function, clock: Clock) -> None:
    switch_msi_on(function)
    function.load(
        [
            Fault(
                what=Misbehaviour.INTERRUPT_STORM,
                when=Occasion.TIME,
                at_ns=Ns(100 * MS),
                lasting_ns=Ns(10 * MS),
            )
        ]
    )
    function.release(clock.now)
    assert signals(function, clock, 100 * MS - 1) == 0
    assert signals(function, clock, 1000 * MS) == 20
    assert function.run_due() is None


def test_a_storm_that_is_over_leaves_no_level_behind(function: Function, clock: Clock) -> None:
    function.load([Fault(what=Misbehaviour.INTERRUPT_STORM, lasting_ns=Ns(10 * MS))])
    assert signals(function, clock, 5 * MS)
    assert function.config["status"] & INTX_PENDING
    signals(function, clock, 10 * MS)
    assert not function.config["status"] & INTX_PENDING


def test_other_faults_make_no_storm_stronger(function: Function, clock: Clock) -> None:
    storm = Fault(what=Misbehaviour.INTERRUPT_STORM)
    others = [Fault(what=Misbehaviour.KEEP_SCRATCH, when=Occasion.ACCESSES, after=one) for one in (1, 2, 3)]
    function.load([storm])
    alone = signals(function, clock, 10 * MS)
    function.load([storm, *others])
    for _ in range(5):
        function.read(CONFIG_REGION, 0, 4)
    assert signals(function, clock, 10 * MS) == alone, "the old one is over, the new one is one"


def test_a_storm_that_begins_again_is_one_storm(function: Function, clock: Clock) -> None:
    function.load([Fault(what=Misbehaviour.INTERRUPT_STORM, when=Occasion.BUS_RESET, lasting_ns=Ns(10 * MS))])
    function.bus_reset()
    once = signals(function, clock, 10 * MS)
    function.bus_reset()
    function.bus_reset()
    assert signals(function, clock, 10 * MS) == once


def test_dma_goes_astray_once_for_each_fault_that_begins(
    function: Function, clock: Clock, told: list[Told]
) -> None:
    function.load(
        [
            Fault(what=Misbehaviour.STRAY_DMA, value=0, when=Occasion.TIME, at_ns=Ns(1 * MS)),
            Fault(what=Misbehaviour.STRAY_DMA, value=0x1000, when=Occasion.TIME, at_ns=Ns(2 * MS)),
            Fault(what=Misbehaviour.KEEP_SCRATCH, when=Occasion.BUS_RESET),
        ]
    )
    function.release(clock.now)
    begun = clock.now
    for _ in range(5):
        clock.now += 1 * MS
        function.run_due()
        function.bus_reset()
    astray = [(one.at_ns - begun, one.address, one.error) for one in told if one.what is Happened.DMA_WRITTEN]
    assert astray == [(1 * MS, 0, 0), (2 * MS, 0x1000, errno.EFAULT)]
    met = [(one.at_ns - begun, one.value) for one in told if one.what is Happened.FAULT_MET]
    assert [one for one in met if one[1] < 2] == [(1 * MS, 0), (2 * MS, 1)]


# what is refused


def test_a_fault_of_a_register_that_there_is_not_is_refused(function: Function) -> None:
    with pytest.raises(UsageError, match="express-device-control"):
        function.load([Fault(what=Misbehaviour.WRONG_VALUE, register="mood")])


@pytest.mark.parametrize(
    "fault",
    [
        Fault(what=Misbehaviour.WRONG_VALUE, register="revision", value=0x100),
        Fault(what=Misbehaviour.STRAY_DMA, value=1 << 64),
    ],
    ids=str,
)
def test_a_value_that_does_not_fit_is_refused_and_nothing_is_loaded(function: Function, fault: Fault) -> None:
    with pytest.raises(UsageError, match="more than"):
        function.load([Fault(what=Misbehaviour.NEVER_READY), fault])
    assert function.read(CONFIG_REGION, 0, 4) == IDS


# what it tells

OF_A_SERVER = {Happened.CONNECTED, Happened.DISCONNECTED}
OF_THE_HOST = {Happened.INCIDENT_BEGINS, Happened.INCIDENT_ENDS}
OF_OTHER_MODELS = {
    Happened.CRITICAL_BEGINS,
    Happened.CRITICAL_ENDS,
    Happened.CORRUPTED,
    Happened.LOST,
    Happened.LEFT_OVER,
}


def test_each_row_tells_what_it_says(function: Function, clock: Clock, told: list[Told]) -> None:
    function.load([Fault(what=Misbehaviour.IGNORE_FLR, lasting_ns=Ns(5))])
    now = clock.now
    flr(function)
    clock.now += 5
    flr(function)
    sleep_and_wake(function)
    function.bus_reset()
    after_bist(function)
    function.interrupt()
    switch_msi_on(function)
    function.write(CONFIG_REGION, COMMAND, b"\x02\x00")
    function.interrupt(3)
    function.dma_write(0, b"a")
    function.dma_read(0, 1)
    function.note(7, 8)
    found: dict[Happened, Told] = {}
    for one in told:
        found.setdefault(one.what, one)
    assert set(found) == {*Happened} - OF_A_SERVER - OF_THE_HOST - OF_OTHER_MODELS
    express = function.config.declaration("express-device-control").offset
    later = now + 5 + 100 * MS
    expected = [
        Told(Happened.READ, now, 0x2810, express, CONFIG_REGION, 2),
        Told(Happened.WRITTEN, now, 0xA810, express, CONFIG_REGION, 2),
        Told(Happened.FLR, now + 5, 1),
        Told(Happened.WAKE, now + 5, 2),
        Told(Happened.BUS_RESET, now + 5, 3),
        Told(Happened.SELF_TESTED, later, 4),
        Told(Happened.FLR_IGNORED, now, 0),
        Told(Happened.FAULT_BEGINS, now, 0),
        Told(Happened.FAULT_ENDS, now + 5, 0),
        Told(Happened.FAULT_MET, now, 0),
        Told(Happened.INTERRUPT, later, 0),
        Told(Happened.INTERRUPT_LOST, later, 3),
        Told(Happened.DMA_READ, later, ord("a"), 0, NO_REGION, 1),
        Told(Happened.DMA_WRITTEN, later, ord("a"), 0, NO_REGION, 1),
        Told(Happened.NOTED, later, 7, 8),
    ]
    assert [found[one.what] for one in expected] == expected
    assert len(expected) == len(found)


def test_a_refusal_is_told_with_its_errno(function: Function, told: list[Told]) -> None:
    function.load([Fault(what=Misbehaviour.REFUSE_CONFIG)])
    for act in (CONFIG, writes(CONFIG_REGION, COMMAND, b"\1\0")):
        assert act(function) == "EIO"
    assert [(one.what, one.error, one.value) for one in told if one.region == CONFIG_REGION] == [
        (Happened.READ, errno.EIO, 0),
        (Happened.WRITTEN, errno.EIO, 1),
    ]
