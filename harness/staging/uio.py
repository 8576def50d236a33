"""A driver in user space by UIO, as its documentation wants one: `UioUser(dut).handles_interrupts()`.

`uio_pci_generic` masks INTx in its interrupt handler, by COMMAND, and wakes whoever reads its node; that one clears the
bit again, through sysfs `config`.

Source: Linux Documentation/driver-api/uio-howto.rst; drivers/uio/uio_pci_generic.c, `irqhandler()`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from harness.model import operation
from harness.model.pci import COMMAND, AccessPath
from harness.model.plan import File, Op, Step
from harness.model.units import MS, Ns
from harness.staging.acting import acting, pause
from harness.staging.adapter import driven
from harness.staging.function import Function
from harness.staging.part import Part

_DRIVER: Final = "uio_pci_generic"
_PACE: Final = Ns(MS)
_COUNT_BYTES: Final = 4  # how many interrupts came so far


@dataclass(frozen=True, slots=True)
class UioUser:
    """A user of a function by UIO.

    Attributes:
        function: under the driver `uio_pci_generic`; it needs INTx.
    """

    function: Function

    def handles_interrupts(self, *, every: str | Ns = _PACE) -> Part:
        """Wait for an interrupt and let the next one through, again and again.

        Whoever stages this gives the function cause for interrupts until the end: the wait has no end of its own.

        Args:
            every: from one to the next, at least.
        """
        alias = self.function.alias
        wait = Step(
            op=Op.READ, means=operation.UIO_WAIT, file=File(function=alias, role="uio"), width=_COUNT_BYTES
        )
        unmask = Step(
            op=Op.WRITE,
            means=operation.config_write(AccessPath.SYSFS),
            file=File(function=alias, role="config"),
            offset=COMMAND + 1,
            value=b"\0",
        )
        return acting(
            (alias,),
            "uio-user",
            (wait, unmask, *pause(every)),
            settings=driven(self.function, _DRIVER),
            modules=(_DRIVER,),
        )
