"""The folder of a guest's sockets: short, private, and gone when its owner is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from lab import run_folder
from lab.run_folder import RunFolder


@pytest.fixture(autouse=True)
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(run_folder, "_base", lambda: tmp_path)
    return tmp_path


def test_it_is_private_and_can_be_removed_twice() -> None:
    folder = RunFolder()
    assert folder.path.stat().st_mode & 0o777 == 0o700
    (folder.path / "console").write_text("x")
    folder.remove()
    folder.remove()
    assert not folder.path.exists()


def test_a_block_has_one_and_leaves_none(base: Path) -> None:
    with run_folder.run_folder() as path:
        (path / "console.log").write_text("x")
        assert run_folder.sweep(base, new_s=0.0) == []
    assert list(base.iterdir()) == []


def test_a_held_one_is_never_swept(base: Path) -> None:
    folder = RunFolder()
    assert run_folder.sweep(base, new_s=0.0) == []
    assert folder.path.exists()
    folder.remove()


def test_what_a_dead_owner_left_is_swept_unless_it_is_new(base: Path) -> None:
    program = (
        "import os, pathlib\n"
        "from lab import run_folder\n"
        f"run_folder._base = lambda: pathlib.Path({str(base)!r})\n"
        "run_folder.RunFolder()\n"
        "os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
    (left,) = base.iterdir()
    assert run_folder.sweep(base) == []
    assert run_folder.sweep(base, new_s=0.0) == [left]
    assert list(base.iterdir()) == []


def test_a_path_too_long_for_a_socket_is_avoided(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(run_folder.tempfile, "gettempdir", lambda: "/" + "x" * 90)
    assert len(str(run_folder._base())) < 20
