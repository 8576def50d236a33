"""A PCI function: config space, one memory BAR, resets, power, and what it does wrong.

No protocol and no descriptor here: a conversation calls :meth:`Function.read` and :meth:`Function.write`, tells of
a bus reset, and hands in how to signal an interrupt.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable
from typing import Final

from lab.models.declared import BUS_MASTER, INITIATE_FLR, MEMORY_SPACE, MSI_ENABLE, POWER_STATE
from lab.models.programme import Fault, Misbehaviour, Occasion, Programme
from lab.models.registers import RegisterFile, Written

CONFIG_REGION: Final = 7
"""Number of config space among the regions; 0 to 5 are the BARs (vfio)."""
BAR_REGION: Final = 0
_INTERRUPT_PIN: Final = 0x3D
_ALL_ONES: Final = 0xFF
_D0: Final = 0

_ANSWERS_NOTHING: Final = {
    CONFIG_REGION: frozenset({Misbehaviour.NOT_READY, Misbehaviour.ALL_ONES_CONFIG}),
    BAR_REGION: frozenset({Misbehaviour.NOT_READY, Misbehaviour.ALL_ONES_MEMORY}),
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


class Function:
    """One function.

    Attributes:
        config: its config space, 4096 bytes.
        bar: the registers of its memory BAR, a power of two of bytes.
        programme: what it does wrong.
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
        self.programme: Final = Programme()
        self.resets = 0
        self._clock = clock
        self._signal: Callable[[], None] = _nobody_listens

    def listen(self, signal: Callable[[], None]) -> None:
        """Say how an interrupt is signalled."""
        self._signal = signal

    def load(self, faults: Iterable[Fault]) -> None:
        """Replace the programme of faults."""
        self.programme.load(faults, self._clock())

    def read(self, region: int, offset: int, count: int) -> bytes:
        """Answer a read of software.

        Raises:
            Refused: the programme says so.
        """
        wrong = self._accessed(region)
        if region == CONFIG_REGION and (offset, count) == (_INTERRUPT_PIN, 1):
            # QEMU asks for itself around resets, and switches INTx off for good when the answer is no pin.
            return self.config.read(offset, count)
        if wrong & _ANSWERS_NOTHING[region]:
            return bytes([_ALL_ONES]) * count
        if region == CONFIG_REGION:
            return self._config(wrong, offset, count)
        if not self.config["command"] & MEMORY_SPACE or self._asleep:
            return bytes([_ALL_ONES]) * count  # nobody claims the access
        return self.bar.read(offset, count)

    def write(self, region: int, offset: int, data: bytes) -> None:
        """Take a write of software.

        Raises:
            Refused: the programme says so.
        """
        wrong = self._accessed(region)
        if wrong & _ANSWERS_NOTHING[region]:
            return
        if region == CONFIG_REGION:
            kept = self.config["command"]
            written = self.config.write(offset, data)
            if Misbehaviour.LOSE_COMMAND in wrong:
                self.config["command"] = kept
            self._configured(written, wrong)
        elif self.config["command"] & MEMORY_SPACE and not self._asleep:
            self.bar.write(offset, data)

    def bus_reset(self) -> None:
        """A reset of the bus above."""
        self._reset()
        self.programme.occasion(Occasion.BUS_RESET, self._clock())

    def interrupt(self) -> bool:
        """Send one MSI, when software has switched it on; whether it was sent."""
        if not (self.config["msi-control"] & MSI_ENABLE and self.config["command"] & BUS_MASTER):
            return False
        self._signal()
        return True

    @property
    def _asleep(self) -> bool:
        return self.config["pm-control-status"] & POWER_STATE != _D0

    def _accessed(self, region: int) -> frozenset[Misbehaviour]:
        now = self._clock()
        self.programme.accessed(now)
        wrong = self.programme.active(now)
        if _REFUSES[region] in wrong:
            raise Refused(errno.EIO)
        return wrong

    def _config(self, wrong: frozenset[Misbehaviour], offset: int, count: int) -> bytes:
        data = self.config.read(offset, count)
        if Misbehaviour.WRONG_VALUE not in wrong:
            return data
        at = _REVISION - offset
        return bytes(byte ^ (_ALL_ONES if index == at else 0) for index, byte in enumerate(data))

    def _configured(self, written: tuple[Written, ...], wrong: frozenset[Misbehaviour]) -> None:
        for one in written:
            if one.name == "express-device-control" and one.value & INITIATE_FLR:
                self.config["express-device-control"] &= ~INITIATE_FLR
                if Misbehaviour.IGNORE_FLR not in wrong:
                    self._reset()
                    self.programme.occasion(Occasion.FLR, self._clock())
            elif one.name == "pm-control-status" and one.before & POWER_STATE and not one.after & POWER_STATE:
                self._reset()  # without No_Soft_Reset (PCIe r6.0 §7.5.2.2)
                self.programme.occasion(Occasion.WAKE, self._clock())

    def _reset(self) -> None:
        self.resets += 1
        self.config.reset()
        if Misbehaviour.KEEP_SCRATCH not in self.programme.active(self._clock()):
            self.bar.reset()


_REVISION: Final = 0x08


def _nobody_listens() -> None:
    """Before QEMU has said where interrupts go."""
