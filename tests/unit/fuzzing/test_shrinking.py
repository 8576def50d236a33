"""A recipe that fails becomes small, and what is left still fails, and still makes sense."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from harness.errors import UsageError
from harness.fuzzing.generator import is_meant, recipes
from harness.fuzzing.recipe import Call, Recipe, cooked
from harness.fuzzing.shrinking import shrink
from tests.unit.fuzzing.facts import KNOWN

Oracle = Callable[[Recipe], bool]


def stands(recipe: Recipe) -> bool:
    try:
        cooked(recipe, KNOWN, title="t")
    except UsageError:
        return False
    return is_meant(recipe, KNOWN)


def does(recipe: Recipe, verb: str, **wanted: Any) -> list[Call]:
    return [
        call
        for call in recipe.calls
        if call.verb == verb and all(call.arguments.get(name) == value for name, value in wanted.items())
    ]


def resets_and_an_unbind(recipe: Recipe) -> bool:
    unbound = {call.function for call in does(recipe, "Ownership.unbinds")}
    return any(call.function in unbound for call in does(recipe, "VfioUser.resets"))


def twice(recipe: Recipe) -> bool:
    return any(call.arguments.get("times", 1) != 1 for call in does(recipe, "Locks.holds"))


def by_bus(recipe: Recipe) -> bool:
    return bool(does(recipe, "Function.resets", method="bus"))


def opens_late(recipe: Recipe) -> bool:
    return bool(does(recipe, "VfioUser.opens_late"))


def failing(fails: Oracle) -> Recipe:
    """The largest of some recipes that fail so."""
    some = itertools.islice(recipes(5, KNOWN), 400)
    return max(filter(fails, some), key=lambda recipe: len(recipe.calls))


@pytest.mark.parametrize(
    ("fails", "left"),
    [
        (resets_and_an_unbind, {"VfioUser.resets", "Ownership.unbinds"}),
        (twice, {"Locks.holds"}),
        (by_bus, {"Function.resets"}),
        (opens_late, {"VfioUser.opens_late", "VfioUser.keeps_open", "Ownership.unbinds"}),
    ],
)
def test_what_is_left_is_what_fails(fails: Oracle, left: set[str]) -> None:
    large = failing(fails)
    assert len(large.calls) > len(left)
    shrunk = shrink(large, fails, stands=stands, most=200)
    assert shrunk.ended
    assert sorted(call.verb for call in shrunk.recipe.calls) == sorted(left)
    assert len(shrunk.recipe.functions) == 1
    assert fails(shrunk.recipe)
    assert stands(shrunk.recipe)


def test_counts_and_times_become_simple() -> None:
    large = Recipe(
        calls=(
            Call(
                verb="Function.resets",
                alias="igb0",
                arguments={"method": "flr", "at": "87ms", "times": 3, "every": "40ms", "actors": 2},
            ),
        ),
        lasting_ms=930,
    )
    small = shrink(large, lambda _: True, stands=stands, most=200).recipe
    (call,) = small.calls
    assert call.arguments == {"method": "flr", "at": "100ms", "times": 1, "actors": 1}
    assert small.lasting_ms == 200


def test_what_matters_stays() -> None:
    large = Recipe(
        calls=(
            Call(
                verb="Locks.holds",
                alias="igb0",
                arguments={"lock": "both", "lasting": "5ms", "at": "87ms", "times": 2},
            ),
        ),
        lasting_ms=930,
    )
    assert shrink(large, lambda one: one == large, stands=stands, most=200).recipe == large


@pytest.mark.parametrize("most", [0, 1, 5])
def test_it_asks_no_more_often_than_it_may_and_nothing_twice(most: int) -> None:
    asked: list[str] = []

    def fails(recipe: Recipe) -> bool:
        asked.append(str(recipe))
        return resets_and_an_unbind(recipe)

    shrunk = shrink(failing(resets_and_an_unbind), fails, stands=stands, most=most)
    assert shrunk.stages == len(asked) == len(set(asked)) == most
    assert not shrunk.ended
    assert resets_and_an_unbind(shrunk.recipe)


def test_what_is_drawn_is_meant() -> None:
    assert all(is_meant(recipe, KNOWN) for recipe in itertools.islice(recipes(1, KNOWN), 1500))


@pytest.mark.parametrize(
    "calls",
    [
        [Call(verb="VfioUser.opens_late", alias="igb0", arguments={"at": "5ms"})],
        [
            Call(verb="Function.resets", alias="igb0", arguments={"method": "flr"}),
            Call(verb="Adapter.resets", alias="igb0", arguments={}),
        ],
        [
            Call(verb="Ownership.removes_and_rescans", alias="igb0", arguments={"at": "5ms"}),
            Call(verb="Locks.holds", alias="igb0", arguments={"lock": "both", "lasting": "5ms", "at": "9ms"}),
        ],
    ],
)
def test_what_makes_no_sense_is_not_meant(calls: list[Call]) -> None:
    assert not is_meant(Recipe(calls=tuple(calls), lasting_ms=500), KNOWN)
