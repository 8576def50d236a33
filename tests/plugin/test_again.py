"""Whole tests that run once more because the lab was in their way."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from harness.journal.session import Entry
from harness.report import ExitStatus
from harness.results import JUNIT, load

LAB = """
import sys
sys.path.insert(0, {repository!r})
import pathlib
import pytest
from harness.errors import AgentLost, ClockError, GuestError, SetupError, UsageError
from harness.plugin import reporting

@pytest.fixture(autouse=True)
def hil_source():
    "What makes a test one of ours."

def tries(name):
    "How often somebody was here before."
    with pathlib.Path(name).open("a") as file:  # workers of xdist may be here at once
        file.write(".")
        file.flush()
        return file.tell() - 1
"""
ALONE = ("-p", "no:cacheprovider")
PARALLEL = ("-n", "2", "--dist", "load")


def run(pytester: pytest.Pytester, body: str, *arguments: str) -> pytest.RunResult:
    pytester.makepyfile(LAB.format(repository=str(Path(__file__).parents[2])) + body)
    return pytester.runpytest_subprocess("--hil-results", "hil-results", *ALONE, *arguments)


def counted(pytester: pytest.Pytester, name: str) -> int:
    """How often `tries` was asked."""
    return len((pytester.path / name).read_text())


def entries(pytester: pytest.Pytester) -> dict[str, Entry]:
    session = load(pytester.path / "hil-results")
    return {entry.test.rpartition("::")[2]: entry for entry in session.entries}


def interim(pytester: pytest.Pytester) -> dict[str, list[str]]:
    """Tags of all result elements of each case, with their types."""
    root = ET.parse(pytester.path / "hil-results" / JUNIT).getroot()  # noqa: S314 - we made it
    return {
        str(case.get("name")): [f"{child.tag} {child.get('type')}" for child in case if child.get("type")]
        for case in root.iter("testcase")
    }


RECOVERS = """
@pytest.fixture(scope="session")
def place():
    tries("places")
    yield

@pytest.fixture
def source(place, request):
    path = reporting.attachment_path(request.node, "console.log")
    path.write_text("boot")
    yield
    if request.node.name == "test_teardown" and not tries("teardown"):
        raise ClockError("clock", said="wild")

def test_before(source): print("hello")
def test_call(source):
    print("try", seen := tries("call"))
    if not seen:
        raise AgentLost("asking", said="gone")
def test_teardown(source): pass
@pytest.fixture
def late():
    if not tries("setup"):
        raise GuestError("booting", said="gone", evidence="the console's tail")
def test_setup(late, source): pass
def test_after(source): pass
"""


@pytest.mark.parametrize("how", [(), PARALLEL], ids=["alone", "parallel"])
def test_a_test_that_the_lab_was_in_the_way_of_runs_once_more(
    pytester: pytest.Pytester, how: tuple[str, ...]
) -> None:
    done = run(pytester, RECOVERS, "--hil-retries", "3", *how)
    assert done.ret == ExitStatus.GOOD, done.stdout.str()
    done.assert_outcomes(passed=5)
    found = interim(pytester)
    assert found["test_call"] == ["flakyFailure hil.infra.agent"]
    assert found["test_teardown"] == ["flakyFailure hil.infra.clock"]
    assert found["test_setup"] == ["flakyFailure hil.infra.guest"]
    assert found["test_before"] == found["test_after"] == []
    (given_up,) = entries(pytester)["test_call"].attempts
    assert "try 0" in given_up.details
    assert "try 1" not in given_up.details
    assert "try 0" not in entries(pytester)["test_call"].output
    (console,) = given_up.attachments
    att = pytester.path / "hil-results" / "att"
    assert (att.parent / console).read_text() == "boot"
    assert (att / Path(console).name.replace("console", "try2.console")).exists()  # and is another file
    (given_up,) = entries(pytester)["test_setup"].attempts
    assert "the console's tail" in given_up.details


def test_everything_is_made_anew_for_the_second_try(pytester: pytest.Pytester) -> None:
    run(pytester, RECOVERS, "--hil-retries", "3")
    assert counted(pytester, "places") == 4


@pytest.mark.parametrize(
    ("raised", "kind", "runs"),
    [
        ("GuestError('booting')", "error hil.infra.guest", 2),
        ("SetupError('QEMU', said='missing')", "error hil.infra.setup", 1),
        ("UsageError('width 3')", "error hil.usage", 1),
        ("AssertionError('all ones')", "failure hil.mismatch", 1),
        ("KeyError('a bug')", "error hil.harness", 1),
    ],
)
def test_what_does_not_pass_at_the_second_try_keeps_its_element(
    pytester: pytest.Pytester, raised: str, kind: str, runs: int
) -> None:
    body = f"\ndef test_a():\n    tries('runs')\n    raise {raised}\n"
    done = run(pytester, body)
    assert done.ret == (ExitStatus.BAD if "failure" in kind else ExitStatus.USAGE if "usage" in kind else 125)
    assert counted(pytester, "runs") == runs
    expected = [kind] if runs == 1 else ["rerunFailure hil.infra.guest", kind]
    assert sorted(interim(pytester)["test_a"]) == sorted(expected)


FAULT = """
from dataclasses import replace
from harness.journal.record import KernelLog
from harness.report.stage import stage_record
from tests.unit.report.histories import read_in_lock_window

@pytest.mark.parametrize("log", ["fault", "provoked"])
def test_a(request, log):
    stage = stage_record(*read_in_lock_window(), file="")
    reporting.note_stage(request.node, replace(stage, kernel_log=KernelLog(log)))
    if not tries(log):
        raise GuestError("staging", said="the guest answers no more")
"""


def test_a_kernel_fault_is_the_result_whatever_the_lab_says_afterwards(pytester: pytest.Pytester) -> None:
    assert run(pytester, FAULT).ret == ExitStatus.BAD
    assert interim(pytester)["test_a[fault]"] == ["failure hil.kernel-fault"]
    assert interim(pytester)["test_a[provoked]"] == ["flakyFailure hil.infra.guest"]
    assert counted(pytester, "fault") == 1
    assert len(entries(pytester)["test_a[provoked]"].stages) == 1  # the one of the try that counts


def test_a_failure_beside_trouble_of_the_lab_is_not_tried_again(pytester: pytest.Pytester) -> None:
    body = """
@pytest.fixture
def wild():
    yield
    raise ClockError("clock")
def test_a(wild):
    tries("runs")
    assert 0
"""
    assert run(pytester, body).ret == ExitStatus.BAD
    assert counted(pytester, "runs") == 1


def test_retries_can_be_turned_off(pytester: pytest.Pytester) -> None:
    assert run(pytester, RECOVERS, "--hil-retries", "off").ret == 125
    assert interim(pytester)["test_call"] == ["error hil.infra.agent"]
    done = run(pytester, RECOVERS, "--hil-retries", "often")
    done.stderr.fnmatch_lines(["*'often' is neither auto, off nor a number above 0*"])


LIMPS = """
@pytest.mark.parametrize("n", range(12))
def test_a(n):
    tries(f"runs{n}")
    if n in (1, 2, 4, 5) and tries(f"n{n}") == 0:
        raise GuestError("booting", said="gone")
"""


def test_a_session_that_only_limps_is_stopped(pytester: pytest.Pytester) -> None:
    done = run(pytester, LIMPS)
    assert done.ret == 125
    why = "3 of 12 tests needed a retry, 2 may: look after the lab"
    done.stdout.fnmatch_lines([f"stopped  {why}"])
    found = interim(pytester)
    assert found["test_a[4]"] == ["flakyFailure hil.infra.guest"]
    assert all(found[f"test_a[{n}]"] == ["skipped hil.notrun"] for n in range(5, 12))
    assert found["retry_budget"] == ["failure hil.retry-budget"]
    assert why in entries(pytester)["test_a[7]"].summary
    assert not (pytester.path / "runs5").exists()


def test_a_limping_session_of_many_workers_is_stopped_by_the_controller(pytester: pytest.Pytester) -> None:
    # Each worker alone is within the budget.
    body = LIMPS.replace("range(12)", "range(40)").replace("(1, 2, 4, 5)", "range(40)")
    done = run(pytester, body, *PARALLEL)
    assert done.ret == 125
    done.stdout.fnmatch_lines(["*3 of 40 tests needed a retry, 2 may: look after the lab*"])
    unreached = [name for name, tags in interim(pytester).items() if tags == ["skipped hil.notrun"]]
    assert len(unreached) > 20


def test_a_larger_budget_may_be_asked_for(pytester: pytest.Pytester) -> None:
    assert run(pytester, LIMPS, "--hil-retries", "4").ret == 0
    assert interim(pytester)["retry_budget"] == []


REPORTS = """
import pytest
from harness.plugin.reporting.again import reports_of

@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item, nextitem):
    for _ in range(3):
        print([(r.when, r.outcome) for r in reports_of(item, item)])
    print(reports_of(item, nextitem)[-1].outcome)
    return True
"""


def test_reports_of_a_test_any_number_of_times_without_a_results_folder(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(REPORTS)
    pytester.makepyfile(
        LAB.format(repository=str(Path(__file__).parents[2]))
        + """
@pytest.fixture(scope="session")
def place():
    tries("places")
@pytest.fixture
def source(place):
    yield tries("sources")
    tries("closed")
def test_a(source):
    if source == 1:
        raise GuestError("booting", said="gone")
"""
    )
    done = pytester.runpytest_subprocess("-s", *ALONE, "--hil-suite", "awake")
    good = "[[]('setup', 'passed'), ('call', 'passed'), ('teardown', 'passed')[]]"
    done.stdout.fnmatch_lines([good, good, good, "passed"])
    assert counted(pytester, "sources") == counted(pytester, "closed") == 5
    assert counted(pytester, "places") == 2  # once more with the second try


def test_what_is_none_of_ours_is_run_again_by_whoever_else_does(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest

        tries = []

        def test_theirs():
            tries.append(1)
            assert len(tries) > 1

        @pytest.mark.flaky(reruns=2)
        def test_marked():
            tries.append(1)
            assert len(tries) > 4

        def test_never(): assert False
        """
    )
    arguments = ("--hil-results", "hil-results", *ALONE, "-p", "no:randomly", "--reruns", "1")
    done = pytester.runpytest_subprocess(*arguments)
    done.assert_outcomes(passed=2, failed=1)
    found = entries(pytester)
    assert {name: str(entry.status) for name, entry in found.items()} == {
        "test_theirs": "ok",
        "test_marked": "ok",
        "test_never": "failure",
    }
    assert [len(found[name].attempts) for name in ("test_theirs", "test_marked", "test_never")] == [1, 2, 1]
    assert done.ret == ExitStatus.BAD
