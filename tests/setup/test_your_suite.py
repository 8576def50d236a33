"""A suite of somebody else's with our wheel in it, beside the plugins that suites have: docs/examples/suite."""

from __future__ import annotations

import re
import shutil
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from harness.results import load
from tests.repo.tree import ROOT
from tests.setup.environments import environment, install, pythons, run
from tests.setup.test_wheel import Built, built, tools  # noqa: F401 - fixtures

pytestmark = pytest.mark.setup

SUITE: Final = ROOT / "docs" / "examples" / "suite"
BESIDE: Final = (
    *("pytest-timeout", "pytest-xdist", "pytest-randomly", "pytest-rerunfailures"),
    *("pytest-html", "pytest-cov", "pytest-sugar", "labgrid", "mypy"),
)
THEIRS, OURS = "test_bench.py", "test_resets.py"
ORDERS: Final = [(THEIRS, OURS), (OURS, THEIRS)]


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory, built: Built) -> Path:  # noqa: F811 - the fixture
    """The programs of an environment that was empty."""
    made = environment(tmp_path_factory.mktemp("suite") / "venv", pythons()[0])
    install(made, built.wheel, *BESIDE)
    return made


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """The example, as somebody copies it."""
    return shutil.copytree(SUITE, tmp_path / "suite", ignore=shutil.ignore_patterns("__pycache__", ".*"))


def test_its_types_are_checked_and_a_misspelt_word_is_found(programs: Path, suite: Path) -> None:
    fine = run(programs / "mypy", ".", at=suite)
    assert fine.returncode == 0, fine.stdout
    file = suite / OURS
    words = {
        'dut.resets(method, at="50ms")': 'dut.resets("flrr", at="50ms")',
        "*readers()": 'dut.reads("sysf", width=3)',
    }
    text = file.read_text()
    for right, wrong in words.items():
        assert right in text
        text = text.replace(right, wrong)
    file.write_text(text)
    found = run(programs / "mypy", ".", at=suite)
    assert found.returncode == 1
    for word in ('"flrr"', "'flrr'", "'sysf'", "[3]"):
        assert word.strip('"') in found.stdout or word in found.stdout, found.stdout


@pytest.mark.parametrize("order", ORDERS, ids=["theirs first", "ours first"])
@pytest.mark.parametrize(
    "told",
    [[], ["-n", "2"], ["--html=report.html", "--cov=.", "-p", "no:sugar"], ["--hil-results", "r"]],
    ids=["plain", "xdist", "html and cov", "results"],
)
def test_beside_other_plugins_and_without_a_lab_ours_skip_and_theirs_run(
    programs: Path, suite: Path, order: tuple[str, str], told: list[str]
) -> None:
    done = run(programs / "pytest", *order, "-rs", "-p", "no:cacheprovider", *told, at=suite)
    assert done.returncode == 0, done.stdout
    plain = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout)
    assert "no lab was asked for" in plain
    assert "internal error" not in plain.lower()
    if told[:1] == ["--html=report.html"]:
        assert (suite / "report.html").exists()
    if told[:1] == ["--hil-results"]:
        found = {entry.test.rpartition("::")[2]: str(entry.status) for entry in load(suite / "r").entries}
        assert found == {
            "test_the_bench_is_there": "ok",
            "test_a_slow_one": "ok",
            "test_a_flaky_one": "ok",
            "test_readers_sleep_through_a_reset[igb0-flr]": "skipped",
        }


def test_who_only_looks_runs_and_leaves_nothing(programs: Path, suite: Path) -> None:
    before = set(suite.rglob("*"))
    for look in ("--collect-only", "--setup-plan", "--fixtures-per-test", "--markers"):
        quiet = ("-p", "no:cacheprovider", "--hil-lab", "emulated")
        done = run(programs / "pytest", look, *quiet, at=suite, PYTHONDONTWRITEBYTECODE="1")
        assert done.returncode == 0, done.stdout
    assert set(suite.rglob("*")) == before


@pytest.mark.guest
@pytest.mark.parametrize("order", ORDERS, ids=["theirs first", "ours first"])
def test_in_a_lab_both_run(programs: Path, suite: Path, order: tuple[str, str]) -> None:
    told = ("--hil-lab", "emulated", "-p", "no:randomly", "-p", "no:cacheprovider")
    done = run(programs / "pytest", *order, *told, at=suite)
    assert done.returncode == 0, done.stdout
    assert re.search(
        r"^1 recovered, 3 ok in .*; exit status 0: every promise was kept$", done.stdout, re.MULTILINE
    )
    cases = ET.parse(suite / "hil-results" / "junit.xml").iter("testcase")  # noqa: S314 - we made it
    assert sum(case.get("name", "").startswith("test_") for case in cases) == 4


@pytest.mark.guest
def test_how_long_it_takes_from_installing_to_the_first_verdict(
    built: Built,  # noqa: F811 - the fixture
    suite: Path,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    """With a warm cache; docs/your-suite.md has what was measured once."""
    made = environment(tmp_path / "venv", pythons()[0])
    began = time.monotonic()
    install(made, built.wheel)
    installed = time.monotonic()
    told = ("--hil-lab", "emulated", "-p", "no:cacheprovider", "-o", "timeout=0", "-W", "ignore")
    done = run(made / "pytest", OURS, *told, at=suite)
    assert done.returncode == 0, done.stdout
    seconds = f"{installed - began:.0f} s to install, {time.monotonic() - installed:.0f} s to the verdict"
    record_property("first_verdict", seconds)
    print(seconds)  # noqa: T201 - shown with -s
