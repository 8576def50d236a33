"""Which of several broken promises is the headline: the cause, not what it brought about.

A kernel that does not wait shows wrong data, too, and far more often than it is seen not to wait; what was not
restored is read wrong a hundred thousand times.  So findings are ranked by what they tell of, not by how many
operations show it.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Final


class Cause(enum.IntEnum):
    """What a FAIL tells of, causes before their effects: of several the lowest is the headline."""

    KERNEL_FAULT = 0
    LOCK_DISCIPLINE = 1
    NEVER_RETURNED = 2
    """What waits behind somebody who is stuck has nothing to tell."""
    DID_NOT_WAIT = 3
    RESET_NOT_PERFORMED = 4
    NOT_RESTORED = 5
    TOO_EARLY = 6
    """Success was reported before the function was there."""
    BROKEN_RULE = 7
    """Any other promise: what is to be done around a reset, what a function or a driver does by itself."""
    WRONG_DATA = 8
    UNTIMELY = 9
    """Too long, or not long enough, on the way to the right end."""
    WEAKNESS_GONE = 10
    NOTHING = 11
    """Of PASS and UNKNOWN, and of who blames nobody."""


_OF_BLAME: Final[Mapping[str, Cause]] = {
    "hil.kernel-fault": Cause.KERNEL_FAULT,
    "hil.xpass": Cause.WEAKNESS_GONE,
    "hil.unknown": Cause.NOTHING,
}
"""What these tell of, whoever found them."""
CAUSES: Final[Mapping[tuple[str, str], Cause]] = {
    ("lock_discipline", ""): Cause.LOCK_DISCIPLINE,
    ("driver_locked", ""): Cause.LOCK_DISCIPLINE,
    ("kernel_log", "hil.driver-fault"): Cause.LOCK_DISCIPLINE,
    ("kernel_log", "hil.timeout"): Cause.NEVER_RETURNED,  # a hung task
    ("finished", ""): Cause.NEVER_RETURNED,
    ("access_outcome", "hil.mismatch"): Cause.DID_NOT_WAIT,
    ("access_outcome", "hil.timeout"): Cause.UNTIMELY,
    ("call_outcome", "hil.reset-failed"): Cause.RESET_NOT_PERFORMED,
    ("reset_happened", ""): Cause.RESET_NOT_PERFORMED,
    ("driver_reset", ""): Cause.RESET_NOT_PERFORMED,
    ("recovered", ""): Cause.RESET_NOT_PERFORMED,
    ("kernel_log", "hil.reset-failed"): Cause.RESET_NOT_PERFORMED,
    ("config_restored", ""): Cause.NOT_RESTORED,
    ("driver_restored", ""): Cause.NOT_RESTORED,
    ("interrupts_kept", ""): Cause.NOT_RESTORED,
    ("came_back", "hil.reset-failed"): Cause.TOO_EARLY,
    ("came_back", "hil.timeout"): Cause.UNTIMELY,
    ("values_sane", ""): Cause.WRONG_DATA,
    ("disk", ""): Cause.WRONG_DATA,
    ("call_time", ""): Cause.UNTIMELY,
    ("reset_time", ""): Cause.UNTIMELY,
}
"""What a FAIL of a question with a blame tells of, with any blame where none is named; all others are a broken rule."""


def cause_of(checker: str, blame: str) -> Cause:
    """What a FAIL tells of whose question does not say so itself.

    Args:
        checker: name of the question.
        blame: as a word of JUnit, `hil.mismatch`.
    """
    usual = CAUSES.get((checker, blame), CAUSES.get((checker, ""), Cause.BROKEN_RULE))
    return _OF_BLAME.get(blame, usual)
