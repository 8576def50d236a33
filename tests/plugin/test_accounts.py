"""What `./lab/test` prints at the end: where the time went, whose budget is spent, and last of all what ran again."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.gate import groups

ROOT = Path(__file__).parents[2]
FLAKY = """
import pathlib
import time
import pytest

def test_passes_the_second_time():
    first = not pathlib.Path("seen").exists()
    pathlib.Path("seen").touch()
    assert not first

def test_takes_a_while():
    time.sleep(0.3)

@pytest.mark.soak
def test_of_a_group():
    time.sleep(0.2)
"""
NAMED_LIKE_A_GROUP = """
import pytest

@pytest.mark.parametrize("name", [1], ids=["kills"])
def test_of_no_group(name):
    pass
"""


@pytest.fixture
def repository(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """One whose tests of `judge` are flaky, and that has a test file more than are printed."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    folder = pytester.mkdir("tests") / "unit"
    folder.mkdir()
    (folder / "test_flaky.py").write_text(FLAKY)
    (folder / "test_named.py").write_text(NAMED_LIKE_A_GROUP)
    for number in range(11):
        (folder / f"test_{number}.py").write_text("def test_quick(): pass\n")
    pytester.makeini("[pytest]\nmarkers = soak: rounds\naddopts = --import-mode=importlib\n")
    return pytester


def run(repository: pytest.Pytester, *arguments: str) -> list[str]:
    ours = ("-p", "tests.gate.accounts", "-p", "no:cacheprovider", "--reruns", "1")
    done = repository.runpytest_subprocess(*ours, *arguments)
    assert done.ret == 0
    return done.outlines


def between(lines: list[str], first: str, last: str) -> list[str]:
    (begin,) = [number for number, line in enumerate(lines) if line.startswith(first)]
    (end,) = [number for number, line in enumerate(lines) if last in line]
    return lines[begin + 1 : end]


@pytest.mark.parametrize("dealt", ["0", "2"])
def test_the_slowest_files_and_the_budgets_are_shown(repository: pytest.Pytester, dealt: str) -> None:
    lines = run(repository, "-n", dealt)
    slowest = between(lines, "10 slowest files", "budgets, in seconds")
    assert len(slowest) == 10
    assert slowest[0].split()[1] == "tests/unit/test_flaky.py"
    assert float(slowest[0].split()[0]) >= 0.5
    budgets = {line.split()[-1]: line for line in between(lines, "budgets, in seconds", "by the clock")}
    assert budgets.keys() == {"soak", "tests/unit"}
    assert f"/  {groups.FOLDERS['tests/unit']}" in budgets["tests/unit"]
    assert float(budgets["soak"].split()[0]) >= 0.2
    assert not any("OVER BUDGET" in line for line in lines)


def test_a_run_that_takes_longer_than_it_may_is_loud_and_no_failure(repository: pytest.Pytester) -> None:
    (line,) = [line for line in run(repository, "--budget", "0.1") if "by the clock" in line]
    assert line.endswith("OVER BUDGET")


@pytest.mark.parametrize("dealt", ["0", "2"])
def test_what_ran_again_is_the_last_that_is_said(repository: pytest.Pytester, dealt: str) -> None:
    *_, head, test = run(repository, "-n", dealt)
    assert head.startswith("1 test ran again")
    assert test.split() == ["1", "x", "tests/unit/test_flaky.py::test_passes_the_second_time"]
    *_, last = run(repository, "-n", dealt)  # now it passes at once
    assert " passed" in last
