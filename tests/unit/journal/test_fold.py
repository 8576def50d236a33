from __future__ import annotations

import pytest

from harness.journal.fold import fold
from harness.journal.record import (
    AttemptRecord,
    PhaseReport,
    Record,
    SessionEnd,
    SessionStart,
    StageRecord,
    Status,
    TestFinish,
    TestPlan,
    TestStart,
)
from harness.journal.session import Entry
from harness.model.flavour import FlakyPolicy
from harness.model.units import Ns

START = SessionStart(host="lab7", pid=42, boot_id="first", at_ns=Ns(1_000_000_000), realtime_ns=Ns(10**18))


def phase(name: str, status: Status, kind: str = "", summary: str = "") -> PhaseReport:
    return PhaseReport(
        test="a", phase=name, status=status, type=kind, summary=summary, details=f"{name} text"
    )


def entry(*records: Record, boot_id: str = "first") -> Entry:
    session = fold([START, TestPlan(tests=("a",)), *records], boot_id=boot_id)
    assert len(session.entries) == 1
    return session.entries[0]


def test_the_worst_phase_decides_and_the_others_are_appended() -> None:
    folded = entry(
        TestStart(test="a", at_ns=Ns(2_000_000_000)),
        phase("setup", Status.OK),
        phase("call", Status.FAILURE, "hil.mismatch", "wrong data"),
        phase("teardown", Status.ERROR, "hil.infra.guest", "guest died"),
        TestFinish(test="a", at_ns=Ns(5_500_000_000)),
    )
    assert (folded.status, folded.type, folded.summary) == (Status.FAILURE, "hil.mismatch", "wrong data")
    assert "hil.infra.guest: guest died" in folded.details
    assert folded.seconds == 3.5
    assert folded.started_ns == 10**18 + 1_000_000_000


def test_an_error_in_teardown_after_a_good_call_is_an_error() -> None:
    folded = entry(
        TestStart(test="a"),
        phase("call", Status.OK),
        phase("teardown", Status.ERROR, "hil.harness"),
        TestFinish(test="a"),
    )
    assert folded.status is Status.ERROR


@pytest.mark.parametrize(
    ("end", "boot_id", "kind"),
    [
        (None, "first", "hil.incomplete"),
        (None, "second", "hil.host-crash"),
        (None, "", "hil.incomplete"),
        (SessionEnd(status=2, aborted="KeyboardInterrupt"), "first", "hil.aborted"),
    ],
)
def test_a_test_in_flight_is_an_error(end: SessionEnd | None, boot_id: str, kind: str) -> None:
    records: list[Record] = [TestStart(test="a"), phase("setup", Status.OK), *([end] if end else [])]
    folded = entry(*records, boot_id=boot_id)
    assert (folded.status, folded.type) == (Status.ERROR, kind)
    assert "phases that were complete: setup" in folded.details


def test_a_failure_before_the_runner_died_stays_a_failure() -> None:
    folded = entry(TestStart(test="a"), phase("call", Status.FAILURE, "hil.mismatch", "wrong"))
    assert (folded.status, folded.type) == (Status.FAILURE, "hil.mismatch")
    assert "hil.incomplete" in folded.details


@pytest.mark.parametrize(
    ("end", "kind", "why"),
    [
        (None, "hil.notrun", "the runner died before"),
        (SessionEnd(status=2, aborted="KeyboardInterrupt"), "hil.aborted", "the user stopped"),
        (SessionEnd(status=1, stopped="stopping after 1 failures"), "hil.notrun", "stopping after 1"),
    ],
)
def test_a_test_that_never_started_is_skipped_and_says_why(
    end: SessionEnd | None, kind: str, why: str
) -> None:
    folded = entry(*([end] if end else []))
    assert (folded.status, folded.type) == (Status.SKIPPED, kind)
    assert why in folded.summary


STAGE = StageRecord(test="a", history="h.history.zip", title="t", verdict="PASS", headline="fine")
TRY = AttemptRecord(test="a", type="hil.infra.clock", summary="wild")


def passed(*records: Record, flaky: FlakyPolicy = FlakyPolicy.PASS) -> Entry:
    start = SessionStart(flaky=flaky)
    done = [TestStart(test="a"), *records, phase("call", Status.OK), TestFinish(test="a")]
    return fold([start, *done]).entries[0]


def test_attempts_come_from_records_of_their_own_and_from_stages() -> None:
    stage = StageRecord(
        test="a", history="h", title="t", verdict="PASS", headline="fine", retried=(TRY,), met=2
    )
    folded = passed(TRY, stage)
    assert len(folded.attempts) == 2
    assert folded.recovered
    assert folded.met == 2
    assert folded.status is Status.OK


def test_a_recovered_test_fails_where_flaky_tests_count_as_failures() -> None:
    folded = passed(TRY, flaky=FlakyPolicy.FAIL)
    assert (folded.status, folded.type) == (Status.FAILURE, "hil.flaky")
    assert passed(flaky=FlakyPolicy.FAIL).status is Status.OK


def test_a_known_weakness_is_an_expected_failure() -> None:
    stage = StageRecord(
        test="a", history="h", title="t", verdict="PASS", headline="fine", weaknesses=("pm clears nothing",)
    )
    folded = passed(stage)
    assert (folded.status, folded.type) == (Status.SKIPPED, "pytest.xfail")
    assert "pm clears nothing" in folded.summary


def test_pictures_come_first_then_histories() -> None:
    stage = StageRecord(
        test="a",
        history="h.history.zip",
        title="t",
        verdict="FAIL",
        headline="x",
        attachments=("c.log", "t.svg"),
    )
    assert passed(stage).attachments == ("t.svg", "h.history.zip", "c.log")


def test_the_plan_gives_the_order_and_a_test_outside_it_is_kept() -> None:
    session = fold(
        [START, TestPlan(tests=("b", "a")), TestStart(test="a"), TestStart(test="b"), TestStart(test="c")]
    )
    assert [one.test for one in session.entries] == ["b", "a", "c"]


def test_wall_clock_reaches_to_the_last_record() -> None:
    session = fold([START, TestStart(test="a", at_ns=Ns(4_000_000_000))])
    assert session.seconds == 3.0
    assert fold([]).seconds == 0.0
