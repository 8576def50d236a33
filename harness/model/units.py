"""Integers that must not be mixed up, and durations as people write them.

All times are CLOCK_MONOTONIC of the target, in nanoseconds, unless a name says otherwise.
"""

from __future__ import annotations

import re
from typing import Final, NewType

from harness.errors import UsageError

Ns = NewType("Ns", int)
"""A point in time or a length of time, in nanoseconds."""

US: Final = Ns(1_000)
MS: Final = Ns(1_000_000)
SECOND: Final = Ns(1_000_000_000)

_UNITS: Final = {"ns": Ns(1), "us": US, "ms": MS, "s": SECOND}
_DURATION: Final = re.compile(r"\s*(\d{1,19}(?:\.\d{1,19})?)\s*(ns|us|ms|s)\s*")


def duration(text: str | Ns) -> Ns:
    """Read a duration such as `"50ms"`, `"1.5s"` or `"20us"`.

    Args:
        text: a number of at least 0 with its unit (ns, us, ms, s), or nanoseconds as :data:`Ns`: 0, or a microsecond
            and more, for a bare number below that is one whose unit was forgotten.

    Returns:
        Nanoseconds, at least 0.

    Raises:
        UsageError: no number, no unit, or another unit.
    """
    if type(text) is int and (text == 0 or text >= US):
        return Ns(text)
    if type(text) is int and text < 0:
        raise UsageError(f"duration {text} ns", said="below zero", hint="Durations are 0 or longer.")
    match = _DURATION.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise UsageError(
            f"duration {text!r}",
            said="not understood" if isinstance(text, str) else "no unit",
            hint='Write a number and a unit: "50ms", "1.5s", "20us".',
        )
    return Ns(round(float(match[1]) * _UNITS[match[2]]))


def as_text(span: int) -> str:
    """Write a length of time with the unit that suits its size, as in `103 ms` or `7.2 us`."""
    for unit, size in (("s", SECOND), ("ms", MS), ("us", US)):
        if abs(span) >= size - size // 2000:  # 999.6 ms would be 1e+03 ms
            return f"{span / size:.3g} {unit}"
    return f"{span} ns"
