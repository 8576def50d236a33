"""A plan as a recipe: which verbs, on which functions, with which arguments; plain data, so that it can be shrunk."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Final

from harness.errors import UsageError
from harness.fuzzing.facts import Known
from harness.model.operation import Operation
from harness.model.plain import HISTORIES, Misfit
from harness.model.plan import Plan
from harness.staging.function import Function
from harness.staging.manners import MANNERS, Subject
from harness.staging.part import PORT, Part, plan_of

_SUBJECTS: Final = {subject.__name__: subject for subject, _ in MANNERS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One phrase of a test: `VfioUser(igb0).resets(at="50ms")`.

    Attributes:
        verb: class and method, `VfioUser.resets`.
        alias: of the function, or of a port: `igb0.port`.
        arguments: of the class and of the method, JSON values: bytes are hexadecimal, functions are aliases.
    """

    verb: str
    alias: str
    arguments: Mapping[str, Any]

    @property
    def function(self) -> str:
        """The function that it concerns: for a port the one below."""
        return self.alias.removesuffix(PORT)

    def __str__(self) -> str:
        subject, _, method = self.verb.partition(".")
        made, told = _sorted(_SUBJECTS[subject], self.arguments)
        who = self.alias if subject == Function.__name__ else f"{subject}({_said(self.alias, made)})"
        return f"{who}.{method}({_said('', told)})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What makes a plan.

    Attributes:
        calls: at least one.
        lasting_ms: how long rounds may begin.
    """

    calls: tuple[Call, ...]
    lasting_ms: int

    @property
    def functions(self) -> tuple[str, ...]:
        """Aliases of the functions, without ports."""
        return tuple(dict.fromkeys(call.function for call in self.calls))

    def __str__(self) -> str:
        return "\n".join(
            ("stage(", *(f"    {call}," for call in self.calls), f'    lasting="{self.lasting_ms}ms",', ")")
        )

    def to_json(self) -> dict[str, Any]:
        """It as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Any) -> Recipe:
        """Read a recipe back.

        Raises:
            UsageError: something is missing, or is not what it should be.
        """
        try:
            return HISTORIES.read(cls, data)
        except Misfit as error:
            raise UsageError("recipe of a plan", said=str(error)) from error


def cooked(recipe: Recipe, known: Known, *, title: str, seed: int = 0) -> Plan:
    """Make the plan of a recipe.

    Args:
        recipe: what it is made of.
        known: the functions that it names.
        title: of the plan.
        seed: that is written into it.

    Raises:
        UsageError: it names an unknown function or verb, or its parts do not fit together.
    """
    parts = [part_of(call, known) for call in recipe.calls]
    return plan_of(parts, title=title, lasting=f"{recipe.lasting_ms}ms", seed=seed)


def part_of(call: Call, known: Known) -> Part:
    """Make the part that one phrase is.

    Raises:
        UsageError: an unknown function, verb or argument, or one that the verb refuses.
    """
    kind, _, method = call.verb.partition(".")
    subject = _SUBJECTS.get(kind)
    if subject is None or (subject, method) not in MANNERS:
        raise UsageError(f"recipe with {call.verb}", said="no such verb")
    function = _function(call.alias, known)
    made, told = _sorted(subject, call.arguments)
    make: Callable[..., Any] = subject
    verb = getattr(function if subject is Function else make(function, **made), method)
    parameters = inspect.signature(verb).parameters
    several: Sequence[Any] = ()
    meant = {}
    for name, value in told.items():
        if name not in parameters:
            raise UsageError(f"recipe with {call.verb}", said=f"no argument {name}")
        if parameters[name].kind is inspect.Parameter.VAR_POSITIONAL:
            several = value
        else:
            meant[name] = _meant(name, value, parameters[name].annotation, known)
    try:
        part: Part = verb(*several, **meant)
    except TypeError as error:
        raise UsageError(f"recipe with {call}", said=str(error)) from error
    return part


def _sorted(subject: Subject, arguments: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The arguments of a class of verbs, and those of the verb."""
    mine = set[str]() if subject is Function else {one.name for one in fields(subject)}
    made = {name: value for name, value in arguments.items() if name in mine}
    return made, {name: value for name, value in arguments.items() if name not in mine}


def _said(first: str, arguments: Mapping[str, Any]) -> str:
    return ", ".join(filter(None, (first, *(f"{name}={value!r}" for name, value in arguments.items()))))


def _function(alias: str, known: Known) -> Function:
    facts = known.get(alias.removesuffix(PORT))
    traits = None
    if facts is not None:
        traits = facts.port if alias.endswith(PORT) else facts.traits
    if traits is None:
        raise UsageError(
            f"recipe with {alias}", said="no such function", hint=f"There are: {', '.join(known)}."
        )
    found = traits
    return Function(alias, lambda: found)


def _meant(name: str, value: Any, annotation: str, known: Known) -> Any:
    """An argument out of its JSON value."""
    match name, annotation:
        case "beside", _:
            return tuple(_function(alias, known) for alias in value)
        case "means", _:
            return Operation(value)
        case _, "bytes":
            return bytes.fromhex(value)
    return value
