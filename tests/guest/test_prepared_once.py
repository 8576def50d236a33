"""A lab is prepared once in a run, whoever needs it, and what was chosen is said once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.guest.invocation import command, environment

READY = "lab: ready: kernel 6."
TESTS = """
import pytest

@pytest.mark.parametrize("number", range(6))
def test_needs_the_lab(hil_place, number):
    assert hil_place.template.path.is_dir()
    assert hil_place.recipe.kernel.release
"""
OURS = ["-p", "no:cacheprovider", "-p", "no:randomly", "-q"]


def preparations(words: list[str], at: Path) -> list[str]:
    """What a run says of the labs that it has prepared."""
    (at / "test_mine.py").write_text(TESTS)
    done = subprocess.run(
        words, cwd=at, env=environment(), capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return [line for line in (done.stdout + done.stderr).splitlines() if READY in line]


@pytest.mark.parametrize("workers", [[], ["-n", "2"]], ids=["one process", "workers"])
def test_a_supervised_run_prepares_once(workers: list[str], tmp_path: Path) -> None:
    words = command("run", "test_mine.py", *OURS, "--capture=no", *workers)
    assert len(preparations(words, tmp_path)) == 1


@pytest.mark.parametrize("workers", [[], ["-n", "2"]], ids=["one process", "workers"])
def test_a_session_of_pytest_prepares_once(workers: list[str], tmp_path: Path) -> None:
    """Not even its controller knows whether a test will need the lab: whoever needs it first makes it."""
    words = [sys.executable, "-m", "pytest", "test_mine.py", *OURS, "--capture=no", *workers]
    assert len(preparations([*words, "--hil-lab=emulated"], tmp_path)) == 1


@pytest.mark.kernels
def test_each_of_several_kernels_is_prepared_once(tmp_path: Path) -> None:
    words = command("run", "--kernels", "6.1,6.12", "test_mine.py", *OURS, "--capture=no")
    said = preparations(words, tmp_path)
    assert [line.partition("kernel ")[2][:4] for line in said] == ["6.1.", "6.12"]


def test_who_only_looks_prepares_nothing(tmp_path: Path) -> None:
    words = command("run", "test_mine.py", *OURS, "--collect-only")
    assert preparations(words, tmp_path) == []
