"""A programme of faults: what a function does wrong, when it begins, and for how long.

Pure: time comes as an argument.  Slowness is state, never a delay: a function that is not ready answers all-ones
until a point in time, at once.  So no reply can ever be late.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from harness.errors import UsageError
from harness.model.units import Ns


class Misbehaviour(enum.StrEnum):
    """What a function does wrong."""

    NOT_READY = "not-ready"
    """Config space and BARs read all-ones: it has not come back from a reset (PCIe r6.0 §2.3.1.1, §6.6.2)."""
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
    """A register reads with all its bits inverted."""
    STAY_ASLEEP = "stay-asleep"
    """The power state reads D3hot, whatever was written."""
    LOSE_INTERRUPTS = "lose-interrupts"
    """Interrupts are not sent."""


OF_A_REGISTER: Final = frozenset({Misbehaviour.LOSE_WRITES, Misbehaviour.WRONG_VALUE})
"""What is wrong with one register of config space, which the fault names."""


class Occasion(enum.StrEnum):
    """What makes a fault begin."""

    NOW = "now"
    FLR = "flr"
    BUS_RESET = "bus-reset"
    WAKE = "d3-exit"
    ACCESSES = "accesses"
    """So many accesses after the fault was loaded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One line of a programme.

    Attributes:
        what: what the function does wrong.
        register: name of the register of config space that it is about, for :data:`OF_A_REGISTER`; else empty.
        when: what makes it begin; it begins again at each such occasion, `times` in all.
        after: accesses to let pass, with :attr:`Occasion.ACCESSES`; else 0.
        lasting_ns: how long it stays wrong; None for ever.
        times: at how many occasions; 0 at all of them.

    Raises:
        UsageError: the values contradict each other.
    """

    what: Misbehaviour
    register: str = ""
    when: Occasion = Occasion.NOW
    after: int = 0
    lasting_ns: Ns | None = None
    times: int = 0

    def __post_init__(self) -> None:
        wrong = ""
        if bool(self.after) != (self.when is Occasion.ACCESSES) or self.after < 0:
            wrong = f"after {self.after} accesses, when {self.when}"
        elif bool(self.register) != (self.what in OF_A_REGISTER):
            wrong = f"of register {self.register!r}"
        elif self.lasting_ns is not None and self.lasting_ns <= 0:
            wrong = f"lasting {self.lasting_ns} ns"
        elif self.times < 0:
            wrong = f"{self.times} times"
        if wrong:
            raise UsageError(f"fault {self.what}", said=wrong)

    def to_json(self) -> dict[str, Any]:
        """Plain values, as they travel to a model and into a history."""
        return {
            "what": str(self.what),
            "register": self.register,
            "when": str(self.when),
            "after": self.after,
            "lasting_ns": self.lasting_ns,
            "times": self.times,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Fault:
        """Read what :meth:`to_json` wrote; what is missing has its default.

        Raises:
            UsageError: a word or a value is not understood.
        """
        try:
            lasting = values.get("lasting_ns")
            return cls(
                what=Misbehaviour(values["what"]),
                register=str(values.get("register", "")),
                when=Occasion(values.get("when", Occasion.NOW)),
                after=int(values.get("after", 0)),
                lasting_ns=None if lasting is None else Ns(int(lasting)),
                times=int(values.get("times", 0)),
            )
        except (KeyError, ValueError, TypeError) as error:
            raise UsageError(f"fault {dict(values)!r}", said=f"not understood: {error}") from error


@dataclass(slots=True)
class _Running:
    fault: Fault
    begun: int = 0
    until_ns: int | None = 0
    """0: not active; None: active for ever."""
    accesses: int = 0

    def begin(self, now_ns: int) -> None:
        if self.fault.times and self.begun >= self.fault.times:
            return
        self.begun += 1
        lasting = self.fault.lasting_ns
        self.until_ns = None if lasting is None else now_ns + lasting

    def active(self, now_ns: int) -> bool:
        return self.until_ns is None or now_ns < self.until_ns


@dataclass(frozen=True, slots=True)
class Wrong:
    """What is wrong at one moment."""

    faults: tuple[Fault, ...] = ()

    def __contains__(self, what: Misbehaviour) -> bool:
        return any(fault.what is what for fault in self.faults)

    def registers(self, what: Misbehaviour) -> tuple[str, ...]:
        """The registers that it is wrong with."""
        return tuple(fault.register for fault in self.faults if fault.what is what)


class Programme:
    """The faults of one function, carried out."""

    def __init__(self) -> None:
        self._running: Final[list[_Running]] = []

    def load(self, faults: Iterable[Fault], now_ns: int) -> None:
        """Replace what was loaded; those of :attr:`Occasion.NOW` begin."""
        self._running[:] = [_Running(fault) for fault in faults]
        self.occasion(Occasion.NOW, now_ns)

    def occasion(self, what: Occasion, now_ns: int) -> None:
        """Something happened at which faults may begin."""
        for one in self._running:
            if one.fault.when is what:
                one.begin(now_ns)

    def accessed(self, now_ns: int) -> None:
        """Software accessed the function once."""
        for one in self._running:
            if one.fault.when is Occasion.ACCESSES:
                one.accesses += 1
                if one.accesses == one.fault.after:
                    one.begin(now_ns)

    def wrong(self, now_ns: int) -> Wrong:
        """What is wrong at this moment."""
        if not self._running:
            return _NOTHING
        return Wrong(tuple(one.fault for one in self._running if one.active(now_ns)))


_NOTHING: Final = Wrong()
