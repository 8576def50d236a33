"""How verbs make parts: the one place that knows how an actor is put together.  Pure."""

from __future__ import annotations

from collections.abc import Sequence

from harness.errors import UsageError
from harness.model.operation import WAIT
from harness.model.plan import Actor, Op, Oracle, Privilege, Setting, Step
from harness.model.units import Ns, duration
from harness.staging.part import Part


def acting(
    functions: Sequence[str],
    name: str,
    steps: Sequence[Step],
    *,
    actors: int = 1,
    starting: str | Ns = Ns(0),
    times: int | None = None,
    privilege: Privilege = Privilege.ROOT,
    settings: tuple[Setting, ...] = (),
    oracles: tuple[Oracle, ...] = (),
    modules: tuple[str, ...] = (),
) -> Part:
    """A part in which `actors` equal actors do `steps`.

    Args:
        functions: aliases that take part, the one acted upon first.
        name: of the actors; numbered later when several share it.
        steps: done in this order, again and again.
        actors: how many, at least 1.
        starting: when the first round begins, counted from the common release.
        times: how many rounds, at least 1; None repeats until the stage ends.
        privilege: what the actors may do.
        settings: put in place before, and back after.
        oracles: registers that the steps use.
        modules: kernel modules that the steps need.

    Raises:
        UsageError: nobody acts, or nothing happens.
    """
    check_words(functions, actors=actors, starting=starting, times=times)
    where = ", ".join(functions)
    if not steps:
        raise UsageError(
            f"{name} on {where}", said="nothing happens", hint="Give it at least one thing to do."
        )
    actor = Actor(
        name=name, steps=tuple(steps), starts_ns=duration(starting), times=times, privilege=privilege
    )
    return Part(
        functions=tuple(functions),
        actors=(actor,) * actors,
        settings=settings,
        oracles=oracles,
        modules=modules,
    )


def check_words(
    functions: Sequence[str], *, actors: int = 1, starting: str | Ns = Ns(0), times: int | None = None
) -> None:
    """Look at what every verb is told, before anything is asked of a function.

    Args:
        functions: for the message.
        actors: as :func:`acting` takes it, and so are the others.
        starting: when.
        times: how often.

    Raises:
        UsageError: nobody acts, nothing happens, or a time is none.
    """
    where = ", ".join(functions)
    if type(actors) is not int or actors < 1:
        raise UsageError(f"{actors!r} actors on {where}", said="nobody acts", hint="Use 1 or more.")
    if times is not None and (type(times) is not int or times < 1):
        raise UsageError(
            f"{times!r} rounds on {where}", said="nothing happens", hint="Use 1 or more, or None."
        )
    duration(starting)


def pause(length: str | Ns) -> tuple[Step, ...]:
    """A pause between two steps; nothing for a length of 0."""
    time = duration(length)
    return (Step(op=Op.PAUSE, means=WAIT, time_ns=time),) if time else ()
