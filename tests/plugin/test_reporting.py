"""The reporting plugin in sessions of its own, also in those that die."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.report import ExitStatus
from harness.results import JOURNAL, JUNIT, complete, load

THREE = """
import os, signal, sys, time
def test_good(): pass
def test_deadly():
    %s
def test_later(): pass
"""
ALONE = ("-p", "no:cacheprovider", "-p", "no:xdist")


def run(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return pytester.runpytest_inprocess("--hil-results", "hil-results", *ALONE, *arguments)


def run_apart(pytester: pytest.Pytester, *arguments: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own that may die, its output in pipes that no limit on file sizes reaches."""
    command = [sys.executable, "-m", "pytest", "--hil-results", "hil-results", *ALONE, *arguments]
    return subprocess.run(command, cwd=pytester.path, capture_output=True, text=True, check=False)


def results(pytester: pytest.Pytester) -> dict[str, tuple[str, str]]:
    """Tag and type of the result element of each case; `ok` where there is none."""
    root = ET.parse(pytester.path / "hil-results" / JUNIT).getroot()  # noqa: S314 - we made it
    found = {}
    for case in root.iter("testcase"):
        elements = [child for child in case if child.tag in ("failure", "error", "skipped")]
        name = str(case.get("name"))
        found[name] = (elements[0].tag, str(elements[0].get("type"))) if elements else ("ok", "")
    return found


def red(pytester: pytest.Pytester) -> bool:
    return any(tag in ("failure", "error") for tag, _ in results(pytester).values())


def test_nothing_happens_until_results_are_asked_for(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_a(): pass")
    done = pytester.runpytest_subprocess(*ALONE)
    assert done.ret == 0
    assert not (pytester.path / "hil-results").exists()
    done.stdout.no_re_match_line(r".*(?<![\w/-])hil\b")  # nor who runs it


def test_a_good_session(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_a(): print('hello')")
    done = run(pytester)
    assert done.ret == 0
    assert results(pytester)["test_a"] == ("ok", "")
    assert results(pytester)["session_complete"] == ("ok", "")
    done.stdout.fnmatch_lines(
        [
            "report*hil-results/junit.xml",
            "again*harness report hil-results",
            "*1 passed*",
            "1 ok in*exit status 0*",
        ]
    )


@pytest.mark.parametrize("path", ["/nonexistent", str(Path(sys.executable).parent)])
def test_the_command_that_is_printed_exists_where_it_is_printed(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """The shell may not know our environment, and a folder may have a space in its name."""
    monkeypatch.setenv("PATH", f"{path}:/usr/bin:/bin")
    pytester.makepyfile("def test_it():\n    pass\n")
    done = pytester.runpytest_inprocess(*ALONE, "--hil-results", "my results")
    (again,) = (line for line in done.outlines if line.startswith("again "))
    typed = again.removeprefix("again").strip()
    assert typed.startswith("harness ") == (path != "/nonexistent")
    said = subprocess.run(["sh", "-c", typed], cwd=pytester.path, capture_output=True, text=True, check=False)
    assert (said.returncode, said.stderr) == (0, "")


def test_each_kind_of_end_has_its_element_and_type(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest
        from harness.errors import GuestError, UsageError
        from harness.plugin import verdicts

        @pytest.fixture
        def broken_lab(): raise GuestError("booting", said="no QEMU", hint="Install it.", evidence="console")
        @pytest.fixture
        def broken_code(): raise KeyError("oops")
        @pytest.fixture
        def wrong_device(): assert 1 == 2
        @pytest.fixture
        def broken_end():
            yield
            raise RuntimeError("teardown")
        @pytest.fixture
        def broken_end_too():
            yield
            raise GuestError("closing")

        def test_assert(): assert 1 == 2
        def test_fail(): pytest.fail("said so")
        def test_lab(broken_lab): pass
        def test_code(broken_code): pass
        def test_setup_of_device(wrong_device): pass
        def test_teardown(broken_end): pass
        def test_two_teardowns(broken_end, broken_end_too): pass
        def test_failed_and_teardown(broken_end): assert 0
        def test_usage(): raise UsageError("width 3")
        def test_no_fixture(nowhere): pass
        def test_skip(): pytest.skip("no such capability")
        def test_refused(): verdicts.refuse("policy")
        def test_blocked(): verdicts.block("test_x lost igb0")
        @pytest.mark.skip(reason="marked")
        def test_marked(): pass
        @pytest.mark.xfail(reason="erratum 7")
        def test_expected(): assert 0
        def test_expected_inside(): pytest.xfail("pm clears nothing")
        @pytest.mark.xfail(reason="erratum 7")
        def test_expected_but_no_lab(broken_lab): pass
        @pytest.mark.xfail(reason="erratum 8", strict=True)
        def test_gone(): pass
        @pytest.mark.xfail(reason="erratum 9", strict=False)
        def test_gone_not_strict(): pass
        """
    )
    done = run(pytester, "--hil-retries", "9")
    assert done.ret == ExitStatus.BAD
    assert {name: found for name, found in results(pytester).items() if name.startswith("test_")} == {
        "test_assert": ("failure", "hil.mismatch"),
        "test_fail": ("failure", "hil.mismatch"),
        "test_lab": ("error", "hil.infra.guest"),
        "test_code": ("error", "hil.harness"),
        "test_setup_of_device": ("error", "hil.harness"),
        "test_teardown": ("error", "hil.harness"),
        "test_two_teardowns": ("error", "hil.infra.guest"),
        "test_failed_and_teardown": ("failure", "hil.mismatch"),
        "test_usage": ("error", "hil.usage"),
        "test_no_fixture": ("error", "hil.harness"),
        "test_skip": ("skipped", "hil.refused"),
        "test_refused": ("skipped", "hil.refused"),
        "test_blocked": ("skipped", "hil.blocked"),
        "test_marked": ("skipped", "hil.refused"),
        "test_expected": ("skipped", "pytest.xfail"),
        "test_expected_inside": ("skipped", "pytest.xfail"),
        "test_expected_but_no_lab": ("error", "hil.infra.guest"),
        "test_gone": ("failure", "hil.xpass"),
        "test_gone_not_strict": ("ok", ""),
    }
    text = (pytester.path / "hil-results" / JUNIT).read_text()
    assert "console" in text
    assert "pm clears nothing" in text
    assert complete(pytester.path / "hil-results") is ExitStatus.BAD


STAGED = """
import sys
sys.path.insert(0, {repository!r})
import pytest
from harness.history.container import to_bytes
from harness.journal.record import AttemptRecord
from harness.model.verdict import Finding, Judgement, Verdict
from harness.plugin import reporting, verdicts
from harness.report.stage import stage_record
from tests.unit.report.histories import read_in_lock_window

def stage(request, judgement=None):
    history, judged = read_in_lock_window()
    judgement = judgement or judged
    path = reporting.attachment_path(request.node, "history.zip")
    path.write_bytes(to_bytes(history))
    name = str(path.relative_to(reporting.results_folder(request.config)))
    reporting.note_stage(request.node, stage_record(history, judgement, file=name))
    return judgement, history

def test_failed(request): raise verdicts.StageFailed(*stage(request))
def test_unknown(request):
    nothing = Judgement(findings=(Finding(checker="c", verdict=Verdict.UNKNOWN, claim="nothing collided"),))
    raise verdicts.StageUnknown(*stage(request, nothing))
def test_weak(request):
    weak = Finding(checker="c", verdict=Verdict.PASS, claim="seen", weakness="pm clears nothing")
    stage(request, Judgement(findings=(weak,)))
def test_recovered(request):
    reporting.note_attempt(request.node, AttemptRecord(type="hil.infra.clock", summary="wild"))
@pytest.mark.xfail(reason="erratum 7")
def test_expected(request): raise verdicts.StageFailed(*stage(request))
def test_other_fault(request): raise verdicts.FaultNotNamed(*stage(request), "hil.reset-failed igb0")
def test_no_fault(request):
    kept = Judgement(findings=(Finding(checker="c", verdict=Verdict.PASS, claim="all was kept"),))
    raise verdicts.FaultNotNamed(*stage(request, kept), "hil.reset-failed igb0")
def test_named(request): stage(request)
"""


def test_a_stage_is_reported_with_its_timeline_and_its_files(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(STAGED.format(repository=str(Path(__file__).parents[2])))
    done = run(pytester)
    assert done.ret == ExitStatus.BAD
    found = results(pytester)
    assert found["test_failed"] == ("failure", "hil.mismatch")
    assert found["test_unknown"] == ("error", "hil.unknown")
    assert found["test_weak"] == ("skipped", "pytest.xfail")
    assert found["test_recovered"] == ("ok", "")
    assert found["test_expected"] == ("skipped", "pytest.xfail")
    assert found["test_other_fault"] == ("failure", "hil.mismatch")
    assert found["test_no_fault"] == ("failure", "hil.not-named")
    assert found["test_named"] == ("ok", "")
    root = ET.parse(pytester.path / "hil-results" / JUNIT).getroot()  # noqa: S314 - we made it
    cases = {str(case.get("name")): case for case in root.iter("testcase")}
    message = str(cases["test_no_fault"].find("failure").get("message"))  # type: ignore[union-attr]
    assert message == "staged to be hil.reset-failed igb0, and judged PASS: all was kept"
    assert "timeline.svg" in str(cases["test_no_fault"].findtext("system-out"))
    assert "named: hil.mismatch: the stage was judged FAIL" in str(cases["test_named"].findtext("system-out"))
    done.stdout.fnmatch_lines(["named * 1 hil.mismatch"])
    failed = cases["test_failed"]
    text = str(failed.findtext("failure"))
    assert "around the marked events" in text
    assert "promise: config-read/sysfs@config-lock" in text
    output = str(failed.findtext("system-out"))
    paths = [line[len("[[ATTACHMENT|") : -2] for line in output.splitlines() if "ATTACHMENT" in line]
    assert [path.rpartition(".")[2] for path in paths] == ["svg", "zip"]
    assert all((pytester.path / path).is_file() for path in paths)
    assert "<flakyFailure" in (pytester.path / "hil-results" / JUNIT).read_text()


@pytest.mark.parametrize("renderer", ["reporting.plugin.timeline_svg", "pictures.timeline_text"])
def test_a_picture_that_cannot_be_drawn_ends_no_session(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, renderer: str
) -> None:
    def fails(*_: object) -> bytes:
        raise KeyError("colour")

    monkeypatch.setattr(f"harness.plugin.{renderer}", fails)
    pytester.makepyfile(STAGED.format(repository=str(Path(__file__).parents[2])))
    done = run(pytester)
    assert done.ret == ExitStatus.BAD
    assert results(pytester)["test_failed"] == ("failure", "hil.mismatch")
    assert results(pytester)["test_named"] == ("ok", "")
    done.stdout.fnmatch_lines(["*no picture could be drawn: KeyError*colour*"])


@pytest.mark.parametrize("how", ["kill", "term", "segv", "exit"])
def test_a_dead_runner_is_red_at_once_and_complete_afterwards(pytester: pytest.Pytester, how: str) -> None:
    deadly = {
        "kill": "os.kill(os.getpid(), signal.SIGKILL)",
        "term": "os.kill(os.getpid(), signal.SIGTERM)",
        "segv": "signal.signal(signal.SIGSEGV, signal.SIG_DFL); os.kill(os.getpid(), signal.SIGSEGV)",
        "exit": "os._exit(0)",
    }[how]
    pytester.makepyfile("def test_a(): pass")
    assert run(pytester).ret == 0  # a green report of an earlier run
    pytester.makepyfile(THREE % deadly)
    run_apart(pytester, "-p", "no:faulthandler")
    assert red(pytester)
    assert complete(pytester.path / "hil-results") is ExitStatus.NOTHING_SAID
    found = results(pytester)
    assert found["test_good"] == ("ok", "")
    assert found["test_deadly"] == ("error", "hil.incomplete")
    assert found["test_later"] == ("skipped", "hil.notrun")
    assert found["session_complete"] == ("error", "hil.incomplete")
    assert "test_a" not in found
    before = (pytester.path / "hil-results" / JUNIT).read_bytes()
    complete(pytester.path / "hil-results")
    assert (pytester.path / "hil-results" / JUNIT).read_bytes() == before


@pytest.mark.parametrize(
    "how", ["os.kill(os.getpid(), signal.SIGINT); time.sleep(30)", "import pytest; pytest.exit('enough')"]
)
def test_the_user_stops_the_session(pytester: pytest.Pytester, how: str) -> None:
    pytester.makepyfile(THREE % how)
    done = run_apart(pytester)
    assert done.returncode == ExitStatus.NOTHING_SAID
    found = results(pytester)
    assert found["test_good"] == ("ok", "")
    assert found["test_deadly"] == ("error", "hil.aborted")
    assert found["test_later"] == ("skipped", "hil.aborted")
    assert complete(pytester.path / "hil-results") is ExitStatus.NOTHING_SAID


def test_a_runner_that_dies_while_it_collects_is_red(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_a(): pass")
    assert run(pytester).ret == 0
    pytester.makepyfile("import os; os._exit(0)")
    run_apart(pytester)
    assert red(pytester)
    assert complete(pytester.path / "hil-results") is ExitStatus.NOTHING_SAID
    assert "test_a" not in results(pytester)


def test_the_red_report_is_there_while_the_tests_run(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import time, pathlib
        def test_a():
            pathlib.Path("running").touch()
            while not pathlib.Path("go").exists():
                time.sleep(0.01)
        """
    )
    command = [sys.executable, "-m", "pytest", "--hil-results", "hil-results", *ALONE]
    with subprocess.Popen(command, cwd=pytester.path, stdout=subprocess.DEVNULL) as runner:
        deadline = time.monotonic() + 120
        while not (pytester.path / "running").exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert red(pytester)
        second = run_apart(pytester)
        assert second.returncode == pytest.ExitCode.USAGE_ERROR
        assert "another run is writing to it" in second.stderr
        (pytester.path / "go").touch()
    assert runner.returncode == 0
    assert not red(pytester)


def test_a_torn_last_line_does_no_harm(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(THREE % "os.kill(os.getpid(), signal.SIGKILL)")
    run_apart(pytester)
    journal = pytester.path / "hil-results" / JOURNAL
    with journal.open("ab") as stream:
        stream.write(b'{"record":"test-fini')
    assert complete(journal.parent) is ExitStatus.NOTHING_SAID
    assert results(pytester)["test_good"] == ("ok", "")
    assert load(journal.parent).damaged == 0


@pytest.mark.parametrize("dialect", ["strict", "rich"])
def test_the_journal_alone_gives_the_same_report(pytester: pytest.Pytester, dialect: str) -> None:
    pytester.makepyfile("def test_a(): print('x\\x1b[0m\\x00\\udc80')\ndef test_b(): assert 0")
    run(pytester, "--hil-dialect", dialect)
    path = pytester.path / "hil-results" / JUNIT
    before = path.read_bytes()
    assert complete(path.parent) is ExitStatus.BAD
    assert path.read_bytes() == before
    assert (b"timestamp=" in before.partition(b"<testcase")[2]) == (dialect == "rich")


def test_a_test_is_written_down_before_it_begins(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import json, pathlib
        def test_a():
            lines = pathlib.Path("hil-results/journal.jsonl").read_text().splitlines()
            assert [json.loads(line)["record"] for line in lines][-2:] == ["test-start", "phase"]
        """
    )
    assert run(pytester).ret == 0
    lines = (pytester.path / "hil-results" / JOURNAL).read_text().splitlines()
    kinds = [json.loads(line)["record"] for line in lines]
    assert kinds == [
        "session-start",
        "plan",
        "test-start",
        "phase",
        "phase",
        "phase",
        "test-finish",
        "session-end",
    ]


def test_a_module_that_cannot_be_collected_is_an_error(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_broken="import nowhere_at_all", test_fine="def test_a(): pass")
    done = run(pytester)
    assert done.ret == ExitStatus.NOTHING_SAID
    assert results(pytester)["collection"] == ("error", "hil.harness")


def test_no_test_at_all_is_usage(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("")
    assert run(pytester).ret == ExitStatus.USAGE


def test_stopping_after_the_first_failure_keeps_the_rest_in_the_report(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(THREE % "assert 0")
    assert run(pytester, "-x").ret == ExitStatus.BAD
    assert results(pytester)["test_later"] == ("skipped", "hil.notrun")


@pytest.mark.parametrize(
    ("arguments", "word"), [(("no_such_file.py",), "no_such_file"), (("--no-such-option",), "option")]
)
def test_a_mistake_on_the_command_line(pytester: pytest.Pytester, arguments: tuple[str], word: str) -> None:
    done = run(pytester, *arguments)
    assert done.ret in (ExitStatus.USAGE, pytest.ExitCode.USAGE_ERROR)
    done.stderr.fnmatch_lines([f"*{word}*"])


def test_a_results_folder_that_cannot_be_made_is_said_in_one_line(pytester: pytest.Pytester) -> None:
    (pytester.path / "hil-results").write_text("a file is in the way")
    pytester.makepyfile("def test_a(): pass")
    done = run(pytester)
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    done.stderr.fnmatch_lines(["*results folder*File exists*Name one that can be written*"])
    assert "Traceback" not in done.stderr.str()


def test_a_full_disk_is_said_at_the_end_and_breaks_no_test(pytester: pytest.Pytester) -> None:
    # A limit on the size of files stands for the disk: the kernel cuts the same write short, with EFBIG.
    pytester.makepyfile(
        """
        import resource
        NONE = resource.RLIM_INFINITY
        def test_a(request):
            resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, NONE))
            request.node.add_report_section("call", "stdout", "x" * 30_000)
        def test_b(): pass
        def test_c(): resource.setrlimit(resource.RLIMIT_FSIZE, (NONE, NONE))
        """
    )
    done = run_apart(pytester, "-s")
    assert done.returncode == ExitStatus.NOTHING_SAID
    assert "hil.health.session_complete  hil.infra.journal" in done.stdout
    assert "bytes of a record fitted" in done.stdout
    found = results(pytester)
    assert [found[f"test_{letter}"] for letter in "abc"] == [("ok", "")] * 3  # the report has them all
    assert complete(pytester.path / "hil-results") is ExitStatus.NOTHING_SAID  # what is on disk is not all


def test_a_report_that_finds_no_room_leaves_the_red_one(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import resource
        def test_a(): resource.setrlimit(resource.RLIMIT_FSIZE, (10, resource.RLIM_INFINITY))
        """
    )
    done = run_apart(pytester, "-s")
    assert done.returncode == ExitStatus.NOTHING_SAID
    assert red(pytester)
    assert "junit.xml: File too large" in done.stdout
    assert sorted(path.name for path in (pytester.path / "hil-results").iterdir()) == [JOURNAL, JUNIT]


def test_completing_a_folder_without_a_journal_is_the_callers_mistake(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="hil-results"):
        complete(tmp_path)


def test_identity_is_the_same_from_another_folder(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("import pytest\n@pytest.mark.parametrize('m', ['flr'], ids=str)\ndef test_a(m): pass")
    pytester.makepyprojecttoml("[tool.pytest.ini_options]\n")
    run(pytester)
    first = results(pytester).keys()
    other = pytester.mkdir("other")
    os.chdir(other)
    pytester.runpytest_subprocess(
        "--hil-results", str(pytester.path / "hil-results"), *ALONE, str(pytester.path)
    )
    assert results(pytester).keys() == first


def test_the_report_is_readable_for_the_dashboards_user(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_a(): pass")
    run(pytester)
    mask = os.umask(0)
    os.umask(mask)
    assert (pytester.path / "hil-results" / JUNIT).stat().st_mode & 0o777 == 0o666 & ~mask


def test_what_a_worker_sends_survives_execnet(pytester: pytest.Pytester) -> None:
    """pytest-xdist can carry plain values only; an enum in a report takes the whole run down."""
    pytester.makepyfile(STAGED.format(repository=str(Path(__file__).parents[2])))
    pytester.makeconftest(
        """
        import execnet
        def pytest_runtest_logreport(report): execnet.dumps(report.hil)
        """
    )
    done = run(pytester)
    done.stdout.no_fnmatch_line("*INTERNALERROR*")
    assert done.ret == ExitStatus.BAD


@pytest.mark.parametrize(
    "looks", ["--collect-only", "--setup-plan", "--fixtures-per-test", "--fixtures", "--markers", "--version"]
)
def test_who_only_looks_runs_nothing_and_leaves_the_last_results(
    pytester: pytest.Pytester, looks: str
) -> None:
    pytester.makepyfile("def test_a(): pass")
    assert run(pytester).ret == 0
    before = {
        path: path.read_bytes() for path in (pytester.path / "hil-results").rglob("*") if path.is_file()
    }
    pytester.makepyfile("import pathlib\ndef test_a(tmp_path): pathlib.Path('ran').touch()")
    looked = pytester.runpytest_subprocess("--hil-results", "hil-results", "--hil-lab", "emulated", looks)
    assert looked.ret == 0
    assert {
        path: path.read_bytes() for path in (pytester.path / "hil-results").rglob("*") if path.is_file()
    } == before
    assert not (pytester.path / "ran").exists()
