"""A session as its journal tells it: one entry a test.  Values only."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from harness.journal.record import AttemptRecord, HealthRecord, SessionEnd, SessionStart, StageRecord, Status
from harness.model.units import Ns

INCOMPLETE: Final = "hil.incomplete"
HOST_CRASH: Final = "hil.host-crash"
NOT_RUN: Final = "hil.notrun"
ABORTED: Final = "hil.aborted"
FLAKY: Final = "hil.flaky"
XFAIL: Final = "pytest.xfail"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One test, whatever number of phases, stages and attempts it took.

    Attributes:
        test: pytest's node id; a report derives the identity from it.
        status: worst of all phases.
        type: `hil.*` type, empty when ok.
        summary: one line, empty when ok.
        details: longer text.
        seconds: from start to finish, all attempts included.
        output: captured output of all phases.
        stages: in the order of staging.
        attempts: tries that gave no verdict and were made again.
        attachments: files relative to the results folder, the picture first.
        file, line: where the test is written; line from 1, 0 when not known.
        started_ns: CLOCK_REALTIME of its start, 0 when it never started.
    """

    test: str
    status: Status
    type: str = ""
    summary: str = ""
    details: str = ""
    seconds: float = 0.0
    output: str = ""
    stages: tuple[StageRecord, ...] = ()
    attempts: tuple[AttemptRecord, ...] = ()
    attachments: tuple[str, ...] = ()
    file: str = ""
    line: int = 0
    started_ns: Ns = Ns(0)

    @property
    def recovered(self) -> bool:
        """Did it pass, or run into a known weakness, only after a retry?"""
        return bool(self.attempts) and self.status in (Status.OK, Status.SKIPPED)

    @property
    def met(self) -> int:
        """How many operations met a window, over all stages."""
        return sum(stage.met for stage in self.stages)


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A whole run.

    Attributes:
        start: the first record; defaults when even that is missing.
        entries: in the plan's order.
        health: what was said about the session as a whole.
        end: None when the runner died.
        host_went_down: the machine has booted since.
        last_ns: the latest CLOCK_MONOTONIC that any record carries.
        damaged: lines in the middle that could not be read.
        trouble: why the journal itself is not complete (disk full …); empty when it is.
    """

    start: SessionStart = field(default_factory=SessionStart)
    entries: tuple[Entry, ...] = ()
    health: tuple[HealthRecord, ...] = ()
    end: SessionEnd | None = None
    host_went_down: bool = False
    last_ns: Ns = Ns(0)
    damaged: int = 0
    trouble: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
        """Wall-clock length as far as the journal tells, never negative."""
        return max(0, self.last_ns - self.start.at_ns) / 1e9 if self.start.at_ns else 0.0
