"""Make a recipe small that fails: functions dropped, then phrases, then counts and times made simple.  Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, Final

from harness.fuzzing.recipe import Call, Recipe
from harness.model.units import MS, Ns, duration

_SIMPLE: Final = {"times": 1, "actors": 1}
"""Counts, and what is simplest for each."""
_NEEDLESS: Final = ("every", "starting", "width", "path")
"""Arguments that a verb does without."""
_TIMES: Final = ("at", "holding", "lasting", "until")
_ROUND_MS: Final = 50
"""What a simple time is a multiple of."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Shrunk:
    """What became of a recipe.

    Attributes:
        recipe: the smallest that failed.
        stages: how often `fails` was asked.
        ended: whether nothing smaller is left; else `most` came first.
    """

    recipe: Recipe
    stages: int
    ended: bool


def shrink(
    recipe: Recipe, fails: Callable[[Recipe], bool], *, stands: Callable[[Recipe], bool], most: int
) -> Shrunk:
    """Look for a smaller recipe that fails, too, and for a smaller one of that, until there is none.

    Args:
        recipe: one that fails.
        fails: whether another one fails in the same way; costs a stage.
        stands: whether another one can be staged at all; costs nothing.
        most: how often `fails` may be asked.
    """
    asked = {_key(recipe)}
    stages = 0
    progress = True
    while progress:
        progress = False
        for smaller in _smaller(recipe):
            if _key(smaller) in asked or not stands(smaller):
                continue
            if stages == most:
                return Shrunk(recipe=recipe, stages=stages, ended=False)
            asked.add(_key(smaller))
            stages += 1
            if fails(smaller):
                recipe, progress = smaller, True
                break
    return Shrunk(recipe=recipe, stages=stages, ended=True)


def _key(recipe: Recipe) -> str:
    return str(recipe)


def _smaller(recipe: Recipe) -> Iterator[Recipe]:
    """Recipes that are one step smaller, the largest steps first."""
    calls = recipe.calls
    if len(recipe.functions) > 1:
        for function in recipe.functions:
            yield _with(recipe, tuple(call for call in calls if call.function != function))
    if len(calls) > 1:
        for dropped in range(len(calls)):
            yield _with(recipe, (*calls[:dropped], *calls[dropped + 1 :]))
    for place, call in enumerate(calls):
        for arguments in (*_simpler_counts(call), *_simpler_times(call)):
            simpler = dataclasses.replace(call, arguments=arguments)
            yield _with(recipe, (*calls[:place], simpler, *calls[place + 1 :]))
    half, whole = _rounded(recipe.lasting_ms // 2), _rounded(recipe.lasting_ms)
    for lasting in (half, whole):
        if lasting < recipe.lasting_ms or (lasting == whole and recipe.lasting_ms % _ROUND_MS):
            yield dataclasses.replace(recipe, lasting_ms=lasting)


def _with(recipe: Recipe, calls: tuple[Call, ...]) -> Recipe:
    return dataclasses.replace(recipe, calls=calls)


def _simpler_counts(call: Call) -> Iterator[dict[str, Any]]:
    for name, value in call.arguments.items():
        if name in _NEEDLESS:
            yield {other: kept for other, kept in call.arguments.items() if other != name}
        elif name in _SIMPLE and value not in (_SIMPLE[name], None):
            yield {**call.arguments, name: _SIMPLE[name]}


def _simpler_times(call: Call) -> Iterator[dict[str, Any]]:
    for name, value in call.arguments.items():
        if name in _TIMES and isinstance(value, str):
            length = duration(value)
            rounded = Ns(_rounded(length // MS) * MS)
            if rounded != length:
                yield {**call.arguments, name: f"{rounded // MS}ms"}


def _rounded(length_ms: int) -> int:
    return max(_ROUND_MS, round(length_ms / _ROUND_MS) * _ROUND_MS)
