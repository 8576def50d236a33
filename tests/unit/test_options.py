"""Options: what a user tells a command reaches the pytest that it starts, and both are read alike."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from harness import cli
from harness.lab.place import Wishes
from harness.options import LAB, RUN, SOAK, a_time, declare, for_pytest, wishes_of
from harness.statistics.comparison import FACTOR


def as_pytest_reads(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    declare(parser.add_argument, {**LAB, **RUN, **SOAK}, prefix="hil-")
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
    ["run", "replay x.history.zip", "soak flr --for 1s", "fuzz --seed 1", "setup", "shell"],
    ids=lambda text: text.split()[0],
)
def test_who_wishes_for_nothing_gets_the_default(command: str) -> None:
    told, _ = cli._parser().parse_known_args(command.split())
    assert wishes_of(told) == Wishes()


@pytest.mark.parametrize(
    "command",
    ["run", "replay x.history.zip", "soak flr --for 1s", "fuzz --seed 1"],
    ids=lambda text: text.split()[0],
)
def test_no_wish_is_no_argument(command: str) -> None:
    told, _ = cli._parser().parse_known_args(command.split())
    assert for_pytest(told) == []


def test_a_soak_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = "soak flr --for 1h30m --baseline b --update-baseline --until-failure --factor 3"
    told, _ = cli._parser().parse_known_args(words.split())
    read = as_pytest_reads(for_pytest(told))
    assert told.hil_soak == 5400
    assert (read.hil_baseline, read.hil_factor) == (tmp_path / "b", 3)
    assert (read.hil_update_baseline, read.hil_until_failure) == (True, True)


def test_a_run_that_goes_on_says_so() -> None:
    told, _ = cli._parser().parse_known_args(["run", "--resume"])
    assert for_pytest(told) == ["--hil-resume"]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("10m", 600), ("2h", 7200), ("1h30m", 5400), ("1.5 m", 90), ("0.4s", 0.4)],
)
def test_times_as_people_write_them(text: str, seconds: float) -> None:
    assert a_time(text) == seconds


@pytest.mark.parametrize("text", ["", "10", "2 hours", "0s", "-3s", "h", "3d", "30s2h"])
def test_times_that_are_none(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=r"Write how long: 90s, 10m, 2h"):
        a_time(text)


def test_the_usual_factor_is_said() -> None:
    assert f"(default: {FACTOR:g} times)" in SOAK["factor"]["help"]
