"""What each verb needs, so that a plan that is drawn is one that an author could have meant.  Pure.

A function has one situation in a plan, which says whose it is.  Beside that, verbs stand in each other's way by what
they *use* and what they *spoil*: of a thing that one spoils nobody else makes use.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from random import Random
from typing import Any, Final

from harness.fuzzing.facts import Facts
from harness.model import operation
from harness.model.pci import (
    BAR0,
    CACHE_LINE_SIZE,
    COMMAND,
    REVISION_ID,
    SUBSYSTEM_ID,
    VENDOR_ID,
    ResetMethod,
)
from harness.staging.registers import DOORBELLS, NEVER_ZERO
from harness.staging.vfio_user import DRIVER

Arguments = dict[str, Any]


class Situation(enum.StrEnum):
    """Whose a function is while a plan is staged."""

    FREE = "free"
    """Nobody's: it has no driver."""
    HELD = "held"
    """A VFIO user's, who has it open from the beginning."""
    OPENED = "opened"
    """Of vfio-pci; one actor opens and closes it, alone."""
    CLOSED = "closed"
    """A VFIO user's, who closes it in the middle, alone."""
    PROBED = "probed"
    """Nobody's, until it is bound in the middle."""
    DRIVEN = "driven"
    """Its own driver's."""
    DISK = "disk"
    """A storage driver's, with users of its disk."""
    ADAPTER = "adapter"
    """The driver ipr's."""
    UIO = "uio"
    """A driver's in user space."""


class Thing(enum.Enum):
    """What verbs share, or cannot share."""

    ORACLE = enum.auto()
    """The oracle register: one actor marks it, and nobody else writes it."""
    BINDING = enum.auto()
    """That the function stays with its driver."""
    PRESENCE = enum.auto()
    """That it stays."""
    DECODE = enum.auto()
    """That its registers can be reached."""
    VECTORS = enum.auto()
    """Its interrupts: of one kind at a time."""
    BUS = enum.auto()
    """That nobody else is on its bus."""
    METHODS = enum.auto()
    """That it has a reset method."""
    DEVICE_LOCK = enum.auto()
    """That an unbind gets device_lock at once, and then waits for a user."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """What the arguments of a verb are drawn from.

    Attributes:
        rng: for everything random.
        facts: of the function.
        situation: that it has in this plan.
        verbs: names of all that happens to it in this plan.
        method: the one active reset method; empty when it has none.
        driver: whose it is, or becomes.
        at: when a call begins, in ms.
        lasting: of the stage, in ms.
        kind: of interrupts, when one is wished for.
    """

    rng: Random
    facts: Facts
    situation: Situation
    verbs: AbstractSet[str]
    method: str
    driver: str
    at: int
    lasting: int
    kind: str = ""

    @property
    def room(self) -> int:
        """From the call until shortly before the end of the stage, in ms."""
        return max(self.lasting - self.at - 30, 1)

    def pick(self, *choices: Any) -> Any:
        """One of them."""
        return self.rng.choice(choices)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verb:
    """One verb.

    Attributes:
        name: class and method.
        where: the situations in which it makes sense.
        arguments: draws them.
        fits: whether a function can have that done to it.
        is_call: whether it has a place in an order: resets, opens, binds …; else it is an access, all the time.
        most: how often it may be in a plan, for one function.
        uses, spoils: see the module.
        needs: verbs without which it makes no sense.
        never_before, never_after: calls that it must not precede, or follow.
        on_port: whether it is done to the port above.
    """

    name: str
    where: frozenset[Situation]
    arguments: Callable[[Draw], Arguments]
    fits: Callable[[Facts], bool] = lambda _: True
    is_call: bool = False
    most: int = 1
    uses: frozenset[Thing] = frozenset()
    spoils: frozenset[Thing] = frozenset()
    needs: tuple[str, ...] = ()
    never_before: frozenset[str] = frozenset()
    never_after: frozenset[str] = frozenset()
    on_port: bool = False

    def bears(self, other: Verb) -> bool:
        """Whether both may be in one plan, for one function."""
        return not (self.spoils & (other.uses | other.spoils) or other.spoils & self.uses)


OWN_DRIVERS: Final[Mapping[str, str]] = {"igb": "igb", "e1000e": "e1000e", "nvme": "nvme"}
"""By platform."""
_STORAGE: Final = "nvme"
_UIO_PLATFORM: Final = "hil-endpoint"
_ADAPTERS: Final = ("hil-ipr", "hil-ipr-sis64")

_UNBINDS, _REMOVES = "Ownership.unbinds", "Ownership.removes_and_rescans"
_KEEPS_OPEN: Final = "VfioUser.keeps_open"
_VFIO: Final = frozenset({Situation.HELD, Situation.OPENED, Situation.CLOSED})
_NOBODYS: Final = frozenset({Situation.FREE, Situation.PROBED})
_EVERYWHERE: Final = frozenset(Situation)
_HELD: Final = frozenset({Situation.HELD})
_FREE: Final = frozenset({Situation.FREE})
_CONFIG_OFFSETS: Final = (VENDOR_ID, COMMAND, REVISION_ID, SUBSYSTEM_ID)


def situations(facts: Facts) -> tuple[Situation, ...]:
    """The situations in which a function can be.

    An adapter is its driver's, or what it has not saved is lost by the first reset.
    """
    traits = facts.traits
    if traits.platform in _ADAPTERS:
        return (Situation.ADAPTER,)
    found = [Situation.FREE, Situation.HELD, Situation.OPENED, Situation.CLOSED, Situation.PROBED]
    if traits.platform in OWN_DRIVERS:
        found.append(Situation.DRIVEN)
    if traits.platform == _STORAGE and not facts.makes_vfs:
        found.append(Situation.DISK)
    if traits.platform == _UIO_PLATFORM:
        found.append(Situation.UIO)
    return tuple(found)


def driver_in(situation: Situation, facts: Facts, rng: Random) -> str:
    """Whose a function is in a situation, or becomes."""
    own = OWN_DRIVERS.get(facts.traits.platform, DRIVER)
    if situation in (Situation.DRIVEN, Situation.DISK):
        return own
    return rng.choice((DRIVER, own)) if situation is Situation.PROBED else DRIVER


# -- what functions have -----------------------------------------------------------------------------


def _has_reset(facts: Facts) -> bool:
    return bool(facts.methods)


def _has_oracle(facts: Facts) -> bool:
    return bool(facts.methods) and all(method in facts.traits.oracles for method in facts.methods)


def _has_flr_bit(facts: Facts) -> bool:
    return _has_oracle(facts) and ResetMethod.FLR in facts.methods and bool(facts.traits.express)


def _has_registers(facts: Facts) -> bool:
    return facts.traits.platform in NEVER_ZERO


def _is_alone(facts: Facts) -> bool:
    return facts.port is not None and not facts.siblings


def _alone_with_oracle(facts: Facts) -> bool:
    return _is_alone(facts) and _has_oracle(facts)


def _interrupts(facts: Facts) -> bool:
    return facts.traits.platform in DOORBELLS


# -- arguments ---------------------------------------------------------------------------------------


def _ms(number: int) -> str:
    return f"{number}ms"


def _nothing(_: Draw) -> Arguments:
    return {}


def _at(draw: Draw) -> Arguments:
    return {"at": _ms(draw.at)}


def _again(draw: Draw) -> Arguments:
    """When, how often, and how far apart."""
    times = draw.pick(1, 1, 2, 3)
    every = draw.pick(0, 40, 100, 250) if times > 1 else 0
    while every and every * times >= draw.room:
        times, every = times - 1, every if times > 2 else 0
    return {"at": _ms(draw.at), "times": times, **({"every": _ms(every)} if every else {})}


def _pace(draw: Draw) -> str:
    return str(draw.pick("500us", "1ms", "2ms", "5ms"))


def _access(draw: Draw) -> Arguments:
    width = draw.pick(1, 2, 4)
    return {"at": draw.pick(*_CONFIG_OFFSETS), "width": width}


def _reads(draw: Draw) -> Arguments:
    starting = draw.pick(0, 0, draw.lasting // 4)
    return {
        "path": draw.pick("sysfs", "sysfs", "proc"),
        **_access(draw),
        "actors": draw.pick(1, 1, 2),
        "every": _pace(draw),
        **({"starting": _ms(starting)} if starting else {}),
    }


def _attribute(draw: Draw) -> Arguments:
    express = ("current_link_speed",) if draw.facts.traits.express else ()
    return {"name": draw.pick("vendor", "class", "irq", "resource", *express), "every": _pace(draw)}


def _roles(draw: Draw) -> Arguments:
    roles = ["config", "proc", "remove", *(("reset", "reset_method") if draw.facts.methods else ())]
    return {"roles": draw.rng.sample(roles, draw.rng.randint(1, len(roles)))}


def _written(draw: Draw) -> Arguments:
    """Of config space: what is there already after any restore, so that nobody misses anything."""
    return {
        "path": draw.pick("sysfs", "proc"),
        "at": CACHE_LINE_SIZE,
        "value": b"\x10".hex(),
        "times": draw.pick(10, 50, 200),
    }


def _register(draw: Draw) -> Arguments:
    return {"bar": 0, "at": NEVER_ZERO[draw.facts.traits.platform]}


def _cleared(draw: Draw) -> Arguments:
    """The oracle register, and what it holds after any reset."""
    oracle = draw.facts.traits.oracles[draw.facts.methods[0]]
    value = oracle.cleared.to_bytes(oracle.width, "little").hex()
    return {"value": value, "bar": int(oracle.resource.removeprefix("resource")), "at": oracle.offset}


def _stored(draw: Draw) -> Arguments:
    """Through sysfs: the same, or what makes the function interrupt, all the time."""
    if draw.situation is Situation.UIO:
        ring = DOORBELLS[draw.facts.traits.platform].trigger
        return {"value": 1, "bar": 0, "at": ring, "times": None, "every": "10ms"}
    oracle = draw.facts.traits.oracles[draw.facts.methods[0]]
    return {
        "value": oracle.cleared,
        "bar": int(oracle.resource.removeprefix("resource")),
        "at": oracle.offset,
        "width": oracle.width,
        "times": None,
        "every": "1ms",
    }


def _reset(draw: Draw) -> Arguments:
    return {"method": draw.method, **_again(draw), "actors": draw.pick(1, 1, 1, 2)}


def _vfio_reset(draw: Draw) -> Arguments:
    return {**_again(draw), "actors": draw.pick(1, 1, 2)}


def _holding(draw: Draw) -> Arguments:
    times = draw.pick(1, 1, 2)
    most = draw.room // times
    return {"at": _ms(draw.at), "times": times, "holding": _ms(min(draw.pick(10, 60, 150, 300), most))}


def _held_once(draw: Draw) -> Arguments:
    return {"at": _ms(draw.at), "holding": _ms(min(draw.pick(50, 200, 700), draw.room))}


def _oracle(draw: Draw) -> Arguments:
    return {"method": draw.method, **_holding(draw)}


def _few(draw: Draw) -> Arguments:
    return {"at": _ms(draw.at), "times": draw.pick(1, 1, 2)}


def _hot_reset(draw: Draw) -> Arguments:
    facts = draw.facts
    if facts.port is None:
        return {**_again(draw), "means": operation.HOT_RESET_IMPOSSIBLE}
    if not facts.siblings:
        return _again(draw)
    missing: Arguments = {"means": operation.HOT_RESET_NOT_OWNED}
    return {**_again(draw), **draw.pick(missing, {"beside": list(facts.siblings)})}


def _interrupting(draw: Draw) -> Arguments:
    bell = DOORBELLS[draw.facts.traits.platform]
    kind = draw.kind or draw.pick(*draw.facts.interrupts)
    level = {"acknowledge": bell.acknowledge} if kind == "intx" else {}
    return {"kind": kind, "trigger": bell.trigger, **level, "every": draw.pick("5ms", "20ms", "50ms")}


def _driver(draw: Draw) -> Arguments:
    return {"at": _ms(draw.at), "driver": draw.driver}


def _hold(draw: Draw) -> Arguments:
    port = ("bridge",) if draw.facts.port is not None else ()
    lasting, times = draw.pick(5, 20, 80, 250), 1 if _REMOVES in draw.verbs else draw.pick(1, 1, 2)
    if (lasting + 50) * times >= draw.room:
        times = 1
    return {
        "lock": draw.pick("config", "device", "both", *port),
        "lasting": _ms(lasting),
        "at": _ms(draw.at),
        "times": times,
    }


def _adapter(draw: Draw) -> Arguments:
    return {"by_message": draw.pick(True, True, False), "at": _ms(draw.at)}


def _disk(draw: Draw) -> Arguments:
    return {"driver": _driver_of_disk(draw), "every": draw.pick("10ms", "20ms", "50ms")}


def _disk_write(draw: Draw) -> Arguments:
    """To a block that nobody reads: QEMU's null drive keeps nothing."""
    pattern = draw.rng.randbytes(8).hex()
    return {
        "driver": _driver_of_disk(draw),
        "pattern": pattern,
        "block": 7,
        "at": _ms(draw.rng.randrange(draw.lasting // 2)),
    }


def _driver_of_disk(draw: Draw) -> str:
    return "ipr" if draw.situation is Situation.ADAPTER else _STORAGE


# -- the table ---------------------------------------------------------------------------------------

_MAPPED: Final = frozenset({Thing.DECODE, Thing.PRESENCE})
_METHODS: Final = frozenset({Thing.METHODS})
_ANY_CALL: Final = frozenset({Thing.DECODE, Thing.DEVICE_LOCK})
_READERS: Final = (
    Verb(name="Function.reads", where=_EVERYWHERE, arguments=_reads, most=2),
    Verb(name="Function.reads_attribute", where=_EVERYWHERE, arguments=_attribute),
    Verb(name="Function.reads_without_privilege", where=_EVERYWHERE, arguments=_nothing),
    Verb(name="Function.reads_with_a_kept_descriptor", where=_EVERYWHERE, arguments=_nothing),
    Verb(name="Function.opens_without_privilege", where=_EVERYWHERE, arguments=_roles),
    Verb(
        name="Function.writes",
        where=_EVERYWHERE - {Situation.ADAPTER, Situation.UIO},
        arguments=_written,
    ),
)
_RESETS: Final = (
    Verb(
        name="Function.writes_reset_method",
        where=_NOBODYS | _VFIO,
        arguments=lambda draw: {"method": draw.method},
        fits=_has_reset,
        uses=_METHODS,
    ),
    Verb(
        name="Function.without_reset_methods",
        where=_VFIO,
        arguments=_nothing,
        fits=_has_reset,
        uses=frozenset({Thing.PRESENCE}),
        spoils=_METHODS,
    ),
    Verb(
        name="Function.resets",
        where=_NOBODYS | _VFIO | {Situation.DRIVEN, Situation.DISK},
        arguments=_reset,
        fits=_has_reset,
        is_call=True,
        most=2,
        uses=_ANY_CALL | _METHODS,
    ),
    Verb(
        name="Function.resets_with_oracle",
        where=_FREE,
        arguments=_oracle,
        fits=_has_oracle,
        is_call=True,
        uses=_MAPPED | _METHODS,
        spoils=frozenset({Thing.ORACLE}),
    ),
    Verb(
        name="Function.resets_all_below",
        where=_FREE | _VFIO,
        arguments=_few,
        fits=lambda facts: facts.resets_below,
        is_call=True,
        most=2,
        uses=_ANY_CALL | {Thing.BUS},
        on_port=True,
    ),
)
_MAPPED_REGISTERS: Final = (
    Verb(name="Function.loads_register", where=_FREE, arguments=_register, fits=_has_registers, uses=_MAPPED),
    Verb(
        name="Function.stores_register",
        where=_FREE | {Situation.UIO},
        arguments=_stored,
        fits=_has_oracle,
        uses=_MAPPED | {Thing.ORACLE},
    ),
)
_VFIO_ACCESSES: Final = (
    Verb(name="VfioUser.reads", where=_HELD, arguments=_access, most=2),
    Verb(
        name="VfioUser.reads_copies", where=_HELD, arguments=lambda draw: {"at": draw.pick(VENDOR_ID, BAR0)}
    ),
    Verb(name="VfioUser.writes", where=_HELD, arguments=_nothing),
    Verb(name="VfioUser.writes_command", where=_HELD, arguments=_nothing, uses=frozenset({Thing.DECODE})),
    Verb(name="VfioUser.asks", where=_HELD, arguments=_nothing),
    Verb(name=_KEEPS_OPEN, where=_HELD, arguments=lambda draw: {"until": _ms(draw.lasting - 10)}),
    *(
        Verb(name=name, where=_HELD, arguments=_register, fits=_has_registers, uses=frozenset({Thing.DECODE}))
        for name in ("VfioUser.reads_register", "VfioUser.loads_register")
    ),
    *(
        Verb(
            name=name,
            where=_HELD,
            arguments=_cleared,
            fits=_has_oracle,
            uses=frozenset({Thing.DECODE, Thing.ORACLE}),
        )
        for name in ("VfioUser.writes_register", "VfioUser.stores_register")
    ),
    Verb(
        name="VfioUser.touches_without_decode",
        where=_HELD,
        arguments=_register,
        fits=_has_registers,
        spoils=frozenset({Thing.DECODE}),
    ),
    Verb(
        name="VfioUser.asks_for_interrupts",
        where=_HELD,
        arguments=_interrupting,
        fits=_interrupts,
        uses=frozenset({Thing.DECODE}),
        spoils=frozenset({Thing.VECTORS}),
    ),
)
_VFIO_CALLS: Final = (
    Verb(
        name="VfioUser.resets",
        where=_HELD,
        arguments=_vfio_reset,
        fits=_has_reset,
        is_call=True,
        most=2,
        uses=_ANY_CALL,
    ),
    Verb(
        name="VfioUser.insists_on_reset",
        where=_HELD,
        arguments=_few,
        fits=_has_reset,
        is_call=True,
        most=2,
        uses=_ANY_CALL,
    ),
    *(
        Verb(
            name=name,
            where=_HELD,
            arguments=_holding,
            fits=fits,
            is_call=True,
            uses=_ANY_CALL | _METHODS | bus,
            spoils=frozenset({Thing.ORACLE}),
        )
        for name, fits, bus in (
            ("VfioUser.resets_with_oracle", _has_oracle, frozenset[Thing]()),
            ("VfioUser.sets_flr_bit", _has_flr_bit, frozenset[Thing]()),
            ("VfioUser.hot_resets_with_oracle", _alone_with_oracle, frozenset({Thing.BUS})),
        )
    ),
    Verb(
        name="VfioUser.hot_resets",
        where=_HELD,
        arguments=_hot_reset,
        is_call=True,
        most=2,
        uses=_ANY_CALL | {Thing.BUS},
    ),
    Verb(
        name="VfioUser.opens",
        where=frozenset({Situation.OPENED}),
        arguments=_holding,
        is_call=True,
        uses=frozenset({Thing.BINDING, Thing.PRESENCE}),
    ),
    Verb(
        name="VfioUser.opens_again",
        where=_HELD,
        arguments=_again,
        is_call=True,
        most=2,
        uses=_ANY_CALL | {Thing.BINDING, Thing.PRESENCE},
        needs=(_KEEPS_OPEN,),
    ),
    Verb(
        name="VfioUser.opens_late",
        where=_HELD,
        arguments=_at,
        is_call=True,
        most=2,
        uses=frozenset({Thing.DECODE}),
        spoils=frozenset({Thing.DEVICE_LOCK}),
        needs=(_KEEPS_OPEN, _UNBINDS),
        never_before=frozenset({_UNBINDS}),
    ),
    Verb(name="VfioUser.closes", where=frozenset({Situation.CLOSED}), arguments=_at, is_call=True),
)
_OWNERS: Final = (
    Verb(
        name=_UNBINDS,
        where=_VFIO | {Situation.DRIVEN},
        arguments=_driver,
        is_call=True,
        uses=frozenset({Thing.DECODE, Thing.PRESENCE}),
        spoils=frozenset({Thing.BINDING}),
    ),
    Verb(
        name="Ownership.binds",
        where=frozenset({Situation.PROBED}),
        arguments=_driver,
        is_call=True,
        uses=frozenset({Thing.PRESENCE}),
    ),
    Verb(
        name="Ownership.writes_override",
        where=_NOBODYS | _VFIO | {Situation.DRIVEN},
        arguments=lambda draw: {"driver": draw.driver},
    ),
    Verb(
        name="Ownership.makes_vfs",
        where=_HELD,
        arguments=_held_once,
        fits=lambda facts: facts.makes_vfs,
        is_call=True,
        uses=_ANY_CALL | {Thing.BINDING, Thing.PRESENCE},
        spoils=frozenset({Thing.BUS}),
    ),
    Verb(
        name=_REMOVES,
        where=_FREE | _VFIO,
        arguments=_held_once,
        is_call=True,
        uses=_ANY_CALL,
        spoils=frozenset({Thing.PRESENCE}),
    ),
    *(
        Verb(
            name=name,
            where=_NOBODYS | _VFIO | {Situation.DRIVEN},
            arguments=arguments,
            is_call=True,
            most=2,
            uses=frozenset({Thing.DEVICE_LOCK}),
            never_after=frozenset({_REMOVES}),
        )
        for name, arguments in (("Locks.holds", _hold), ("Locks.tries", _few))
    ),
)
_DRIVERS: Final = (
    Verb(
        name="UioUser.handles_interrupts",
        where=frozenset({Situation.UIO}),
        arguments=_nothing,
        needs=("Function.stores_register",),
    ),
    Verb(
        name="Adapter.is_driven",
        where=frozenset({Situation.ADAPTER}),
        arguments=lambda draw: {"by_message": draw.pick(True, False)},
    ),
    Verb(name="Adapter.tells_its_state", where=frozenset({Situation.ADAPTER}), arguments=_nothing),
    *(
        Verb(
            name=f"Adapter.{verb}",
            where=frozenset({Situation.ADAPTER}),
            arguments=_adapter,
            is_call=True,
        )
        for verb in ("resets", "runs_diagnostics", "goes_online")
    ),
    Verb(name="Disk.reads", where=frozenset({Situation.ADAPTER, Situation.DISK}), arguments=_disk, most=2),
    Verb(
        name="Disk.writes_once", where=frozenset({Situation.ADAPTER, Situation.DISK}), arguments=_disk_write
    ),
)

VERBS: Final[Mapping[str, Verb]] = {
    verb.name: verb
    for verb in (
        *(*_READERS, *_RESETS, *_MAPPED_REGISTERS),
        *(*_VFIO_ACCESSES, *_VFIO_CALLS, *_OWNERS, *_DRIVERS),
    )
}
"""Every verb of the healthy world, by name."""


def able(situation: Situation, facts: Facts) -> tuple[Verb, ...]:
    """What can be done to a function in a situation."""
    return tuple(verb for verb in VERBS.values() if situation in verb.where and verb.fits(facts))
