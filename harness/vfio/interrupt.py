"""Interrupts of an open function, as eventfds."""

from __future__ import annotations

import os
import select
from contextlib import ExitStack

from harness.bindings import vfio
from harness.closing import Closing
from harness.errors import UsageError
from harness.model.pci import Bdf
from harness.vfio.step import Step, doing


class Interrupt(Closing):
    """One interrupt index of an open function: INTx, MSI, MSI-X, errors, or requests to give it back.

    Owns the eventfds that it armed, and borrows the descriptor.
    """

    def __init__(self, bdf: Bdf, device: vfio.DeviceFd, info: vfio.IrqInfo) -> None:
        self.bdf, self._device = bdf, device
        self.info = info
        self._armed = ExitStack()
        self._eventfds: tuple[int, ...] = ()

    @property
    def eventfds(self) -> tuple[int, ...]:
        """One for each armed interrupt, non-blocking; valid until they are disarmed."""
        return self._eventfds

    def arm(self, count: int = 1) -> tuple[int, ...]:
        """Let the first `count` interrupts signal an eventfd each; what was armed before is disarmed.

        Raises:
            UsageError: the index does not have so many.
            KernelRefusal: with the errno; EINVAL while another index of the function is armed.
        """
        if not 1 <= count <= self.info.count:
            raise UsageError(
                f"arming {count} interrupts of {self.info.index.name} of {self.bdf}",
                said=f"it has {self.info.count}",
            )
        self.disarm()
        with ExitStack() as arming:
            eventfds = []
            for _ in range(count):
                eventfds.append(os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK))
                arming.callback(os.close, eventfds[-1])
            with doing(Step.ARM_IRQS, self.bdf):
                vfio.arm_irqs(self._device, self.info.index, eventfds)
            arming.callback(self._disarm)
            self._armed = arming.pop_all()
        self._eventfds = tuple(eventfds)
        return self._eventfds

    def trigger(self, *, start: int = 0, count: int = 1) -> None:
        """Signal armed interrupts as if the function had raised them.

        Raises:
            KernelRefusal: with the errno.
        """
        self._act(vfio.IrqAction.TRIGGER, start, count)

    def mask(self, *, start: int = 0, count: int = 1) -> None:
        """Let interrupts wait; only INTx can.

        Raises:
            KernelRefusal: with the errno.
        """
        self._act(vfio.IrqAction.MASK, start, count)

    def unmask(self, *, start: int = 0, count: int = 1) -> None:
        """Let interrupts through again; INTx masks itself each time it is raised.

        Raises:
            KernelRefusal: with the errno.
        """
        self._act(vfio.IrqAction.UNMASK, start, count)

    def wait(self, number: int = 0, *, deadline_s: float) -> int:
        """Wait for an armed interrupt.

        Args:
            number: of the interrupt, from 0.
            deadline_s: in seconds from now.

        Returns:
            how often it was signalled since it was last waited for; 0 when the time is up.

        Raises:
            UsageError: it is not armed.
        """
        if not 0 <= number < len(self._eventfds):
            raise UsageError(
                f"waiting for interrupt {number} of {self.info.index.name} of {self.bdf}", said="not armed"
            )
        ready, _, _ = select.select([self._eventfds[number]], [], [], deadline_s)
        return os.eventfd_read(self._eventfds[number]) if ready else 0

    def disarm(self) -> None:
        """Take all interrupts of this index down; a second time does nothing.

        Raises:
            KernelRefusal: with the errno.
        """
        self._eventfds = ()
        self._armed.pop_all().close()

    def close(self) -> None:
        """Disarm."""
        self.disarm()

    def _act(self, action: vfio.IrqAction, start: int, count: int) -> None:
        with doing(Step.ACT_ON_IRQS, self.bdf):
            vfio.act_on_irqs(self._device, self.info.index, action, start=start, count=count)

    def _disarm(self) -> None:
        with doing(Step.DISARM_IRQS, self.bdf):
            vfio.disarm_irqs(self._device, self.info.index)
