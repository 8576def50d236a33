"""Refused attempts become numbers and a line, whatever they ended in."""

from __future__ import annotations

import errno

import pytest

from harness.history.reading import Reading
from harness.journal.lines import from_line, to_line
from harness.journal.record import Refusals, StageRecord
from harness.model.verdict import Judgement
from harness.report.refusals import as_line, error_name, refusals
from harness.report.stage import stage_record
from tests.unit.history.test_retried import history

AGAIN, BUSY = errno.EAGAIN, errno.EBUSY


def counted(**fields: object) -> Refusals:
    values = {
        "operation": "reset/vfio",
        "attempts": 3,
        "errnos": {"EAGAIN": 3},
        "rounds": 1,
        "ended": {"ok": 1},
    }
    return Refusals(**{**values, **fields})  # type: ignore[arg-type]


def test_one_operation_that_was_refused_three_times() -> None:
    found = refusals(Reading(history(*[(0, 0, 0, AGAIN)] * 3, (0, 0, 0, 0), (0, 1, 0, 5))))
    assert found == (counted(),)


def test_several_are_summed_up_by_kind_of_operation() -> None:
    rows = ((0, 0, 0, AGAIN), (1, 0, 0, BUSY), (0, 0, 0, AGAIN), (1, 0, 0, 0), (0, 0, 1, AGAIN), (0, 0, 1, 0))
    (found,) = refusals(Reading(history(*rows)))
    assert found == counted(errnos={"EAGAIN": 2, "EBUSY": 1}, rounds=3, ended={"EAGAIN": 1, "ok": 2})


def test_an_attempt_that_never_returned_is_the_answer() -> None:
    staged = history((0, 0, 0, AGAIN), (0, 0, 0, 0))
    staged.operations["end_ns"][1] = 0
    assert refusals(Reading(staged))[0].ended == {"never returned": 1}


@pytest.mark.parametrize(
    ("found", "line"),
    [
        (counted(), "reset/vfio: 3 attempts refused (EAGAIN), then ok"),
        (counted(attempts=1), "reset/vfio: 1 attempt refused (EAGAIN), then ok"),
        (
            counted(attempts=17, errnos={"EAGAIN": 12, "EBUSY": 5}, rounds=5, ended={"EBUSY": 1, "ok": 4}),
            "reset/vfio: 17 attempts refused (12 EAGAIN, 5 EBUSY) in 5 rounds, then 1 EBUSY, 4 ok",
        ),
    ],
)
def test_a_line_says_how_often_why_and_what_then(found: Refusals, line: str) -> None:
    assert as_line(found) == line


def test_the_record_of_a_stage_has_them_and_survives_the_journal() -> None:
    record = stage_record(history((0, 0, 0, AGAIN), (0, 0, 0, 0)), Judgement(findings=()), file="h")
    assert record.refusals == (counted(attempts=1, errnos={"EAGAIN": 1}),)
    read = from_line(to_line(record))
    assert isinstance(read, StageRecord)
    assert read.refusals == record.refusals


def test_errors_have_names() -> None:
    assert [error_name(number) for number in (errno.ENOTTY, -7, 9999)] == ["ENOTTY", "SIGBUS", "9999"]
