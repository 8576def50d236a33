"""Python environments made anew, and programs run in them as a user would: outside of the checkout."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Final

import pytest

DEADLINE_S: Final = 900
_OFFLINE: Final = re.compile(
    r"NewConnectionError|NameResolutionError|Temporary failure|unreachable|ProxyError|timed out"
)
_FOLDERS: Final = (
    *map(Path, os.get_exec_path()),
    *Path.home().glob(".pyenv/versions/*/bin"),
)


def pythons() -> list[Path]:
    """Every Python at hand that the project promises to run on; launchers of pyenv are none."""
    found = {
        path.resolve(): path
        for folder in _FOLDERS
        if folder.name != "shims"
        for path in sorted(folder.glob("python3.*"))
        if (name := re.fullmatch(r"python3\.(\d+)", path.name)) and int(name[1]) >= 11
    }
    return sorted(found.values(), key=lambda path: (path.name, path))


def run(*command: str | Path, at: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a program that knows nothing of this one's environment; what it says is in one stream."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTHON", "PYTEST", "VIRTUAL_ENV", "HARNESS"))
    }
    return subprocess.run(
        command,
        cwd=at,
        env=kept | variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=DEADLINE_S,
    )


def environment(folder: Path, python: Path) -> Path:
    """Make an empty environment; return the folder of its programs."""
    done = run(python, "-m", "venv", folder, at=folder.parent)
    if "ensurepip" in done.stdout:
        pytest.skip(f"{python} has no venv: apt-get install python3-venv")
    assert done.returncode == 0, done.stdout
    return folder / "bin"


def install(programs: Path, *what: str | Path) -> str:
    """Install packages into an environment; return what pip had to say beside that it did."""
    done = run(programs / "pip", "install", "--quiet", *what, at=programs)
    if done.returncode and _OFFLINE.search(done.stdout):
        pytest.skip(f"needs PyPI, or a mirror of it: {done.stdout.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stdout
    return done.stdout
