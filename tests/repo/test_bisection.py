"""The bisection of the README, typed as it stands there: git finds the commit that broke the promise."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.repo.tree import ROOT
from tests.tools import tool

BUILD = """\
olddefconfig modules:
bzImage:
\t@! grep -q unbuildable state
\t@cp state built
"""
"""A kernel whose commits are a word each; what was built last is what runs."""
RUN = """\
#!/bin/sh
case $(cat built) in good*) exit 0 ;; bad*) exit 1 ;; mistaken*) exit 2 ;; esac
"""
"""In the place of `lab/run`: it says what the README's table says."""


@pytest.fixture(autouse=True)
def tools() -> None:
    """What a bisection needs."""
    for name in ("git", "make"):
        tool(name)


def recipe() -> str:
    """What the reader types in the kernel's folder."""
    (typed,) = re.findall(
        r"```sh\ncd ~/src/linux && (git bisect run .*?)```", (ROOT / "README.md").read_text(), re.DOTALL
    )
    return str(typed)


def bisected(folder: Path, states: list[str]) -> tuple[int, str]:
    """Bisect over commits, the first of them good, the last one bad: status, and which is the first bad one."""
    kernel, harness = folder / "linux", folder / "vfio-harness" / "lab" / "run"
    harness.parent.mkdir(parents=True)
    harness.write_text(RUN)
    harness.chmod(0o755)

    def git(*words: str) -> str:
        who = ("-c", "user.name=t", "-c", "user.email=t@t", "-c", "commit.gpgsign=false")
        return subprocess.run(
            ["git", "-C", kernel, *who, *words], capture_output=True, text=True, check=True, timeout=60
        ).stdout.strip()

    kernel.mkdir()
    git("init", "-q")
    (kernel / "Makefile").write_text(BUILD)
    (kernel / ".gitignore").write_text("built\n")
    for state in states:
        (kernel / "state").write_text(state)
        git("add", "-A")
        git("commit", "-q", "-m", state)
    (kernel / "built").write_text(states[-1])  # what was tried last, before anybody thought of a bisection
    git("bisect", "start", "HEAD", git("rev-list", "--max-parents=0", "HEAD"))
    done = subprocess.run(
        ["sh", "-c", recipe().replace("~", str(folder))],
        cwd=kernel,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return done.returncode, git("log", "-1", "--format=%s", "refs/bisect/bad")


def test_it_finds_the_first_bad_commit_past_one_that_does_not_build(tmp_path: Path) -> None:
    states = ["good-1", "good-2", "unbuildable", "good-4", "bad-5", "bad-6", "bad-7"]
    assert bisected(tmp_path, states) == (0, "bad-5")


def test_a_mistake_on_the_command_line_ends_it_and_blames_no_commit(tmp_path: Path) -> None:
    status, bad = bisected(tmp_path, ["good-1", "mistaken-2", "mistaken-3", "mistaken-4", "bad-5"])
    assert (status, bad) == (128, "bad-5")
