"""A failure is confirmed, and made small while it stays the same failure."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator

from harness.fuzzed.pursuit import CONFIRMED, pursue
from harness.fuzzing.recipe import Call, Recipe, cooked
from harness.history.history import History
from harness.lab.figures.synthetic import synthetic
from harness.model.operation import reset
from harness.model.pci import ResetMethod
from harness.model.plan import Plan
from harness.model.verdict import Blame, Finding, Judgement, Verdict
from tests.unit.fuzzing.facts import KNOWN

HISTORY = synthetic(10)
LOST = Finding(
    checker="config_restored",
    verdict=Verdict.FAIL,
    claim="Lost.",
    blame=Blame.RESET_FAILED,
    promise="reset/flr@none:igb",
)
OTHER = dataclasses.replace(LOST, checker="values_sane", blame=Blame.MISMATCH)
FINE = Finding(checker="config_restored", verdict=Verdict.PASS, claim="Fine.")

RECIPE = Recipe(
    calls=(
        Call(verb="Function.reads", alias="nvme0", arguments={}),
        Call(verb="Function.reads", alias="igb0", arguments={}),
        Call(verb="Function.resets", alias="igb0", arguments={"method": "flr", "at": "50ms"}),
    ),
    lasting_ms=200,
)


def plan() -> Plan:
    return cooked(RECIPE, KNOWN, title="t")


def resets(staged: Plan) -> bool:
    flr = reset(ResetMethod.FLR)
    return any(step.means == flr for actor in staged.actors for step in actor.steps)


def staging(*findings: Finding) -> Iterator[Finding]:
    return itertools.chain(findings, itertools.repeat(findings[-1]))


def test_what_fails_each_time_is_made_small_and_its_history_kept() -> None:
    staged = []

    def stage(one: Plan) -> tuple[History, Judgement]:
        staged.append(one)
        history = dataclasses.replace(HISTORY, plan=one)
        return history, Judgement(findings=(LOST if resets(one) else FINE,))

    pursuit = pursue(RECIPE, plan(), LOST, KNOWN, stage, most=20)
    assert pursuit.again == CONFIRMED
    assert pursuit.shrunk is not None
    assert pursuit.history is not None
    assert [call.verb for call in pursuit.shrunk.recipe.calls] == ["Function.resets"]
    assert pursuit.history.plan == cooked(pursuit.shrunk.recipe, KNOWN, title="t")
    assert len(staged) == CONFIRMED + pursuit.shrunk.stages


def test_what_fails_sometimes_is_not_made_small() -> None:
    findings = staging(LOST, FINE)
    pursuit = pursue(
        RECIPE, plan(), LOST, KNOWN, lambda _: (HISTORY, Judgement(findings=(next(findings),))), most=20
    )
    assert (pursuit.again, pursuit.shrunk, pursuit.history) == (1, None, None)


def test_another_failure_is_not_the_same() -> None:
    pursuit = pursue(RECIPE, plan(), LOST, KNOWN, lambda _: (HISTORY, Judgement(findings=(OTHER,))), most=20)
    assert pursuit.again == 0


def test_the_same_promise_in_another_window_is_the_same() -> None:
    """When a reset began decides which entry it is held against, and that is chance."""
    waited = dataclasses.replace(LOST, promise="reset/flr@config-lock:*")
    pursuit = pursue(RECIPE, plan(), LOST, KNOWN, lambda _: (HISTORY, Judgement(findings=(waited,))), most=0)
    assert pursuit.again == CONFIRMED
