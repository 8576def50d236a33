"""The table of what the cache holds, as `harness cache` prints it."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from harness.lab.cache.budget import LIMIT_VARIABLE
from harness.lab.cache.store import STAMP, Cache, allocated_bytes
from harness.lab.cache.table import render
from harness.lab.progress import size_text


def write_hello(folder: Path) -> None:
    (folder / "hello").write_text("hello")


def test_the_table_names_sizes_ages_and_users(tmp_path: Path) -> None:
    with Cache(tmp_path) as cache:
        assert (
            render(cache).splitlines()[0] == f"{tmp_path}: {size_text(allocated_bytes(tmp_path))}, 0 entries"
        )
        path = cache.publish("thing", "one", write_hello)
        size = size_text(allocated_bytes(path)).split()
        assert render(cache).splitlines()[1].split()[:4] == [*size, "thing", "one"]
        assert "in use" in render(cache)
    old = time.time() - 3 * 86400
    os.utime(path / STAMP, (old, old))
    with Cache(tmp_path) as cache:
        table = render(cache)
    assert "made 0 min ago, used 3 days ago" in table
    assert "in use" not in table
    assert ", 1 entry" in table


def test_the_table_shows_the_budget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(LIMIT_VARIABLE, "500M")
    with Cache(tmp_path) as cache:
        cache.publish("thing", "one", lambda folder: (folder / "file").write_bytes(bytes(2_000_000)))
        assert "made here: 2.0 MB, the budget is 524 MB (VFIO_HARNESS_CACHE_LIMIT)" in render(cache)
