"""How checkers speak: shapes of findings that all of them use."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import replace

from harness.model.cause import Cause
from harness.model.outcome import Outcome
from harness.model.promise import Promise
from harness.model.verdict import Blame, EventId, EventKind, Finding, Verdict


class Aspect(enum.Enum):
    """What a promise speaks of, and so what its weakness is about."""

    OUTCOME = enum.auto()
    STATE = enum.auto()
    CONFIG = enum.auto()


def weak(promise: Promise, aspect: Aspect) -> str:
    """The weakness sentence of an entry if it is about `aspect`, else nothing.

    A weakness of a reset that is skipped is about the outcome and the state.  Any other is about the state
    when the entry promises a state, else about config space when it promises one, else about the outcome.
    """
    if promise.outcome is Outcome.SKIPPED:
        about: tuple[Aspect, ...] = (Aspect.OUTCOME, Aspect.STATE)
    elif promise.state is not None:
        about = (Aspect.STATE,)
    elif promise.config is not None:
        about = (Aspect.CONFIG,)
    else:
        about = (Aspect.OUTCOME,)
    return promise.weakness or "" if aspect in about else ""


def operation(row: int) -> EventId:
    """The id of a row of `History.operations`."""
    return EventId(EventKind.OPERATION, int(row))


def kernel(row: int) -> tuple[EventId, ...]:
    """The id of a row of `History.kernel`; nothing for -1."""
    return (EventId(EventKind.KERNEL, int(row)),) if row >= 0 else ()


def log(row: int) -> EventId:
    """The id of a line of `History.log`."""
    return EventId(EventKind.LOG, row)


def served(row: int) -> EventId:
    """The id of a row of `History.served`."""
    return EventId(EventKind.SERVED, int(row))


def passed(
    checker: str,
    claim: str,
    *,
    promise: Promise | None = None,
    met: int = 0,
    weakness: str = "",
    source: str = "",
) -> Finding:
    """A promise that was kept by `met` operations."""
    return Finding(
        checker=checker,
        verdict=Verdict.PASS,
        claim=claim,
        promise=promise.id if promise else "",
        source=promise.source if promise else source,
        met=met,
        weakness=weakness,
    )


def unknown(
    checker: str, claim: str, *, promise: Promise | None = None, met: int = 0, events: Iterable[EventId] = ()
) -> Finding:
    """A question that the evidence does not answer."""
    return Finding(
        checker=checker,
        verdict=Verdict.UNKNOWN,
        claim=claim,
        events=tuple(events),
        promise=promise.id if promise else "",
        source=promise.source if promise else "",
        met=met,
    )


def starved(
    checker: str, claim: str, *, promise: Promise | None = None, met: int = 0, events: Iterable[EventId] = ()
) -> Finding:
    """A question that the evidence does not answer because the machine was too busy."""
    return replace(unknown(checker, claim, promise=promise, met=met, events=events), blame=Blame.STARVED)


def failed(
    checker: str,
    blame: Blame,
    claim: str,
    *,
    events: Iterable[EventId] = (),
    promise: Promise | None = None,
    met: int = 0,
    weakness: str = "",
    source: str = "",
    cause: Cause = Cause.NOTHING,
) -> Finding:
    """A broken promise; with `weakness` the promise was that of a weakness, which is gone.

    `cause` is for what tells of something else than others of its question; see :mod:`harness.model.cause`.
    """
    return Finding(
        checker=checker,
        verdict=Verdict.FAIL,
        claim=f"A known weakness was not seen: {claim}" if weakness else claim,
        events=tuple(events),
        promise=promise.id if promise else "",
        source=promise.source if promise else source,
        met=met,
        blame=Blame.WEAKNESS_GONE if weakness else blame,
        cause=Cause.WEAKNESS_GONE if weakness else cause,
    )
