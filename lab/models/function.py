"""A PCI function: config space, memory BARs, resets, power, interrupts, and what it does wrong.

No protocol and no descriptor here: a conversation calls :meth:`Function.read` and :meth:`Function.write` and tells of
a bus reset; whoever serves it hands in :class:`Outlets`, tells of what happens, and runs what is due.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Final

from harness.lab.models import config_faults
from harness.lab.models.agenda import Agenda
from harness.lab.models.declared import (
    BIST_CAPABLE,
    BUS_MASTER,
    INITIATE_FLR,
    INTX_DISABLE,
    INTX_PENDING,
    MEMORY_SPACE,
    MSI_ENABLE,
    MSIX_ENABLE,
    MSIX_MASK,
    POWER_STATE,
    START_BIST,
)
from harness.lab.models.interface import CONFIG_REGION, INTX, MSI, MSIX, Outlets, Refused, Told
from harness.lab.models.programme import Programme, Running
from harness.lab.models.registers import RegisterFile, Written
from harness.model.fault import ACTS, Fault, Misbehaviour, Occasion
from harness.model.served import NO_REGION, Happened
from harness.model.units import MS, Ns

INTX_AND_MSI: Final[Mapping[int, int]] = {INTX: 1, MSI: 1}
"""How many of each a function has that says nothing else."""
_INTERRUPT_PIN: Final = 0x3D
_SELF_TEST: Final = Ns(100 * MS)
_SLOW_TEST_MS: Final = 3000
_STORM_EVERY: Final = Ns(MS // 2)

_SILENT_CONFIG: Final = (Misbehaviour.NOT_READY, Misbehaviour.NEVER_READY, Misbehaviour.ALL_ONES_CONFIG)
_SILENT_MEMORY: Final = (Misbehaviour.NOT_READY, Misbehaviour.NEVER_READY, Misbehaviour.ALL_ONES_MEMORY)


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfTest:
    """The built-in self-test: what the start bit of BIST begins (PCIe r6.0 §7.5.1.1.11).

    Attributes:
        lasting_ns: how long it takes; meanwhile everything reads all-ones, and afterwards the function is reset.
        result: completion code, 0 to 15; 0 is passed.
    """

    lasting_ns: Ns
    result: int = 0


class Function:
    """One function.  A model of one's own derives from it and says in :meth:`stored` what its registers do.

    Attributes:
        config: its config space, 4096 bytes.
        bars: by number, the registers of its memory BARs, each a power of two of bytes.
        vectors: by kind of interrupt, how many it has.
        self_test: what its start bit of BIST begins, where BIST says that it is capable.
        resets: how often it was reset since it came into being; one more is a new epoch.
    """

    def __init__(
        self,
        config: RegisterFile,
        bars: Mapping[int, RegisterFile],
        *,
        clock: Callable[[], int],
        vectors: Mapping[int, int] = INTX_AND_MSI,
    ) -> None:
        """Make a function that has just been powered on.

        Args:
            config: of :func:`harness.lab.models.registers.config_space`.
            bars: registers behind each BAR.
            clock: CLOCK_MONOTONIC, nanoseconds.
            vectors: how many interrupts of each kind.
        """
        self.config: Final = config
        self.bars: Final = dict(bars)
        self.vectors: Final = dict(vectors)
        self.self_test = SelfTest(lasting_ns=_SELF_TEST)
        self.resets = 0
        self.tell: Callable[[Told], object] = _tell_nobody
        self.outlets: Outlets | None = None
        self._programme: Final = Programme(self._fault_begins, self._fault_ends, self._fault_met)
        self._clock = clock
        self._testing = False
        self._agenda: Final = Agenda(clock)

    @property
    def sizes(self) -> dict[int, int]:
        """Bytes of every region that it has, by number."""
        return {CONFIG_REGION: self.config.size, **{number: bar.size for number, bar in self.bars.items()}}

    # --- told by whoever serves it --------------------------------------------------------------------------

    def load(self, faults: Iterable[Fault]) -> None:
        """Replace the programme of faults.

        Raises:
            UsageError: one names a register that config space does not have, or a value that does not fit.
        """
        programme = list(faults)
        for fault in programme:
            config_faults.check(fault, self.config)
        self._programme.load(programme, self._clock())

    def release(self, release_ns: int) -> None:
        """The actors of the stage were released at that time."""
        self._programme.release(release_ns, self._clock())

    def run_due(self) -> int | None:
        """Do what is due.

        Returns:
            when the next thing is due, CLOCK_MONOTONIC; None: nothing is.
        """
        return self._agenda.run_due()

    def read(self, region: int, offset: int, count: int) -> bytes:
        """Answer a read of software.

        Raises:
            Refused: the programme says so.
        """
        at = self._clock()
        try:
            data = self._read(region, offset, count, at)
        except Refused as error:
            self.tell(Told(Happened.READ, at, 0, offset, region, count, error.errno))
            raise
        self.tell(Told(Happened.READ, at, int.from_bytes(data[:8], "little"), offset, region, count))
        return data

    def write(self, region: int, offset: int, data: bytes) -> None:
        """Take a write of software.

        Raises:
            Refused: the programme says so.
        """
        at, value = self._clock(), int.from_bytes(data[:8], "little")
        try:
            self._refuse(region, at)
        except Refused as error:
            self.tell(Told(Happened.WRITTEN, at, value, offset, region, len(data), error.errno))
            raise
        # Before what it brings about: a log in which a reset stands before its cause cannot be read.
        self.tell(Told(Happened.WRITTEN, at, value, offset, region, len(data)))
        self._write(region, offset, data, at)

    def bus_reset(self) -> None:
        """A reset of the bus above."""
        self._reset(Happened.BUS_RESET, self._clock())
        self._programme.occasion(Occasion.BUS_RESET, self._clock())

    def unmasked(self) -> None:
        """The machine let go of INTx, as it does at each access of a BAR: the level is raised again while it is due."""
        if self._kind() == INTX and self.config["status"] & INTX_PENDING:
            self.interrupt()

    # --- what a model of one's own uses ---------------------------------------------------------------------

    def stored(self, written: Written) -> None:
        """A register of a BAR was written: a model of one's own does here what that means."""

    def forgotten(self) -> None:
        """It was reset, its registers have their values after a reset: a model of one's own forgets the rest."""

    def failed(self) -> None:
        """Its firmware has failed, as staged: a model of one's own says here how it tells."""
        self.interrupt()

    def goes_wrong(self, what: Misbehaviour, value: int | None = None) -> Fault | None:
        """What the programme says of a thing that a model of one's own is about to do; None: it goes well.

        Args:
            what: goes wrong.
            value: where the fault may name one: with which.
        """
        if value is None:
            return self._programme.meets(what, at_ns=self._clock())
        return self._programme.meets_one_of(what, value, at_ns=self._clock())

    def later(self, delay: Ns, task: Callable[[], object]) -> None:
        """Do something after a while; not before the access that is being answered has its answer."""
        self._agenda.add(delay, task)

    def start_self_test(self) -> None:
        """Begin the built-in self-test: as BIST's start bit does, or a register of a model of one's own."""
        self._testing = True
        slow = self._programme.meets(Misbehaviour.SELF_TEST_SLOW, at_ns=self._clock())
        lasting = self.self_test.lasting_ns if slow is None else Ns((slow.value or _SLOW_TEST_MS) * MS)
        self.later(lasting, self._tested)

    def note(self, value: int, address: int = 0) -> None:
        """Write down something worth knowing."""
        self.tell(Told(Happened.NOTED, self._clock(), value, address))

    def interrupt(self, vector: int = 0) -> bool:
        """Signal an interrupt the way that software has switched on; whether it was signalled.

        INTx is a level: it stays until :meth:`withdraw`, and waits while software has switched it off.  It is what a
        function has whose software switched on nothing else.
        """
        at, kind = self._clock(), self._kind()
        if kind == INTX:
            self.config["status"] |= INTX_PENDING
            if self.config["command"] & INTX_DISABLE:
                return False
        sent = kind is not None and not self._programme.meets(Misbehaviour.LOSE_INTERRUPTS, at_ns=at)
        if sent and kind is not None and self.outlets is not None:
            sent = self.outlets.signal(kind, vector)
        self.tell(Told(Happened.INTERRUPT if sent else Happened.INTERRUPT_LOST, at, vector))
        return sent

    @property
    def by_message(self) -> bool:
        """Whether software has switched on MSI or MSI-X: else an interrupt is the level of INTx."""
        return self._kind() != INTX

    def withdraw(self) -> None:
        """The cause of INTx is gone."""
        self.config["status"] &= ~INTX_PENDING

    def dma_read(self, address: int, count: int) -> bytes:
        """Read guest memory at a bus address; only from what was put off by :meth:`later`.

        Raises:
            OSError: the machine refused, or is gone.
        """
        data = b""
        with self._moving(Happened.DMA_READ, address, count) as machine:
            data = machine.dma_read(address, count)
        self._moved(Happened.DMA_READ, address, data)
        return data

    def dma_write(self, address: int, data: bytes) -> None:
        """Write guest memory, likewise.

        Raises:
            OSError: the machine refused, or is gone.
        """
        with self._moving(Happened.DMA_WRITTEN, address, len(data)) as machine:
            machine.dma_write(address, data)
        self._moved(Happened.DMA_WRITTEN, address, data)

    # --- inside -------------------------------------------------------------------------------------------

    def _read(self, region: int, offset: int, count: int, at: int) -> bytes:
        self._refuse(region, at)
        if region == CONFIG_REGION and (offset, count) == (_INTERRUPT_PIN, 1):
            # QEMU asks for itself around resets, and switches INTx off for good when the answer is no pin.
            return self.config.read(offset, count)
        if self._silent(region, at):
            return b"\xff" * count
        if region == CONFIG_REGION:
            return config_faults.read(self.config, self._programme, offset, count, at)
        return self.bars[region].read(offset, count)

    def _write(self, region: int, offset: int, data: bytes, at: int) -> None:
        if self._silent(region, at):
            return
        if region != CONFIG_REGION:
            for one in self.bars[region].write(offset, data):
                self.stored(one)
            return
        for one in config_faults.write(self.config, self._programme, offset, data, at):
            self._configured(one, at)

    def _refuse(self, region: int, at: int) -> None:
        """Count the access, and refuse it if the programme says so."""
        self._programme.occasion(Occasion.ACCESSES, at)
        refuses = Misbehaviour.REFUSE_CONFIG if region == CONFIG_REGION else Misbehaviour.REFUSE_MEMORY
        if self._programme.meets(refuses, at_ns=at):
            raise Refused(errno.EIO)

    def _silent(self, region: int, at: int) -> bool:
        """Whether nobody claims an access: it reads all-ones, a write is lost."""
        kinds = _SILENT_CONFIG if region == CONFIG_REGION else _SILENT_MEMORY
        if self._testing or self._programme.meets(*kinds, at_ns=at):
            return True
        return region != CONFIG_REGION and bool(not self.config["command"] & MEMORY_SPACE or self._asleep(at))

    def _asleep(self, at: int) -> bool:
        if config_faults.POWER not in self.config:
            return False
        return bool(
            self.config[config_faults.POWER] & POWER_STATE
            or self._programme.meets(Misbehaviour.STAY_ASLEEP, at_ns=at)
        )

    def _configured(self, one: Written, at: int) -> None:
        """Carry out what a write of a register asks for."""
        if one.name == "express-device-control" and one.value & INITIATE_FLR:
            self.config[one.name] &= ~INITIATE_FLR
            if self._programme.meets(Misbehaviour.IGNORE_FLR, at_ns=at):
                self.tell(Told(Happened.FLR_IGNORED, at, self.resets))
            else:
                self._reset(Happened.FLR, at)
                self._programme.occasion(Occasion.FLR, at)
        elif one.name == config_faults.POWER and one.before & POWER_STATE and not one.after & POWER_STATE:
            self._reset(Happened.WAKE, at)  # without No_Soft_Reset (PCIe r6.0 §7.5.2.2)
            self._programme.occasion(Occasion.WAKE, at)
        elif one.name == "command" and one.before & INTX_DISABLE and not one.after & INTX_DISABLE:
            self.unmasked()
        elif one.name == "bist" and one.after & START_BIST:
            self.start_self_test()

    def _tested(self) -> None:
        at = self._clock()
        self._testing = False
        self._reset(Happened.SELF_TESTED, at)
        fails = self._programme.meets(Misbehaviour.SELF_TEST_FAILS, at_ns=at)
        self.config["bist"] = BIST_CAPABLE | (self.self_test.result if fails is None else fails.value or 1)

    def _reset(self, how: Happened, at: int) -> None:
        self.resets += 1
        self.config.reset()
        if not self._programme.meets(Misbehaviour.KEEP_SCRATCH, at_ns=at):
            for bar in self.bars.values():
                bar.reset()
        self.tell(Told(how, at, self.resets))
        self.forgotten()

    def _kind(self) -> int | None:
        """How an interrupt goes out now (PCIe r6.0 §6.1.4); None: it does not."""
        command = self.config["command"]
        if "msix-control" in self.config and (msix := self.config["msix-control"]) & MSIX_ENABLE:
            return MSIX if command & BUS_MASTER and not msix & MSIX_MASK else None
        if "msi-control" in self.config and self.config["msi-control"] & MSI_ENABLE:
            return MSI if command & BUS_MASTER else None
        return INTX if self.vectors.get(INTX) else None

    @contextmanager
    def _moving(self, what: Happened, address: int, count: int) -> Iterator[Outlets]:
        """Take down what the machine refuses.

        What was asked for by a bus master that is none any more when the answer comes was under way when software
        switched that off: on a link no access overtakes a request, in QEMU one does.
        """
        was_master = self.config["command"] & BUS_MASTER
        try:
            if self.outlets is None:
                raise OSError(errno.ENOTCONN, "no machine")
            yield self.outlets
        except OSError as error:
            cut_off = was_master and not self.config["command"] & BUS_MASTER
            number = errno.ECANCELED if cut_off else error.errno or errno.EIO
            self.tell(Told(what, self._clock(), 0, address, NO_REGION, count, number))
            raise

    def _moved(self, what: Happened, address: int, data: bytes) -> None:
        value = int.from_bytes(data[:8], "little")
        self.tell(Told(what, self._clock(), value, address, NO_REGION, len(data)))

    def _fault_begins(self, number: int, at: int) -> None:
        self.tell(Told(Happened.FAULT_BEGINS, at, number))
        one = self._programme.running(number)
        if one.fault.what in ACTS:
            self.later(Ns(max(0, at - self._clock())), partial(self._act, one, one.begun))

    def _fault_ends(self, number: int, at: int) -> None:
        self.tell(Told(Happened.FAULT_ENDS, at, number))

    def _fault_met(self, number: int, at: int) -> None:
        self.tell(Told(Happened.FAULT_MET, at, number))

    def _act(self, one: Running, begun: int) -> None:
        """Do what nobody asked for, unless it began again since, or is not wrong any more."""
        if one.begun != begun:
            return
        if not self._programme.shows(one, self._clock()):
            if one.fault.what is Misbehaviour.INTERRUPT_STORM:
                self.withdraw()
            return
        if one.fault.what is Misbehaviour.STRAY_DMA:
            with suppress(OSError):  # it is in the log
                self.dma_write(one.fault.value or 0, b"stray!!\n")
        elif one.fault.what is Misbehaviour.UNIT_CHECK:
            self.failed()
        else:
            self.interrupt()
            self.later(_STORM_EVERY, partial(self._act, one, begun))


def _tell_nobody(_: Told) -> None:
    """Before somebody serves it."""
