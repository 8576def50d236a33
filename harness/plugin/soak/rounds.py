"""The rounds of a soak as values: what one run of a test came to, and what is known of a test after many."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

import pytest

from harness.journal.record import AttemptRecord, StageRecord, Status
from harness.journal.session import XFAIL
from harness.report.soak import Seen, Soaked
from harness.statistics.tally import Outcome, Tally

GOOD: Final = (Outcome.PASSED, Outcome.KNOWN)
BAD: Final = {Outcome.FAILED: "failed", Outcome.UNJUDGED: "no verdict"}
CONCERN: Final = (Outcome.PASSED, Outcome.KNOWN, Outcome.SKIPPED, Outcome.UNJUDGED, Outcome.FAILED)


@dataclass(slots=True)
class Round:
    """One run of one test.

    Attributes:
        number: from 1.
        outcome: what it came to.
        type, summary, details: of what decided it.
        reports: of its phases.
        notes: stages and attempts that it told of.
        decisive: what the reporting plugin said of the phase that decided it.
    """

    number: int
    outcome: Outcome
    type: str
    summary: str
    details: str
    reports: list[pytest.TestReport]
    notes: list[StageRecord | AttemptRecord]
    decisive: dict[str, Any]

    def say(self, summary: str, details: str) -> None:
        """What is to be reported of the phase that decided it."""
        self.decisive["summary"], self.decisive["details"] = summary, details


@dataclass(slots=True)
class SoakedTest:
    """One test, whatever number of rounds it has been through.

    Attributes:
        item: what pytest collected.
        tally: of all rounds.
        shown: the round that decides so far.
        first: the first round of each kind that is no pass.
        kept: how many rounds of each such kind have their evidence kept.
    """

    item: pytest.Item
    tally: Tally = field(default_factory=Tally)
    shown: Round | None = None
    first: dict[Outcome, Seen] = field(default_factory=dict)
    kept: Counter[Outcome] = field(default_factory=Counter)

    def soaked(self) -> Soaked:
        """It as a value."""
        seen = [self.first[kind] for kind in reversed(CONCERN) if kind in self.first]
        return Soaked(test=self.item.nodeid, tally=self.tally, first=tuple(seen))


def judged(number: int, reports: list[pytest.TestReport], notes: list[StageRecord | AttemptRecord]) -> Round:
    """What the phases of one run add up to: the first of the worst, as in the journal."""
    said = [report.hil for report in reports]
    worst = max(said, key=lambda one: Status(one["status"]).concern)
    weak = any(note.weaknesses for note in notes if isinstance(note, StageRecord))
    match Status(worst["status"]):
        case Status.FAILURE:
            outcome = Outcome.FAILED
        case Status.ERROR:
            outcome = Outcome.UNJUDGED
        case Status.SKIPPED:
            outcome = Outcome.KNOWN if worst["type"] == XFAIL else Outcome.SKIPPED
        case Status.OK:
            outcome = Outcome.KNOWN if weak else Outcome.PASSED
    return Round(
        number=number,
        outcome=outcome,
        type=worst["type"],
        summary=worst["summary"].removeprefix("no verdict: "),
        details=worst["details"],
        reports=reports,
        notes=notes,
        decisive=worst,
    )


def concern(one: Round) -> int:
    """How bad it is: the larger decides."""
    return CONCERN.index(one.outcome)
