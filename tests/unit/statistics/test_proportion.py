"""Rates and their intervals, against the numbers that were printed with the methods."""

from __future__ import annotations

import pytest

from harness.errors import UsageError
from harness.statistics.proportion import Confidence, Interval, Proportion, difference, rule_of_three


@pytest.mark.parametrize(
    ("good", "total", "low", "high"),
    [  # Newcombe 1998, Statistics in Medicine 17, p. 861, table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilsons_interval(good: int, total: int, low: float, high: float) -> None:
    found = Proportion(good, total).interval(Confidence.P95)
    assert (round(found.low, 4), round(found.high, 4)) == (low, high)


@pytest.mark.parametrize(
    ("a", "b", "low", "high"),
    [  # ibid. p. 878, table II, method 10
        (Proportion(56, 70), Proportion(48, 80), 0.0524, 0.3339),
        (Proportion(9, 10), Proportion(3, 10), 0.1705, 0.8090),
        (Proportion(6, 7), Proportion(2, 7), 0.0582, 0.8062),
        (Proportion(5, 56), Proportion(0, 29), -0.0381, 0.1926),
    ],
)
def test_newcombes_interval_of_a_difference(a: Proportion, b: Proportion, low: float, high: float) -> None:
    found = difference(a, b, Confidence.P95)
    assert (round(found.low, 4), round(found.high, 4)) == (low, high)


def test_all_good_leaves_room_below_and_none_above() -> None:
    found = Proportion(412, 412).interval()
    assert found.high == 1.0
    assert 0.990 < found.low < 0.991


def test_more_confidence_is_wider() -> None:
    seen = Proportion(95, 100)
    wide, narrow = seen.interval(Confidence.P99), seen.interval(Confidence.P95)
    assert wide.low < narrow.low < narrow.high < wide.high
    assert (Confidence.P95.percent, Confidence.P99.percent) == (95, 99)


def test_without_a_trial_everything_is_possible() -> None:
    nothing = Proportion(0, 0)
    assert nothing.value is None
    assert nothing.interval() == Interval(0.0, 1.0)
    assert difference(nothing, Proportion(3, 4)) == Interval(-1.0, 1.0)


@pytest.mark.parametrize(("good", "total"), [(2, 1), (-1, 3)])
def test_more_good_ones_than_trials_is_a_mistake(good: int, total: int) -> None:
    with pytest.raises(UsageError, match="there is no such thing"):
        Proportion(good, total)


def test_the_rule_of_three() -> None:
    assert rule_of_three(0) == 1.0
    assert rule_of_three(300) == pytest.approx(3 / 300, rel=0.01)
    assert (1 - rule_of_three(17)) ** 17 == pytest.approx(0.05)
