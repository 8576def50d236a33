"""Parts of a stage, and the plan that they add up to.  Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from harness.errors import UsageError
from harness.model.command import Command, commands
from harness.model.fault import Incident, PlannedFault
from harness.model.operation import HEARTBEAT, verb
from harness.model.plan import Actor, Op, Oracle, Plan, Setting, Step
from harness.model.units import MS, SECOND, Ns, as_text, duration

HEART: Final = Actor(name="heartbeat", steps=(Step(op=Op.PAUSE, means=HEARTBEAT, time_ns=Ns(10 * MS)),))
"""Takes part in every stage: how late it wakes shows how starved the machine is."""

_READ_AT_BINDING: Final = ("msi_bus", "module/vfio_pci/enable_sriov")
"""What a driver asks for when it is bound and never again: set before any driver is, whoever names it."""

_LOOKS: Final = ("config-read", "attribute-read", "bar-read", "info")
"""Verbs that leave a function as it is: nothing comes of them that others could meet."""

DEADLINE: Final = Ns(30 * SECOND)
"""Longest time between the end of a stage and the return of its last operation, unless a test says otherwise: above
any healthy reset, below the kernel's 60 s of patience with a dead function."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What one phrase of a test contributes to a stage.

    Attributes:
        functions: aliases that take part.
        actors: numbered later when two share a name.
        settings: put in place before, and back after.
        oracles: registers that the actors use.
        modules: kernel modules that the actors need.
        faults: what functions do wrong.
        incidents: what the host does to functions.
    """

    functions: tuple[str, ...]
    actors: tuple[Actor, ...] = ()
    settings: tuple[Setting, ...] = ()
    oracles: tuple[Oracle, ...] = ()
    modules: tuple[str, ...] = ()
    faults: tuple[PlannedFault, ...] = ()
    incidents: tuple[Incident, ...] = ()


PORT: Final = ".port"
"""What follows a function's alias in that of the port above it: `igb0.port`."""


def plan_of(
    parts: Sequence[Part],
    *,
    title: str,
    lasting: str | Ns,
    meets: int = 0,
    deadline: str | Ns = DEADLINE,
    seed: int = 0,
    before: Sequence[Command | Sequence[str]] = (),
) -> Plan:
    """Put parts together.

    Args:
        parts: at least one.
        title: name of the scenario.
        lasting: how long rounds may begin.
        meets: how many operations must meet a window for a PASS.
        deadline: for the last operation, counted from the end.
        seed: of everything random.
        before: what the target runs before, each a command or its words.

    Raises:
        UsageError: no parts, what is no command, two parts set the same attribute to different values, an actor would
            come to something only after the end of the stage, or windows are to be met and nobody does anything but
            look.
    """
    if not parts:
        raise UsageError(f"stage {title!r}", said="nobody acts", hint="Name at least one reader or resetter.")
    wanted = dict.fromkeys(setting for part in parts for setting in part.settings)
    settings = tuple(sorted(wanted, key=lambda one: one.attribute not in _READ_AT_BINDING))
    for one in settings:
        for other in settings:
            if (one.function, one.attribute) == (
                other.function,
                other.attribute,
            ) and one.value != other.value:
                raise UsageError(
                    f"stage {title!r}",
                    said=f"{one.attribute} of {one.function} cannot be both {one.value!r} and {other.value!r}",
                    hint="One value at a time: the attribute belongs to the function, not to the actor.",
                )
    for part in parts:
        for actor in part.actors:
            _check_time(actor, title, duration(lasting))
        for fault in part.faults:
            _check_moment(fault.fault.what, fault.fault.at_ns, title, duration(lasting))
        for incident in part.incidents:
            _check_moment(incident.kind, incident.at_ns, title, duration(lasting))
    if meets and all(map(_only_looks, parts)):
        raise UsageError(
            f"stage {title!r}",
            said=f"windows are to be met ({meets}), and nobody does anything that opens one",
            hint="Add a reset, somebody who holds a lock, or a fault; or leave `meets` out.",
        )
    functions = tuple(dict.fromkeys(alias for part in parts for alias in part.functions))
    actors = _named([actor for part in parts for actor in part.actors])
    return Plan(
        title=title,
        functions=functions,
        actors=(*actors, HEART),
        lasting_ns=duration(lasting),
        deadline_ns=duration(deadline),
        settings=settings,
        oracles=tuple(dict.fromkeys(oracle for part in parts for oracle in part.oracles)),
        modules=tuple(dict.fromkeys(module for part in parts for module in part.modules)),
        ports={alias: alias + PORT for alias in functions if alias + PORT in functions},
        meets=meets,
        seed=seed,
        faults=tuple(fault for part in parts for fault in part.faults),
        incidents=tuple(sorted((one for part in parts for one in part.incidents), key=lambda one: one.at_ns)),
        before=commands(before),
    )


def _check_time(actor: Actor, title: str, lasting: Ns) -> None:
    """What an actor comes to after the end is never done, and nothing in a history would tell.

    Pauses behind the last access count only in a single round: there they say how long a descriptor is kept.
    """
    last = max((place for place, step in enumerate(actor.steps) if step.op is not Op.PAUSE), default=0)
    counted = actor.steps if actor.times == 1 else actor.steps[:last]
    ends = actor.starts_ns + sum(step.time_ns for step in counted)
    if ends >= lasting:
        raise UsageError(
            f"stage {title!r} of {as_text(lasting)}",
            said=f"{actor.name} is not done before {as_text(ends)}",
            hint="Let the stage last longer, or the actor begin earlier.",
        )


def _only_looks(part: Part) -> bool:
    """Whether it surely opens no window.  A driver or a module that comes with it may do so by itself."""
    steps = [step for actor in part.actors for step in actor.steps if step.op is not Op.PAUSE]
    brings = part.settings or part.modules or part.faults or part.incidents
    return not brings and all(verb(step.means) in _LOOKS for step in steps)


def _check_moment(what: str, at: Ns, title: str, lasting: Ns) -> None:
    if at >= lasting:
        raise UsageError(
            f"stage {title!r} of {as_text(lasting)}",
            said=f"{what} comes at {as_text(at)}, when it is over",
            hint="Let the stage last longer.",
        )


def _named(everyone: Sequence[Actor]) -> tuple[Actor, ...]:
    """Number actors whose names would clash: `reader`, `reader` become `reader-1`, `reader-2`."""
    names = [actor.name for actor in everyone]
    counts: dict[str, int] = {}
    result = []
    for actor in everyone:
        if names.count(actor.name) > 1:
            counts[actor.name] = counts.get(actor.name, 0) + 1
            actor = dataclasses.replace(actor, name=f"{actor.name}-{counts[actor.name]}")  # noqa: PLW2901
        result.append(actor)
    return tuple(result)
