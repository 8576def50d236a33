"""A PCI function: config space, one memory BAR, resets, power, and what it does wrong.

No protocol and no descriptor here: a conversation calls :meth:`Function.read` and :meth:`Function.write`, tells of
a bus reset, and hands in how to signal an interrupt.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from harness.errors import UsageError
from harness.model.units import Ns
from lab.models.declared import (
    BIST_CAPABLE,
    BUS_MASTER,
    INITIATE_FLR,
    MEMORY_SPACE,
    MSI_ENABLE,
    POWER_STATE,
    START_BIST,
)
from lab.models.programme import OF_A_REGISTER, Fault, Misbehaviour, Occasion, Programme, Wrong
from lab.models.registers import RegisterFile, Written

CONFIG_REGION: Final = 7
"""Number of config space among the regions; 0 to 5 are the BARs (vfio)."""
BAR_REGION: Final = 0
_INTERRUPT_PIN: Final = 0x3D
_RETRY_STATUS: Final = b"\x01\x00\xff\xff"

_SILENT: Final = {
    CONFIG_REGION: (Misbehaviour.NOT_READY, Misbehaviour.ALL_ONES_CONFIG),
    BAR_REGION: (Misbehaviour.NOT_READY, Misbehaviour.ALL_ONES_MEMORY),
}
_REFUSES: Final = {CONFIG_REGION: Misbehaviour.REFUSE_CONFIG, BAR_REGION: Misbehaviour.REFUSE_MEMORY}


class Refused(Exception):
    """The access is answered with an error.

    Attributes:
        errno: which.
    """

    def __init__(self, number: int) -> None:
        super().__init__(errno.errorcode.get(number, str(number)))
        self.errno: Final = number


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
    """One function.

    Attributes:
        config: its config space, 4096 bytes.
        bar: the registers of its memory BAR, a power of two of bytes.
        self_test: what its start bit of BIST begins, where BIST says that it is capable.
        resets: how often it was reset since it came into being; one more is a new epoch.
    """

    def __init__(self, config: RegisterFile, bar: RegisterFile, *, clock: Callable[[], int]) -> None:
        """Make a function that has just been powered on.

        Args:
            config: of :func:`lab.models.registers.config_space`.
            bar: registers behind BAR 0.
            clock: CLOCK_MONOTONIC, nanoseconds.
        """
        self.config: Final = config
        self.bar: Final = bar
        self.self_test = SelfTest(lasting_ns=Ns(0))
        self.resets = 0
        self._programme: Final = Programme()
        self._clock = clock
        self._signal: Callable[[], None] = _nobody_listens
        self._tested_ns = 0  # when the self-test that runs is over; 0 when none runs

    def listen(self, signal: Callable[[], None]) -> None:
        """Say how an interrupt is signalled."""
        self._signal = signal

    def load(self, faults: Iterable[Fault]) -> None:
        """Replace the programme of faults.

        Raises:
            UsageError: one names a register that config space does not have.
        """
        programme = list(faults)
        for fault in programme:
            if fault.what in OF_A_REGISTER and fault.register not in self.config:
                known = ", ".join(one.name for one in self.config.registers)
                raise UsageError(
                    f"fault {fault.what} of register {fault.register!r}",
                    said="config space has none of that name",
                    hint=f"There are: {known}.",
                )
        self._programme.load(programme, self._clock())

    def read(self, region: int, offset: int, count: int) -> bytes:
        """Answer a read of software.

        Raises:
            Refused: the programme says so.
        """
        wrong = self._accessed(region)
        if region == CONFIG_REGION and (offset, count) == (_INTERRUPT_PIN, 1):
            # QEMU asks for itself around resets, and switches INTx off for good when the answer is no pin.
            return self.config.read(offset, count)
        if self._silent(region, wrong):
            return b"\xff" * count
        if region == CONFIG_REGION:
            return self._config(wrong, offset, count)
        return self.bar.read(offset, count)

    def write(self, region: int, offset: int, data: bytes) -> None:
        """Take a write of software.

        Raises:
            Refused: the programme says so.
        """
        wrong = self._accessed(region)
        if self._silent(region, wrong):
            return
        if region == CONFIG_REGION:
            kept = {name: self.config[name] for name in wrong.registers(Misbehaviour.LOSE_WRITES)}
            written = self.config.write(offset, data)
            for name, value in kept.items():
                self.config[name] = value
            for one in written:
                self._configured(one, wrong)
        else:
            for one in self.bar.write(offset, data):
                self.stored(one)

    def stored(self, written: Written) -> None:
        """A register of the BAR was written: a model of one's own does here what that means."""

    def bus_reset(self) -> None:
        """A reset of the bus above."""
        self._reset()
        self._programme.occasion(Occasion.BUS_RESET, self._clock())

    def interrupt(self) -> bool:
        """Send one MSI, when software has switched it on; whether it was sent."""
        enabled = self.config["msi-control"] & MSI_ENABLE and self.config["command"] & BUS_MASTER
        if not enabled or Misbehaviour.LOSE_INTERRUPTS in self._programme.wrong(self._clock()):
            return False
        self._signal()
        return True

    # --- inside -------------------------------------------------------------------------------------------

    def _accessed(self, region: int) -> Wrong:
        now = self._clock()
        if self._tested_ns and now >= self._tested_ns:
            self._tested_ns = 0
            self._reset()
            self.config["bist"] = BIST_CAPABLE | self.self_test.result
        self._programme.accessed(now)
        wrong = self._programme.wrong(now)
        if _REFUSES[region] in wrong:
            raise Refused(errno.EIO)
        return wrong

    def _silent(self, region: int, wrong: Wrong) -> bool:
        """Whether nobody claims an access: it reads all-ones, a write is lost."""
        if self._tested_ns or any(what in wrong for what in _SILENT[region]):
            return True
        asleep = self.config["pm-control-status"] & POWER_STATE or Misbehaviour.STAY_ASLEEP in wrong
        return region != CONFIG_REGION and bool(not self.config["command"] & MEMORY_SPACE or asleep)

    def _config(self, wrong: Wrong, offset: int, count: int) -> bytes:
        data = bytearray(self.config.read(offset, count))
        for name in wrong.registers(Misbehaviour.WRONG_VALUE):
            one = self.config.declaration(name)
            inverted = self.config[name] ^ ((1 << 8 * one.width) - 1)
            _overlay(data, offset, one.offset, inverted.to_bytes(one.width, "little"))
        if Misbehaviour.STAY_ASLEEP in wrong:
            one = self.config.declaration("pm-control-status")
            _overlay(data, offset, one.offset, (self.config[one.name] | POWER_STATE).to_bytes(2, "little"))
        if Misbehaviour.RETRY_STATUS in wrong:
            _overlay(data, offset, 0, _RETRY_STATUS)
        return bytes(data)

    def _configured(self, one: Written, wrong: Wrong) -> None:
        """Carry out what a write of a register asks for."""
        now = self._clock()
        if one.name == "express-device-control" and one.value & INITIATE_FLR:
            self.config[one.name] &= ~INITIATE_FLR
            if Misbehaviour.IGNORE_FLR not in wrong:
                self._reset()
                self._programme.occasion(Occasion.FLR, now)
        elif one.name == "pm-control-status" and one.before & POWER_STATE and not one.after & POWER_STATE:
            self._reset()  # without No_Soft_Reset (PCIe r6.0 §7.5.2.2)
            self._programme.occasion(Occasion.WAKE, now)
        elif one.name == "bist" and one.after & START_BIST:
            self._tested_ns = now + self.self_test.lasting_ns

    def _reset(self) -> None:
        self.resets += 1
        self.config.reset()
        if Misbehaviour.KEEP_SCRATCH not in self._programme.wrong(self._clock()):
            self.bar.reset()


def _overlay(data: bytearray, offset: int, at: int, value: bytes) -> None:
    """Put the bytes of `value`, which belong at `at`, into `data`, which was read at `offset`."""
    for position, byte in enumerate(value, at - offset):
        if 0 <= position < len(data):
            data[position] = byte


def _nobody_listens() -> None:
    """Before QEMU has said where interrupts go."""
