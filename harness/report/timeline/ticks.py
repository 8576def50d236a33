"""Round times for an axis."""

from __future__ import annotations


def ticks(begin: int, end: int, most: int) -> list[int]:
    """Round times between `begin` and `end` (ns), at most `most` + 1 of them."""
    span = max(1, end - begin)
    step = 1
    while span // step > most:
        for factor in (2, 5, 10):
            if span // (step * factor) <= most:
                step *= factor
                break
        else:
            step *= 10
    first = -(-begin // step) * step
    return list(range(first, end + 1, step))
