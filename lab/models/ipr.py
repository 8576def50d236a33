"""An IBM "ipr" RAID adapter as its Linux driver sees one, with one disk: SIS32 and SIS64.

State, not a script: what it answers follows from what the driver wrote.  It is what the driver accepts, no more:
nothing here was checked against an adapter or its firmware.

What the driver's reset wants of it: a shutdown command, after which its log is safe; the bit "critical operation",
as long as it writes that log to flash; a self-test, begun by config space or by a register, or a warm reset; some time
until it is operational again.  A reset while the log is being written corrupts it, and the model says so.

Source: Linux drivers/scsi/ipr.c and ipr.h (register sets, interrupt bits, order of the bring-up), by what the driver
was seen to do.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

from harness.lab.models.declared import MSI, PCI_EXPRESS, POWER_MANAGEMENT, endpoint_header, memory_bar
from harness.lab.models.disk import Disk
from harness.lab.models.function import Function, SelfTest
from harness.lab.models.interface import Told
from harness.lab.models.ipr_requests import ADAPTER, REQUEST_BYTES, SCSI, Layout, Request, Resource, Status
from harness.lab.models.registers import Register, RegisterFile, Written, config_space
from harness.model.fault import Misbehaviour
from harness.model.served import Happened
from harness.model.units import MS, Ns

VENDOR: Final = 0x1014
BAR_BYTES: Final = 0x1_0000
DISK_BLOCKS: Final = 131_072
DISK_HANDLE: Final = 0x0000_0300

OPERATIONAL: Final = 0x8000_0000
CRITICAL: Final = 0x0200_0000
UNIT_CHECK: Final = 0x0800_0000
DEBUG_ACKNOWLEDGE: Final = 0x0100_0000
QUEUE_UPDATED: Final = 0x0000_0002
"""Interrupt bits; of SIS64 the lower word, but for the next and `CRITICAL`, which are in the upper one."""
STAGE_CHANGE: Final = 0x8000_0000
RESET_ALERT: Final = 0x0100_0000
START_SELF_TEST: Final = 0x0000_0100
_DOORBELL: Final = 0x8280_0000
"""Bits of the microprocessor interrupt register."""
_STARTING: Final = 0x1000_0005
_STARTED: Final = 0xB000_0005
"""Values of SIS64's feedback: the stage in bits 31:24, seconds that the next may take in 15:0."""

SHUTDOWN_TAKES: Final = Ns(200 * MS)
SELF_TEST_TAKES: Final = Ns(1_500 * MS)
OPERATIONAL_AFTER: Final = Ns(300 * MS)
FLASH_TAKES: Final = Ns(150 * MS)
_SLOW_FLASH_MS: Final = 1_500

_CLASS: Final = 0x01_0400
_FIRMWARE: Final = bytes.fromhex("04220013")
_ALL: Final = 0xFFFF_FFFF
_NO_DUMP: Final = 0xF000_0000
"""Names no BAR: the driver asks for no dump after a unit check (`ipr_sdt_is_fmt2()`).  For one that does not come it
would spin for 200 ms with its processor's interrupts off, and who reads there is late."""
_SIS32: Final = (
    Register(name="microprocessor", offset=0x214, width=4, meaning="write sets bits"),
    Register(name="microprocessor-clear", offset=0x218, width=4, meaning="write clears bits"),
    Register(name="interrupt", offset=0x224, width=4, meaning="write sets bits, for tests"),
    Register(name="interrupt-clear", offset=0x228, width=4, meaning="write clears bits"),
    Register(name="mask", offset=0x22C, width=4, value=_ALL, meaning="write sets bits: masks"),
    Register(name="mask-clear", offset=0x230, width=4, value=_ALL, meaning="write clears bits: unmasks"),
    Register(name="request", offset=0x404, width=4, writable=_ALL, meaning="address of a request block"),
    Register(
        name="mailbox", offset=0x42C, width=4, value=_NO_DUMP, meaning="where a dump of its firmware lies"
    ),
)
_SIS64: Final = (
    Register(name="interrupt-high", offset=0x00, width=4, meaning="upper word"),
    Register(name="interrupt", offset=0x04, width=4, meaning="write sets bits, for tests"),
    Register(name="interrupt-high-clear", offset=0x08, width=4),
    Register(name="interrupt-clear", offset=0x0C, width=4, meaning="write clears bits"),
    Register(name="mask-high", offset=0x10, width=4, value=_ALL),
    Register(name="mask", offset=0x14, width=4, value=_ALL, meaning="write sets bits: masks"),
    Register(name="mask-high-clear", offset=0x18, width=4, value=_ALL),
    Register(name="mask-clear", offset=0x1C, width=4, value=_ALL, meaning="write clears bits: unmasks"),
    Register(name="microprocessor-high", offset=0x20, width=4),
    Register(name="microprocessor", offset=0x24, width=4, meaning="write sets bits"),
    Register(name="microprocessor-high-clear", offset=0x28, width=4),
    Register(name="microprocessor-clear", offset=0x2C, width=4, meaning="write clears bits"),
    Register(name="mailbox", offset=0x44, width=4),
    Register(name="feedback", offset=0x5C, width=4, value=_STARTING, meaning="how far it has come up"),
    Register(name="request-high", offset=0x70, width=4, writable=_ALL),
    Register(name="request", offset=0x74, width=4, writable=_ALL, meaning="address of a request block"),
    Register(name="swap", offset=0x84, width=4, writable=_ALL, meaning="order of bytes"),
)
_PAIR: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Chip:
    """What adapters differ in.

    Attributes:
        device: device id.
        subsystem: subsystem id, which tells the driver how to reset it.
        type_name: what it is called, four hexadecimal digits.
        layout: of registers, requests and tables.
    """

    device: int
    subsystem: int
    type_name: str
    layout: Layout


OBSIDIAN_E: Final = Chip(device=0x0339, subsystem=0x033A, type_name="57B3", layout=Layout.SIS32)
"""Self-test by config space."""
OBSIDIAN_E_WARM: Final = Chip(device=0x0339, subsystem=0x0360, type_name="57B7", layout=Layout.SIS32)
"""The driver asks for a warm reset, which x86 does not carry out."""
CROCODILE: Final = Chip(device=0x034A, subsystem=0x0357, type_name="57C6", layout=Layout.SIS64)
"""Self-test by a register."""


class Ipr(Function):
    """An adapter.

    Attributes:
        disk: behind it; survives everything.
        log_is_intact: whether no reset ever came while the persistent error log was written.
    """

    def __init__(self, chip: Chip, clock: Callable[[], int]) -> None:
        header = (
            replace(one, value=chip.subsystem) if one.name == "subsystem" else one
            for one in endpoint_header(vendor=VENDOR, device=chip.device, class_code=_CLASS, bist=True)
        )
        config = config_space((*header, memory_bar(0, BAR_BYTES)), (POWER_MANAGEMENT, MSI, PCI_EXPRESS))
        registers = _SIS32 if chip.layout is Layout.SIS32 else _SIS64
        super().__init__(config, {0: RegisterFile(registers, BAR_BYTES)}, clock=clock)
        self.self_test = SelfTest(lasting_ns=SELF_TEST_TAKES)
        self.disk: Final = Disk(DISK_BLOCKS, serial="HIL00001")
        self.log_is_intact = True
        self._chip: Final = chip
        self._layout: Final = chip.layout
        self._writes_log = False
        self._log_is_dirty = self._has_failed = False
        self._life = 0  # what was begun in an earlier one comes to nothing
        self._queue = self._queue_slots = self._slot = 0
        self._queue_epoch = 0  # in which it was named
        self._toggle = 1

    # --- registers ------------------------------------------------------------------------------------------

    def write(self, region: int, offset: int, data: bytes) -> None:
        """A pair of words is one number to SIS64's driver, whose high half belongs to the word that comes first."""
        if region == 0 and self._layout is Layout.SIS64 and len(data) == _PAIR:
            data = data[4:] + data[:4]
        super().write(region, offset, data)

    def stored(self, written: Written) -> None:
        """Registers that set and that clear work on one state; the rest sets something off."""
        registers = self.bars[0]
        word = "-high" if "-high" in written.name else ""
        match written.name.replace("-high", ""):
            case "interrupt":
                self._latch(registers[f"interrupt{word}"] | written.value, word)
            case "interrupt-clear":
                self._latch(registers[f"interrupt{word}"] & ~written.value, word)
            case "mask":
                self._mask(registers[f"mask{word}"] | written.value, word)
            case "mask-clear":
                self._mask(registers[f"mask{word}"] & ~written.value, word)
            case "microprocessor":
                registers[written.name] |= written.value
                if not word:
                    self._attention(written.value)
            case "microprocessor-clear":
                registers[f"microprocessor{word}"] &= ~written.value
            case "request" if not word:
                high = registers["request-high"] if self._layout is Layout.SIS64 else 0
                address = (high << 32 | written.value) & ~self._size_bits
                self._soon(Ns(0), lambda: self._take(address))

    def forgotten(self) -> None:
        """After a reset nothing of the old life reaches the new queue."""
        self._break_off()
        self._has_failed = False
        self._queue = self._queue_slots = self._slot = 0
        self._toggle = 1

    def start_self_test(self) -> None:
        """What a self-test breaks off, it breaks off when it begins."""
        self._break_off()
        super().start_self_test()

    def failed(self) -> None:
        """A unit check: no command is answered any more, and the driver resets the adapter without a shutdown."""
        self._has_failed = True
        self._latch(self.bars[0]["interrupt"] | UNIT_CHECK)

    # --- inside ---------------------------------------------------------------------------------------------

    @property
    def _size_bits(self) -> int:
        """Low bits of a request's address in which SIS64's driver says how large it is."""
        return 0x1FF if self._layout is Layout.SIS64 else 0

    @property
    def _status_word(self) -> str:
        """Which word of the interrupts tells of critical operation and of stages."""
        return "-high" if self._layout is Layout.SIS64 else ""

    def _soon(self, delay: Ns, task: Callable[[], object]) -> None:
        """Do something in this life."""
        life = self._life

        def alive() -> None:
            if self._life == life:
                with suppress(OSError):  # the host's memory is not there: it is in the log
                    task()

        self.later(delay, alive)

    def _latch(self, interrupts: int, word: str = "") -> None:
        self._change(interrupts, self.bars[0][f"mask{word}"], word)

    def _mask(self, mask: int, word: str) -> None:
        self._change(self.bars[0][f"interrupt{word}"], mask, word)

    def _change(self, interrupts: int, mask: int, word: str) -> None:
        registers = self.bars[0]
        before = registers[f"interrupt{word}"] & ~registers[f"mask{word}"]
        registers[f"interrupt{word}"] = interrupts
        registers[f"mask{word}"] = registers[f"mask{word}-clear"] = mask
        after = interrupts & ~mask
        if after & ~before:  # each cause is a message of its own: a driver may have seen the one before only
            self.interrupt()
        elif before and not after:
            self.withdraw()

    def _attention(self, bits: int) -> None:
        """The host rings."""
        if bits & START_SELF_TEST and self._layout is Layout.SIS64:
            self.start_self_test()
        elif bits & RESET_ALERT:
            if slow := self.goes_wrong(Misbehaviour.CRITICAL_SLOW):
                self._write_log(Ns((slow.value or _SLOW_FLASH_MS) * MS), lambda: None)
            elif self._log_is_dirty:
                self._write_log(FLASH_TAKES, lambda: None)
        elif bits & _DOORBELL == _DOORBELL:
            self._soon(OPERATIONAL_AFTER, self._operational)

    def _operational(self) -> None:
        if self.goes_wrong(Misbehaviour.NEVER_OPERATIONAL):
            return
        if self._layout is Layout.SIS64:
            self.bars[0]["feedback"] = _STARTED
            self._latch(self.bars[0]["interrupt-high"] | STAGE_CHANGE, "-high")
        self._latch(self.bars[0]["interrupt"] | OPERATIONAL)

    def _break_off(self) -> None:
        """Nothing that was begun comes to its end, and nothing is saved any more."""
        if self._writes_log:
            self.log_is_intact = False
            self.tell(Told(Happened.CORRUPTED, self._clock()))
        elif self._log_is_dirty:
            self.tell(Told(Happened.LOST, self._clock()))
        self._life += 1
        self._writes_log = self._log_is_dirty = False

    def _write_log(self, takes: Ns, then: Callable[[], object]) -> None:
        """Write the persistent error log to flash: a reset meanwhile corrupts it."""
        word = self._status_word
        self._writes_log = True
        self.tell(Told(Happened.CRITICAL_BEGINS, self._clock()))
        self._latch(self.bars[0][f"interrupt{word}"] | CRITICAL, word)

        def written() -> None:
            self._writes_log = self._log_is_dirty = False
            self.tell(Told(Happened.CRITICAL_ENDS, self._clock()))
            self._latch(self.bars[0][f"interrupt{word}"] & ~CRITICAL, word)
            then()

        self._soon(takes, written)

    def _take(self, address: int) -> None:
        """Carry out the request at a bus address."""
        request = self._layout.parse(self.dma_read(address, REQUEST_BYTES))
        if self._has_failed or self.goes_wrong(Misbehaviour.LOSE_COMMANDS, request.command[0]):
            return
        if self.goes_wrong(Misbehaviour.REFUSE_COMMANDS, request.command[0]):
            self._complete(request, Status.FAILED)
        elif request.handle == ADAPTER:
            self._administer(request)
        elif request.handle != DISK_HANDLE:
            self._complete(request, Status.NO_SUCH_RESOURCE)
        elif request.kind == SCSI:
            answer = self.disk.command(request.command, self._gather(request))
            code = Status.CHECK_CONDITION if answer.sense else Status.GOOD
            self._complete(request, code, answer.data, answer.sense)
        else:  # cancel all, reset the device: nothing is ever under way
            self._complete(request, Status.GOOD)

    def _administer(self, request: Request) -> None:
        command, type_name = request.command, self._chip.type_name
        match command[0]:
            case 0xC4:
                if self._queue_slots and self._queue_epoch != self.resets:
                    self.tell(Told(Happened.LEFT_OVER, self._clock(), self._queue))
                self._queue_epoch = self.resets
                self._queue, size = self._layout.queue_of(command)
                self._queue_slots, self._slot, self._toggle = size // 4, 0, 1
                self._log_is_dirty = True  # it works again, so there is something to keep
                self._complete(request, Status.GOOD)
            case 0x12:
                self._complete(request, Status.GOOD, _inquiry(command[1] & 1, command[2], type_name))
            case 0xC5:
                disk = Resource(handle=DISK_HANDLE, bus=0, target=3, lun=0, identity=self.disk.identity())
                self._complete(request, Status.GOOD, self._layout.configuration((disk,), type_name=type_name))
            case 0x1A:
                self._complete(request, Status.NOT_SUPPORTED)
            case 0xCF:
                pass  # kept until there is something to tell
            case 0xF7:
                self._write_log(SHUTDOWN_TAKES, lambda: self._complete(request, Status.GOOD))
            case _:
                self._complete(request, Status.GOOD)

    def _gather(self, request: Request) -> bytes:
        """The data that came with a request."""
        if not request.written.count:
            return b""
        scatter = self.dma_read(request.written.address, request.written.count)
        return b"".join(self.dma_read(address, count) for address, count in self._layout.pieces(scatter))

    def _complete(self, request: Request, code: int, data: bytes = b"", sense: bytes = b"") -> None:
        if data and request.read.count:
            scatter = self.dma_read(request.read.address, request.read.count)
            for address, count in self._layout.pieces(scatter):
                part, data = data[:count], data[count:]
                if part:
                    self.dma_write(address, part)
        status = self._layout.status_area(code, sense)
        self.dma_write(request.status, status[: request.status_bytes or None])
        if not self._queue_slots:
            return  # nobody listens
        answer = request.response & ~3 | self._toggle
        self.dma_write(self._queue + 4 * self._slot, answer.to_bytes(4, "big"))
        self._slot += 1
        if self._slot == self._queue_slots:
            self._slot, self._toggle = 0, self._toggle ^ 1
        if self._layout is Layout.SIS32 or not self.by_message:
            self._latch(self.bars[0]["interrupt"] | QUEUE_UPDATED)
        elif not self.bars[0]["mask"] & QUEUE_UPDATED:
            self.interrupt()  # its driver never clears the bit then: each completion is a message of its own


def obsidian_e(clock: Callable[[], int]) -> Ipr:
    """1014:0339, subsystem 033a: SIS32, self-test by config space.

    Args:
        clock: CLOCK_MONOTONIC, nanoseconds.
    """
    return Ipr(OBSIDIAN_E, clock)


def obsidian_e_warm(clock: Callable[[], int]) -> Ipr:
    """1014:0339, subsystem 0360: the same, and its driver asks for a warm reset.

    Args:
        clock: CLOCK_MONOTONIC, nanoseconds.
    """
    return Ipr(OBSIDIAN_E_WARM, clock)


def crocodile(clock: Callable[[], int]) -> Ipr:
    """1014:034a, subsystem 0357: SIS64, self-test by a register.

    Args:
        clock: CLOCK_MONOTONIC, nanoseconds.
    """
    return Ipr(CROCODILE, clock)


def _inquiry(vital: int, page: int, type_name: str) -> bytes:
    """What the adapter says of itself: standard data, or a page of vital product data."""
    if not vital:
        head = bytes((0x1F, 0, 2, 2, 39, 0, 0, 0)) + b"IBM     "
        return head + type_name.encode().ljust(16) + b"0001" + bytes(64)
    match page:
        case 0x00:
            return bytes((0x1F, 0x00, 0, 2, 0x00, 0x03)).ljust(24, b"\0")
        case 0x03:
            return bytes((0x1F, 0x03, 0, 20)).ljust(12, b"\0") + _FIRMWARE + bytes(8)
        case _:
            return bytes((0x1F, page, 0, 0)).ljust(24, b"\0")
