"""What is marked `setup` runs when it is asked for, and never else."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.repo.tree import ROOT


@pytest.mark.parametrize(
    ("options", "there"),
    [([], False), (["-m", "not guest"], False), (["-m", "not setup"], False), (["-m", "setup"], True)],
    ids=["nothing", "something else", "refused", "asked for"],
)
def test_it_runs_only_when_it_is_asked_for(options: list[str], there: bool) -> None:  # noqa: FBT001
    command = [sys.executable, "-m", "pytest", "-n", "0", "--collect-only", "-q", "tests/setup", *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert ("test_wheel.py::" in done.stdout) is there
