"""Wait for what the kernel does later than it says."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Seen = TypeVar("Seen")


def seen_within(limit_s: float, look: Callable[[], Seen | None], *, every_s: float) -> Seen | None:
    """Look again and again until there is something, at least once.

    Args:
        limit_s: for how long, in seconds of CLOCK_MONOTONIC.
        look: gives None while there is nothing.
        every_s: pause between two looks, in seconds.

    Returns:
        what was seen, or None when the time was over.
    """
    deadline = time.monotonic() + limit_s
    while (seen := look()) is None and time.monotonic() < deadline:
        time.sleep(every_s)
    return seen
