"""Who owns a function: drivers that come and go, virtual functions, the function itself; in verbs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from harness.errors import UsageError
from harness.model import operation
from harness.model.operation import Operation
from harness.model.plan import File, Op, Setting, Step
from harness.model.units import Ns
from harness.staging.acting import acting, pause
from harness.staging.function import Function
from harness.staging.part import Part
from harness.staging.vfio_user import DRIVER, bound

_ENABLE_SRIOV: Final = Setting(function="", attribute="module/vfio_pci/enable_sriov", value="Y")
"""vfio-pci makes virtual functions only when told so, when it is bound."""


@dataclass(frozen=True, slots=True)
class Ownership:
    """What an administrator can do to a function."""

    function: Function

    def unbinds(self, *, at: str | Ns = Ns(0), driver: str = DRIVER) -> Part:
        """Take the function from its driver; waits, holding device_lock, while a VFIO user has it open."""
        return self._writes(
            "unbinder",
            self._step(operation.UNBIND, "driver/unbind", b"{bdf}"),
            at=at,
            settings=(bound(self.function, driver),),
            modules=_needed(driver),
        )

    def binds(self, *, at: str | Ns = Ns(0), driver: str = DRIVER) -> Part:
        """Give the function, which has no driver, to one."""
        override = Setting(function=self.function.alias, attribute="driver_override", value=driver)
        return self._writes(
            "binder",
            self._step(operation.BIND, "drivers_probe", b"{bdf}"),
            at=at,
            settings=(bound(self.function, ""), override),
            modules=_needed(driver),
        )

    def writes_override(self, *, driver: str = DRIVER) -> Part:
        """Write the same `driver_override` again and again."""
        override = Setting(function=self.function.alias, attribute="driver_override", value=driver)
        step = self._step(operation.OVERRIDE, "driver_override", driver.encode())
        return acting((self.function.alias,), "overrider", (step, *pause("1ms")), settings=(override,))

    def makes_vfs(self, count: int = 1, *, at: str | Ns = Ns(0), holding: str | Ns = Ns(0)) -> Part:
        """Make virtual functions, keep them for a while, and remove them again: two windows of both locks.

        The function is bound to vfio-pci meanwhile, and stays alive.

        Args:
            count: how many, at least 1.
            at: when they begin to be made.
            holding: from then on, until they begin to be removed.

        Raises:
            UsageError: none are to be made.
        """
        if count < 1:
            raise UsageError(
                f"{count} virtual functions of {self.function.alias}",
                said="nothing happens",
                hint="Use 1 or more.",
            )
        make = self._step(operation.ENABLE_VFS, "sriov_numvfs", str(count).encode())
        remove = self._step(operation.DISABLE_VFS, "sriov_numvfs", b"0")
        return acting(
            (self.function.alias,),
            "vf-maker",
            (make, *pause(holding), remove),
            starting=at,
            times=1,
            settings=(_ENABLE_SRIOV, bound(self.function, DRIVER)),
        )

    def removes_and_rescans(self, *, at: str | Ns = Ns(0), holding: str | Ns = Ns(0)) -> Part:
        """Remove the function from the kernel's view, and let the kernel find it again."""
        remove = self._step(operation.REMOVE, "remove", b"1")
        rescan = self._step(operation.RESCAN, "rescan", b"1")
        return acting(
            (self.function.alias,), "remover", (remove, *pause(holding), rescan), starting=at, times=1
        )

    def _step(self, means: Operation, role: str, value: bytes) -> Step:
        return Step(op=Op.WRITE, means=means, file=File(function=self.function.alias, role=role), value=value)

    def _writes(
        self, name: str, step: Step, *, at: str | Ns, settings: tuple[Setting, ...], modules: tuple[str, ...]
    ) -> Part:
        return acting(
            (self.function.alias,), name, (step,), starting=at, times=1, settings=settings, modules=modules
        )


def _needed(driver: str) -> tuple[str, ...]:
    """The modules of a driver; vfio-pci is always there."""
    return () if driver == DRIVER else (driver,)
