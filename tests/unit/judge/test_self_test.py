"""self_test: in time and passed, failed, too slow, and what cannot be told."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from harness.history.columns import SERVED
from harness.judge.evidence import Evidence
from harness.judge.questions.persistent_state import persistent_state
from harness.judge.questions.self_test import self_test
from harness.model.operation import SELF_TEST, SELF_TEST_RESULT
from harness.model.plan import File, Op, Step
from harness.model.served import Happened
from harness.model.verdict import Blame, Finding, Verdict
from harness.staging.function import BIST, START_BIST
from tests.unit.judge.build import ALIAS, Stage, at, config_space, terms

BEGUN = 1_000


def judged(
    value: int | None,
    *,
    waited_us: float = 300_000,
    capable: bool = True,
    error: int = 0,
    other: bool = False,
) -> tuple[Finding, ...]:
    """What is said of a test whose result was read so long after its start; None: it never was."""
    before = bytearray(config_space())
    before[BIST] = 0x80 if capable else 0
    stage = Stage(before=bytes(before))
    config = File(function=ALIAS, role="config")
    start = Step(op=Op.WRITE, means=SELF_TEST, file=config, offset=BIST, value=START_BIST)
    result = Step(op=Op.READ, means=SELF_TEST_RESULT, file=config, offset=BIST, width=1)
    tester = stage.actor("self-tester", start, result)
    stage.op(tester, BEGUN, BEGUN + 10, step=0, round_=0, error=error)
    if value is not None:
        reader = stage.actor("another", result) if other else tester
        step, begin = (0, BEGUN + 10 + waited_us) if other else (1, BEGUN + 10 + waited_us)
        stage.op(reader, begin, begin + 10, step=step, value=value, round_=0)
    history = stage.history()
    return self_test(Evidence(history), terms(history))


def test_one_that_is_passed() -> None:
    (good,) = judged(0x80)
    assert (good.verdict, good.met) == (Verdict.PASS, 1)
    assert "300 ms after the start" in good.claim


@pytest.mark.parametrize("code", [1, 3, 15])
def test_one_that_fails_is_named_by_its_code(code: int) -> None:
    (bad,) = judged(0x80 | code)
    assert (bad.verdict, bad.blame) == (Verdict.FAIL, Blame.MISMATCH)
    assert f"completion code {code}." in bad.claim
    assert [event.row for event in bad.events] == [0, 1]


@pytest.mark.parametrize(("value", "said"), [(0xFF, "nothing answers"), (0xC0, "start bit is set")])
def test_one_that_is_not_over_has_failed_after_two_seconds_only(value: int, said: str) -> None:
    (early,) = judged(value, waited_us=1_990_000)
    assert (early.verdict, early.blame) == (Verdict.UNKNOWN, Blame.NOTHING)
    (late,) = judged(value, waited_us=2_000_000)
    assert (late.verdict, late.blame) == (Verdict.FAIL, Blame.TIMEOUT)
    assert said in late.claim


@pytest.mark.parametrize("how", [{"value": None}, {"value": 0x80, "other": True}])
def test_a_result_that_the_tester_did_not_read_tells_nothing(how: dict[str, int]) -> None:
    (finding,) = judged(**how)  # type: ignore[arg-type]
    assert finding.verdict is Verdict.UNKNOWN


def test_a_function_without_a_self_test_tells_nothing() -> None:
    (finding,) = judged(0x00, capable=False)
    assert finding.verdict is Verdict.UNKNOWN


def test_a_start_that_was_refused_began_nothing() -> None:
    assert judged(0x83, error=13) == ()


@pytest.mark.parametrize(
    ("later_ms", "who"), [(1_500, "config-write/self-test by self-tester"), (2_500, "A reset")]
)
def test_who_started_one_is_named_for_what_its_end_loses(later_ms: int, who: str) -> None:
    stage = Stage()
    stage.op(stage.does("self-tester", SELF_TEST, "config"), BEGUN, BEGUN + 10)
    served = np.zeros(1, dtype=SERVED)
    served["time_ns"], served["what"] = at(BEGUN + 1_000 * later_ms), Happened.LOST
    history = replace(stage.history(), served=served)
    (bad,) = persistent_state(Evidence(history), terms(history))
    assert bad.claim.startswith(f"{who} came unannounced")
