"""What makes a frozen guest trusted, without a guest: hashes of sparse files, comparison, damage."""

from __future__ import annotations

import json
import mmap
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.errors import GuestError
from harness.lab.template import freeze

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


@pytest.fixture(params=["on tmpfs", "where temporary files lie"])
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder on a tmpfs, which every Linux machine has for shared memory, and one elsewhere."""
    if request.param != "on tmpfs":
        yield tmp_path_factory.mktemp("elsewhere")
        return
    shared = Path("/dev/shm")  # noqa: S108 - the C library's own place (shm_overview(7))
    if not os.access(shared, os.W_OK):
        pytest.skip(f"{shared} cannot be written to: mount a tmpfs there")
    with tempfile.TemporaryDirectory(dir=shared) as folder:
        yield Path(folder)


def test_reading_memory_through_a_mapping_changes_no_hash(place: Path) -> None:
    """A clone does it all the time; on tmpfs what was a hole is then an allocated page."""
    ram = sparse(place / "ram", {HOLE: b"x" * 5000})
    before = freeze.digest(ram)
    with ram.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as memory:
        assert sum(memory[at] for at in range(0, len(memory), 3 * mmap.PAGESIZE)) < 2 * ord("x")
    assert freeze.digest(ram) == before


@pytest.mark.parametrize("how", ["always", "never", "auto"])
def test_a_copy_is_the_same_frozen_guest_whatever_became_of_its_holes(
    frozen: Path, place: Path, how: str
) -> None:
    copy = place / "copy"
    subprocess.run(["cp", "-a", f"--sparse={how}", frozen, copy], check=True)
    assert freeze.damage(copy, thoroughly=True) == ""


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
def test_damage_is_seen_without_reading_all_memory(frozen: Path, harm: Callable[[Path], object]) -> None:
    harm(frozen)
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
