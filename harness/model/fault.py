"""What a function served by a model of ours is to do wrong, and what its host is to do to it, as data.  Pure.

A :class:`Fault` is a line of the programme that a model carries out by itself: what it does wrong, at which occasion
that begins, how long it lasts.  An :class:`Incident` comes from outside: the server dies, the function is unplugged,
its port reports an error of the link.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from harness.errors import UsageError
from harness.model.limits import TEXT
from harness.model.plain import U64, Misfit, Reader, defaulted, shown
from harness.model.units import Ns


class Misbehaviour(enum.StrEnum):
    """What a function does wrong."""

    NOT_READY = "not-ready"
    """Config space and BARs read all-ones for a while: not back from a reset (PCIe r6.0 §2.3.1.1, §6.6.2)."""
    NEVER_READY = "never-ready"
    """The same for ever: it does not come back."""
    RETRY_STATUS = "retry-status"
    """The ids read ffff0001h: Request Retry Status as software sees it when a port tells (PCIe r6.0 §2.3.2)."""
    ALL_ONES_CONFIG = "all-ones-config"
    """Config space reads all-ones, BARs answer."""
    ALL_ONES_MEMORY = "all-ones-memory"
    """BARs read all-ones, config space answers."""
    REFUSE_CONFIG = "refuse-config"
    """Config accesses are answered with an error."""
    REFUSE_MEMORY = "refuse-memory"
    """BAR accesses are answered with an error."""
    IGNORE_FLR = "ignore-flr"
    """Initiate FLR does nothing."""
    KEEP_SCRATCH = "keep-scratch"
    """A reset leaves the registers of the BAR as they were."""
    LOSE_WRITES = "lose-writes"
    """Writes to a register get lost: what is restored after a reset is not there."""
    WRONG_VALUE = "wrong-value"
    """A register reads as `value`, or with all its bits inverted when none is given."""
    STAY_ASLEEP = "stay-asleep"
    """The power state reads D3hot, whatever was written."""
    SELF_TEST_FAILS = "self-test-fails"
    """A built-in self-test ends with the completion code `value`, or 1 when none is given."""
    SELF_TEST_SLOW = "self-test-slow"
    """A built-in self-test takes `value` milliseconds, or 3000 when none is given: more than the 2 s that it may take
    (PCIe r6.0 §7.5.1.1.11)."""
    LOSE_INTERRUPTS = "lose-interrupts"
    """Interrupts are not sent."""
    INTERRUPT_STORM = "interrupt-storm"
    """Interrupts are sent without a cause, one after another."""
    STRAY_DMA = "stray-dma"
    """It writes to a bus address that nobody mapped, `value`, once when this begins."""
    CRITICAL_SLOW = "critical-slow"
    """Told that a reset comes, it first writes what it keeps, for `value` milliseconds, or 1500 when none is given."""
    NEVER_OPERATIONAL = "never-operational"
    """Its firmware never tells that it has come up."""
    LOSE_COMMANDS = "lose-commands"
    """Commands that begin with the byte `value`, or all when none is given, are never answered."""
    REFUSE_COMMANDS = "refuse-commands"
    """Commands that begin with the byte `value`, or all when none is given, are answered with an error."""
    UNIT_CHECK = "unit-check"
    """Its firmware has failed and says so by an interrupt, once when this begins: it wants to be reset."""


OF_A_REGISTER: Final = frozenset({Misbehaviour.LOSE_WRITES, Misbehaviour.WRONG_VALUE})
"""What is wrong with one register of config space, which the fault names."""
OF_A_VALUE: Final = frozenset(
    {
        Misbehaviour.WRONG_VALUE,
        Misbehaviour.STRAY_DMA,
        Misbehaviour.SELF_TEST_FAILS,
        Misbehaviour.SELF_TEST_SLOW,
        Misbehaviour.CRITICAL_SLOW,
        Misbehaviour.LOSE_COMMANDS,
        Misbehaviour.REFUSE_COMMANDS,
    }
)
"""What may name a value."""
_FAILED: Final = (None, *range(1, 16))  # completion codes of four bits; 0 is passed (PCIe r6.0 §7.5.1.1.11)
_LASTING: Final = {Misbehaviour.NOT_READY: False, Misbehaviour.NEVER_READY: True}
"""What must, or must not, last for ever."""
ACTS: Final = frozenset({Misbehaviour.INTERRUPT_STORM, Misbehaviour.STRAY_DMA, Misbehaviour.UNIT_CHECK})
"""What a function does of its own accord, asked by nobody; all else shows in its answers."""
_UNHEARD: Final = frozenset(
    {
        Misbehaviour.NOT_READY,
        Misbehaviour.ALL_ONES_CONFIG,
        Misbehaviour.REFUSE_CONFIG,
        Misbehaviour.ALL_ONES_MEMORY,
        Misbehaviour.REFUSE_MEMORY,
        Misbehaviour.STAY_ASLEEP,
        Misbehaviour.IGNORE_FLR,
        Misbehaviour.KEEP_SCRATCH,
        Misbehaviour.SELF_TEST_SLOW,
    }
)
"""What software writes does not arrive, or a reset takes nothing, or comes late: its DMA may outlive what allows it."""
_OF_DMA: Final = "command"
"""The register that has Bus Master Enable."""


class Occasion(enum.StrEnum):
    """What makes a fault begin."""

    NOW = "now"
    """When the programme is loaded: before the stage, after the settings were put in place."""
    FLR = "flr"
    BUS_RESET = "bus-reset"
    WAKE = "d3-exit"
    ACCESSES = "accesses"
    TIME = "time"
    """So long after the common release of the actors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One line of a programme.

    Attributes:
        what: what the function does wrong.
        register: name of the register of config space that it is about, for :data:`OF_A_REGISTER`; else empty.
        value: for :data:`OF_A_VALUE`, or None.
        when: what makes it begin.
        after: how many such occasions pass first: accesses, at least 1, or resets that do no harm.
        at_ns: with :attr:`Occasion.TIME`: how long after the release of the actors; else 0.
        lasting_ns: how long it stays wrong; None for ever.
        times: at how many occasions it begins, one after another; 0 at all of them.

    Raises:
        UsageError: the values contradict each other.
    """

    what: Misbehaviour
    register: str = ""
    value: U64 | None = None
    when: Occasion = Occasion.NOW
    after: int = 0
    at_ns: Ns = Ns(0)
    lasting_ns: Ns | None = None
    times: int = 0

    def __post_init__(self) -> None:
        wrong = ""
        if self.after < 0 or (self.when is Occasion.ACCESSES and not self.after):
            wrong = f"after {self.after} occasions, when {self.when}"
        elif self.after and self.when in (Occasion.NOW, Occasion.TIME):
            wrong = f"after {self.after} occasions, but {self.when} comes once"
        elif self.at_ns < 0 or (self.at_ns and self.when is not Occasion.TIME):
            wrong = f"at {self.at_ns} ns, when {self.when}"
        elif bool(self.register) != (self.what in OF_A_REGISTER):
            wrong = f"of register {self.register!r}"
        elif self.value is not None and (self.what not in OF_A_VALUE or self.value < 0):
            wrong = f"value {self.value:#x}"
        elif self.what is Misbehaviour.SELF_TEST_FAILS and self.value not in _FAILED:
            wrong = f"completion code {self.value}"
        elif self.lasting_ns is not None and self.lasting_ns <= 0:
            wrong = f"lasting {self.lasting_ns} ns"
        elif self.what in _LASTING and (self.lasting_ns is None) is not _LASTING[self.what]:
            wrong = "for ever" if self.lasting_ns is None else f"lasting {self.lasting_ns} ns"
        elif self.times < 0:
            wrong = f"{self.times} times"
        if wrong:
            raise UsageError(f"fault {self.what}", said=wrong)

    @property
    def may_refuse_dma(self) -> bool:
        """Whether the machine may refuse DMA of a function that has nothing but this wrong with it."""
        return self.what in _UNHEARD or (self.what in OF_A_REGISTER and self.register == _OF_DMA)

    def to_json(self) -> dict[str, Any]:
        """Plain values, as they travel to a model and into a history."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Fault:
        """Read what :meth:`to_json` wrote; what is missing has its default.

        Raises:
            UsageError: a word or a value is not understood.
        """
        try:
            return _FAULTS.read(cls, values)
        except Misfit as error:
            raise UsageError(f"fault {shown(values)}", said=f"not understood: {error}") from error


_FAULTS: Final = Reader(defaulted, TEXT)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedFault:
    """A fault of one function of a plan."""

    function: str
    fault: Fault


class IncidentKind(enum.StrEnum):
    """What a host can do to a function from outside."""

    SERVER_KILLED = "server-killed"
    """Its model dies, as a crash would: QEMU answers all-ones from then on."""
    SERVER_STALLED = "server-stalled"
    """Its model stands still for a while: whoever accesses the function waits, and the whole guest with him."""
    SERVER_RESTARTED = "server-restarted"
    """Its model dies, the function is taken out, and a new model is plugged in its place."""
    UNPLUGGED = "unplugged"
    """It is taken out politely: the kernel is asked first (the button of its slot)."""
    LINK_ERROR = "link-error"
    """The port above reports an error (PCIe r6.0 §6.2), `detail` says which: a name as QEMU knows it."""

    @property
    def may_refuse_dma(self) -> bool:
        """Whether the machine may refuse DMA because of it: what was under way finds no mapping any more."""
        return self in (IncidentKind.SERVER_STALLED, IncidentKind.SERVER_RESTARTED, IncidentKind.UNPLUGGED)

    @property
    def may_reset(self) -> bool:
        """Whether the kernel, or the slot, may reset the function because of it, at any time from then on."""
        return self in (IncidentKind.SERVER_RESTARTED, IncidentKind.UNPLUGGED, IncidentKind.LINK_ERROR)


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """One thing that the host does to a function while a stage runs.

    Attributes:
        function: alias.
        kind: what.
        at_ns: how long after the common release of the actors, at least 100 ms: the host must have heard of that.
        lasting_ns: how long a stall lasts; else 0.
        detail: of a link error, its name.

    Raises:
        UsageError: the values contradict each other.
    """

    function: str
    kind: IncidentKind
    at_ns: Ns
    lasting_ns: Ns = Ns(0)
    detail: str = ""

    def __post_init__(self) -> None:
        wrong = ""
        if self.at_ns < EARLIEST_INCIDENT:
            wrong = (
                f"at {self.at_ns} ns: the host learns of the release only some {EARLIEST_INCIDENT} ns later"
            )
        elif self.lasting_ns < 0 or bool(self.lasting_ns) != (self.kind is IncidentKind.SERVER_STALLED):
            wrong = f"lasting {self.lasting_ns} ns"
        elif bool(self.detail) != (self.kind is IncidentKind.LINK_ERROR):
            wrong = f"detail {self.detail!r}"
        if wrong:
            raise UsageError(f"{self.kind} of {self.function}", said=wrong)


EARLIEST_INCIDENT: Final = Ns(100_000_000)
"""Earliest moment of what begins by the clock of the stage."""
