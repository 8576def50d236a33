"""The folder of a guest's sockets: short, private, and gone when its owner is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from harness import removal
from harness.lab.qemu import run_folder
from harness.lab.qemu.run_folder import RunFolder


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
        "from harness.lab.qemu import run_folder\n"
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
    monkeypatch.setattr("tempfile.gettempdir", lambda: "/" + "x" * 90)
    assert len(str(run_folder._base())) < 20


@pytest.mark.parametrize("name", ["main", "0.1.0", "results", "abcd_123"])
def test_a_strangers_folder_of_such_a_name_is_left(
    base: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = base / f"vfio-harness-{name}"
    (folder / "lab").mkdir(parents=True)
    (folder / "lab" / "run").write_text("mine")
    for _ in range(2):
        assert run_folder.sweep(base, new_s=0.0) == []
    assert (folder / "lab" / "run").read_text() == "mine"
    named = capsys.readouterr().err.splitlines()
    assert len(named) == (name == "abcd_123"), "once, and only what looks like one of ours"
    assert all(f"left {folder} alone: nothing in it says" in line for line in named)


def test_a_link_to_a_folder_of_a_dead_owner_is_left(
    base: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = removal.made(tmp_path_factory.mktemp("elsewhere"), "vfio-harness-", "a guest's run folder")
    (base / elsewhere.name).symlink_to(elsewhere)
    assert run_folder.sweep(base, new_s=0.0) == []
    assert elsewhere.exists()
