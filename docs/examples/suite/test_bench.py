"""Tests of the suite's own: they need no guest, and nothing happens to them."""

from pathlib import Path

import pytest

TRIES: list[int] = []


def test_the_bench_is_there(bench: Path) -> None:
    assert bench.is_dir()


@pytest.mark.slow
def test_a_slow_one() -> None:
    assert sum(range(10)) == 45


@pytest.mark.flaky(reruns=2)
def test_a_flaky_one() -> None:
    TRIES.append(1)
    assert len(TRIES) > 1
