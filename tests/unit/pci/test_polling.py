"""Looking again until something is seen."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from harness.pci.polling import seen_within


def after(looks: int) -> tuple[Callable[[], str | None], list[int]]:
    """Something that is seen at the last of so many looks, and the count of looks."""
    made: list[int] = []

    def look() -> str | None:
        made.append(1)
        return "it" if len(made) == looks else None

    return look, made


@pytest.mark.parametrize("looks", [1, 2, 5])
def test_who_sees_it_looks_no_more(looks: int) -> None:
    look, made = after(looks)
    assert seen_within(60, look, every_s=0.001) == "it"
    assert len(made) == looks


def test_without_time_there_is_one_look() -> None:
    look, made = after(2)
    assert seen_within(0, look, every_s=60) is None
    assert len(made) == 1


def test_what_is_false_was_seen() -> None:
    assert seen_within(0, lambda: 0, every_s=60) == 0


def test_what_never_comes_is_waited_for_no_longer_than_said() -> None:
    look, made = after(0)
    assert seen_within(0.05, look, every_s=0.001) is None
    assert len(made) > 1
