"""A plan failed: how often does it, and what is the smallest that still fails in the same way?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from harness.errors import UsageError
from harness.fuzzing.facts import Known
from harness.fuzzing.generator import is_meant
from harness.fuzzing.recipe import Recipe, cooked
from harness.fuzzing.shrinking import Shrunk, shrink
from harness.history.history import History
from harness.model.plan import Plan
from harness.model.verdict import Blame, Finding, Judgement, Verdict

CONFIRMED: Final = 3
"""A plan is staged so often again; only one that fails each time is made small."""

StageOf = Callable[[Plan], tuple[History, Judgement]]
"""Stages a plan in a guest that nobody has used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pursuit:
    """What came of it.

    Attributes:
        again: how often it failed again in the same way, of :data:`CONFIRMED`.
        shrunk: the smallest; None when it does not fail each time.
        history: of that.
    """

    again: int
    shrunk: Shrunk | None = None
    history: History | None = None


def pursue(
    recipe: Recipe, plan: Plan, decisive: Finding, known: Known, stage: StageOf, *, most: int
) -> Pursuit:
    """Stage a plan that failed again, and smaller ones.

    Args:
        recipe: its recipe.
        plan: that was made of it.
        decisive: what convicted.
        known: the functions that it names.
        stage: stages a plan.
        most: how often, for making it small.

    Raises:
        HarnessError: one could not be staged.
    """
    kept: dict[str, History] = {}

    def fails(one: Recipe) -> bool:
        history, judgement = stage(cooked(one, known, title=plan.title, seed=plan.seed))
        if failed := _signature(judgement.decisive) == _signature(decisive):
            kept[str(one)] = history
        return failed

    again = sum(fails(recipe) for _ in range(CONFIRMED))
    if again < CONFIRMED:
        return Pursuit(again=again)

    def stands(one: Recipe) -> bool:
        try:
            cooked(one, known, title=plan.title)
        except UsageError:
            return False
        return is_meant(one, known)

    shrunk = shrink(recipe, fails, stands=stands, most=most)
    return Pursuit(again=again, shrunk=shrunk, history=kept[str(shrunk.recipe)])


def _signature(finding: Finding | None) -> tuple[str, Blame, str] | None:
    """What makes two failures the same: who says so, what is to blame, and what was promised something.

    In which window that began, and so which entry speaks of it, is chance.
    """
    if finding is None or finding.verdict is not Verdict.FAIL:
        return None
    return finding.checker, finding.blame, finding.promise.partition("@")[0]
