"""A function as a test author sees it: what one can do to it, in verbs.

Every verb returns a :class:`~harness.staging.part.Part`; nothing happens before the parts are staged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from harness.errors import UsageError
from harness.model import operation
from harness.model.pci import COMMAND, AccessPath, Bdf, ResetMethod, check_access
from harness.model.plan import Actor, File, Op, Oracle, Setting, Step
from harness.model.units import Ns, duration
from harness.staging.part import Part

_FLR_BIT_OFFSET = 0x08  # Device Control, in the PCI Express capability (PCIe r6.0 §7.5.3.4)
_FLR_BIT = 1 << 15  # Initiate Function Level Reset


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """A PCI function that may be tested.

    Attributes:
        alias: its name in tests and reports (`igb0`), stable across machines.
        platform: the contract's word for its model (`igb`).
        bdf: its address on the target.
        reset_methods: what the kernel offers for it, in the kernel's order.
        config_bytes: size of its config space: 256 or 4096.
        express: offset of its PCI Express capability, 0 without one.
        device_control: its Device Control register as it was when the test began.
        oracles: for each method the register that shows whether a reset happened.
    """

    alias: str
    platform: str
    bdf: Bdf
    reset_methods: tuple[ResetMethod, ...]
    config_bytes: int
    express: int = 0
    device_control: int = 0
    oracles: Mapping[ResetMethod, Oracle] = field(default_factory=dict)

    def reads(
        self,
        path: str = AccessPath.SYSFS,
        *,
        at: int = COMMAND,
        width: int = 4,
        actors: int = 1,
        starting: str | Ns = Ns(0),
    ) -> Part:
        """Read config space again and again until the stage ends.

        Args:
            path: `sysfs` or `proc`.
            at: offset in bytes.
            width: 1, 2 or 4 bytes.
            actors: how many processes do so at once, each with a descriptor of its own.
            starting: when the first read begins, counted from the common release.

        Raises:
            UsageError: no such path, offset or width.
        """
        way = AccessPath.named(path)
        check_access(at, width, size=self.config_bytes)
        step = Step(
            op=Op.READ,
            means=operation.config_read(way),
            file=self._file("config" if way is AccessPath.SYSFS else "proc"),
            offset=at,
            width=width,
        )
        return self._part("reader", (step,), actors=actors, starting=starting)

    def reads_attribute(self, name: str = "vendor", *, actors: int = 1) -> Part:
        """Read a cached attribute until the stage ends: the control sample, no lock holds it up."""
        step = Step(op=Op.READ, means=operation.ATTRIBUTE_READ, file=self._file(name), width=64)
        return self._part("control", (step,), actors=actors)

    def resets(
        self,
        method: str,
        *,
        at: str | Ns = Ns(0),
        times: int | None = 1,
        every: str | Ns = Ns(0),
        actors: int = 1,
    ) -> Part:
        """Reset the function through sysfs, by one method alone.

        Args:
            method: a name that `reset_method` lists for this function.
            at: when the first reset begins.
            times: how often; None until the stage ends.
            every: pause between two resets; 0 for none.
            actors: how many processes do so at once.

        Raises:
            UsageError: Linux has no such method, or does not offer it for this function.
        """
        steps: tuple[Step, ...] = (self._reset_step(method),)
        if duration(every):
            steps += (Step(op=Op.PAUSE, means=operation.WAIT, time_ns=duration(every)),)
        return self._part(
            "resetter", steps, actors=actors, starting=at, times=times, settings=(self._only(method),)
        )

    def resets_with_oracle(
        self, method: str, *, at: str | Ns = Ns(0), times: int | None = 1, holding: str | Ns = Ns(0)
    ) -> Part:
        """Mark the oracle register, see that the mark holds, reset, read it back: did the reset really happen?

        The function must have no driver: its registers are mapped through sysfs.

        Args:
            method: a name that `reset_method` lists for this function.
            at: when the first round begins.
            times: how many rounds; None until the stage ends.
            holding: how long the mark is left alone before the reset.  Resets then follow one another at this
                distance, the first one `holding` after `at`, so that others can be timed against them.

        Raises:
            UsageError: the contract knows no oracle register for this function and method.
        """
        chosen = ResetMethod.named(method)
        mark, check = self._oracle_steps(chosen)
        hold = Step(op=Op.PAUSE, means=operation.WAIT, time_ns=duration(holding))
        return self._part(
            "resetter",
            (mark, check, *((hold,) if hold.time_ns else ()), self._reset_step(method), check),
            starting=at,
            times=times,
            settings=(self._only(method), self._decoding()),
            oracles=(self.oracles[chosen],),
        )

    def sets_flr_bit(self, *, at: str | Ns = Ns(0)) -> Part:
        """Write Initiate FLR through sysfs `config`, behind the kernel's back: nobody saves, waits or restores.

        What is left of config space is the evidence: COMMAND and the BARs are gone, and stay gone.

        Raises:
            UsageError: the function has no FLR.
        """
        self._offered(ResetMethod.FLR)
        if not self.express:
            raise UsageError(
                f"FLR bit of {self.alias} ({self.bdf})", said="no PCI Express capability holds one"
            )
        write = Step(
            op=Op.WRITE,
            means=operation.FLR_BIT,
            file=self._file("config"),
            offset=self.express + _FLR_BIT_OFFSET,
            value=(self.device_control | _FLR_BIT).to_bytes(2, "little"),
        )
        return self._part("flr-bit", (write,), starting=at, times=1, settings=(self._decoding(),))

    def writes(self, path: str, *, at: int, value: bytes, actors: int = 1, times: int | None = None) -> Part:
        """Write config space.

        Args:
            path: `sysfs` or `proc`.
            at: offset in bytes.
            value: 1, 2 or 4 bytes, little-endian.
            actors: how many processes do so at once.
            times: how often; None until the stage ends.

        Raises:
            UsageError: no such path, offset or width.
        """
        way = AccessPath.named(path)
        check_access(at, len(value), size=self.config_bytes)
        step = Step(
            op=Op.WRITE,
            means=operation.config_write(way),
            file=self._file("config" if way is AccessPath.SYSFS else "proc"),
            offset=at,
            value=value,
        )
        return self._part("writer", (step,), actors=actors, times=times)

    def _file(self, role: str) -> File:
        return File(function=self.alias, role=role)

    def _part(
        self,
        name: str,
        steps: Sequence[Step],
        *,
        actors: int = 1,
        starting: str | Ns = Ns(0),
        times: int | None = None,
        settings: tuple[Setting, ...] = (),
        oracles: tuple[Oracle, ...] = (),
    ) -> Part:
        if actors < 1:
            raise UsageError(f"{actors} actors on {self.alias}", said="nobody acts", hint="Use 1 or more.")
        if times is not None and times < 1:
            raise UsageError(
                f"{times} rounds on {self.alias}", said="nothing happens", hint="Use 1 or more, or None."
            )
        actor = Actor(name=name, steps=tuple(steps), starts_ns=duration(starting), times=times)
        return Part(functions=(self.alias,), actors=(actor,) * actors, settings=settings, oracles=oracles)

    def _reset_step(self, method: str) -> Step:
        chosen = self._offered(method)
        return Step(op=Op.WRITE, means=operation.reset(chosen), file=self._file("reset"), value=b"1")

    def _offered(self, method: str) -> ResetMethod:
        chosen = ResetMethod.named(method)
        if chosen not in self.reset_methods:
            raise UsageError(
                f"reset of {self.alias} ({self.bdf}) by {chosen}",
                said=f"the kernel offers only: {', '.join(self.reset_methods) or 'nothing'}",
            )
        return chosen

    def _only(self, method: str) -> Setting:
        return Setting(function=self.alias, attribute="reset_method", value=method)

    def _decoding(self) -> Setting:
        """Memory decode on, by the kernel's own count of users, for as long as the stage lasts."""
        return Setting(function=self.alias, attribute="enable", value="1")

    def _oracle_steps(self, method: ResetMethod) -> tuple[Step, Step]:
        oracle = self.oracles.get(method)
        if oracle is None:
            raise UsageError(
                f"oracle register of {self.alias} ({self.platform}) for {method}",
                said="the contract names none",
                hint="Add one to harness/contract/oracles.toml.",
            )
        file = self._file(oracle.resource)
        marker = oracle.marker.to_bytes(oracle.width, "little")
        mark = Step(op=Op.STORE, means=operation.MARK, file=file, offset=oracle.offset, value=marker)
        check = Step(op=Op.LOAD, means=operation.CHECK, file=file, offset=oracle.offset, width=oracle.width)
        return mark, check
