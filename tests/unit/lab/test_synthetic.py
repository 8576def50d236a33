"""The synthetic history: what the judge's speed is measured on must be judged in full."""

from __future__ import annotations

import pytest

from harness.history import container
from harness.judge import judge
from harness.lab.figures.synthetic import synthetic
from harness.model.verdict import Verdict
from tests.unit.judge.build import SPEAK_OF_A_RESET, terms


@pytest.mark.parametrize("operations", [40, 20_000])
def test_it_passes_every_checker_and_meets_windows(operations: int) -> None:
    history = synthetic(operations)
    judgement = judge(history, terms(history))
    assert [f.claim for f in judgement.findings if f.verdict is not Verdict.PASS] == (
        ["Only 0 config accesses met a lock window; the stage needs 1."] if operations == 40 else []
    )
    assert {f.checker for f in judgement.findings} == SPEAK_OF_A_RESET
    assert len(history.operations) >= operations


def test_it_survives_the_container() -> None:
    history = synthetic(20_000)
    again = container.from_bytes(container.to_bytes(history))
    assert judge(again, terms(again)) == judge(history, terms(history))
