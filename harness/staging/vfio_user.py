"""A user of a function through VFIO, in verbs: `VfioUser(dut).resets()`.

Every part binds the function to vfio-pci for as long as the stage lasts.  All parts of a stage share one open device
(the agent opens it before the stage and gives each actor a descriptor), but for those that open and close it
themselves.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Final, Literal, get_args

from harness.errors import UsageError
from harness.model import operation
from harness.model.operation import Operation
from harness.model.pci import (
    CACHE_LINE_SIZE,
    COMMAND,
    REVISION_ID,
    VENDOR_ID,
    RegisterWidth,
    ResetMethod,
    Width,
    check_access,
    check_register,
    check_value,
)
from harness.model.plan import File, Op, Oracle, Setting, Step
from harness.model.policy import policy_of
from harness.model.units import MS, US, Ns
from harness.staging.acting import acting, check_words, pause
from harness.staging.function import FLR_BIT, FLR_BIT_OFFSET, Function, oracle_steps, reaching
from harness.staging.part import Part

DRIVER: Final = "vfio-pci"
_DEVICE: Final = "vfio"
_CONFIG: Final = "vfio-config"
_PACE: Final = Ns(200 * US)
"""Between two accesses of one actor: a window still meets hundreds, and half a dozen actors leave the processors of a
small guest time for everybody else."""

_UNHURRIED: Final = Ns(5 * MS)
_LEVEL: Final = "intx"
Interrupts = Literal["intx", "msi", "msix"]
"""Kinds of interrupts."""
_ANY: Final = b"\x01\x00\x00\x00"  # what is written to a register that only minds that it is written to
_COUNT_BYTES: Final = 8

_DECODING: Final = b"\x06\x00"  # COMMAND: memory space and bus mastering


@dataclass(frozen=True, slots=True)
class VfioUser:
    """What a process can do to a function that it has open through VFIO."""

    function: Function

    def reads(self, *, at: int = REVISION_ID, width: Width = 4, actors: int = 1) -> Part:
        """Read bits of config space that VFIO takes from the function, until the stage ends.

        Args:
            at: offset in bytes.
            width: 1, 2 or 4 bytes.
            actors: how many processes do so at once.

        Raises:
            UsageError: no such access.
        """
        return self._reads("vfio-reader", operation.VFIO_READ, at, width, actors)

    def reads_copies(self, *, at: int = VENDOR_ID, width: Width = 4, actors: int = 1) -> Part:
        """Read bits that VFIO answers from memory: the control sample, no lock holds it up."""
        return self._reads("vfio-control", operation.VFIO_COPY_READ, at, width, actors)

    def writes(self, *, at: int = CACHE_LINE_SIZE, value: bytes = b"\x10") -> Part:
        """Write bits that VFIO passes on to the function, until the stage ends."""
        return self._writes("vfio-writer", operation.VFIO_WRITE, at, value)

    def writes_command(self, value: bytes = _DECODING) -> Part:
        """Write COMMAND, until the stage ends; memory decode stays on."""
        return self._writes("vfio-command", operation.VFIO_COMMAND, COMMAND, value)

    def asks(self) -> Part:
        """VFIO_DEVICE_GET_REGION_INFO until the stage ends: takes no lock."""
        step = Step(op=Op.INFO, means=operation.VFIO_INFO, file=self._file(_DEVICE))
        return self._acts("vfio-info", (step, *pause(_PACE)))

    def reads_register(self, bar: int = 0, *, at: int = 0, width: RegisterWidth = 4) -> Part:
        """`pread` a register of a BAR until the stage ends.

        Args:
            bar: 0 to 5.
            at: offset in bytes.
            width: 1, 2, 4 or 8 bytes.

        Raises:
            UsageError: no such BAR, offset or width.
        """
        file = self._register(bar, at, width)
        step = Step(op=Op.READ, means=operation.BAR_READ, file=file, offset=at, width=width)
        return self._acts("bar-reader", (step, *pause(_PACE)))

    def writes_register(self, value: bytes, bar: int = 0, *, at: int = 0) -> Part:
        """`pwrite` a register of a BAR until the stage ends."""
        check_value(value)
        file = self._register(bar, at, len(value))
        step = Step(op=Op.WRITE, means=operation.BAR_WRITE, file=file, offset=at, value=value)
        return self._acts("bar-writer", (step, *pause(_PACE)))

    def loads_register(self, bar: int = 0, *, at: int = 0, width: RegisterWidth = 4) -> Part:
        """Load a register through a mapping of its BAR until the stage ends."""
        file = self._register(bar, at, width)
        step = Step(op=Op.LOAD, means=operation.MAPPED_READ, file=file, offset=at, width=width)
        return self._acts("mapped-reader", (step, *pause(_PACE)))

    def stores_register(self, value: bytes, bar: int = 0, *, at: int = 0) -> Part:
        """Store to a register through a mapping of its BAR until the stage ends."""
        check_value(value)
        step = Step(
            op=Op.STORE,
            means=operation.MAPPED_WRITE,
            file=self._register(bar, at, len(value)),
            offset=at,
            value=value,
        )
        return self._acts("mapped-writer", (step, *pause(_PACE)))

    def touches_without_decode(self, bar: int = 0, *, at: int = 0, width: RegisterWidth = 4) -> Part:
        """Clear memory decode through VFIO, load and `pread` a register, and set decode again; three times.

        VFIO takes mappings of BARs away while decode is off: the load ends in SIGBUS.
        """
        file = self._register(bar, at, width)
        on = Step(
            op=Op.WRITE,
            means=operation.VFIO_COMMAND,
            file=self._file(_CONFIG),
            offset=COMMAND,
            value=_DECODING,
        )
        off = dataclasses.replace(on, value=b"\x00\x00")
        load = Step(op=Op.LOAD, means=operation.UNDECODED_LOAD, file=file, offset=at, width=width)
        read = dataclasses.replace(load, op=Op.READ, means=operation.UNDECODED_READ)
        return self._acts("undecoded", (off, load, read, on), times=3)

    def asks_for_interrupts(
        self,
        kind: Interrupts = "msi",
        *,
        trigger: int,
        acknowledge: int = 0,
        at: str | Ns = Ns(0),
        times: int | None = None,
        every: str | Ns = _UNHURRIED,
    ) -> Part:
        """Give the function cause for an interrupt, and take it, again and again.

        Each is taken before the next is asked for: two by message that come together are one to a processor.  One that
        does not come is waited for as long as its policy says.

        Args:
            kind: `intx`, `msi` or `msix`: the first of them.
            trigger: offset in BAR 0 of a register whose write is the cause.
            acknowledge: of one whose write takes the cause of INTx away; only for that.
            at: when it begins.
            times: how often; None until the stage ends.
            every: from one to the next, at least.

        Raises:
            UsageError: no such kind.
        """
        if kind not in get_args(Interrupts):
            raise UsageError(
                f"interrupts {kind!r} of {self.function.alias}",
                said="no such kind",
                hint=f"Choose one of: {', '.join(get_args(Interrupts))}.",
            )
        ring = Step(
            op=Op.WRITE,
            means=operation.RING,
            file=self._register(0, trigger, 4),
            offset=trigger,
            value=_ANY,
        )
        take = Step(
            op=Op.COUNT,
            means=operation.TAKE,
            file=self._file(f"vfio-{kind}"),
            width=_COUNT_BYTES,
            retries=policy_of(operation.TAKE).retries_plan(),
        )
        level: tuple[Step, ...] = ()
        if kind == _LEVEL:
            done = dataclasses.replace(ring, means=operation.ACKNOWLEDGE, offset=acknowledge)
            level = (done, Step(op=Op.UNMASK, means=operation.UNMASK, file=self._file(_DEVICE)))
        return self._acts(f"{kind}-user", (ring, take, *level, *pause(every)), starting=at, times=times)

    def resets(
        self, *, at: str | Ns = Ns(0), times: int | None = 1, every: str | Ns = Ns(0), actors: int = 1
    ) -> Part:
        """VFIO_DEVICE_RESET; a refusal is taken as it is."""
        return self._acts(
            "vfio-resetter", (self._reset(), *pause(every)), starting=at, times=times, actors=actors
        )

    def insists_on_reset(self, *, at: str | Ns = Ns(0), times: int | None = 1) -> Part:
        """VFIO_DEVICE_RESET, again and again while it is refused, as its policy allows."""
        step = dataclasses.replace(self._reset(), retries=policy_of(operation.VFIO_RESET).retries_plan())
        return self._acts("vfio-insistent", (step,), starting=at, times=times)

    def resets_with_oracle(
        self, *, at: str | Ns = Ns(0), times: int | None = 1, holding: str | Ns = Ns(0)
    ) -> Part:
        """Mark the oracle register, VFIO_DEVICE_RESET, read the register back.

        Raises:
            UsageError: the function has no reset, or no oracle register for the one that VFIO takes.
        """
        return self._with_oracle("vfio-resetter", self._reset(), at=at, times=times, still=pause(holding))

    def sets_flr_bit(self, *, at: str | Ns = Ns(0), times: int | None = 1, holding: str | Ns = Ns(0)) -> Part:
        """Set Initiate FLR through VFIO's config region, between a mark and a check of the oracle register.

        The write always reports success; only the register tells whether there was a reset.

        Raises:
            UsageError: the function has no FLR, or no oracle register for it.
        """
        dut, still = self.function, pause(holding)
        check_words((dut.alias,), starting=at, times=times)
        if ResetMethod.FLR not in dut.reset_methods or not dut.express:
            raise UsageError(
                f"FLR bit of {dut.alias} ({dut.bdf})",
                said="it has none",
                hint="Choose a function whose reset_method lists flr.",
            )
        step = Step(
            op=Op.WRITE,
            means=operation.VFIO_FLR_BIT,
            file=self._file(_CONFIG),
            offset=dut.express + FLR_BIT_OFFSET,
            value=(dut.device_control | FLR_BIT).to_bytes(2, "little"),
        )
        return self._with_oracle("vfio-flr-bit", step, at=at, times=times, still=still)

    def hot_resets(
        self,
        *,
        at: str | Ns = Ns(0),
        times: int | None = 1,
        every: str | Ns = Ns(0),
        beside: tuple[Function, ...] = (),
        means: Operation = operation.HOT_RESET,
    ) -> Part:
        """VFIO_DEVICE_PCI_HOT_RESET, showing the group of this function and those of `beside`.

        Args:
            at: when the first begins.
            times: how often; None until the stage ends.
            every: from the beginning of one to that of the next, at least; 0 for at once.
            beside: other functions behind the same port, which are bound to vfio-pci too.
            means: what it is in the contract's words, where something is missing on purpose.
        """
        step = self._hot_reset((self.function, *beside), means)
        return self._acts("hot-resetter", (step, *pause(every)), starting=at, times=times, beside=beside)

    def hot_resets_with_oracle(
        self, *, at: str | Ns = Ns(0), times: int | None = 1, holding: str | Ns = Ns(0)
    ) -> Part:
        """Mark the oracle register, VFIO_DEVICE_PCI_HOT_RESET, read the register back."""
        step = self._hot_reset((self.function,), operation.HOT_RESET)
        return self._with_oracle("hot-resetter", step, at=at, times=times, still=pause(holding))

    def opens(self, *, at: str | Ns = Ns(0), times: int | None = 1, holding: str | Ns = Ns(0)) -> Part:
        """Open the function while nobody has it open, keep it for a while, and close it: both reset it."""
        return self._opens("vfio-opener", operation.VFIO_OPEN, (*pause(holding), self._close()), at, times)

    def opens_again(self, *, at: str | Ns = Ns(0), times: int | None = 1, every: str | Ns = Ns(0)) -> Part:
        """Open the function while another part of the stage has it open: resets nothing."""
        return self._opens_beside("vfio-second", operation.VFIO_REOPEN, at, times, every)

    def opens_late(self, *, at: str | Ns, times: int | None = 1, every: str | Ns = Ns(0)) -> Part:
        """Open the function while another part has it open and an unbind waits for that: refused."""
        return self._opens_beside("vfio-late", operation.VFIO_LATE_OPEN, at, times, every)

    def keeps_open(self, until: str | Ns) -> Part:
        """Have the function open until then, before the end of the stage, and do nothing."""
        step = Step(op=Op.INFO, means=operation.VFIO_INFO, file=self._file(_DEVICE))
        return self._acts("vfio-user", (step, *pause(until)), times=1)

    def closes(self, *, at: str | Ns) -> Part:
        """Close the function, which this part alone has open."""
        return self._acts("vfio-closer", (*pause(at), self._close()), times=1)

    def _reset(self) -> Step:
        return Step(op=Op.RESET_DEVICE, means=operation.VFIO_RESET, file=self._file(_DEVICE))

    def _hot_reset(self, everyone: tuple[Function, ...], means: Operation) -> Step:
        owners = tuple(one.alias for one in everyone)
        return Step(op=Op.HOT_RESET, means=means, file=self._file(_DEVICE), owners=owners)

    def _close(self) -> Step:
        return Step(op=Op.CLOSE, means=operation.VFIO_CLOSE, file=self._file(_DEVICE))

    def _opens_beside(
        self, name: str, means: Operation, at: str | Ns, times: int | None, every: str | Ns
    ) -> Part:
        drop = dataclasses.replace(self._close(), means=operation.VFIO_DROP)
        return self._opens(name, means, (drop, *pause(every)), at, times)

    def _opens(
        self, name: str, means: Operation, then: tuple[Step, ...], at: str | Ns, times: int | None
    ) -> Part:
        step = Step(op=Op.OPEN_DEVICE, means=means, file=self._file(_DEVICE))
        return self._acts(name, (step, *then), starting=at, times=times)

    def _reads(self, name: str, means: Operation, at: int, width: int, actors: int) -> Part:
        check_access(at, width)
        step = Step(op=Op.READ, means=means, file=self._file(_CONFIG), offset=at, width=width)
        return reaching(self.function, at, width, self._acts(name, (step, *pause(_PACE)), actors=actors))

    def _writes(self, name: str, means: Operation, at: int, value: bytes) -> Part:
        check_value(value)
        check_access(at, len(value))
        step = Step(op=Op.WRITE, means=means, file=self._file(_CONFIG), offset=at, value=value)
        return reaching(self.function, at, len(value), self._acts(name, (step, *pause(_PACE))))

    def _with_oracle(
        self, name: str, step: Step, *, at: str | Ns, times: int | None, still: tuple[Step, ...]
    ) -> Part:
        dut = self.function
        check_words((dut.alias,), starting=at, times=times)
        if not dut.reset_methods:
            raise UsageError(
                f"reset of {dut.alias} ({dut.bdf}) through VFIO",
                said="the kernel offers none",
                hint="Choose a function whose reset_method is not empty.",
            )
        # Which method VFIO's reset takes is the kernel's choice: the first that works.
        oracle = dut.oracle(dut.reset_methods[0])
        bar = oracle.resource.removeprefix("resource")
        mark, check = oracle_steps(oracle, self._file(f"vfio-bar{bar}"))
        steps = (mark, check, *still, step, check)
        return self._acts(name, steps, starting=at, times=times, oracles=(oracle,))

    def _acts(
        self,
        name: str,
        steps: tuple[Step, ...],
        *,
        actors: int = 1,
        starting: str | Ns = Ns(0),
        times: int | None = None,
        beside: tuple[Function, ...] = (),
        oracles: tuple[Oracle, ...] = (),
    ) -> Part:
        everyone = (self.function, *beside)
        return acting(
            tuple(one.alias for one in everyone),
            name,
            steps,
            actors=actors,
            starting=starting,
            times=times,
            settings=tuple(bound(one, DRIVER) for one in everyone),
            oracles=oracles,
        )

    def _register(self, bar: int, at: int, width: int) -> File:
        check_register(self.function.alias, bar, at, width)
        return self._file(f"vfio-bar{bar}")

    def _file(self, role: str) -> File:
        return File(function=self.function.alias, role=role)


def bound(function: Function, driver: str) -> Setting:
    """The function belongs to `driver` for as long as the stage lasts; to none when it is empty."""
    return Setting(function=function.alias, attribute="driver", value=driver)
