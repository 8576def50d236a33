"""What is said of a process that was killed without a word."""

from __future__ import annotations

import pytest

from harness.lab.qemu.oom import OomKills


@pytest.mark.parametrize(
    ("before", "now", "said"),
    [
        ((1, 5), (2, 6), "the out-of-memory killer did it"),
        ((1, 5), (1, 6), "may have been the out-of-memory killer, which was at work"),
        ((None, 5), (None, 6), "may have been the out-of-memory killer, which was at work"),
        ((None, None), (None, None), "nothing here counts its victims"),
        ((1, 5), (1, 5), "not by the out-of-memory killer"),
    ],
)
def test_counts_are_compared(
    before: tuple[int | None, int | None], now: tuple[int | None, int | None], said: str
) -> None:
    earlier = OomKills(group=before[0], machine=before[1])
    assert said in OomKills(group=now[0], machine=now[1]).since(earlier)


def test_this_machine_counts() -> None:
    assert OomKills.now().machine is not None
