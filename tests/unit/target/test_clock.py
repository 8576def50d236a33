"""Guest clock against host clock: a wild one is condemned, an uncertain reading condemns nobody."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import ClockError
from harness.target import clock
from harness.target.clock import ClockReading

SECOND = 1_000_000_000


def reading(host_ns: int, guest_ns: int, error_ns: int = 2_000_000) -> ClockReading:
    return ClockReading(
        host_before_ns=host_ns - error_ns // 2, guest_ns=guest_ns, host_after_ns=host_ns + error_ns // 2
    )


def test_a_clock_that_runs_four_times_too_fast_is_condemned() -> None:
    with pytest.raises(ClockError, match=r"in clone 3: the guest's ran at 3\.9\d+ to 4\.0\d+ of the host's"):
        clock.check(reading(0, 0), reading(SECOND, 4 * SECOND), where="clone 3")


def test_a_clock_that_stands_still_is_condemned() -> None:
    with pytest.raises(ClockError):
        clock.check(reading(0, 5), reading(SECOND, 5), where="x")


def test_an_offset_is_no_fault() -> None:
    found = clock.check(reading(0, 77 * SECOND), reading(SECOND, 78 * SECOND), where="x")
    assert found.least < 1 < found.most


def test_readings_closer_than_their_errors_condemn_nobody() -> None:
    first, last = reading(0, 0, error_ns=SECOND), reading(SECOND // 2, 3 * SECOND // 2, error_ns=SECOND)
    assert clock.rate(first, last).most == float("inf")
    assert clock.check(first, last, where="x").is_believable


@given(
    true_rate=st.floats(0.2, 5),
    elapsed_ns=st.integers(1, 60 * SECOND),
    errors_ns=st.tuples(*[st.integers(0, 50_000_000)] * 4),
)
def test_the_true_rate_always_lies_within_the_bounds(
    true_rate: float, elapsed_ns: int, errors_ns: tuple[int, int, int, int]
) -> None:
    first = ClockReading(host_before_ns=-errors_ns[0], guest_ns=0, host_after_ns=errors_ns[1])
    last = ClockReading(
        host_before_ns=elapsed_ns - errors_ns[2],
        guest_ns=round(true_rate * elapsed_ns),
        host_after_ns=elapsed_ns + errors_ns[3],
    )
    found = clock.rate(first, last)
    assert found.least <= true_rate + 1 / elapsed_ns
    assert found.most >= true_rate - 1 / elapsed_ns


def test_the_offset_is_what_separates_the_clocks() -> None:
    assert reading(SECOND, 5 * SECOND, error_ns=10).offset_ns == 4 * SECOND
    assert reading(SECOND, 5 * SECOND, error_ns=10).error_ns == 10
