"""A wild clock gets one more try, and no more."""

from __future__ import annotations

import pytest

from harness.errors import ClockError, GuestError
from harness.lab.template.template import with_a_sane_clock


class Maker:
    """Raises what it was given, one a call, then returns how often it was called."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.calls = 0

    def __call__(self) -> int:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return self.calls


def test_a_sane_clock_needs_one_try() -> None:
    assert with_a_sane_clock(Maker()) == 1


def test_a_wild_clock_is_tried_once_more() -> None:
    assert with_a_sane_clock(Maker(ClockError("first"))) == 2


def test_a_clock_that_is_wild_twice_is_an_error() -> None:
    maker = Maker(ClockError("first"), ClockError("second"))
    with pytest.raises(ClockError, match="second"):
        with_a_sane_clock(maker)
    assert maker.calls == 2


def test_another_error_is_not_tried_again() -> None:
    maker = Maker(GuestError("panicked"))
    with pytest.raises(GuestError):
        with_a_sane_clock(maker)
    assert maker.calls == 1
