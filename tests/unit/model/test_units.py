"""Durations as people write them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.model.units import MS, SECOND, US, Ns, as_text, duration


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("50ms", 50 * MS),
        ("1.5s", 1_500 * MS),
        ("20us", 20 * US),
        ("7 ns", 7),
        ("  3 s  ", 3 * SECOND),
        ("0ms", 0),
        (Ns(42_000), 42_000),
        (US, 1_000),
        (Ns(0), 0),
    ],
)
def test_a_duration_has_a_number_and_a_unit(text: str | Ns, expected: int) -> None:
    assert duration(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "50",
        "ms",
        "-5ms",
        "5 minutes",
        "1e3ms",
        "5ms5us",
        "1,5s",
        ".5s",
        "5MS",
        Ns(-1),
        50,
        999,
        0.5,
        True,
        None,
        b"5ms",
    ],
)
def test_anything_else_is_refused_with_an_example(text: Any) -> None:
    with pytest.raises(UsageError, match=r"Write a number and a unit|0 or longer"):
        duration(text)


@pytest.mark.parametrize(
    ("span", "text"),
    [
        (0, "0 ns"),
        (999, "999 ns"),
        (7_200, "7.2 us"),
        (103_000_000, "103 ms"),
        (2_500_000_000, "2.5 s"),
        (999_600_000, "1 s"),
        (999_400, "999 us"),
        (-3_000_000, "-3 ms"),
    ],
)
def test_a_span_is_written_with_the_unit_that_suits_it(span: int, text: str) -> None:
    assert as_text(span) == text


@given(st.integers(0, 10**6), st.sampled_from(["ns", "us", "ms", "s"]))
def test_whole_numbers_are_exact_in_every_unit(number: int, unit: str) -> None:
    assert duration(f"{number}{unit}") == number * duration(f"1{unit}")
