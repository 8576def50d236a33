"""A tally held against an earlier one of the same test in an equal place: what moved, and whether that says anything.

Three questions, each with a rule of its own:

* *Does it pass less often?*  Newcombe's interval of the difference of both pass rates, at 99 %, lies below zero.
* *Does it take longer?*  Both the median and the 99th percentile of an operation are more than `factor` times the
  baseline's, and both sides have enough operations for a 99th percentile.  One of the two alone moves on any busy
  machine.
* *Does it still collide?*  Accesses that met a window, for each stage, are fewer than a `factor`-th of the baseline's.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from harness.model.operation import HEARTBEAT
from harness.model.units import as_text
from harness.statistics.histogram import Histogram
from harness.statistics.proportion import Confidence, Proportion, difference
from harness.statistics.tally import Tally

FACTOR: Final = 2.0
"""How far latencies and meetings may move, unless the user says otherwise."""
ENOUGH: Final = 200
"""Operations for a 99th percentile that is not just the maximum or its neighbour."""
EMULATED: Final = "tcg"
"""The accelerator under which times are those of an emulator on a shared machine."""


class Aspect(enum.StrEnum):
    """What moved."""

    PASS_RATE = "pass rate"  # noqa: S105 - not a password
    LATENCY = "latency"
    MEETINGS = "meetings"


class Weight(enum.Enum):
    """What it means."""

    WARNING = enum.auto()
    """Worth a look: times and counts of an emulated machine depend on what else it does."""
    UNEXPLAINED = enum.auto()
    """No promise was broken, but the machine is one whose times mean something."""
    REGRESSION = enum.auto()
    """It fails more often than it did."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One thing that is worse than in the baseline.

    Attributes:
        test: whose.
        aspect: what moved.
        weight: what that means.
        claim: one sentence with both sides in numbers.
    """

    test: str
    aspect: Aspect
    weight: Weight
    claim: str


def compare(test: str, now: Tally, before: Tally, *, factor: float = FACTOR) -> tuple[Change, ...]:
    """Say what is worse now, if anything; the gravest first.

    Args:
        test: for the claims.
        now: the soak.
        before: the baseline.
        factor: how far latencies and meetings may move, above 1.
    """
    moved = Weight.WARNING if now.place.accelerator == EMULATED else Weight.UNEXPLAINED
    changes = [
        *(
            (Change(test=test, aspect=Aspect.PASS_RATE, weight=Weight.REGRESSION, claim=claim))
            for claim in _passes(now.passes, before.passes)
        ),
        *(
            (Change(test=test, aspect=Aspect.MEETINGS, weight=moved, claim=claim))
            for claim in _meetings(now, before, factor)
        ),
        *(
            (Change(test=test, aspect=Aspect.LATENCY, weight=moved, claim=claim))
            for word, histogram in sorted(now.latencies.items())
            if word in before.latencies and word != HEARTBEAT
            for claim in _latency(word, histogram, before.latencies[word], factor)
        ),
    ]
    return tuple(changes)


def _passes(now: Proportion, before: Proportion) -> Iterator[str]:
    worse = difference(now, before, Confidence.P99)
    if worse.high < 0:
        yield (
            f"passes less often: {now.good} of {now.total} rounds, baseline {before.good} of {before.total}; "
            f"the rate fell by {-worse.high:.2%} to {-worse.low:.2%} (99 %)"
        )


def _meetings(now: Tally, before: Tally, factor: float) -> Iterator[str]:
    if not (now.stages and before.stages):
        return
    mine, theirs = now.met / now.stages, before.met / before.stages
    if mine * factor < theirs:
        yield f"collides less often: {mine:.1f} accesses met a window in each stage, baseline {theirs:.1f}"


def _latency(word: str, now: Histogram, before: Histogram, factor: float) -> Iterator[str]:
    if min(now.count, before.count) < ENOUGH:
        return
    moved = []
    for percent in (50, 99):
        mine, theirs = now.percentile(percent), before.percentile(percent)
        if mine is None or theirs is None or mine <= factor * theirs:
            return
        moved.append(f"p{percent} {as_text(mine)}, baseline {as_text(theirs)}")
    yield f"{word} takes longer: {'; '.join(moved)}"
