"""What drivers say of functions that they lost, gave up, or wait for in vain, and which reset they say it after.

A driver that says so right after a reset that reported success says that the reset was none.
"""

from __future__ import annotations

from typing import Final

from harness.history.history import History
from harness.judge.evidence.calls import Call
from harness.judge.evidence.evidence import Evidence
from harness.judge.evidence.log_events import LogEvent
from harness.judge.evidence.log_places import concerned
from harness.model.terms import LogClass
from harness.model.units import MS, SECOND

WARNING: Final = 4
"""Syslog level: what a driver says in passing proves nothing."""
_LOG_ERROR: Final = 10 * MS
"""By how much the log's clock may be wrong."""
_SET_UP: Final = 5 * SECOND
"""A line that is older than what is done before a release carries the time of another clock."""


def given_up(history: History, event: LogEvent) -> tuple[str, ...]:
    """The functions of the plan that a driver says it lost, and nobody had staged to go wrong; empty for any other."""
    if event.kind is not LogClass.GIVEN_UP or history.log[event.row].level > WARNING:
        return ()
    return tuple(alias for alias in concerned(history, event) if not history.plan.wrongs(alias))


def reset_before(evidence: Evidence, event: LogEvent, aliases: tuple[str, ...]) -> Call | None:
    """The last reset of one of these functions that had begun by then, and reported success.

    A driver may speak before the call returns: the kernel tells it of the reset in the resetting thread.
    """
    history = evidence.history
    time_ns = history.log[event.row].time_us * 1000
    if (
        time_ns < history.begin_ns - _SET_UP
    ):  # no time of this clock: all that is known is that it is of this stage
        time_ns = history.end_ns
    before = [
        call
        for call in evidence.calls
        if call.succeeded and call.begin_ns <= time_ns + _LOG_ERROR and set(aliases) & set(call.resets)
    ]
    return max(before, key=lambda call: call.begin_ns, default=None)
