"""What one operation showed: one vocabulary for histories, contract and reports."""

from __future__ import annotations

import enum


class Outcome(enum.StrEnum):
    """How an operation ended.  Refusals by errno are spelled as the errno itself."""

    OK = "ok"
    """Success, promptly, with real data."""
    BLOCKED = "blocked"
    """Slept (uninterruptibly) until the window ended, then succeeded."""
    BLOCKED_AND_RESET = "blocked-and-reset"
    """As blocked, and then performed a reset of its own."""
    ALL_ONES = "all-ones"
    """Success, and every byte is 0xff: the root port made up the data."""
    ZERO = "zero"
    """Success with zeros where there should be data: QEMU's form of all-ones for memory with decode off."""
    SKIPPED = "skipped"
    """The call reports success but the reset that it should have done was dropped."""
    STALE = "stale"
    """Success from a copy, the device was never touched."""
    TRUNCATED = "truncated"
    """Success with fewer bytes than asked for, or none: the reader may not see more."""
    LOCKED = "locked"
    """Of a port above a reset: both its locks were held meanwhile."""
    FREE = "free"
    """Of a port above a reset: nobody locked it."""
    SIGBUS = "SIGBUS"
    """A load from or store to a mapping that the kernel has taken away.  A history keeps it as error -7 (minus the
    signal's number), and as value the offset of the access in the mapped file."""
    IN_FLIGHT = "in-flight"
    """Never returned."""
    EAGAIN = "EAGAIN"
    EBUSY = "EBUSY"
    EINVAL = "EINVAL"
    EIO = "EIO"
    ENODEV = "ENODEV"
    ENOENT = "ENOENT"
    ENOTTY = "ENOTTY"
    EPERM = "EPERM"
    EACCES = "EACCES"
    EFAULT = "EFAULT"
    REFUSED = "refused"
    """Refused with an errno that has no word of its own here; the history keeps the number."""
