"""The ipr adapter, driven as its Linux driver drives it: bring-up, commands, interrupts, resets."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest

from harness.lab.models import ipr
from harness.lab.models.declared import INTX_PENDING
from harness.lab.models.disk import BLOCK_BYTES
from harness.lab.models.interface import CONFIG_REGION, Told
from harness.lab.models.ipr_requests import ADAPTER, Layout, Place, Status
from harness.model.fault import Fault, Misbehaviour
from harness.model.served import Happened
from harness.model.units import MS, Ns

COMMAND, BIST = 0x04, 0x0F
ONES = 0xFFFF_FFFF
QUEUE, SLOTS, BLOCK, LIST, DATA, STATUS = 0x1000, 4, 0x2000, 0x3000, 0x4000, 0x6000
SET_ALERT, CLEAR_INTERRUPT, INTERRUPT, MASK, UNMASK, REQUEST = 0x214, 0x228, 0x224, 0x22C, 0x230, 0x404
DOORBELL, QUICK_DOORBELL = 0x8280_0000, 0xC280_0000


class Host:
    """Memory, a clock, and the other side of the registers."""

    def __init__(self, make: Callable[[Callable[[], int]], ipr.Ipr] = ipr.obsidian_e) -> None:
        self.now = 1_000_000
        self.memory = bytearray(0x8000)
        self.signals = 0
        self.told: list[Told] = []
        self.adapter = make(lambda: self.now)
        self.adapter.tell = self.told.append
        self.adapter.outlets = self
        self._slot, self._toggle = 0, 1
        self.enable()

    def enable(self) -> None:
        self.adapter.write(CONFIG_REGION, COMMAND, b"\x06\x00")
        msi = self.adapter.config.declaration("msi-control").offset
        self.adapter.write(CONFIG_REGION, msi, b"\x81\x00")

    def disable_messages(self) -> None:
        self.adapter.write(CONFIG_REGION, self.adapter.config.declaration("msi-control").offset, b"\x80\x00")

    def signal(self, kind: int, vector: int) -> bool:
        del kind, vector
        self.signals += 1
        return True

    def dma_read(self, address: int, count: int) -> bytes:
        if address + count > len(self.memory):
            raise OSError(14, "not there")
        return bytes(self.memory[address : address + count])

    def dma_write(self, address: int, data: bytes) -> None:
        self.memory[address : address + len(data)] = data

    def store(self, register: int, value: int) -> None:
        self.adapter.write(0, register, value.to_bytes(4, "little"))
        self.adapter.run_due()

    def load(self, register: int) -> int:
        return int.from_bytes(self.adapter.read(0, register, 4), "little")

    def wait(self, milliseconds: float) -> None:
        self.now += int(milliseconds * MS)
        self.adapter.run_due()

    def start(self) -> None:
        """Ring, wait, unmask, name the queue."""
        self.store(SET_ALERT, DOORBELL)
        self.wait(ipr.OPERATIONAL_AFTER / MS)
        assert self.load(INTERRUPT) & ipr.OPERATIONAL
        self.store(CLEAR_INTERRUPT, ipr.OPERATIONAL)
        self.store(UNMASK, ipr.QUEUE_UPDATED)
        self.memory[QUEUE : QUEUE + 4 * SLOTS] = bytes(4 * SLOTS)
        self._slot, self._toggle = 0, 1
        name = struct.pack(">BBIxH", 0xC4, 0, QUEUE, 4 * SLOTS)
        assert self.ask(name) == (Status.GOOD, b"")

    def ask(
        self, command: bytes, *, handle: int = ADAPTER, kind: int = 1, data: bytes = b"", room: int = 0
    ) -> tuple[int, bytes] | None:
        """A request; None when it was not answered."""
        self.send(command, handle=handle, kind=kind, data=data, room=room)
        return self.answer(room)

    def send(self, command: bytes, *, handle: int, kind: int, data: bytes = b"", room: int = 0) -> None:
        block = bytearray(128)
        struct.pack_into(">II", block, 8, handle, 0x40)
        if data or room:
            self.memory[LIST : LIST + 8] = struct.pack(">II", 0x0100_0000 | len(data or bytes(room)), DATA)
            struct.pack_into(">II", block, 36 if data else 44, LIST, 8)
            self.memory[DATA : DATA + len(data)] = data
        struct.pack_into(">IH", block, 52, STATUS, 144)
        block[62] = kind
        block[66 : 66 + len(command)] = command
        self.memory[BLOCK : BLOCK + 128] = block
        self.store(REQUEST, BLOCK)

    def answer(self, room: int = 0) -> tuple[int, bytes] | None:
        at = QUEUE + 4 * self._slot
        if int.from_bytes(self.memory[at : at + 4], "big") != 0x40 | self._toggle:
            return None
        self._slot += 1
        if self._slot == SLOTS:
            self._slot, self._toggle = 0, self._toggle ^ 1
        self.store(CLEAR_INTERRUPT, ipr.QUEUE_UPDATED)
        return int.from_bytes(self.memory[STATUS : STATUS + 4], "big"), bytes(self.memory[DATA : DATA + room])

    def self_test(self) -> None:
        self.adapter.write(CONFIG_REGION, BIST, b"\x40")
        self.adapter.run_due()

    def happened(self, *kinds: Happened) -> list[Happened]:
        return [one.what for one in self.told if one.what in kinds]

    def wrong(self, *faults: Fault) -> None:
        self.adapter.load(faults)
        self.told.clear()


@pytest.fixture
def host() -> Host:
    return Host()


@pytest.fixture
def running(host: Host) -> Host:
    host.start()
    return host


def write_blocks(host: Host, data: bytes) -> None:
    command = struct.pack(">BxIxHx", 0x2A, 5, len(data) // BLOCK_BYTES)
    assert host.ask(command, handle=ipr.DISK_HANDLE, kind=0, data=data) == (Status.GOOD, data[:0])


def read_blocks(host: Host, count: int) -> bytes:
    command = struct.pack(">BxIxHx", 0x28, 5, count)
    answer = host.ask(command, handle=ipr.DISK_HANDLE, kind=0, room=count * BLOCK_BYTES)
    assert answer is not None
    assert answer[0] == Status.GOOD
    return answer[1]


def test_fresh_from_power_on_everything_is_masked_and_quiet(host: Host) -> None:
    assert (host.load(MASK), host.load(INTERRUPT), host.load(SET_ALERT)) == (ONES, 0, 0)


def test_the_drivers_test_of_its_interrupt(host: Host) -> None:
    host.store(UNMASK, ipr.DEBUG_ACKNOWLEDGE)
    assert host.load(MASK) == ONES & ~ipr.DEBUG_ACKNOWLEDGE
    host.store(INTERRUPT, ipr.DEBUG_ACKNOWLEDGE)
    assert host.signals == 1
    host.store(INTERRUPT, ipr.DEBUG_ACKNOWLEDGE)
    assert host.signals == 1, "only the change is signalled"


def test_what_is_masked_waits_until_it_is_unmasked(host: Host) -> None:
    host.store(SET_ALERT, DOORBELL)
    host.wait(299)
    assert not host.load(INTERRUPT)
    host.wait(1)
    assert host.signals == 0
    host.store(UNMASK, ipr.OPERATIONAL)
    assert host.signals == 1


@pytest.mark.parametrize("doorbell", [DOORBELL, QUICK_DOORBELL])
def test_either_doorbell_starts_it(host: Host, doorbell: int) -> None:
    host.store(SET_ALERT, doorbell)
    host.wait(300)
    assert host.load(INTERRUPT) == ipr.OPERATIONAL


def test_it_says_what_it_is_and_what_hangs_on_it(running: Host) -> None:
    answer = running.ask(bytes((0x12, 0, 0, 0, 100)), room=100)
    assert answer is not None
    assert answer[1][16:20] == ipr.OBSIDIAN_E.type_name.encode()
    answer = running.ask(bytes((0xC5, 0, 0, 0, 0, 0, 0, 0x30, 0x04)), room=0x200)
    assert answer is not None
    table = answer[1]
    assert (table[0], table[4 + 2], table[4 + 64 + 3]) == (2, 0x80, 1)
    assert table[4 + 64 + 4 : 4 + 64 + 12] == struct.pack(">II", 0x0000_0300, ipr.DISK_HANDLE)
    refused = running.ask(bytes((0x1A, 0, 0x28, 0, 255)))
    assert refused == (Status.NOT_SUPPORTED, b"")


def test_events_are_kept_without_an_answer(running: Host) -> None:
    assert running.ask(bytes((0xCF, 2)), room=64) is None


def test_the_queue_wraps_and_turns_its_toggle(running: Host) -> None:
    for _ in range(3 * SLOTS):
        assert running.ask(bytes((0xFB, 0x80))) == (Status.GOOD, b"")


def test_a_disk_command_that_fails_brings_sense_data(running: Host) -> None:
    answer = running.ask(bytes((0x9E, 0x10)), handle=ipr.DISK_HANDLE, kind=0)
    assert answer is not None
    assert answer[0] == Status.CHECK_CONDITION
    assert running.memory[STATUS + 28] == 0x40
    assert running.memory[STATUS + 44] == 0x70
    answer = running.ask(bytes(6), handle=0x77, kind=0)
    assert answer == (Status.NO_SUCH_RESOURCE, b"")


def test_data_survives_a_self_test_and_the_queue_does_not(running: Host) -> None:
    data = bytes(range(256)) * 4
    write_blocks(running, data)
    running.self_test()
    assert running.load(MASK) == ONES
    running.wait(1_499)
    assert running.adapter.read(CONFIG_REGION, 0, 4) == b"\xff" * 4
    running.wait(1)
    running.enable()
    assert running.ask(bytes((0xFB, 0x80))) is None, "nobody told it of a queue"
    running.start()
    assert read_blocks(running, 2) == data


def test_a_shutdown_is_answered_when_the_log_is_safe(running: Host) -> None:
    assert running.ask(bytes((0xF7, 0))) is None
    assert running.load(INTERRUPT) & ipr.CRITICAL
    running.wait(200)
    assert running.answer() == (Status.GOOD, b"")
    assert not running.load(INTERRUPT) & ipr.CRITICAL
    running.store(SET_ALERT, ipr.RESET_ALERT)
    assert not running.load(INTERRUPT) & ipr.CRITICAL, "there is nothing left to write"
    running.self_test()
    running.wait(1_500)
    assert running.happened(Happened.LOST, Happened.CORRUPTED) == []
    assert running.adapter.log_is_intact


def test_an_alert_makes_it_write_its_log_and_a_reset_meanwhile_corrupts_that(running: Host) -> None:
    running.store(SET_ALERT, ipr.RESET_ALERT)
    assert running.load(INTERRUPT) & ipr.CRITICAL
    running.adapter.bus_reset()
    assert Happened.CORRUPTED in [one.what for one in running.told]
    assert not running.adapter.log_is_intact
    running.enable()
    assert not running.load(INTERRUPT)


def test_a_self_test_in_the_critical_section_corrupts_the_log_when_it_begins(running: Host) -> None:
    running.store(SET_ALERT, ipr.RESET_ALERT)
    running.self_test()
    running.wait(1_500)
    ends = (Happened.CRITICAL_ENDS, Happened.CORRUPTED, Happened.LOST)
    assert running.happened(*ends) == [Happened.CORRUPTED]


def test_a_self_test_that_nobody_announced_loses_the_log(running: Host) -> None:
    running.self_test()
    assert running.happened(Happened.CORRUPTED, Happened.LOST) == [Happened.LOST]


def test_a_reset_that_nobody_announced_loses_the_log(running: Host) -> None:
    running.adapter.bus_reset()
    assert running.happened(Happened.LOST, Happened.CORRUPTED) == [Happened.LOST]
    assert running.adapter.log_is_intact


class Stubborn(ipr.Ipr):
    """A reset does not take its queue from it."""

    def forgotten(self) -> None:
        queue, slots = self._queue, self._queue_slots
        super().forgotten()
        self._queue, self._queue_slots = queue, slots


@pytest.mark.parametrize(
    ("make", "left_over"), [(ipr.Ipr, []), (Stubborn, [Happened.LEFT_OVER])], ids=["healthy", "stubborn"]
)
def test_a_queue_of_before_a_reset_is_told_of_when_another_is_named(
    make: type[ipr.Ipr], left_over: list[Happened]
) -> None:
    host = Host(lambda clock: make(ipr.OBSIDIAN_E, clock))
    host.start()
    host.start()  # without a reset in between that is no left-over
    assert host.happened(Happened.LEFT_OVER) == []
    host.adapter.bus_reset()
    host.enable()
    host.start()
    host.start()
    assert host.happened(Happened.LEFT_OVER) == left_over


def test_what_was_begun_before_a_reset_comes_to_nothing(running: Host) -> None:
    running.send(bytes((0xF7, 0)), handle=ADAPTER, kind=1)
    running.adapter.bus_reset()
    running.enable()
    before = bytes(running.memory)
    running.wait(1_000)
    assert bytes(running.memory) == before
    assert running.load(INTERRUPT) == 0


def test_memory_that_is_not_there_does_no_harm(running: Host) -> None:
    running.store(REQUEST, 0xFFFF_0000)
    assert [one.error for one in running.told if one.what is Happened.DMA_READ][-1] == 14
    assert running.ask(bytes((0xFB, 0x80))) == (Status.GOOD, b"")


def test_it_misbehaves_as_any_function(running: Host) -> None:
    running.adapter.load([Fault(what=Misbehaviour.ALL_ONES_MEMORY)])
    assert running.load(MASK) == ONES


SAVED = (Happened.CRITICAL_BEGINS, Happened.CRITICAL_ENDS)
MET = Happened.FAULT_MET


@pytest.mark.parametrize(("value", "takes"), [(None, 1_500), (700, 700)])
def test_told_of_a_reset_it_writes_for_longer(running: Host, value: int | None, takes: int) -> None:
    running.wrong(Fault(what=Misbehaviour.CRITICAL_SLOW, value=value))
    running.wait(100)
    assert running.happened(MET, *SAVED) == [], "nobody has told it"
    running.store(SET_ALERT, ipr.RESET_ALERT)
    running.wait(takes - 1)
    assert running.load(INTERRUPT) & ipr.CRITICAL
    running.wait(1)
    assert not running.load(INTERRUPT) & ipr.CRITICAL
    assert running.happened(MET, *SAVED) == [MET, *SAVED]


def test_firmware_that_never_comes_up(host: Host) -> None:
    fault = Fault(what=Misbehaviour.NEVER_OPERATIONAL, lasting_ns=Ns(1_000 * MS))
    host.wrong(fault)
    assert host.happened(MET) == [], "nobody has rung"
    host.store(SET_ALERT, DOORBELL)
    host.wait(900)
    assert host.load(INTERRUPT) == 0
    assert host.happened(MET) == [MET]
    host.wait(100)
    host.start()


def test_commands_that_are_never_answered(running: Host) -> None:
    running.wrong(Fault(what=Misbehaviour.LOSE_COMMANDS, value=0xFB))
    assert running.ask(bytes((0x12, 0, 0, 0, 100)), room=100) is not None
    assert running.happened(MET) == []
    assert running.ask(bytes((0xFB, 0x80))) is None
    assert running.happened(MET) == [MET]
    running.wrong(Fault(what=Misbehaviour.LOSE_COMMANDS))
    assert running.ask(bytes((0x12, 0, 0, 0, 100)), room=100) is None


def test_commands_that_are_refused(running: Host) -> None:
    running.wrong(Fault(what=Misbehaviour.REFUSE_COMMANDS, value=0xC5))
    code, _ = running.ask(bytes((0x12, 0, 0, 0, 100)), room=100) or (None, b"")
    assert (code, running.happened(MET)) == (Status.GOOD, [])
    code, _ = running.ask(bytes((0xC5, 0, 0, 0, 0, 0, 0, 0x30, 0x04)), room=100) or (None, b"")
    assert (code, running.happened(MET)) == (Status.FAILED, [MET])


def test_a_disk_read_that_is_never_answered(running: Host) -> None:
    running.wrong(Fault(what=Misbehaviour.LOSE_COMMANDS, value=0x28))
    read = struct.pack(">BxIxHx", 0x28, 5, 1)
    assert running.ask(read, handle=ipr.DISK_HANDLE, kind=0, room=BLOCK_BYTES) is None
    running.wrong()
    assert read_blocks(running, 1) == bytes(BLOCK_BYTES)


def test_a_unit_check_is_told_by_an_interrupt_once(running: Host) -> None:
    running.store(UNMASK, ipr.UNIT_CHECK)
    before = running.signals
    running.wrong(Fault(what=Misbehaviour.UNIT_CHECK))
    assert not running.load(INTERRUPT)
    running.wait(0)
    assert running.load(INTERRUPT) == ipr.UNIT_CHECK
    running.wait(5_000)
    assert running.signals == before + 1
    assert running.happened(MET) == [MET]
    assert running.ask(bytes((0xFB, 0x80))) is None
    running.adapter.bus_reset()
    running.enable()
    running.start()


def test_a_unit_check_is_heard_beside_a_completion_that_was_not_taken_yet(running: Host) -> None:
    running.store(UNMASK, ipr.UNIT_CHECK)
    running.send(bytes((0xFB, 0x80)), handle=ADAPTER, kind=1)
    before = running.signals
    running.wrong(Fault(what=Misbehaviour.UNIT_CHECK))
    running.wait(0)
    assert running.signals == before + 1
    assert running.answer() == (Status.GOOD, b"")
    assert running.load(INTERRUPT) == ipr.UNIT_CHECK


def test_a_queue_that_is_named_again_begins_anew(running: Host) -> None:
    """So a driver whose warm reset never reached the adapter gets on with it all the same."""
    assert running.ask(bytes((0xFB, 0x80))) == (Status.GOOD, b"")
    running.start()
    assert running.ask(bytes((0xFB, 0x80))) == (Status.GOOD, b"")


class TestSis64:
    """Words in pairs, addresses of 64 bits, a message for each completion."""

    @pytest.fixture
    def host(self) -> Host:
        return Host(ipr.crocodile)

    def store_pair(self, host: Host, register: int, value: int) -> None:
        host.adapter.write(0, register, value.to_bytes(8, "little"))
        host.adapter.run_due()

    def start(self, host: Host) -> None:
        assert host.load(0x5C) >> 24 == 0x10
        host.store(0x24, DOORBELL)
        host.wait(300)
        assert (host.load(0x00), host.load(0x04)) == (ipr.STAGE_CHANGE, ipr.OPERATIONAL)
        assert host.load(0x5C) >> 24 == 0xB0
        self.store_pair(host, 0x08, ipr.STAGE_CHANGE << 32 | ipr.OPERATIONAL)
        self.store_pair(host, 0x18, ipr.QUEUE_UPDATED)
        self.send(host, struct.pack(">BBIxHxI", 0xC4, 1, QUEUE, 4 * SLOTS, 0))

    def send(
        self, host: Host, command: bytes, *, handle: int = ADAPTER, kind: int = 1, room: int = 0
    ) -> None:
        block = bytearray(128)
        struct.pack_into(">II", block, 8, handle, 0x40)
        if room:
            host.memory[LIST : LIST + 16] = struct.pack(">IIQ", 0x0100_0000, room, DATA)
            struct.pack_into(">I", block, 40, 16)
            struct.pack_into(">Q", block, 96, LIST)
        struct.pack_into(">H", block, 56, 144)
        struct.pack_into(">Q", block, 88, STATUS)
        block[62] = kind
        block[66 : 66 + len(command)] = command
        host.memory[BLOCK : BLOCK + 128] = block
        self.store_pair(host, 0x70, BLOCK | 1)

    def test_a_pair_is_one_number_whose_high_half_comes_first(self, host: Host) -> None:
        self.store_pair(host, 0x18, 0x0000_0001_8000_0000)
        assert (host.load(0x10), host.load(0x14)) == (0xFFFF_FFFE, 0x7FFF_FFFF)

    def test_every_completion_is_a_message_and_nothing_is_latched(self, host: Host) -> None:
        self.start(host)
        before = host.signals
        for number in range(1, SLOTS):
            self.send(host, bytes((0xFB, 0x80)))
            assert host.signals == before + number
            assert int.from_bytes(host.memory[QUEUE + 4 * number : QUEUE + 4 * number + 4], "big") == 0x41
        assert not host.load(0x04) & ipr.QUEUE_UPDATED

    def test_without_messages_a_completion_is_a_level_that_its_driver_takes_back(self, host: Host) -> None:
        """Else the line stays up, and Linux switches it off: `nobody cared`."""
        host.disable_messages()
        self.start(host)
        for _ in range(2):
            assert host.load(0x04) & ipr.QUEUE_UPDATED
            assert host.adapter.config["status"] & INTX_PENDING
            host.store(0x0C, ipr.QUEUE_UPDATED)
            assert not host.adapter.config["status"] & INTX_PENDING
            self.send(host, bytes((0xFB, 0x80)))

    def test_its_tables_are_long(self, host: Host) -> None:
        self.start(host)
        self.send(host, bytes((0xC5, 0, 0, 0, 0, 0, 2, 0, 16)), room=16 + 2 * 128)
        table = bytes(host.memory[DATA : DATA + 16 + 2 * 128])
        assert (table[:2], table[16], table[16 + 128]) == (b"\0\2", 0xFF, 1)
        assert table[16 + 128 + 8 : 16 + 128 + 12] == ipr.DISK_HANDLE.to_bytes(4, "big")

    def test_a_disk_command_that_fails_brings_sense_data_further_on(self, host: Host) -> None:
        self.start(host)
        self.send(host, bytes((0x9E, 0x10)), handle=ipr.DISK_HANDLE, kind=0)
        assert host.memory[STATUS + 52] == 0x70

    def test_its_self_test_is_begun_by_a_register(self, host: Host) -> None:
        self.start(host)
        host.store(0x24, ipr.START_SELF_TEST)
        assert host.load(0x14) == ONES
        host.wait(1_500)
        assert Happened.SELF_TESTED in [one.what for one in host.told]

    def test_critical_operation_is_told_in_the_upper_word(self, host: Host) -> None:
        self.start(host)
        host.store(0x24, ipr.RESET_ALERT)
        assert host.load(0x00) & ipr.CRITICAL
        host.wait(150)
        assert not host.load(0x00) & ipr.CRITICAL
        assert host.adapter.log_is_intact


def test_a_request_is_read_as_the_driver_writes_it() -> None:
    block = bytearray(128)
    struct.pack_into(">II", block, 8, 7, 12)
    struct.pack_into(">IIII", block, 36, 1, 2, 3, 4)
    block[62], block[66] = 2, 0xCF
    found = Layout.SIS32.parse(bytes(block))
    assert (found.handle, found.response, found.kind, found.command[0]) == (7, 12, 2, 0xCF)
    assert (found.written, found.read) == (Place(address=1, count=2), Place(address=3, count=4))
    with pytest.raises(ValueError, match="127"):
        Layout.SIS32.parse(bytes(127))


def test_a_scatter_list_ends_with_the_entry_that_says_so() -> None:
    scatter = struct.pack(">IIIIII", 5, 0x10, 0x0100_0006, 0x20, 7, 0x30)
    assert list(Layout.SIS32.pieces(scatter)) == [(0x10, 5), (0x20, 6)]
    assert list(Layout.SIS32.pieces(scatter[:12])) == [(0x10, 5)]
