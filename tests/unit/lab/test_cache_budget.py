"""The budget: what goes when the cache takes too much, and what stays."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.lab.cache.budget import FORGOTTEN_S, LIMIT_VARIABLE, budget_bytes, collect
from harness.lab.cache.store import STAMP, Cache


def write_megabytes(folder: Path) -> None:
    (folder / "file").write_bytes(bytes(2_000_000))


def fill(root: Path, *keys: str, kind: str = "thing") -> None:
    """Make entries that nobody holds, each used a minute after the one before, the last a minute ago."""
    with Cache(root) as cache:
        for index, key in enumerate(keys):
            path = cache.publish(kind, key, write_megabytes)
            used_s = time.time() - 60 * (len(keys) - index)
            os.utime(path / STAMP, (used_s, used_s))


def keys_in(cache: Cache) -> set[str]:
    return {entry.key for entry in cache.entries()}


def test_over_budget_the_least_recently_used_goes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path, "a", "b", "c")
    monkeypatch.setenv(LIMIT_VARIABLE, "5M")
    with Cache(tmp_path) as cache:
        assert [entry.key for entry in collect(cache)] == ["a"]
        assert keys_in(cache) == {"b", "c"}
        assert collect(cache) == []


def test_what_was_fetched_counts_not_and_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path, "fetched", kind="debian")
    fill(tmp_path, "made")
    with Cache(tmp_path) as cache:
        monkeypatch.setenv(LIMIT_VARIABLE, "3M")
        assert collect(cache) == []
        monkeypatch.setenv(LIMIT_VARIABLE, "0")
        assert [entry.key for entry in collect(cache)] == ["made"]
        assert keys_in(cache) == {"fetched"}


def test_what_was_not_used_for_a_week_goes_though_there_is_room(tmp_path: Path) -> None:
    fill(tmp_path, "old", "new")
    with Cache(tmp_path) as cache:
        stamp = cache.path("thing", "old") / STAMP
        os.utime(stamp, (time.time() - FORGOTTEN_S - 1,) * 2)
        assert [entry.key for entry in collect(cache)] == ["old"]


def test_what_this_process_holds_stays_over_any_budget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path, "held", "other")
    monkeypatch.setenv(LIMIT_VARIABLE, "0")
    with Cache(tmp_path) as cache:
        cache.entry("thing", "held")
        assert [entry.key for entry in collect(cache)] == ["other"]
        assert (cache.path("thing", "held") / "file").exists()


def test_to_remove_small_ones_brings_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Cache(tmp_path) as cache:
        cache.publish("thing", "small", lambda folder: (folder / "file").write_bytes(b"small"))
    monkeypatch.setenv(LIMIT_VARIABLE, "0")
    with Cache(tmp_path) as cache:
        assert collect(cache) == []


@pytest.mark.parametrize(
    ("wished", "size_bytes"),
    [("0", 0), ("1234", 1234), ("500M", 500 << 20), ("2G", 2 << 30), ("1.5 GiB", 3 << 29), ("3kB", 3 << 10)],
)
def test_a_budget_is_written_as_people_write_sizes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wished: str, size_bytes: int
) -> None:
    monkeypatch.setenv(LIMIT_VARIABLE, wished)
    assert budget_bytes(tmp_path, 0) == size_bytes


@pytest.mark.parametrize("wished", ["much", "-1G", "3 apples"])
def test_a_budget_that_is_no_size_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wished: str
) -> None:
    monkeypatch.setenv(LIMIT_VARIABLE, wished)
    with Cache(tmp_path) as cache, pytest.raises(UsageError, match=f"{LIMIT_VARIABLE}={wished}.*2G"):
        collect(cache)


def test_without_a_wish_the_budget_is_a_share_of_the_disk_and_never_more_than_3_gib(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(LIMIT_VARIABLE, raising=False)
    free = shutil.disk_usage(tmp_path).free
    assert budget_bytes(tmp_path, 0) <= min(3 << 30, free // 10 + (1 << 20))
    assert budget_bytes(tmp_path, 1 << 50) == 3 << 30
