"""Recipes that are drawn can all be staged, and cover what they are to cover."""

from __future__ import annotations

import itertools
import json
from functools import cache

import pytest

from harness.fuzzing.coverage import begins, combinations_of, covered_by
from harness.fuzzing.generator import Places, recipes
from harness.fuzzing.recipe import Recipe, cooked
from harness.fuzzing.verbs import VERBS
from harness.model.units import MS
from tests.unit.fuzzing.facts import KNOWN

SEEDS = (1, 2, 2011)
_every_seed = pytest.mark.parametrize("seed", SEEDS)


@cache
def drawn(seed: int, number: int = 1500) -> tuple[Recipe, ...]:
    return tuple(itertools.islice(recipes(seed, KNOWN), number))


@_every_seed
def test_every_recipe_makes_a_plan_of_one_to_three_functions(seed: int) -> None:
    for recipe in drawn(seed):
        plan = cooked(recipe, KNOWN, title="drawn", seed=seed)
        assert plan.lasting_ns == recipe.lasting_ms * MS
        assert 1 <= len(recipe.functions) <= 3


@_every_seed
def test_each_verb_comes_twenty_times_in_500_plans(seed: int) -> None:
    verbs = covered_by(drawn(seed)[:500]).verbs
    assert {name: verbs[name] for name in VERBS if verbs[name] < 20} == {}


@_every_seed
def test_each_valid_ordered_pair_of_calls_comes_in_1500_plans(seed: int) -> None:
    """And no other."""
    assert set(covered_by(drawn(seed)).pairs) == set(Places(KNOWN).pairs)


@_every_seed
def test_each_kind_of_interrupt_meets_each_reset(seed: int) -> None:
    combinations = covered_by(drawn(seed)).combinations
    wanted = combinations_of(KNOWN)
    assert {kind for kind, _ in wanted} == {"intx", "msi", "msix"}
    assert {way for _, way in wanted} >= {"flr", "pm", "bus"}
    assert [one for one in wanted if not combinations[one]] == []


def test_an_unbind_has_time_to_begin_before_somebody_comes_too_late() -> None:
    for recipe in drawn(1):
        unbound = {call.alias: begins(call) for call in recipe.calls if call.verb == "Ownership.unbinds"}
        for late in (call for call in recipe.calls if call.verb == "VfioUser.opens_late"):
            assert begins(late) - unbound[late.alias] >= 40 * MS


def test_every_function_takes_part() -> None:
    assert {alias for recipe in drawn(1)[:500] for alias in recipe.functions} == set(KNOWN)


def test_a_seed_says_it_all() -> None:
    again = tuple(itertools.islice(recipes(1, KNOWN), 50))
    assert again == drawn(1)[:50]
    assert again != drawn(2)[:50]


def test_a_recipe_survives_its_journey() -> None:
    for recipe in drawn(1)[:200]:
        assert Recipe.from_json(json.loads(json.dumps(recipe.to_json()))) == recipe


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("VfioUser.opens_late", "Ownership.unbinds"),
        ("Function.resets", "VfioUser.opens_late"),
        ("Ownership.removes_and_rescans", "Locks.holds"),
        ("Ownership.removes_and_rescans", "VfioUser.opens_again"),
        ("VfioUser.opens", "Ownership.unbinds"),
        ("VfioUser.closes", "VfioUser.closes"),
        ("VfioUser.resets_with_oracle", "VfioUser.sets_flr_bit"),
        ("Ownership.makes_vfs", "VfioUser.hot_resets"),
        ("Adapter.resets", "Function.resets"),
    ],
)
def test_what_no_author_could_mean_is_not_drawn(first: str, second: str) -> None:
    assert (first, second) not in Places(KNOWN).pairs
