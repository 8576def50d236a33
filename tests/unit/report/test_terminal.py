from __future__ import annotations

import pytest

from harness.journal.fold import fold
from harness.journal.record import SessionEnd, StageRecord, Status
from harness.journal.session import Entry, Session
from harness.report.terminal import Style, Times, summary, total
from tests.unit.report.conftest import records


def test_every_outcome_that_is_not_ok_has_its_line(session: Session) -> None:
    text = summary(session, results="hil-results")
    for entry in session.entries:
        loud = entry.status in ("failure", "error") or entry.type == "pytest.xfail" or entry.recovered
        name = entry.test.partition("::")[2]
        assert (f".{name} " in text or f".{name}\n" in text) == loud, entry


def test_counts_windows_latencies_and_paths_are_said() -> None:
    session = fold(records())
    text = summary(session, results="hil-results", times=Times.SHOWN)
    assert "config-read/sysfs" not in summary(session, results="hil-results")
    assert "16 stages, 1600 operations, 48 of them met a window" in text
    assert "config-read/sysfs" in text
    assert "20 us" in text
    assert "hil-results/junit.xml" in text
    assert "harness report hil-results" in text
    assert "again 3/3: timeout, timeout, recovered" in text
    assert "exit status" not in text
    assert "6 FAIL" in total(session)
    assert "exit status 1" in total(session)


def test_refused_attempts_are_said_of_a_test_that_did_not_pass() -> None:
    lines = summary(fold(records()), results="r").splitlines()
    said = [number for number, line in enumerate(lines) if "3 attempts refused (EAGAIN), then ok" in line]
    assert len(said) == 1  # of the mismatch, not of the test that passed
    assert "mismatch means" in lines[said[0] - 1]


def test_what_the_lab_lacks_is_summed_up_by_reason() -> None:
    reasons = {"one": "no module: Permission denied", "two": "no module: Permission denied", "six": "no disk"}
    entries = [
        Entry(test=f"a.py::{name}", status=Status.SKIPPED, type="hil.lacking", summary=reason)
        for name, reason in reasons.items()
    ]
    refused = Entry(test="a.py::ten", status=Status.SKIPPED, type="hil.refused", summary="no FLR")
    text = summary(Session(entries=(*entries, refused), end=SessionEnd(status=0)), results="r")
    said = [line for line in text.splitlines() if line.startswith("lacking")]
    assert said == [
        "lacking  2 tests were skipped for want of it: no module: Permission denied",
        "lacking  1 test was skipped for want of it: no disk",
    ]


def test_colour_only_when_asked() -> None:
    session = fold(records())
    assert "\x1b" not in summary(session, results="r")
    assert "\x1b[31mFAIL" in summary(session, results="r", style=Style.COLOUR)


def convicted(test: str, status: Status, blame: str, staged: str) -> Entry:
    stage = StageRecord(
        history="h", title="t", verdict="FAIL", headline="broken", staged=(staged,), blame=blame
    )
    kind, said = (blame, "broken") if status is Status.FAILURE else ("", "")
    return Entry(test=test, status=status, type=kind, summary=said, stages=(stage,))


def test_what_was_staged_to_go_wrong_and_named_is_counted_and_no_failure() -> None:
    session = Session(
        entries=(
            convicted("a.py::one", Status.OK, "hil.reset-failed", "endpoint0 ignore-flr from the beginning"),
            convicted("a.py::two", Status.OK, "hil.reset-failed", "endpoint0 ignore-flr from the beginning"),
            convicted("a.py::six", Status.OK, "hil.device-lost", "endpoint0 server-killed"),
            convicted(
                "a.py::bad", Status.FAILURE, "hil.mismatch", "endpoint0 not-ready for 800 ms after flr"
            ),
        ),
        end=SessionEnd(status=1),
    )
    text = summary(session, results="r")
    assert "1 FAIL, 3 ok" in total(session)
    (line,) = (line for line in text.splitlines() if line.startswith("named "))
    assert line.endswith("no failures: 1 hil.device-lost, 2 hil.reset-failed")
    lines = text.splitlines()
    (said,) = (number for number, line in enumerate(lines) if "staged: " in line)
    assert lines[said].strip() == "staged: endpoint0 not-ready for 800 ms after flr"
    assert "a.bad" in lines[said - 2]


def test_without_a_fault_nothing_is_named(session: Session) -> None:
    assert "\nnamed" not in summary(session, results="r")


def test_a_kernel_with_modules_of_the_users_own_is_never_taken_for_a_stock_one(session: Session) -> None:
    assert "\npatched" not in summary(session, results="r")
    said = {"kernel.release": "6.12.117+deb13-amd64", "kernel.own_modules": "ipr-1f0c0123abcd"}
    stage = StageRecord(history="h", title="t", verdict="PASS", headline="fine", provenance=said)
    tests = tuple(Entry(test=f"a.py::{name}", status=Status.OK, stages=(stage, stage)) for name in "ab")
    text = summary(Session(entries=tests, end=SessionEnd(status=0)), results="r")
    (line,) = (line for line in text.splitlines() if line.startswith("patched "))
    assert line.endswith("kernel 6.12.117+deb13-amd64 with ipr-1f0c0123abcd of your own")
    assert "\nunused" not in text


@pytest.mark.parametrize(
    "state", ["integrity", "confidentiality", "none", "unreadable: No such file or directory"]
)
def test_a_kernel_that_is_locked_down_is_said_once(session: Session, state: str) -> None:
    assert "\nlocked" not in summary(session, results="r")
    said = {"kernel.release": "6.12.118", "kernel.lockdown": state}
    stage = StageRecord(history="h", title="t", verdict="PASS", headline="fine", provenance=said)
    tests = tuple(Entry(test=f"a.py::{name}", status=Status.OK, stages=(stage, stage)) for name in "ab")
    lines = summary(Session(entries=tests, end=SessionEnd(status=0)), results="r").splitlines()
    locked = [line for line in lines if line.startswith("locked ")]
    if state in ("integrity", "confidentiality"):
        (line,) = locked
        assert line.startswith(f"locked   kernel 6.12.118: {state}; ")
        assert line.endswith("config writes and mappings through sysfs are refused, oracles go through VFIO")
        assert ("its trace cannot be read" in line) is (state == "confidentiality")
    else:
        assert locked == []


def test_a_module_of_the_users_own_that_no_stage_loaded_is_told() -> None:
    def stage(**said: str) -> StageRecord:
        named = {f"kernel.{key}": value for key, value in said.items()}
        return StageRecord(history="h", title="t", verdict="PASS", headline="fine", provenance=named)

    stages = (
        stage(unused_modules="ipr-1f0c hello-2a3b"),
        stage(own_modules="ipr-1f0c", unused_modules="hello-2a3b"),
    )
    tests = (Entry(test="a.py::a", status=Status.OK, stages=stages),)
    text = summary(Session(entries=tests, end=SessionEnd(status=0)), results="r")
    (line,) = (line for line in text.splitlines() if line.startswith("unused "))
    assert line.split()[1:5] == ["hello-2a3b:", "no", "stage", "loaded"]
