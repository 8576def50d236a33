"""Rounds of one test, added up.  Its size does not grow with their number."""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from harness.errors import HistoryError
from harness.history.history import History
from harness.history.steps import steps_of
from harness.statistics.histogram import Histogram
from harness.statistics.proportion import Proportion
from harness.statistics.spans import spans

VERSION: Final = 1
"""Of the JSON of a tally."""


class Outcome(enum.StrEnum):
    """What one round of a test came to."""

    PASSED = "passed"
    KNOWN = "known"
    """A known weakness was seen, as expected: it counts as passed."""
    FAILED = "failed"
    """A promise was broken."""
    UNJUDGED = "unjudged"
    """No verdict: lab, harness, starved machine, evidence missing.  It counts neither for nor against."""
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a test ran; only what ran in equal places may be compared.

    Attributes:
        function: aliases of the functions that took part, joined by `+`, without their ports; empty without a stage.
        platform: model words of those functions, joined in the same way.
        kernel: series, `6.12`, and modules of the user's own, `6.12+ipr-0123456789ab`.
        accelerator: `kvm` or `tcg`; under `tcg` times say little.
    """

    function: str = ""
    platform: str = ""
    kernel: str = ""
    accelerator: str = ""


@dataclass(slots=True)
class Tally:
    """What all rounds of one test came to.

    Attributes:
        place: of the first round that staged anything.
        outcomes: how many rounds ended how.
        retried: rounds that needed more than one attempt.
        attempts: attempts that were given up, by their `hil.*` type: what the lab had to repeat.
        stages: how many were judged.
        met: accesses and calls that met a window, over all stages.
        met_nothing: stages in which none did.
        operations: all that were begun.
        latencies: times by operation word.
    """

    place: Place = field(default_factory=Place)
    outcomes: Counter[Outcome] = field(default_factory=Counter)
    retried: int = 0
    attempts: Counter[str] = field(default_factory=Counter)
    stages: int = 0
    met: int = 0
    met_nothing: int = 0
    operations: int = 0
    latencies: dict[str, Histogram] = field(default_factory=dict)

    @property
    def rounds(self) -> int:
        """How many were complete."""
        return self.outcomes.total()

    @property
    def passes(self) -> Proportion:
        """Passes among the rounds that have a verdict."""
        good = self.outcomes[Outcome.PASSED] + self.outcomes[Outcome.KNOWN]
        return Proportion(good, good + self.outcomes[Outcome.FAILED])

    def add_round(self, outcome: Outcome, gave_up: tuple[str, ...] = ()) -> None:
        """Count one round.

        Args:
            outcome: of its last attempt.
            gave_up: `hil.*` types of the attempts before.
        """
        self.outcomes[outcome] += 1
        self.retried += bool(gave_up)
        self.attempts.update(gave_up)

    def add_stage(self, history: History, met: int) -> None:
        """Count one judged stage.

        Args:
            history: its evidence.
            met: how many of its operations met a window.
        """
        if self.place == Place():
            self.place = place_of(history)
        self.stages += 1
        self.met += met
        self.met_nothing += not met
        self.operations += history.begun
        for operation, times, counts in spans(steps_of(history)):
            self.latencies.setdefault(operation, Histogram()).add(times, counts)

    def merge(self, other: Tally) -> None:
        """Add the rounds of another tally of the same test in an equal place."""
        if self.place == Place():
            self.place = other.place
        self.outcomes += other.outcomes
        self.attempts += other.attempts
        self.retried += other.retried
        self.stages += other.stages
        self.met += other.met
        self.met_nothing += other.met_nothing
        self.operations += other.operations
        for operation, histogram in other.latencies.items():
            self.latencies.setdefault(operation, Histogram()).merge(histogram)

    def to_json(self) -> dict[str, Any]:
        """It as JSON values."""
        return {
            "version": VERSION,
            "function": self.place.function,
            "platform": self.place.platform,
            "kernel": self.place.kernel,
            "accelerator": self.place.accelerator,
            "outcomes": {
                str(outcome): self.outcomes[outcome] for outcome in Outcome if self.outcomes[outcome]
            },
            "retried": self.retried,
            "attempts": dict(sorted(self.attempts.items())),
            "stages": self.stages,
            "met": self.met,
            "met_nothing": self.met_nothing,
            "operations": self.operations,
            "latencies": {word: histogram.to_json() for word, histogram in sorted(self.latencies.items())},
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Tally:
        """Read what :meth:`to_json` wrote.

        Raises:
            HistoryError: it is malformed, or of a version that this harness does not know.
        """
        try:
            if values["version"] != VERSION:
                raise HistoryError("tally", said=f"version {values['version']}, this harness reads {VERSION}")
            return cls(
                place=Place(
                    function=str(values["function"]),
                    platform=str(values["platform"]),
                    kernel=str(values["kernel"]),
                    accelerator=str(values["accelerator"]),
                ),
                outcomes=Counter({Outcome(word): _count(n) for word, n in values["outcomes"].items()}),
                retried=_count(values["retried"]),
                attempts=Counter({str(kind): _count(n) for kind, n in values["attempts"].items()}),
                stages=_count(values["stages"]),
                met=_count(values["met"]),
                met_nothing=_count(values["met_nothing"]),
                operations=_count(values["operations"]),
                latencies={
                    str(word): Histogram.from_json(found) for word, found in values["latencies"].items()
                },
            )
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise HistoryError("tally", said=f"malformed: {type(error).__name__} {error}") from error


def place_of(history: History) -> Place:
    """Where a stage ran."""
    aliases = history.plan.functions
    own = [alias for alias in aliases if not any(alias.startswith(f"{other}.") for other in aliases)]
    platforms = {record.alias: record.platform for record in history.functions}
    release = str(history.provenance.get("kernel.release", ""))
    modules = str(
        history.provenance.get("kernel.own_modules", "")
    )  # a patched driver has a baseline of its own
    return Place(
        function="+".join(own),
        platform="+".join(platforms.get(alias, "unknown") for alias in own),
        kernel="+".join(filter(None, (".".join(release.split(".")[:2]), modules))),
        accelerator=str(history.provenance.get("lab.accelerator", "")),
    )


def _count(value: Any) -> int:
    count = int(value)
    if count < 0:
        raise ValueError(f"{count} is below zero")
    return count
