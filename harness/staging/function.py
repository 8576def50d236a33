"""A function as a test author sees it: what one can do to it, in verbs.

Every verb returns a :class:`~harness.staging.part.Part`; nothing happens before the parts are staged.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Final

from harness.errors import UsageError
from harness.model import attributes, operation
from harness.model.pci import (
    COMMAND,
    CONFIG_SPACE_BYTES,
    AccessPath,
    AccessWord,
    Bdf,
    MethodWord,
    RegisterWidth,
    ResetMethod,
    Width,
    check_access,
    check_register,
    check_value,
)
from harness.model.plan import File, Op, Oracle, Privilege, Setting, Step
from harness.model.units import MS, Ns
from harness.staging.acting import acting, check_words, pause
from harness.staging.part import PORT, Part

FLR_BIT_OFFSET: Final = 0x08  # Device Control, in the PCI Express capability (PCIe r6.0 §7.5.3.4)
FLR_BIT: Final = 1 << 15  # Initiate Function Level Reset
BIST: Final = 0x0F  # of the header (PCIe r6.0 §7.5.1.1.11)
START_BIST: Final = b"\x40"
_PRIVATE: Final = 0x40  # where the part of config space begins that only CAP_SYS_ADMIN may read


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """What only the target knows of a function.

    Attributes:
        platform: the contract's word for its model (`igb`).
        bdf: its address on the target.
        reset_methods: what the kernel offers for it, in the kernel's order.
        config_bytes: size of its config space: 256 or 4096.
        express: offset of its PCI Express capability, 0 without one.
        device_control: its Device Control register as it was when it was first asked for.
        oracles: for each method the register that shows whether a reset happened.
        locked_down: the kernel lets nobody write its config space, nor map its registers, through sysfs.
    """

    platform: str
    bdf: Bdf
    reset_methods: tuple[ResetMethod, ...]
    config_bytes: int
    express: int = 0
    device_control: int = 0
    oracles: Mapping[ResetMethod, Oracle] = field(default_factory=dict)
    locked_down: bool = False


@dataclass(frozen=True)
class Function:
    """A PCI function that may be tested.

    Every verb looks at its words first: who mistypes one learns it before there is a target.  What only the target
    knows is asked once, when a verb needs it.

    Attributes:
        alias: its name in tests and reports (`igb0`), stable across machines.
        look: asks the target.
    """

    alias: str
    look: Callable[[], Traits] = field(repr=False, compare=False)

    @cached_property
    def traits(self) -> Traits:
        """What the target knows of it, asked once."""
        return self.look()

    @property
    def platform(self) -> str:
        """See :class:`Traits`, also for the others."""
        return self.traits.platform

    @property
    def bdf(self) -> Bdf:
        """Its address on the target."""
        return self.traits.bdf

    @property
    def reset_methods(self) -> tuple[ResetMethod, ...]:
        """What the kernel offers for it, in the kernel's order."""
        return self.traits.reset_methods

    @property
    def config_bytes(self) -> int:
        """Size of its config space: 256 or 4096."""
        return self.traits.config_bytes

    @property
    def express(self) -> int:
        """Offset of its PCI Express capability, 0 without one."""
        return self.traits.express

    @property
    def device_control(self) -> int:
        """Its Device Control register."""
        return self.traits.device_control

    def reads(
        self,
        path: AccessWord = AccessPath.SYSFS,
        *,
        at: int = COMMAND,
        width: Width = 4,
        actors: int = 1,
        starting: str | Ns = Ns(0),
        every: str | Ns = Ns(0),
    ) -> Part:
        """Read config space again and again until the stage ends.

        Args:
            path: `sysfs` or `proc`.
            at: offset in bytes.
            width: 1, 2 or 4 bytes.
            actors: how many processes do so at once, each with a descriptor of its own.
            starting: when the first read begins, counted from the common release.
            every: from one to the next, at least; 0 for at once.

        Raises:
            UsageError: no such path, offset or width.
        """
        way = AccessPath.named(path)
        check_access(at, width)
        step = Step(
            op=Op.READ,
            means=operation.config_read(way),
            file=self._file("config" if way is AccessPath.SYSFS else "proc"),
            offset=at,
            width=width,
        )
        part = acting((self.alias,), "reader", (step, *pause(every)), actors=actors, starting=starting)
        return reaching(self, at, width, part)

    def reads_attribute(self, name: str = "vendor", *, actors: int = 1, every: str | Ns = Ns(0)) -> Part:
        """Read an attribute until the stage ends: `vendor` is the control sample, no lock holds it up.

        Args:
            name: of the attribute.
            actors: how many processes do so at once.
            every: from one read to the next, at least; 0 for at once.

        Raises:
            UsageError: nobody promises what a read of it does (`vpd`, `rom`, `sriov_numvfs` …).
        """
        means = attributes.reading(name, self.alias)
        step = Step(op=Op.READ, means=means, file=self._file(name), width=64)
        return acting((self.alias,), "control", (step, *pause(every)), actors=actors)

    def loads_register(self, bar: int = 0, *, at: int = 0, width: RegisterWidth = 4) -> Part:
        """Load a register through a mapping of sysfs `resourceN`: nobody takes that away during a reset.

        The function must have no driver.

        Raises:
            UsageError: no such BAR, offset or width, or the kernel is locked down.
        """
        check_register(self.alias, bar, at, width)
        step = Step(
            op=Op.LOAD,
            means=operation.SYSFS_MAPPED_READ,
            file=self._file(f"resource{bar}"),
            offset=at,
            width=width,
        )
        steps = (step, *pause("200us"))
        return self._mapping(bar, acting((self.alias,), "mapped-reader", steps, settings=(self._decoding(),)))

    def stores_register(
        self,
        value: int,
        bar: int = 0,
        *,
        at: int,
        width: RegisterWidth = 4,
        starting: str | Ns = Ns(0),
        times: int | None = 1,
        every: str | Ns = Ns(0),
    ) -> Part:
        """Store to a register through a mapping of sysfs `resourceN`.

        The function must have no driver.

        Args:
            value: what is stored.
            bar: 0 to 5.
            at: offset in bytes.
            width: in bytes: 1, 2, 4 or 8.
            starting: when the first store begins, counted from the common release.
            times: how often; None until the stage ends.
            every: from one to the next, at least.

        Raises:
            UsageError: no such BAR, offset or width, the value does not fit in it, or the kernel is locked down.
        """
        check_register(self.alias, bar, at, width)
        if type(value) is not int or not 0 <= value < 1 << 8 * width:
            raise UsageError(
                f"storing {value!r} to a register of {width} bytes of {self.alias}",
                said="no number of that width",
                hint="Name the width of the register: width=1, 2, 4 or 8.",
            )
        step = Step(
            op=Op.STORE,
            means=operation.SYSFS_MAPPED_WRITE,
            file=self._file(f"resource{bar}"),
            offset=at,
            value=value.to_bytes(width, "little"),
        )
        part = acting(
            (self.alias,),
            "mapped-writer",
            (step, *pause(every)),
            starting=starting,
            times=times,
            settings=(self._decoding(),),
        )
        return self._mapping(bar, part)

    def reads_without_privilege(self, *, at: int = _PRIVATE, width: Width = 4) -> Part:
        """Read config space as the user nobody: what lies past the first 64 bytes must stay hidden, without a wait."""
        return self._reads_as("nobody", operation.UNPRIVILEGED_READ, Privilege.NONE, at, width)

    def reads_with_a_kept_descriptor(self, *, at: int = _PRIVATE, width: Width = 4) -> Part:
        """Read config space as the user nobody, through a descriptor that was opened as root before."""
        return self._reads_as("nobody-now", operation.KEPT_READ, Privilege.DROPPED, at, width)

    def opens_without_privilege(self, *roles: str) -> Part:
        """Try to open files for writing as the user nobody.

        Args:
            roles: `config`, `reset`, `resource0`, `proc` …
        """
        steps = [
            Step(op=Op.OPEN, means=operation.UNPRIVILEGED_OPEN, file=self._file(role), width=1)
            for role in roles
        ]
        return acting((self.alias,), "nobody", steps, times=1, privilege=Privilege.NONE)

    def resets_all_below(self, *, at: str | Ns = Ns(0), times: int = 1) -> Part:
        """Write to `reset_subordinate` of this port or bridge."""
        step = Step(
            op=Op.WRITE, means=operation.SUBORDINATE_RESET, file=self._file("reset_subordinate"), value=b"1"
        )
        return acting((self.alias,), "port-resetter", (step,), starting=at, times=times)

    def writes_reset_method(self, method: MethodWord) -> Part:
        """Write the one active reset method again and again: no lock is taken for that.

        Raises:
            UsageError: Linux has no such method, or does not offer it for this function.
        """
        chosen = ResetMethod.named(method)
        step = Step(
            op=Op.WRITE,
            means=operation.ATTRIBUTE_WRITE,
            file=self._file("reset_method"),
            value=str(chosen).encode(),
        )
        part = acting((self.alias,), "method-writer", (step, *pause("1ms")), settings=(self._only(chosen),))
        return self._offering(chosen, part)

    def without_reset_methods(self) -> Part:
        """Take its reset methods away while the stage lasts: whoever wants it reset through VFIO is refused."""
        return Part(functions=(self.alias,), settings=(self._only(""),))

    def resets(
        self,
        method: MethodWord,
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
            every: from the beginning of one to that of the next, at least; 0 for at once.
            actors: how many processes do so at once.

        Raises:
            UsageError: Linux has no such method, or does not offer it for this function.
        """
        chosen = ResetMethod.named(method)
        part = acting(
            (self.alias,),
            "resetter",
            (self._reset_step(chosen), *pause(every)),
            actors=actors,
            starting=at,
            times=times,
            settings=(self._only(chosen),),
        )
        return self._offering(chosen, part)

    def resets_with_oracle(
        self, method: MethodWord, *, at: str | Ns = Ns(0), times: int | None = 1, holding: str | Ns = Ns(0)
    ) -> Part:
        """Mark the oracle register, see that the mark holds, reset, read it back: did the reset really happen?

        The function must have no driver: its registers are mapped through sysfs.  Where the kernel is locked down it is
        bound to vfio-pci, and they are mapped through VFIO.

        Args:
            method: a name that `reset_method` lists for this function.
            at: when the first round begins.
            times: how many rounds; None until the stage ends.
            holding: how long the mark is left alone before the reset.  Resets then follow one another at this
                distance, the first one `holding` after `at`, so that others can be timed against them.

        Raises:
            UsageError: the contract knows no oracle register for this function and method.
        """
        chosen, still = ResetMethod.named(method), pause(holding)
        check_words((self.alias,), starting=at, times=times)
        oracle = self.oracle(chosen)
        through, setting = oracle.resource, self._decoding()
        if self.traits.locked_down:
            through = f"vfio-bar{oracle.resource.removeprefix('resource')}"
            setting = Setting(function=self.alias, attribute="driver", value="vfio-pci")
        mark, check = oracle_steps(oracle, self._file(through))
        part = acting(
            (self.alias,),
            "resetter",
            (mark, check, *still, self._reset_step(chosen), check),
            starting=at,
            times=times,
            settings=(self._only(chosen), setting),
            oracles=(oracle,),
        )
        return self._offering(chosen, part)

    def sets_flr_bit(self, *, at: str | Ns = Ns(0)) -> Part:
        """Write Initiate FLR through sysfs `config`, behind the kernel's back: nobody saves, waits or restores.

        What is left of config space is the evidence: COMMAND and the BARs are gone, and stay gone.

        Raises:
            UsageError: the function has no FLR.
        """
        check_words((self.alias,), starting=at)
        self._refuse_unoffered(ResetMethod.FLR)
        if not self.express:
            raise UsageError(
                f"FLR bit of {self.alias} ({self.bdf})", said="no PCI Express capability holds one"
            )
        write = Step(
            op=Op.WRITE,
            means=operation.FLR_BIT,
            file=self._file("config"),
            offset=self.express + FLR_BIT_OFFSET,
            value=(self.device_control | FLR_BIT).to_bytes(2, "little"),
        )
        return acting((self.alias,), "flr-bit", (write,), starting=at, times=1, settings=(self._decoding(),))

    def tests_itself(self, *, at: str | Ns = Ns(0), waiting: str | Ns = Ns(300 * MS)) -> Part:
        """Start the built-in self-test through sysfs `config`, behind the kernel's back, and read its result.

        Meanwhile the function answers nothing, and afterwards it has forgotten its state: nobody saves or restores.

        Args:
            at: when it begins.
            waiting: until the result is read; it may take 2 s (PCIe r6.0 §7.5.1.1.11).
        """
        start = Step(
            op=Op.WRITE, means=operation.SELF_TEST, file=self._file("config"), offset=BIST, value=START_BIST
        )
        result = Step(
            op=Op.READ, means=operation.SELF_TEST_RESULT, file=self._file("config"), offset=BIST, width=1
        )
        return acting(
            (self.alias,),
            "self-tester",
            (start, *pause(waiting), result),
            starting=at,
            times=1,
            settings=(self._decoding(),),
        )

    def writes(
        self, path: AccessWord, *, at: int, value: bytes, actors: int = 1, times: int | None = None
    ) -> Part:
        """Write config space.

        Args:
            path: `sysfs` or `proc`.
            at: offset in bytes.
            value: 1, 2 or 4 bytes, little-endian.
            actors: how many processes do so at once.
            times: how often; None until the stage ends.

        Raises:
            UsageError: no such path, offset or width, or what is written is no bytes.
        """
        way = AccessPath.named(path)
        check_value(value)
        check_access(at, len(value))
        step = Step(
            op=Op.WRITE,
            means=operation.config_write(way),
            file=self._file("config" if way is AccessPath.SYSFS else "proc"),
            offset=at,
            value=value,
        )
        part = acting((self.alias,), "writer", (step,), actors=actors, times=times)
        return reaching(self, at, len(value), part)

    @property
    def port(self) -> str:
        """The alias of the port above: a function of its own, `functions(dut.port)`."""
        return self.alias + PORT

    def with_oracle(self, method: MethodWord, oracle: Oracle) -> Function:
        """The same function, with a register that shows whether a reset by `method` happened."""

        def look() -> Traits:
            return replace(self.traits, oracles={**self.traits.oracles, ResetMethod.named(method): oracle})

        return Function(self.alias, look)

    def oracle(self, method: ResetMethod) -> Oracle:
        """The register that shows whether a reset by `method` happened.

        Raises:
            UsageError: the contract names none.
        """
        if method not in self.traits.oracles:
            raise UsageError(
                f"oracle register of {self.alias} ({self.platform}) for {method}",
                said="the contract names none",
                hint="Add one to harness/contract/oracles.toml.",
            )
        return self.traits.oracles[method]

    def _file(self, role: str) -> File:
        return File(function=self.alias, role=role)

    def _reads_as(
        self, name: str, means: operation.Operation, privilege: Privilege, at: int, width: int
    ) -> Part:
        check_access(at, width)
        step = Step(op=Op.READ, means=means, file=self._file("config"), offset=at, width=width)
        part = acting((self.alias,), name, (step, *pause("200us")), privilege=privilege)
        return reaching(self, at, width, part)

    def _reset_step(self, method: ResetMethod) -> Step:
        return Step(op=Op.WRITE, means=operation.reset(method), file=self._file("reset"), value=b"1")

    def _offering(self, method: ResetMethod, part: Part) -> Part:
        """A part that resets by a method, if the kernel offers that for this function."""
        self._refuse_unoffered(method)
        return part

    def _refuse_unoffered(self, method: ResetMethod) -> None:
        if method not in self.reset_methods:
            raise UsageError(
                f"reset of {self.alias} ({self.bdf}) by {method}",
                said=f"the kernel offers only: {', '.join(self.reset_methods) or 'nothing'}",
            )

    def _mapping(self, bar: int, part: Part) -> Part:
        """A part that maps registers through sysfs, if the kernel lets anybody."""
        if self.traits.locked_down:
            raise UsageError(
                f"mapping resource{bar} of {self.alias} ({self.bdf})",
                said="the kernel is locked down: it lets nobody map registers through sysfs",
                hint="Map them through VFIO: VfioUser(function).loads_register().",
            )
        return part

    def _only(self, method: str) -> Setting:
        return Setting(function=self.alias, attribute="reset_method", value=method)

    def _decoding(self) -> Setting:
        """Memory decode on, by the kernel's own count of users, for as long as the stage lasts."""
        return Setting(function=self.alias, attribute="enable", value="1")


def oracle_steps(oracle: Oracle, file: File) -> tuple[Step, Step]:
    """Mark an oracle register, and read it back, through a mapping of `file`."""
    marker = oracle.marker.to_bytes(oracle.width, "little")
    mark = Step(op=Op.STORE, means=operation.MARK, file=file, offset=oracle.offset, value=marker)
    check = Step(op=Op.LOAD, means=operation.CHECK, file=file, offset=oracle.offset, width=oracle.width)
    return mark, check


def reaching(function: Function, at: int, width: int, part: Part) -> Part:
    """A part that accesses config space there, if the function's is long enough: the first 256 bytes all have.

    Raises:
        UsageError: it is not.
    """
    if at + width > CONFIG_SPACE_BYTES:
        check_access(at, width, size=function.config_bytes)
    return part
