"""A session as an exit status that `git bisect run` understands."""

from __future__ import annotations

from typing import Final

from harness.errors import UsageError
from harness.journal.record import Status
from harness.journal.session import ABORTED, NOT_RUN, Session
from harness.model.exit_status import PYTEST_NO_TESTS, PYTEST_USAGE, ExitStatus
from harness.report.health import RETRY_TYPE, health

_AROUND: Final = ("setup", "teardown")
"""Phases around a test's body: whatever fails there, the test could not be carried out."""


def exit_status(session: Session) -> ExitStatus:
    """Judge a session as a whole.

    A failure outranks everything: one broken promise is bad, whatever else could not be said.  A spent budget
    of retries speaks about the lab, not about the function, so it alone is never `BAD`.
    """
    entries = (*session.entries, *health(session))
    if any(entry.status is Status.FAILURE and entry.type != RETRY_TYPE for entry in entries):
        return ExitStatus.BAD
    end = session.end.status if session.end is not None else 0
    if end == PYTEST_USAGE or (end == PYTEST_NO_TESTS and not session.entries):
        return ExitStatus.USAGE
    if any(entry.type == UsageError.kind and entry.phase not in _AROUND for entry in session.entries):
        return ExitStatus.USAGE
    red = any(entry.status in (Status.ERROR, Status.FAILURE) for entry in entries)
    unreached = any(entry.type in (NOT_RUN, ABORTED) for entry in session.entries)
    if red or unreached or not session.entries:
        return ExitStatus.NOTHING_SAID
    return ExitStatus.GOOD
