"""What makes a frozen guest trusted, without a guest: hashes of sparse files, comparison, damage."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from harness.errors import GuestError
from lab import freeze

HOLE = 4 << 20


def sparse(path: Path, pieces: dict[int, bytes], size: int = 16 << 20) -> Path:
    with path.open("wb") as file:
        file.truncate(size)
        for at, content in pieces.items():
            file.seek(at)
            file.write(content)
    return path


def test_the_hash_sees_content_and_place_but_not_how_zeros_are_stored(tmp_path: Path) -> None:
    one = freeze.digest(sparse(tmp_path / "a", {HOLE: b"x" * 5000}))
    assert freeze.digest(sparse(tmp_path / "b", {HOLE: b"x" * 5000, 2 * HOLE: bytes(5000)})) == one
    assert freeze.digest(sparse(tmp_path / "c", {HOLE: b"x" * 4999 + b"y"})) != one
    assert freeze.digest(sparse(tmp_path / "d", {2 * HOLE: b"x" * 5000})) != one


def test_a_changed_config_space_names_the_function_and_the_place() -> None:
    before = {"igb0": bytes(256), "edu0": b"\x34\x12\xe8\x11\x06" + bytes(251)}
    after = {"igb0": bytes(256), "edu0": b"\x34\x12\xe8\x11\x00" + bytes(251)}
    with pytest.raises(GuestError, match=r"function edu0.*first at 0x4.*HOT_PLUG"):
        freeze.refuse_changed(before, after)


def test_a_shorter_config_space_is_a_change() -> None:
    with pytest.raises(GuestError, match="first at 0x100"):
        freeze.refuse_changed({"igb0": bytes(4096)}, {"igb0": bytes(256)})


def test_equal_config_spaces_pass() -> None:
    freeze.refuse_changed({"igb0": bytes(256)}, {"igb0": bytes(256)})


@pytest.fixture
def frozen(tmp_path: Path) -> Path:
    """A folder as `freeze.make` leaves it."""
    sparse(tmp_path / freeze.RAM, {HOLE: b"guest memory"}).chmod(0o444)
    (tmp_path / freeze.STATE).write_bytes(b"devices")
    freeze.record(tmp_path)
    return tmp_path


def test_an_untouched_one_is_sound(frozen: Path) -> None:
    assert freeze.damage(frozen) == ""
    assert freeze.damage(frozen, thoroughly=True) == ""


def test_a_rename_is_no_damage(frozen: Path) -> None:
    moved = frozen.rename(frozen.with_name("elsewhere"))
    assert freeze.damage(moved, thoroughly=True) == ""


def _truncate_ram(folder: Path) -> None:
    os.chmod(folder / freeze.RAM, 0o644)  # noqa: PTH101 - a test of modes reads better with the system's word
    os.truncate(folder / freeze.RAM, 1 << 20)


def _rewrite_state(folder: Path) -> None:
    (folder / freeze.STATE).write_bytes(b"device?")


def _touch_ram(folder: Path) -> None:
    os.utime(folder / freeze.RAM)


def _make_ram_writable(folder: Path) -> None:
    (folder / freeze.RAM).chmod(0o644)


def _remove_state(folder: Path) -> None:
    (folder / freeze.STATE).unlink()


def _cut_manifest(folder: Path) -> None:
    (folder / freeze.MANIFEST).write_text('{"ram": ')


def _empty_manifest(folder: Path) -> None:
    (folder / freeze.MANIFEST).write_text(json.dumps([]))


@pytest.mark.parametrize(
    "harm",
    [
        _truncate_ram,
        _rewrite_state,
        _touch_ram,
        _make_ram_writable,
        _remove_state,
        _cut_manifest,
        _empty_manifest,
    ],
)
def test_damage_is_seen_without_reading_all_memory(frozen: Path, harm: object) -> None:
    harm(frozen)  # type: ignore[operator] # one of the functions above
    assert freeze.damage(frozen) != ""


def test_memory_changed_behind_its_time_stamp_is_seen_by_the_thorough_look(frozen: Path) -> None:
    ram = frozen / freeze.RAM
    stamp = ram.stat().st_mtime_ns
    ram.chmod(0o644)
    with ram.open("r+b") as file:
        file.seek(HOLE)
        file.write(b"G")
    ram.chmod(0o444)
    os.utime(ram, ns=(stamp, stamp))
    assert freeze.damage(frozen) == ""
    assert freeze.damage(frozen, thoroughly=True) != ""
