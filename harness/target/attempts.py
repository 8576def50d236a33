"""A retry policy carried out by the host, as a value of tenacity.

>>> attempting(CONNECT)(connection.connect, path)  # doctest: +SKIP

Clock and sleep are arguments, so that a test needs no time.  When the attempts are over, the last one stands:
what it returned is returned, what it raised is raised.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from tenacity import Future, RetryCallState, Retrying, retry_if_exception, retry_if_result

from harness.model.policy import Policy
from harness.model.units import SECOND


@dataclass(frozen=True, slots=True, order=True)
class Deadline:
    """A point in time by which something must be over.

    A point is handed on unchanged from call to call; a length of time would start anew in each of them.

    Attributes:
        at: seconds of CLOCK_MONOTONIC of this machine.
    """

    at: float

    @classmethod
    def after(cls, seconds: float, clock: Callable[[], float] = time.monotonic) -> Deadline:
        """So many seconds from now."""
        return cls(clock() + seconds)

    def remaining(self, now: float) -> float:
        """Seconds that are left, never negative: fit for a timeout."""
        return max(0.0, self.at - now)

    def expired(self, now: float) -> bool:
        """Whether it has passed."""
        return now >= self.at


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One attempt that is given up, before the next one begins.

    Attributes:
        number: from 1.
        error: what it raised; None when it returned what will not do.
        answer: what it returned; None when it raised.
        pause_s: until the next attempt.
    """

    number: int
    error: BaseException | None
    answer: Any
    pause_s: float


def unobserved(attempt: Attempt) -> None:
    """Tell nobody."""


def anything_will_do(_answer: object) -> bool:
    """Every answer is final."""
    return False


def attempting(
    policy: Policy,
    *,
    unsettled: Callable[[Any], bool] = anything_will_do,
    until: Deadline | None = None,
    observe: Callable[[Attempt], None] = unobserved,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Retrying:
    """What carries `policy` out: call it with a function and its arguments.

    The patience of the policy counts from this call, so make it for one series of attempts.  The last attempt begins
    when the patience or the deadline is over; one that is under way is not cut short.

    Args:
        policy: which errors may be tried again, how often and for how long.
        unsettled: whether an answer is not what is waited for, so that another attempt is made.
        until: an end that the caller has anyway.
        observe: told of each attempt that is given up, before the pause; may make ready for the next one.
        clock: seconds that never go back.
        sleep: passes so many seconds.
    """
    patience = Deadline.after(policy.patience_ns / SECOND, clock)
    end = patience if until is None else min(patience, until)

    def pause(state: RetryCallState) -> float:
        return min(policy.pause_ns(state.attempt_number) / SECOND, end.remaining(clock()))

    def over(state: RetryCallState) -> bool:
        return state.attempt_number >= policy.attempts or end.expired(clock())

    return Retrying(
        retry=retry_if_exception(policy.forgives) | retry_if_result(unsettled),
        wait=pause,
        stop=over,
        sleep=sleep,
        before_sleep=lambda state: observe(_given_up(state)),
        retry_error_callback=_last_stands,
    )


def _given_up(state: RetryCallState) -> Attempt:
    outcome = _outcome(state)
    error = outcome.exception()
    return Attempt(
        number=state.attempt_number,
        error=error,
        answer=None if error else outcome.result(),
        pause_s=state.upcoming_sleep,
    )


def _last_stands(state: RetryCallState) -> Any:
    return _outcome(state).result()


def _outcome(state: RetryCallState) -> Future:
    """Tenacity sets it before it asks anybody what to do with it."""
    return cast("Future", state.outcome)
