"""What is in a group runs when it is asked for, or its file is named, and never else; pytest itself says so."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.repo.tree import ROOT

FILE = "tests/setup/test_wheel.py"
DEFAULT = "tests/setup/test_environment.py::test_each_script_calls_its_program"


@pytest.mark.parametrize(
    ("words", "grouped", "others"),
    [
        (["tests/setup"], False, True),
        (["tests/setup", "-m", "not guest"], False, True),
        (["tests/setup", "-m", "not setup"], False, True),
        (["tests/setup", "-m", "setup"], True, False),
        (["tests/setup", "-m", "soak or setup"], True, False),
        (["tests/setup", "-m", "soak or setup or not guest"], True, True),
        ([FILE], True, False),
        ([f"{FILE}::test_a_build_is_quiet"], True, False),
    ],
    ids=["nothing", "something else", "refused", "asked for", "one of two", "all", "file", "test"],
)
def test_it_runs_only_when_it_is_asked_for(words: list[str], *, grouped: bool, others: bool) -> None:
    command = [sys.executable, "-m", "pytest", "-n", "0", "--collect-only", "-q", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (f"{FILE}::" in done.stdout) is grouped
    assert (DEFAULT in done.stdout) is others
