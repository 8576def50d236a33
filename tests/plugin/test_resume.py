"""Runs that died and are resumed, and what an earlier run left for one that starts anew."""

from __future__ import annotations

import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
import xmlschema

from harness import removal
from harness.journal.lines import to_line
from harness.journal.reader import parse
from harness.journal.record import SessionEnd
from harness.journal.session import Session
from harness.report import ExitStatus
from harness.results import JOURNAL, JUNIT, complete, load

SCHEMA = xmlschema.XMLSchema(str(Path(__file__).parents[1] / "data" / "junit-10.xsd"))
SIX = """
import os, pathlib, signal
import pytest
from harness.plugin import reporting

def note(name):
    with open("ran", "a") as stream:
        stream.write(name + "\\n")

def dies(name):
    if pathlib.Path(f"die-in-{name}").exists():
        pathlib.Path(f"die-in-{name}").unlink()
        os.kill(os.getpid(), signal.SIGKILL)

@pytest.fixture(autouse=True)
def noted(request):
    note(request.node.name)
    path = reporting.attachment_path(request.node, "console.log")
    path.write_text("somebody was here")
    dies(request.node.name)

def test_good(): print("hello")
def test_bad(): assert 0
@pytest.mark.skip(reason="no such capability")
def test_skipped(): pass
@pytest.mark.parametrize("method", ["flr", "pm"])
def test_reset(method): pass
def test_last(): pass
"""
EVERY = ["test_good", "test_bad", "test_reset[flr]", "test_reset[pm]", "test_last"]
"""That runs its fixture: test_skipped does not."""
ALONE = ("-p", "no:cacheprovider")
PARALLEL = ("-n", "2")


def run(pytester: pytest.Pytester, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "--hil-results", "hil-results", *ALONE, *arguments]
    return subprocess.run(
        command, cwd=pytester.path, capture_output=True, text=True, check=False, timeout=120
    )


def ran(pytester: pytest.Pytester) -> list[str]:
    """Which tests ran since somebody asked."""
    path = pytester.path / "ran"
    names = path.read_text().split() if path.exists() else []
    path.unlink(missing_ok=True)
    return names


def session(pytester: pytest.Pytester) -> Session:
    return load(pytester.path / "hil-results")


def report(pytester: pytest.Pytester) -> dict[tuple[str, str], list[str]]:
    """What the valid report says of each identity; an identity comes once."""
    text = (pytester.path / "hil-results" / JUNIT).read_text()
    SCHEMA.validate(text)
    found: dict[tuple[str, str], list[str]] = {}
    for case in ET.fromstring(text).iter("testcase"):  # noqa: S314 - we made it
        identity = (str(case.get("classname")), str(case.get("name")))
        assert identity not in found
        found[identity] = [f"{child.tag} {child.get('type')}" for child in case if child.get("type")]
    return found


def of(found: dict[tuple[str, str], list[str]], name: str) -> list[str]:
    (said,) = [said for (_, one), said in found.items() if one == name]
    return said


def test_a_dead_run_is_resumed(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(SIX)
    assert run(pytester).returncode == ExitStatus.BAD
    undisturbed = report(pytester)
    assert ran(pytester) == EVERY
    (pytester.path / "die-in-test_reset[flr]").touch()
    assert run(pytester).returncode < 0
    assert ran(pytester) == EVERY[:3]
    assert complete(pytester.path / "hil-results") is ExitStatus.BAD
    assert of(report(pytester), "test_reset[flr]") == ["error hil.incomplete"]

    done = run(pytester, "--hil-resume")
    assert done.returncode == ExitStatus.BAD, done.stdout
    assert "run 2 of this session" in done.stdout
    assert ran(pytester) == EVERY[2:]  # what was finished was not run again
    resumed = report(pytester)
    assert list(resumed) == list(undisturbed)  # each once, with its identity, in the plan's order
    assert of(resumed, "test_reset[flr]") == ["flakyFailure hil.incomplete"]
    assert {key: said for key, said in resumed.items() if key[1] != "test_reset[flr]"} == {
        key: said for key, said in undisturbed.items() if key[1] != "test_reset[flr]"
    }
    before = (pytester.path / "hil-results" / JUNIT).read_bytes()
    assert complete(pytester.path / "hil-results") is ExitStatus.BAD
    assert (pytester.path / "hil-results" / JUNIT).read_bytes() == before
    consoles = sorted((pytester.path / "hil-results" / "att").glob("test-reset-flr-*"))
    assert [path.name.partition(".")[2] for path in consoles] == ["console.log", "run2.console.log"]


def test_a_run_that_died_twice_is_resumed(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(SIX.replace("assert 0", "pass"))
    for name in ("test_bad", "test_reset[pm]"):
        (pytester.path / f"die-in-{name}").touch()
    assert run(pytester).returncode < 0
    (pytester.path / "die-in-test_bad").touch()  # the same test again
    assert run(pytester, "--hil-resume").returncode < 0
    assert run(pytester, "--hil-resume").returncode < 0
    assert run(pytester, "--hil-resume").returncode == ExitStatus.GOOD
    assert ran(pytester).count("test_good") == 1
    found = report(pytester)
    assert of(found, "test_bad") == ["flakyFailure hil.incomplete"] * 2
    assert of(found, "test_reset[pm]") == ["flakyFailure hil.incomplete"]
    assert of(found, "retry_budget") == []  # the runner died: that is not the lab's limping
    assert session(pytester).runs == 4


def test_a_dead_parallel_run_is_resumed_in_parallel(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(SIX.replace("assert 0", "pass"))
    pytester.makeconftest(
        """
        import os, signal
        def pytest_runtest_logreport(report):  # in the controller: it dies with two tests in flight
            if not os.environ.get("PYTEST_XDIST_WORKER") and os.path.exists("die") and report.when == "call":
                os.unlink("die")
                os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    (pytester.path / "die").touch()
    assert run(pytester, *PARALLEL).returncode < 0
    finished = [entry.test.partition("::")[2] for entry in session(pytester).entries if entry.complete]
    ran(pytester)
    assert run(pytester, "--hil-resume", *PARALLEL).returncode == ExitStatus.GOOD
    again = ran(pytester)
    assert not set(finished) & set(again)
    assert sorted({*finished, *again}) == sorted(
        [*EVERY, *(["test_skipped"] if "test_skipped" in finished else [])]
    )
    assert [name for _, name in list(report(pytester))[:6]] == [
        "test_good",
        "test_bad",
        "test_skipped",
        "test_reset[flr]",
        "test_reset[pm]",
        "test_last",
    ]


def test_a_run_that_stopped_early_is_resumed(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(SIX)
    assert run(pytester, "-x").returncode == ExitStatus.BAD
    ran(pytester)
    assert run(pytester, "-x", "--hil-resume").returncode == ExitStatus.BAD
    assert ran(pytester) == EVERY[2:]
    assert of(report(pytester), "test_last") == []


def test_a_run_that_came_to_its_end_is_not_resumed(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(SIX)
    run(pytester)
    before = (pytester.path / "hil-results" / JOURNAL).read_bytes()
    done = run(pytester, "--hil-resume")
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "came to its end" in done.stderr
    assert (pytester.path / "hil-results" / JOURNAL).read_bytes() == before


def test_where_no_run_was_there_is_nothing_to_resume(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(SIX)
    done = run(pytester, "--hil-resume")
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "No such file" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("how", [(), PARALLEL], ids=["alone", "parallel"])
def test_other_tests_are_not_the_run_to_resume(pytester: pytest.Pytester, how: tuple[str, ...]) -> None:
    pytester.makepyfile(SIX)
    (pytester.path / "die-in-test_bad").touch()
    assert run(pytester).returncode < 0
    pytester.makepyfile(SIX.replace("def test_last", "def test_latest"))
    done = run(pytester, "--hil-resume", *how)
    assert done.returncode == ExitStatus.USAGE, done.stdout
    for word in ("1 more", "test_latest", "1 missing", "test_last"):
        assert word in done.stderr + done.stdout
    pytester.makepyfile(SIX)
    assert run(pytester, "--hil-resume").returncode == ExitStatus.BAD  # and nothing was lost by the mistake
    assert of(report(pytester), "test_bad") == ["rerunFailure hil.incomplete", "failure hil.mismatch"][::-1]


def test_other_arguments_are_not_the_run_to_resume(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(SIX)
    (pytester.path / "die-in-test_bad").touch()
    assert run(pytester, "--hil-under-test=6.12-a").returncode < 0
    before = (pytester.path / "hil-results" / JOURNAL).read_bytes()
    done = run(pytester, "--hil-under-test=6.12-b", "--hil-resume")
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "it had --hil-under-test=6.12-a, this one has --hil-under-test=6.12-b" in done.stderr
    assert (pytester.path / "hil-results" / JOURNAL).read_bytes() == before


def test_a_host_that_went_down_in_between_is_told_from_a_dead_runner(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(SIX)
    (pytester.path / "die-in-test_bad").touch()
    assert run(pytester).returncode < 0
    journal = pytester.path / "hil-results" / JOURNAL
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    journal.write_bytes(journal.read_bytes().replace(boot.encode(), b"another boot"))
    assert run(pytester, "--hil-resume").returncode == ExitStatus.BAD
    assert "rerunFailure hil.host-crash" in of(report(pytester), "test_bad")
    assert session(pytester).host_went_down is False


def test_every_cut_of_a_journal_can_be_reported_and_never_green(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(SIX.replace("assert 0", "pass"))
    assert run(pytester).returncode == ExitStatus.GOOD
    whole = (pytester.path / "hil-results" / JOURNAL).read_bytes()
    end = whole.index(b'{"record":"session-end"')
    folder = pytester.mkdir("cut")
    known: set[str] = set()
    for cut in range(end + 1):
        if cut % 7 and whole[cut - 1 : cut] != b"\n" and whole[cut : cut + 1] != b"\n":
            continue  # every line's ends, and every seventh byte of it
        lines = parse(whole[:cut].splitlines(keepends=True))
        assert lines.damaged == 0
        (folder / JOURNAL).write_bytes(whole[:cut])
        assert complete(folder) is ExitStatus.NOTHING_SAID
        now = {entry.test for entry in load(folder).entries if entry.complete}
        assert known <= now  # the longer the journal, the more is known
        known = now
    assert len(known) == 6
    assert isinstance(parse([to_line(SessionEnd(status=0))]).records[0], SessionEnd)


def test_what_an_earlier_run_left_is_put_away(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(SIX)
    run(pytester)
    results = pytester.path / "hil-results"
    (results / "att" / "notes.txt").write_text("mine")
    (results / "mine.txt").write_text("mine")
    (results / "soak.json").write_text("an earlier soak's")
    killed = removal.made(results, f".{JUNIT}.", "a file that is being written")
    (killed / JUNIT).write_text("a runner was killed while it wrote this")
    first = (results / JOURNAL).read_bytes()
    pytester.makepyfile(SIX.replace("test_good", "test_better"))
    done = run(pytester)
    assert "what an earlier run left there is in" in done.stdout
    att = {path.name for path in (results / "att").iterdir()}
    assert not any("good" in name for name in att)
    assert "notes.txt" in att
    assert (results / "earlier" / JOURNAL).read_bytes() == first
    assert any("good" in path.name for path in (results / "earlier" / "att").iterdir())
    assert not killed.exists()
    assert not (results / "soak.json").exists()
    assert (results / "earlier" / "soak.json").exists()
    assert complete(results / "earlier") is ExitStatus.BAD  # it can still be reported
    run(pytester)
    assert any("better" in path.name for path in (results / "earlier" / "att").iterdir())
    assert not any("good" in path.name for path in (results / "earlier" / "att").iterdir())
    assert sorted(path.name for path in results.iterdir()) == ["att", "earlier", JOURNAL, JUNIT, "mine.txt"]


def test_runs_that_began_no_test_push_nobody_out(pytester: pytest.Pytester) -> None:
    """Two mistakes on a command line in a row must not cost what a night has found."""
    pytester.makepyfile(SIX)
    run(pytester)
    results = pytester.path / "hil-results"
    night = (results / JOURNAL).read_bytes()
    assert run(pytester, "-k", "nosuch").returncode == ExitStatus.USAGE
    (pytester.path / "test_broken.py").write_text("def test_(:")
    for _ in range(2):
        assert run(pytester, "test_broken.py").returncode == ExitStatus.NOTHING_SAID
        run(pytester, "--nosuch")
    assert (results / "earlier" / JOURNAL).read_bytes() == night
    assert any("good" in path.name for path in (results / "earlier" / "att").iterdir())
    run(pytester, "-k", "good")
    assert (results / "earlier" / JOURNAL).read_bytes() == night


def test_a_run_in_progress_is_not_put_away(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import subprocess, sys
        def test_a(): pass
        def test_b():
            command = [sys.executable, "-m", "pytest", "--hil-results", "hil-results", "-k", "test_a"]
            done = subprocess.run(command, capture_output=True, text=True)
            assert done.returncode == 4 and "another run is writing to it" in done.stderr, done.stderr
        """
    )
    assert run(pytester).returncode == ExitStatus.GOOD
    assert not (pytester.path / "hil-results" / "earlier").exists()
    assert os.listdir(pytester.path / "hil-results")  # noqa: PTH208 - hidden files, too
