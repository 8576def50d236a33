"""Of several broken promises the headline is the cause, in whatever order and number they were found."""

from __future__ import annotations

import random

import pytest

from harness.judge import judge, verdict
from harness.model.cause import CAUSES, Cause
from harness.model.verdict import Blame, Finding, Judgement, Verdict
from harness.report.findings import as_text
from tests.unit.judge.build import Stage, terms

_FROM_CAUSE_TO_EFFECT = (
    ("kernel_log", Blame.KERNEL_FAULT),
    ("lock_discipline", Blame.DRIVER_FAULT),
    ("access_outcome", Blame.MISMATCH),
    ("reset_happened", Blame.RESET_FAILED),
    ("config_restored", Blame.RESET_FAILED),
    ("came_back", Blame.RESET_FAILED),
    ("values_sane", Blame.MISMATCH),
)
"""Kernel fault, lock discipline, did not wait, reset not performed, not restored, success too early, wrong data."""


def broken(checker: str, blame: Blame, met: int = 1) -> Finding:
    return Finding(checker=checker, verdict=Verdict.FAIL, blame=blame, claim=f"{checker} is broken", met=met)


@pytest.mark.parametrize("seed", range(200))
def test_the_nearest_to_the_cause_is_the_headline(seed: int) -> None:
    dice = random.Random(seed)  # noqa: S311 - the same every time
    among = dice.sample(_FROM_CAUSE_TO_EFFECT, dice.randint(1, len(_FROM_CAUSE_TO_EFFECT)))
    others = [
        Finding(checker="collided", verdict=dice.choice((Verdict.PASS, Verdict.UNKNOWN)), claim="")
        for _ in range(dice.randint(0, 3))
    ]
    found = [*(broken(*one, met=dice.randint(1, 170_000)) for one in among), *others]
    dice.shuffle(found)
    judgement = Judgement(findings=tuple(found))
    first = next(one for one in _FROM_CAUSE_TO_EFFECT if one in among)
    assert judgement.decisive is not None
    assert (judgement.decisive.checker, judgement.decisive.blame) == first
    assert as_text(judgement).startswith(f"FAIL    {first[0]}: ")


def test_a_fail_is_worse_than_what_is_not_known_and_a_weakness_that_is_gone_is_no_cause() -> None:
    gone = broken("access_outcome", Blame.WEAKNESS_GONE)
    unknown = Finding(checker="lock_discipline", verdict=Verdict.UNKNOWN, claim="")
    wrong = broken("values_sane", Blame.MISMATCH)
    assert Judgement(findings=(unknown, gone, wrong)).decisive is wrong
    assert Judgement(findings=(unknown, gone)).decisive is gone
    assert Judgement(findings=(unknown,)).decisive is unknown


def test_every_cause_is_told_by_a_question_that_is_asked() -> None:
    asked = {one.__name__ for one in (*verdict.CHECKERS, *verdict.LAST_QUESTIONS)}
    assert {checker for checker, _ in CAUSES} <= asked
    told = {*CAUSES.values(), Cause.KERNEL_FAULT, Cause.BROKEN_RULE, Cause.WEAKNESS_GONE, Cause.NOTHING}
    assert told == set(Cause)


def test_what_was_not_restored_comes_before_all_that_was_read_wrong_because_of_it() -> None:
    stage = Stage()
    stage.heartbeat()
    stage.after = bytes(0 if 4 <= offset < 6 else byte for offset, byte in enumerate(stage.before))
    reader = stage.reader()
    end = stage.reset(stage.resetter(), 1_000)
    for number in range(50):
        stage.op(reader, end + 100 * (number + 1), end + 100 * (number + 1) + 20, value=0x100000)
    judgement = judge(stage.history(), terms(stage.history()))
    assert judgement.decisive is not None
    assert judgement.decisive.checker == "config_restored"
    assert {one.checker for one in judgement.findings if one.verdict is Verdict.FAIL} == {
        "config_restored",
        "values_sane",
    }


def test_who_did_not_wait_comes_before_what_it_happened_to_see() -> None:
    stage = Stage()
    stage.heartbeat()
    reader = stage.reader()
    stage.window(100_000, 200_000)
    stage.op(reader, 120_000, 120_020, value=0xFFFFFFFF)
    judgement = judge(stage.history(), terms(stage.history()))
    assert judgement.decisive is not None
    assert (judgement.decisive.checker, judgement.decisive.cause) == ("access_outcome", Cause.DID_NOT_WAIT)


def test_who_blames_nobody_is_not_the_headline() -> None:
    nobody, wrong = broken("somebody", Blame.NOTHING), broken("values_sane", Blame.MISMATCH)
    assert Judgement(findings=(nobody, wrong)).decisive is wrong
