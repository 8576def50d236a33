"""An adapter under its own driver, and the disk behind it, in verbs: `Adapter(dut).resets()`, `Disk(dut).reads()`.

Every part binds the driver to the function for as long as the stage lasts, and the stage begins when the driver has
shown a disk.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from harness.errors import UsageError
from harness.model import operation
from harness.model.operation import Operation
from harness.model.plan import File, Op, Setting, Step
from harness.model.units import MS, Ns
from harness.staging.acting import acting, pause
from harness.staging.function import Function
from harness.staging.part import Part

_DRIVER: Final = "ipr"
_DISKS: Final = "sd_mod"
BLOCK_BYTES: Final = 512
_PACE: Final = Ns(20 * MS)


@dataclass(frozen=True, slots=True)
class Adapter:
    """A SCSI adapter whose driver resets it in its own way when the user asks for that.

    Attributes:
        function: under the driver `ipr`.
        by_message: whether the driver may use MSI; else it is left with INTx.
    """

    function: Function
    by_message: bool = True

    def is_driven(self) -> Part:
        """Nobody acts; the driver is there, and has brought the adapter up if somebody asks for its disk."""
        settings = driven(self.function, _DRIVER, by_message=self.by_message)
        return Part(functions=(self.function.alias,), settings=settings, modules=(_DRIVER, _DISKS))

    def resets(self, *, at: str | Ns = Ns(0)) -> Part:
        """Write to `reset_host`: returns when the adapter is back."""
        return self._writes("host-resetter", operation.HOST_RESET, "reset_host", b"1", at)

    def runs_diagnostics(self, *, at: str | Ns = Ns(0)) -> Part:
        """Write to `run_diagnostics`: the same, then the driver asks for errors; EIO when there were some."""
        return self._writes("diagnostician", operation.DIAGNOSTICS, "run_diagnostics", b"1", at)

    def goes_online(self, *, at: str | Ns = Ns(0)) -> Part:
        """Write `online` to `online_state`: revives an adapter that its driver has given up."""
        return self._writes("reviver", operation.REVIVAL, "online_state", b"online", at)

    def tells_its_state(self, *, every: str | Ns = _PACE) -> Part:
        """Read `online_state` again and again: the first 8 bytes are `online` or `offline`."""
        step = Step(op=Op.READ, means=operation.ONLINE_STATE, file=self._host("online_state"), width=8)
        return self._acts("state-reader", (step, *pause(every)))

    def _writes(self, name: str, means: Operation, attribute: str, value: bytes, at: str | Ns) -> Part:
        step = Step(op=Op.WRITE, means=means, file=self._host(attribute), value=value)
        return self._acts(name, (step,), starting=at, times=1)

    def _host(self, attribute: str) -> File:
        return File(function=self.function.alias, role=f"scsi-host/{attribute}")

    def _acts(
        self, name: str, steps: tuple[Step, ...], *, starting: str | Ns = Ns(0), times: int | None = None
    ) -> Part:
        settings = driven(self.function, _DRIVER, by_message=self.by_message)
        return acting(
            (self.function.alias,),
            name,
            steps,
            starting=starting,
            times=times,
            settings=settings,
            modules=(_DRIVER, _DISKS),
        )


@dataclass(frozen=True, slots=True)
class Disk:
    """The first disk behind a function, past the page cache.

    Attributes:
        function: under a storage driver.
        driver: which: `ipr`, `nvme`.
        timeout_s: how long a command may take before the kernel gives it up; 0: as the kernel sets it.
    """

    function: Function
    driver: str = _DRIVER
    timeout_s: int = 0

    def reads(
        self, *, block: int = 0, at: str | Ns = Ns(0), every: str | Ns = _PACE, times: int | None = None
    ) -> Part:
        """Read one block of 512 bytes again and again."""
        step = Step(
            op=Op.READ,
            means=operation.DISK_READ,
            file=self._file(),
            offset=block * BLOCK_BYTES,
            width=BLOCK_BYTES,
        )
        return self._acts("disk-reader", (step, *pause(every)), at, times)

    def writes_once(self, pattern: bytes, *, block: int = 0, at: str | Ns = Ns(0)) -> Part:
        """Write one block: `pattern`, repeated.

        Raises:
            UsageError: the pattern does not divide a block.
        """
        if not pattern or BLOCK_BYTES % len(pattern):
            raise UsageError(
                f"pattern of {len(pattern)} bytes on the disk of {self.function.alias}",
                said="does not fill a block of 512 bytes",
                hint="Give 1, 2, 4, 8 … bytes.",
            )
        value = pattern * (BLOCK_BYTES // len(pattern))
        step = Step(
            op=Op.WRITE,
            means=operation.DISK_WRITE,
            file=self._file(),
            offset=block * BLOCK_BYTES,
            value=value,
        )
        return self._acts("disk-writer", (step,), at, 1)

    def _file(self) -> File:
        return File(function=self.function.alias, role="disk")

    def _acts(self, name: str, steps: tuple[Step, ...], at: str | Ns, times: int | None) -> Part:
        settings = driven(self.function, self.driver)
        if self.timeout_s:
            limit = Setting(function=self.function.alias, attribute="disk/timeout", value=str(self.timeout_s))
            settings = (*settings, limit)
        modules = (self.driver, _DISKS) if self.driver == _DRIVER else (self.driver,)
        return acting(
            (self.function.alias,), name, steps, starting=at, times=times, settings=settings, modules=modules
        )


def driven(function: Function, driver: str, *, by_message: bool = True) -> tuple[Setting, ...]:
    """Settings that bind a driver to a function, for as long as the stage lasts.

    Args:
        function: that is bound.
        driver: to that one.
        by_message: whether it may use MSI; else it is left with INTx.
    """
    bound = Setting(function=function.alias, attribute="driver", value=driver)
    if by_message:
        return (bound,)
    return (Setting(function=function.alias, attribute="msi_bus", value="0"), bound)
