"""A session as an exit status that `git bisect run` understands."""

from __future__ import annotations

import enum
from typing import Final

from harness.journal.record import Status
from harness.journal.session import ABORTED, NOT_RUN, Session
from harness.report.health import RETRY_TYPE, health

PYTEST_USAGE: Final = 4
"""pytest's own exit status for a mistake on its command line."""


class ExitStatus(enum.IntEnum):
    """What the run says to whoever started it."""

    GOOD = 0
    """Every verdict is PASS, skipped or an expected failure."""
    BAD = 1
    """At least one failure: function, driver or kernel."""
    USAGE = 2
    """The caller's mistake."""
    NOTHING_SAID = 125
    """No failure, but something has no verdict: infrastructure, UNKNOWN, a dead runner, nothing run."""


def exit_status(session: Session) -> ExitStatus:
    """Judge a session as a whole.

    A failure outranks everything: one broken promise is bad, whatever else could not be said.  A spent budget
    of retries speaks about the lab, not about the function, so it alone is never `BAD`.
    """
    entries = (*session.entries, *health(session))
    if any(entry.status is Status.FAILURE and entry.type != RETRY_TYPE for entry in entries):
        return ExitStatus.BAD
    if session.end is not None and session.end.status == PYTEST_USAGE:
        return ExitStatus.USAGE
    if any(entry.type == "hil.usage" for entry in session.entries):
        return ExitStatus.USAGE
    red = any(entry.status in (Status.ERROR, Status.FAILURE) for entry in entries)
    unreached = any(entry.type in (NOT_RUN, ABORTED) for entry in session.entries)
    if red or unreached or not session.entries:
        return ExitStatus.NOTHING_SAID
    return ExitStatus.GOOD
