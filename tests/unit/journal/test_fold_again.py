"""Tests that were tried again, and sessions that were resumed."""

from __future__ import annotations

import pytest

from harness.journal.fold import fold
from harness.journal.record import (
    AttemptRecord,
    HealthRecord,
    KernelLog,
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
from harness.journal.session import Session
from harness.model.flavour import FlakyPolicy
from harness.model.units import Ns

S = 1_000_000_000
FIRST = SessionStart(pid=1, boot_id="one", at_ns=Ns(100 * S), realtime_ns=Ns(5000 * S), argv=("pytest", "-x"))
SECOND = SessionStart(pid=2, boot_id="one", at_ns=Ns(200 * S), realtime_ns=Ns(5100 * S), resumes=1)
REBOOTED = SessionStart(pid=2, boot_id="two", at_ns=Ns(3 * S), realtime_ns=Ns(9000 * S), resumes=1)
PLAN = TestPlan(tests=("a", "b", "c"))
GIVEN_UP = AttemptRecord(
    test="a", type="hil.infra.guest", summary="gone", whole=True, attachments=("one.log",)
)


def start(test: str, at: int = 0) -> TestStart:
    return TestStart(test=test, at_ns=Ns(at * S))


def finish(test: str, at: int = 0) -> TestFinish:
    return TestFinish(test=test, at_ns=Ns(at * S))


def phase(test: str, status: Status = Status.OK, kind: str = "") -> PhaseReport:
    return PhaseReport(test=test, phase="call", status=status, type=kind, summary=kind)


def stage(log: KernelLog = KernelLog.CLEAN, **fields: object) -> StageRecord:
    values = {
        "test": "a",
        "history": "a.zip",
        "title": "t",
        "verdict": "PASS",
        "headline": "oops in igb",
    } | fields
    return StageRecord(kernel_log=log, **values)  # type: ignore[arg-type]


def of(session: Session, test: str) -> tuple[Status, str, list[str]]:
    (entry,) = [entry for entry in session.entries if entry.test == test]
    return entry.status, entry.type, [attempt.type for attempt in entry.attempts]


def test_what_a_whole_attempt_left_does_not_count() -> None:
    weak = stage(weaknesses=("pm clears nothing",))
    records: list[Record] = [
        FIRST,
        start("a"),
        phase("a"),
        weak,
        GIVEN_UP,
        stage(history="b.zip"),
        phase("a"),
    ]
    session = fold([*records, finish("a"), SessionEnd(status=0)])
    (entry,) = session.entries
    assert (entry.status, [one.history for one in entry.stages]) == (Status.OK, ["b.zip"])
    assert entry.attachments == ("b.zip", "one.log")
    assert entry.recovered


def test_an_attempt_of_a_stage_takes_nothing_away() -> None:
    starved = AttemptRecord(test="a", type="hil.infra.starved", summary="busy")
    session = fold([FIRST, start("a"), stage(), starved, stage(), phase("a"), finish("a")])
    assert len(session.entries[0].stages) == 2


@pytest.mark.parametrize("kind", ["hil.infra.guest", "hil.infra.clock", "in flight"])
def test_a_kernel_fault_is_the_result_whatever_the_lab_says(kind: str) -> None:
    ends: list[Record] = [] if kind == "in flight" else [phase("a", Status.ERROR, kind), finish("a")]
    (entry,) = fold([FIRST, start("a"), stage(KernelLog.FAULT), *ends]).entries
    assert (entry.status, entry.type, entry.summary) == (Status.FAILURE, "hil.kernel-fault", "oops in igb")
    assert entry.complete
    for log in (KernelLog.PROVOKED, KernelLog.WARN):
        (entry,) = fold([FIRST, start("a"), stage(log), *ends]).entries
        assert entry.status is Status.ERROR


def test_a_resumed_session_is_one() -> None:
    records: list[Record] = [
        FIRST,
        PLAN,
        start("a", 101),
        phase("a"),
        finish("a", 103),
        start("b", 104),
        stage(test="b", history="att/b.zip"),
    ]
    dead = fold(records, boot_id="one")
    assert [entry.complete for entry in dead.entries] == [True, False, False]
    assert not dead.over
    records += [SECOND, TestPlan(tests=("b", "c")), start("b", 202), phase("b"), finish("b", 205)]
    records += [start("c", 205), phase("c"), finish("c", 206), SessionEnd(status=0, at_ns=Ns(207 * S))]
    session = fold(records, boot_id="one")
    assert [entry.test for entry in session.entries] == list(session.planned) == ["a", "b", "c"]
    assert of(session, "a") == (Status.OK, "", [])
    assert of(session, "b") == (Status.OK, "", ["hil.incomplete"])
    (died,) = session.entries[1].attempts
    assert "pid 1" in died.summary
    assert "att/b.zip" in session.entries[1].attachments
    assert session.over
    assert session.runs == 2
    assert session.seconds == 4 + 7
    assert session.start.realtime_ns == 5000 * S
    assert session.start.argv == ("pytest", "-x")
    assert [entry.started_ns for entry in session.entries] == [5001 * S, 5102 * S, 5105 * S]
    assert [entry.seconds for entry in session.entries] == [2, 3, 1]


def test_a_host_that_went_down_between_two_runs_starts_its_clock_anew() -> None:
    records: list[Record] = [
        FIRST,
        PLAN,
        start("a", 101),
        REBOOTED,
        start("a", 4),
        phase("a"),
        finish("a", 6),
    ]
    session = fold(records, boot_id="two")
    assert of(session, "a") == (Status.OK, "", ["hil.host-crash"])
    assert session.host_went_down is False
    assert (session.entries[0].seconds, session.entries[0].started_ns) == (2, 9001 * S)
    assert session.seconds == 1 + 3
    assert fold(records, boot_id="three").host_went_down is True


def test_a_session_that_dies_twice_keeps_both_attempts() -> None:
    third = SessionStart(pid=3, resumes=2)
    session = fold(
        [FIRST, PLAN, start("a"), GIVEN_UP, SECOND, start("a"), third, start("a"), phase("a"), finish("a")]
    )
    assert of(session, "a")[2] == ["hil.infra.guest", "hil.incomplete", "hil.incomplete"]


def test_a_session_that_does_not_resume_begins_anew() -> None:
    anew = SessionStart(pid=3)
    assert fold([FIRST, start("a"), anew, start("b"), phase("b"), finish("b")]).runs == 1


def test_a_failure_is_not_asked_for_again() -> None:
    session = fold([FIRST, PLAN, start("a"), phase("a", Status.FAILURE, "hil.mismatch"), SECOND])
    assert session.entries[0].complete
    assert of(session, "a")[:2] == (Status.FAILURE, "hil.mismatch")


def test_a_test_that_a_dead_worker_had_is_not_complete() -> None:
    session = fold(
        [FIRST, PLAN, start("a"), phase("a", Status.ERROR, "hil.incomplete"), SessionEnd(status=1)]
    )
    assert not session.entries[0].complete
    assert not session.over


def test_the_death_of_a_runner_makes_no_test_flaky() -> None:
    strict = SessionStart(resumes=1, flaky=FlakyPolicy.FAIL)
    session = fold([FIRST, start("a"), strict, start("a"), phase("a"), finish("a")])
    assert session.entries[0].status is Status.OK
    session = fold([SessionStart(flaky=FlakyPolicy.FAIL), start("a"), GIVEN_UP, phase("a"), finish("a")])
    assert session.entries[0].type == "hil.flaky"


def told(status: Status, summary: str) -> HealthRecord:
    return HealthRecord(name="devices_returned", status=status, summary=summary)


def test_of_several_workers_the_worst_word_counts() -> None:
    words = [told(Status.OK, "gw0"), told(Status.FAILURE, "gw1"), told(Status.ERROR, "gw2")]
    assert fold([FIRST, *words]).health == (words[1],)


def test_what_could_not_be_said_before_is_said_by_the_run_that_resumes() -> None:
    assert (
        fold([FIRST, told(Status.ERROR, "died"), SECOND, told(Status.OK, "fine")]).health[0].summary == "fine"
    )
    assert (
        fold([FIRST, told(Status.FAILURE, "lost"), SECOND, told(Status.OK, "x")]).health[0].summary == "lost"
    )


def test_what_could_not_be_collected_is_collected_again() -> None:
    broken = PhaseReport(
        test="m.py", phase="collect", status=Status.ERROR, type="hil.harness", summary="import"
    )
    assert not fold([FIRST, broken, SECOND]).entries
