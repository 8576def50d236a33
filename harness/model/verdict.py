"""Findings and the verdict that they add up to."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import NoReturn

from harness.errors import UsageError
from harness.model.cause import Cause, cause_of


class Verdict(enum.IntEnum):
    """Ordered by concern: merging is `max()`, and no evidence is UNKNOWN."""

    PASS = 0
    UNKNOWN = 1
    FAIL = 2

    def __bool__(self) -> NoReturn:
        """Refuse: as a truth value PASS would be false, and `assert run.verdict` green for a FAIL.

        Raises:
            UsageError: always.
        """
        raise UsageError(
            "taking a verdict for a truth value",
            said="there are three",
            hint="Compare it: `run.verdict is Verdict.PASS`.  A test is held to its verdicts without asking.",
        )


class Blame(enum.StrEnum):
    """What a FAIL is about: the `type=` of its JUnit element (docs/reports.md lists them)."""

    MISMATCH = "hil.mismatch"
    """Promise broken: wrong data, wrong outcome, an access that should have waited."""
    TIMEOUT = "hil.timeout"
    RESET_FAILED = "hil.reset-failed"
    DEVICE_LOST = "hil.device-lost"
    KERNEL_FAULT = "hil.kernel-fault"
    DRIVER_FAULT = "hil.driver-fault"
    """A driver broke the rules of a lock: gave back what it did not hold, or never gave it back."""
    WEAKNESS_GONE = "hil.xpass"
    """A weakness that the contract knows was not seen any more."""
    STARVED = "hil.infra.starved"
    """For UNKNOWN: the machine was too busy for times to mean anything.  A second try may tell."""
    NOTHING = "hil.unknown"
    """For PASS and any other UNKNOWN: nobody is to blame."""


class EventKind(enum.StrEnum):
    """Which table of a history an event id points into."""

    OPERATION = "operation"
    KERNEL = "kernel"
    LOG = "log"
    SERVED = "served"


@dataclass(frozen=True, slots=True, order=True)
class EventId:
    """One row of one table of a history; printed `operation:17`."""

    kind: EventKind
    row: int

    def __str__(self) -> str:
        return f"{self.kind}:{self.row}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One checker's claim, with the events that prove it and the source of the rule.

    Attributes:
        checker: name of the checker's module, e.g. `access_outcome`.
        verdict: what this claim amounts to.
        claim: one sentence for a tired engineer.
        events: rows of the history that prove it, at most a handful; the first two are *the violating pair*.
        promise: id of the contract entry it was held against, or empty.
        source: of the rule: kernel function or specification section.
        met: how many operations met the window (or were checked, where there is no window).
        blame: the kind of fault of a FAIL; for UNKNOWN `Blame.STARVED` or `Blame.NOTHING`.
        cause: what a FAIL tells of, by its checker and blame where nobody says so.
        weakness: the contract's sentence when the claim is that a known weakness was seen (verdict PASS).
    """

    checker: str
    verdict: Verdict
    claim: str
    events: tuple[EventId, ...] = ()
    promise: str = ""
    source: str = ""
    met: int = 0
    blame: Blame = Blame.NOTHING
    weakness: str = ""
    cause: Cause = Cause.NOTHING

    def __post_init__(self) -> None:
        if self.verdict is Verdict.FAIL and self.cause is Cause.NOTHING:
            object.__setattr__(self, "cause", cause_of(self.checker, self.blame))


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    """What a stage left over: nobody explains it, and no verdict rests on it.

    Attributes:
        kind: the same words for all remarks of a kind, in the plural: reports count by it.
        text: one line on what this stage has of it.
        count: how much of it there is, at least 1.
        rows: of the history that show it, at most a handful.
    """

    kind: str
    text: str
    count: int = 1
    rows: tuple[EventId, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """All findings on one history, the verdict that they add up to, and what decides nothing."""

    findings: tuple[Finding, ...]
    remarks: tuple[Remark, ...] = ()
    verdict: Verdict = field(init=False)

    def __post_init__(self) -> None:
        worst = max((finding.verdict for finding in self.findings), default=Verdict.UNKNOWN)
        object.__setattr__(self, "verdict", worst)

    @property
    def weaknesses(self) -> tuple[str, ...]:
        """Sentences on the known weaknesses that were seen, without repetition."""
        return tuple(dict.fromkeys(f.weakness for f in self.findings if f.weakness))

    @property
    def starved(self) -> bool:
        """Whether nothing but a busy machine stands between this and a verdict."""
        unknown = [finding for finding in self.findings if finding.verdict is Verdict.UNKNOWN]
        return (
            self.verdict is Verdict.UNKNOWN
            and bool(unknown)
            and all(finding.blame is Blame.STARVED for finding in unknown)
        )

    def lacks_only(self, *checkers: str) -> bool:
        """Whether a busy machine, or what these checkers lack, alone stands between this and a verdict."""
        unknown = [finding for finding in self.findings if finding.verdict is Verdict.UNKNOWN]
        return (
            self.verdict is Verdict.UNKNOWN
            and bool(unknown)
            and all(finding.blame is Blame.STARVED or finding.checker in checkers for finding in unknown)
        )

    @property
    def decisive(self) -> Finding | None:
        """The finding to put into the headline: of the worst the nearest to the cause, and of these the first.

        None without findings.
        """
        worst = (finding for finding in self.findings if finding.verdict is self.verdict)
        return min(worst, key=lambda finding: finding.cause, default=None)
