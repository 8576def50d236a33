"""What is left over and decides nothing is a line of the report, whatever the verdict."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.history.history import History
from harness.judge import judge
from harness.judge.remarks import LOG_LINES
from harness.model.verdict import Remark, Verdict
from tests.unit.judge.build import Stage, terms

STRANGE = "foo 0000:07:00.0: what no rule knows"


def staged(*lines: tuple[str, int]) -> History:
    stage = Stage()
    stage.heartbeat()
    stage.op(stage.reader(), 10, 20)
    for text, level in lines:
        stage.log(text, level=level)
    return stage.history()


def remarks(history: History) -> tuple[Remark, ...]:
    return judge(history, terms(history)).remarks


def test_lines_that_no_rule_explains_are_one_remark_with_their_number() -> None:
    (one,) = remarks(staged((STRANGE, 4)))
    assert (one.kind, one.count) == (LOG_LINES, 1)
    assert one.text == f"1 line of kernel log that no rule explains: {STRANGE}"
    (two,) = remarks(staged((STRANGE, 4), ("bar: and what is this?", 3)))
    assert (two.kind, two.count) == (LOG_LINES, 2)
    assert two.text == f"2 lines of kernel log that no rule explains: {STRANGE}"
    assert [str(row) for row in two.rows] == ["log:0", "log:1"]


@pytest.mark.parametrize("level", [3, 4, 5, 6, 7])
def test_a_function_that_is_not_in_the_plan_lowers_no_verdict(level: int) -> None:
    judged = judge(staged((STRANGE, level)), terms(staged()))
    assert judged.verdict is Verdict.PASS
    assert len(judged.remarks) == (level <= 4), "what no warning says of strangers is nobody's business"


def test_a_verdict_of_fail_takes_no_remark_away() -> None:
    history = staged((STRANGE, 4), ("BUG: kernel NULL pointer dereference, address: 0", 1))
    assert judge(history, terms(history)).verdict is Verdict.FAIL
    assert [one.count for one in remarks(history)] == [1]


def test_what_leaves_the_verdict_open_is_no_remark() -> None:
    history = staged(("foo 0000:01:00.0: what no rule knows", 3), (STRANGE, 4))
    assert judge(history, terms(history)).verdict is Verdict.UNKNOWN
    assert [one.text for one in remarks(history)] == [
        f"1 line of kernel log that no rule explains: {STRANGE}"
    ]


def test_a_lost_kernel_has_its_remarks_too() -> None:
    history = replace(staged((STRANGE, 4)), lost="hang")
    assert [one.count for one in remarks(history)] == [1]


def test_nothing_left_over_is_nothing_told() -> None:
    assert remarks(staged()) == ()
