"""A histogram against the times themselves."""

from __future__ import annotations

import json
import pickle
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import HistoryError
from harness.model.units import Ns
from harness.statistics.histogram import LONGEST, RELATIVE_ERROR, Histogram

TIMES = st.lists(st.integers(1, int(LONGEST)), min_size=1, max_size=60)


def of(times: list[int] | npt.NDArray[np.int64]) -> Histogram:
    made = Histogram()
    made.add(np.array(times, dtype=np.int64))
    return made


def nearest_rank(times: list[int], percent: float) -> int:
    ordered = sorted(times)
    return ordered[max(1, -int(-len(ordered) * percent // 100)) - 1]


@given(TIMES, st.sampled_from([1, 25, 50, 90, 99]))
def test_a_percentile_is_within_the_stated_error(times: list[int], percent: int) -> None:
    found = of(times).percentile(percent)
    exact = nearest_rank(times, percent)
    assert found is not None
    assert abs(found - exact) <= exact * RELATIVE_ERROR + 1  # the result is in whole nanoseconds


@given(TIMES)
def test_the_maximum_is_exact(times: list[int]) -> None:
    assert of(times).percentile(100) == max(times)
    assert of(times).max_ns == max(times)


@given(st.lists(TIMES, min_size=1, max_size=5))
def test_merging_is_as_if_all_had_been_added_to_one(rounds: list[list[int]]) -> None:
    merged = Histogram()
    for times in reversed(rounds):
        merged.merge(of(times))
    assert merged.to_json() == of([time for times in rounds for time in times]).to_json()


def test_every_power_of_the_growth_keeps_to_the_error() -> None:
    """The edges of buckets, where a logarithm that is rounded up would do harm."""
    growth = (1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR)
    for power in range(200, 1600, 7):
        exact = round(growth**power)
        if exact > LONGEST:
            break
        found = of([exact, int(LONGEST)]).percentile(50)
        assert found is not None
        assert abs(found - exact) <= exact * RELATIVE_ERROR + 1


def test_ten_thousand_ordinary_times() -> None:
    times = np.random.default_rng(7).lognormal(10, 1.5, 10_000).astype(np.int64) + 1
    histogram = of(times)
    for percent, rank in ((50.0, 5000), (90.0, 9000), (99.0, 9900), (99.9, 9990)):
        exact = np.sort(times)[rank - 1]
        assert histogram.percentile(percent) == pytest.approx(exact, rel=RELATIVE_ERROR + 1e-3)
    assert histogram.count == 10_000


def test_nothing_has_no_percentile() -> None:
    empty = Histogram()
    empty.add(np.zeros(0, dtype=np.int64))
    assert (empty.count, empty.percentile(50), empty.max_ns) == (0, None, 0)


def test_what_is_out_of_range_counts_at_its_end() -> None:
    found = of([0, -5, 10**17])
    assert found.count == 3
    assert found.percentile(50) == 1
    assert found.percentile(100) == 10**17


def test_shares_add_up() -> None:
    edges = np.geomspace(1.0, 1e14, 40)
    shares = of([100, 200, 40_000, 10**9]).shares(edges)
    assert shares.sum() == pytest.approx(1.0)
    assert np.count_nonzero(shares) >= 3


def test_it_survives_json() -> None:
    made = of([1, 500, 501, 10**9])
    assert Histogram.from_json(json.loads(json.dumps(made.to_json()))).to_json() == made.to_json()


@pytest.mark.parametrize(
    "spoiled",
    [
        {"relative_error": 0.02, "max_ns": 1, "counts": {}},
        {"relative_error": 0.01, "max_ns": 1, "counts": {"1": -2}},
        {"relative_error": 0.01, "max_ns": 1, "counts": {"99999": 2}},
        {"relative_error": 0.01, "max_ns": 1, "counts": {"-1": 2}},
        {"relative_error": 0.01, "max_ns": "long", "counts": {}},
        {"relative_error": 0.01, "max_ns": 1, "counts": [1]},
        {"max_ns": 1},
        [],
    ],
)
def test_what_is_none_is_refused(spoiled: Any) -> None:
    with pytest.raises(HistoryError, match="histogram"):
        Histogram.from_json(spoiled)


def test_its_size_does_not_grow() -> None:
    one, many = of([5]), of([5])
    for number in range(1000):
        many.add(np.arange(1, 1000, dtype=np.int64) * (number + 1))
    assert len(pickle.dumps(one)) >= len(pickle.dumps(many)) - 100  # numbers may need some bytes more
    assert len(json.dumps(many.to_json())) < 30_000
    assert many.max_ns == Ns(999_000)
