"""What recipes cover: verbs, ordered pairs of calls on one function, kinds of interrupts with ways of a reset."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable
from typing import Final

from harness.fuzzing.facts import Known
from harness.fuzzing.recipe import Call, Recipe
from harness.fuzzing.verbs import VERBS
from harness.model.units import duration
from harness.staging.registers import DOORBELLS

Pair = tuple[str, str]
"""Two calls, the first of which begins no later than the second."""
Combination = tuple[str, str]
"""A kind of interrupt, and a reset method or the verb of a reset through VFIO."""

INTERRUPTS: Final = "VfioUser.asks_for_interrupts"
_METHODICAL: Final = "Function.resets"
_THROUGH_VFIO: Final = ("VfioUser.resets", "VfioUser.hot_resets")


class Coverage:
    """Counts of what some recipes cover.

    Attributes:
        recipes: how many.
        verbs, pairs, combinations: in how many places each was.
    """

    def __init__(self) -> None:
        self.recipes = 0
        self.verbs: Counter[str] = Counter()
        self.pairs: Counter[Pair] = Counter()
        self.combinations: Counter[Combination] = Counter()

    def add(self, recipe: Recipe) -> None:
        """Count one more."""
        self.recipes += 1
        self.verbs.update(call.verb for call in recipe.calls)
        for _, together in itertools.groupby(sorted(recipe.calls, key=_function), _function):
            course = list(together)
            calls = sorted((call for call in course if VERBS[call.verb].is_call), key=begins)
            self.pairs.update((a.verb, b.verb) for a, b in itertools.combinations(calls, 2))
            kinds = [str(call.arguments["kind"]) for call in course if call.verb == INTERRUPTS]
            self.combinations.update(itertools.product(kinds, filter(None, map(_way, course))))


def combinations_of(known: Known) -> tuple[Combination, ...]:
    """All combinations that there are, on some function or other."""
    found = {
        (kind, str(way))
        for facts in known.values()
        if facts.traits.platform in DOORBELLS
        for kind in facts.interrupts
        for way in (*facts.methods, *_THROUGH_VFIO)
    }
    return tuple(sorted(found))


def covered_by(recipes: Iterable[Recipe]) -> Coverage:
    """What recipes cover together."""
    coverage = Coverage()
    for recipe in recipes:
        coverage.add(recipe)
    return coverage


def _function(call: Call) -> str:
    return call.function


def begins(call: Call) -> int:
    """When a call begins, in nanoseconds after the release."""
    at = call.arguments.get("at")
    return duration(at) if isinstance(at, str) else 0  # a number is a place in config space, or a register


def _way(call: Call) -> str:
    if call.verb == _METHODICAL:
        return str(call.arguments["method"])
    return call.verb if call.verb in _THROUGH_VFIO else ""
