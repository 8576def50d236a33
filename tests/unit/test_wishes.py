"""Wishes: what a user tells a command reaches the pytest that it starts, and both are read alike."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from harness import cli
from harness.wishes import OPTIONS, declare, for_pytest, wishes_of
from lab.place import Wishes


def as_pytest_reads(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    declare(parser.add_argument, *OPTIONS, prefix="hil-")
    return parser.parse_args(arguments)


def test_what_a_run_is_told_reaches_its_pytest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = "--qemu q --kernel k --modules m --module a.ko --module b.ko --model x=f.py:x --model y=f.py:y"
    told, _ = cli._parser().parse_known_args(["run", *words.split(), "--cold", "--gdb", "tcp::1"])
    read = as_pytest_reads(for_pytest(told))
    assert wishes_of(read, "6.1") == Wishes(
        emulator=tmp_path / "q",
        kernel=tmp_path / "k",
        modules=tmp_path / "m",
        branch="6.1",
        own_modules=(tmp_path / "a.ko", tmp_path / "b.ko"),
        models=("x=f.py:x", "y=f.py:y"),
    )
    assert (read.hil_cold, read.hil_keep, read.hil_gdb) == (True, False, "tcp::1")


def test_kernels_reach_it_by_name() -> None:
    told, _ = cli._parser().parse_known_args(["run", "--kernels", "6.1,7.x"])
    assert for_pytest(told) == ["--hil-kernels=6.1,7.x"]


@pytest.mark.parametrize(
    "command",
    ["run", "replay x.history.zip", "soak flr --for 1s", "setup", "shell"],
    ids=lambda text: text.split()[0],
)
def test_who_wishes_for_nothing_gets_the_default(command: str) -> None:
    told, _ = cli._parser().parse_known_args(command.split())
    assert wishes_of(told) == Wishes()


@pytest.mark.parametrize(
    "command", ["run", "replay x.history.zip", "soak flr --for 1s"], ids=lambda text: text.split()[0]
)
def test_no_wish_is_no_argument(command: str) -> None:
    told, _ = cli._parser().parse_known_args(command.split())
    assert for_pytest(told) == []
