"""Holders of the locks of a function, in verbs: `Locks(dut).holds("config", lasting="200ms")`.

They need the kernel module `hil_windows` (lab/kmod), which holds a lock on request, for 10 s at most, and for
proof that we notice can also misuse it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from harness.errors import UsageError
from harness.model import operation
from harness.model.operation import Operation
from harness.model.plan import File, Op, Step
from harness.model.units import MS, SECOND, Ns, as_text, duration
from harness.staging.acting import acting, pause
from harness.staging.function import Function
from harness.staging.part import Part

MODULE: Final = "hil_windows"
LONGEST: Final = Ns(10 * SECOND)
"""The module holds nothing longer."""

_APART: Final = Ns(50 * MS)

Lock = Literal["config", "device", "both", "bridge"]
"""The config access lock, device_lock, both, or both of the port above."""
_HOLDS: Final[dict[Lock, Operation]] = {
    "config": operation.HOLD_CONFIG,
    "device": operation.HOLD_DEVICE,
    "both": operation.HOLD_BOTH,
    "bridge": operation.HOLD_PORT,
}


@dataclass(frozen=True, slots=True)
class Locks:
    """What a driver could do to the locks of a function."""

    function: Function

    def holds(self, lock: Lock, *, lasting: str | Ns, at: str | Ns = Ns(0), times: int = 1) -> Part:
        """Hold a lock for a while.

        Args:
            lock: `config` (config access lock), `device` (device_lock), `both`, or `bridge` (both, of the port above).
            lasting: how long, 1 ms to 10 s.
            at: when the first begins.
            times: how often; from the end of one to the beginning of the next 50 ms go by.

        Raises:
            UsageError: no such lock, or a time that the module does not hold one.
        """
        if lock not in _HOLDS:
            raise UsageError(
                f"holding {lock!r}", said="no such lock", hint=f"Choose one of: {', '.join(_HOLDS)}."
            )
        return self._holds(f"{lock}-holder", _HOLDS[lock], lock, lasting, at=at, times=times)

    def tries(self, *, at: str | Ns = Ns(0), times: int = 1, lasting: str | Ns = Ns(MS)) -> Part:
        """`pci_cfg_access_trylock()`, as ipr takes the lock: refused at once when somebody has it."""
        return self._holds("trier", operation.TRY_CONFIG, "try", lasting, at=at, times=times)

    def steals(self, *, at: str | Ns) -> Part:
        """Unlock the config lock that somebody else holds."""
        return self._acts("thief", operation.STEAL, "steal {bdf}", at=at)

    def unlocks_twice(self, *, at: str | Ns = Ns(0), lasting: str | Ns = Ns(20 * MS)) -> Part:
        """Hold the config lock, unlock it, and unlock it again."""
        return self._holds("double-unlocker", operation.UNLOCK_TWICE, "unbalanced", lasting, at=at)

    def never_unlocks(self, *, at: str | Ns = Ns(0)) -> Part:
        """Take the config lock and keep it.  Readers of the function then sleep for ever: the guest is lost."""
        return self._acts("keeper", operation.NEVER_UNLOCK, "forever {bdf}", at=at)

    def _holds(
        self, name: str, means: Operation, kind: str, lasting: str | Ns, *, at: str | Ns, times: int = 1
    ) -> Part:
        length = duration(lasting)
        if not MS <= length <= LONGEST:
            raise UsageError(
                f"holding a lock of {self.function.alias} for {as_text(length)}",
                said="the module holds one for 1 ms to 10 s",
                hint="Hold it several times for longer: times=2.",
            )
        command = f"{kind} {{bdf}} {-(-length // MS)}"
        # Pauses are counted from one to the next, whatever lies between.
        apart = pause(Ns(length + _APART)) if times > 1 else ()
        return self._acts(name, means, command, at=at, times=times, then=apart)

    def _acts(
        self,
        name: str,
        means: Operation,
        command: str,
        *,
        at: str | Ns,
        times: int = 1,
        then: tuple[Step, ...] = (),
    ) -> Part:
        step = Step(
            op=Op.WRITE,
            means=means,
            file=File(function=self.function.alias, role="windows"),
            value=command.encode(),
        )
        return acting(
            (self.function.alias,), name, (step, *then), starting=at, times=times, modules=(MODULE,)
        )
