"""What random plans came to is counted by reason, and what failed is shown with what is left of it."""

from __future__ import annotations

import itertools
from typing import Any

from harness.fuzzing.generator import recipes
from harness.fuzzing.summary import Outcome, as_text
from harness.journal.record import StageRecord, Status
from harness.journal.session import UNSETTLED, Entry
from harness.model.verdict import Blame
from tests.unit.fuzzing.facts import KNOWN

RECIPES = tuple(itertools.islice(recipes(3, KNOWN), 500))


def outcome(
    number: int,
    verdict: str,
    *findings: tuple[str, Blame],
    status: Status = Status.OK,
    kind: str = "",
    found: dict[str, Any] | None = None,
    weaknesses: tuple[str, ...] = (),
) -> Outcome:
    said = tuple({"verdict": verdict, "checker": checker, "blame": blame} for checker, blame in findings)
    stage = StageRecord(
        history=f"att/{number}.zip",
        title=f"fuzz seed 3 plan {number}",
        verdict=verdict,
        headline="It broke.",
        findings=said,
        weaknesses=weaknesses,
    )
    entry = Entry(test=f"test_plan[{number}]", status=status, type=kind, stages=(stage,))
    return Outcome(entry=entry, recipe=RECIPES[number], found=found)


def test_everything_is_counted_by_its_reason() -> None:
    trouble = Entry(test="t", status=Status.ERROR, summary="the guest was lost")
    said = as_text(
        [
            outcome(0, "PASS"),
            outcome(1, "PASS", weaknesses=("A close skips its reset.",)),
            outcome(2, "UNKNOWN", ("collided", Blame.STARVED), kind=UNSETTLED, status=Status.SKIPPED),
            outcome(3, "UNKNOWN", ("reset_happened", Blame.NOTHING), kind=UNSETTLED, status=Status.SKIPPED),
            outcome(4, "UNKNOWN", ("kernel_log", Blame.NOTHING), status=Status.ERROR),
            Outcome(entry=trouble, recipe=RECIPES[5], found=None),
            Outcome(entry=Entry(test="u", status=Status.SKIPPED), recipe=None, found=None),
        ],
        KNOWN,
    ).splitlines()
    assert said[0] == "5 plans staged: 2 PASS, 3 UNKNOWN, 0 FAIL"
    assert "known weakness, 1 times: A close skips its reset." in said
    assert "UNKNOWN, 1 times: the machine was starved" in said
    assert "UNKNOWN, 1 times: chance: reset_happened" in said
    assert "UNKNOWN, 1 times: another reason: kernel_log" in said
    assert "not staged, 1 times: the guest was lost" in said


def test_coverage_is_said_and_nothing_is_seldom_in_500_plans() -> None:
    said = as_text([outcome(number, "PASS") for number in range(500)], KNOWN)
    assert "covered: 50 of 50 verbs," in said
    assert "of 15 kinds of interrupts" in said
    assert "seldom" not in said


def test_a_failure_is_shown_with_its_rate_and_the_smallest_that_fails() -> None:
    smallest = {
        "again": 3,
        "of": 3,
        "history": "att/7.smallest.history.zip",
        "smallest": {
            "lasting_ms": 200,
            "calls": [{"verb": "Function.resets", "alias": "igb0", "arguments": {"method": "flr"}}],
        },
    }
    sometimes = {"again": 1, "of": 3, "history": "", "smallest": None}
    said = as_text(
        [
            outcome(7, "FAIL", ("came_back", Blame.RESET_FAILED), found=smallest),
            outcome(8, "FAIL", ("came_back", Blame.RESET_FAILED), found=sometimes),
        ],
        KNOWN,
    )
    assert "FAIL fuzz seed 3 plan 7: It broke.\n  att/7.zip\n  failed again 3 times of 3\n" in said
    assert "  smallest, att/7.smallest.history.zip:\n    stage(\n        igb0.resets(method='flr'),\n" in said
    assert "  sometimes: failed again 1 times of 3" in said
