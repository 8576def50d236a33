"""Fold the records of a session into one entry a test.

However many phases, stages and attempts a test took, wherever its runner died, and however often the session was
resumed: one entry, the worst outcome (failure before error before skipped), the other phases appended to its text.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from harness.journal.record import (
    AttemptRecord,
    HealthRecord,
    KernelLog,
    PhaseReport,
    Record,
    SessionEnd,
    SessionStart,
    StageRecord,
    Status,
    TestFinish,
    TestPlan,
    TestStart,
)
from harness.journal.session import (
    ABORTED,
    DEATHS,
    FLAKY,
    HOST_CRASH,
    INCOMPLETE,
    KERNEL_FAULT,
    LAB,
    NOT_RUN,
    XFAIL,
    Entry,
    Session,
)
from harness.model.flavour import FlakyPolicy
from harness.model.units import Ns


@dataclass(slots=True)
class _Run:
    """One run of the session: the first, or one that resumed it.  CLOCK_MONOTONIC is comparable within a run only."""

    start: SessionStart
    last_ns: Ns = Ns(0)
    end: SessionEnd | None = None
    host_went_down: bool = False

    @property
    def nanoseconds(self) -> int:
        """Its length as far as the journal tells."""
        return max(0, self.last_ns - self.start.at_ns) if self.start.at_ns else 0


@dataclass(slots=True)
class _Test:
    """All that was said about one test so far."""

    run: _Run
    start: TestStart | None = None
    finish: TestFinish | None = None
    phases: list[PhaseReport] = field(default_factory=list)
    stages: list[StageRecord] = field(default_factory=list)
    attempts: list[AttemptRecord] = field(default_factory=list)

    def begin(self, start: TestStart, run: _Run) -> None:
        """A try begins; what an earlier run of the session left unfinished becomes an attempt."""
        if self.run is not run and self.start is not None:
            if not self.complete:
                self.attempts.append(_died(start.test, self))
            self.phases, self.stages, self.finish = [], [], None
        elif self.start is not None:
            if any(phase.phase != "teardown" for phase in self.phases):
                self.attempts = []  # a soak: of all rounds told so far, the one that is told last decides
            self.phases, self.stages = [], []  # else its last try was given up
        self.start, self.run = start, run

    def give_up(self, attempt: AttemptRecord) -> None:
        """A try gave no verdict."""
        self.attempts.append(attempt)
        if attempt.whole:
            self.phases, self.stages = [], []

    @property
    def complete(self) -> bool:
        """Whether nothing more is to be asked of it; xdist reports a test whose worker died, and never finishes it."""
        if self.start is None:
            return False
        failed = any(phase.status is Status.FAILURE for phase in self.phases)
        return self.finish is not None or failed or _faulty(self.stages) is not None


def fold(
    records: Iterable[Record], *, boot_id: str = "", damaged: int = 0, trouble: tuple[str, ...] = ()
) -> Session:
    """Make a session of its records, in the order in which they were written.

    Args:
        records: of one session, and of those that resumed it.
        boot_id: of the host now; empty when nobody knows.
        damaged: lines that could not be read.
        trouble: why records may be missing.
    """
    runs = [_Run(SessionStart())]
    tests: dict[str, _Test] = {}
    planned: list[str] = []
    health: dict[str, HealthRecord] = {}
    for record in records:
        run = runs[-1]
        match record:
            case SessionStart():
                run.host_went_down = _went_down(run, record.boot_id)
                run = _Run(record)
                runs = [*runs, run] if record.resumes else [run]
                # What nobody could say then, this run may say; a failure stays one.
                health = {name: one for name, one in health.items() if one.status is Status.FAILURE}
                # What could not be collected is collected again.
                tests = {
                    name: known for name, known in tests.items() if known.start is not None or name in planned
                }
            case TestPlan(tests=names):
                planned += names
                for test in names:
                    tests.setdefault(test, _Test(run))
                continue
            case TestStart(test=test):
                tests.setdefault(test, _Test(run)).begin(record, run)
            case PhaseReport(test=test):
                tests.setdefault(test, _Test(run)).phases.append(record)
            case StageRecord(test=test):
                known = tests.setdefault(test, _Test(run))
                known.attempts.extend(record.retried)
                known.stages.append(record)
            case AttemptRecord(test=test):
                tests.setdefault(test, _Test(run)).give_up(record)
            case TestFinish(test=test):
                tests.setdefault(test, _Test(run)).finish = record
            case HealthRecord(name=name):
                health[name] = _heard(health.get(name), record)
            case SessionEnd():
                run.end = record
        run.last_ns = max(run.last_ns, record.at_ns)
    run = runs[-1]
    run.host_went_down = _went_down(run, boot_id)
    session = Session(
        start=replace(run.start, realtime_ns=runs[0].start.realtime_ns, argv=runs[0].start.argv),
        health=tuple(health.values()),
        end=run.end,
        host_went_down=run.host_went_down,
        last_ns=run.last_ns,
        planned=tuple(dict.fromkeys(planned)),
        runs=len(runs),
        earlier_ns=Ns(sum(earlier.nanoseconds for earlier in runs[:-1])),
        damaged=damaged,
        trouble=trouble,
    )
    return replace(session, entries=tuple(_entries(tests, session)))


def _heard(before: HealthRecord | None, record: HealthRecord) -> HealthRecord:
    """What is known of a health case: several workers may say the same, and each more than once; all of the worst."""
    if before is None or record.status.concern > before.status.concern:
        return record
    if record.status.concern < before.status.concern or record.summary in before.summary:
        return before
    return replace(
        before,
        summary=f"{before.summary}; {record.summary}",
        details=f"{before.details}\n\n{record.details}",
        at_ns=record.at_ns,
    )


def _went_down(run: _Run, boot_id: str) -> bool:
    return bool(boot_id and run.start.boot_id and boot_id != run.start.boot_id and run.end is None)


def _entries(tests: dict[str, _Test], session: Session) -> Iterator[Entry]:
    for name, test in tests.items():
        entry = _entry(name, test, session)
        yield replace(entry, complete=test.complete)


def _entry(name: str, test: _Test, session: Session) -> Entry:
    phases = list(test.phases)
    if test.start is not None and test.finish is None:
        phases.append(_in_flight(name, test))
    if not phases:
        return _never_started(name, test, session)
    decisive = max(phases, key=lambda phase: phase.status.concern)  # the first of the worst
    others = [phase for phase in phases if phase is not decisive and phase.status.concern >= 2]
    details = "\n\n".join(
        [decisive.details or decisive.summary]
        + [f"-- also in {phase.phase}: {phase.type}: {phase.summary}\n{phase.details}" for phase in others]
    )
    entry = Entry(
        test=name,
        status=decisive.status,
        type=decisive.type,
        phase=decisive.phase,
        summary=decisive.summary,
        details=details,
        seconds=_seconds(test),
        output="\n".join(phase.output.rstrip("\n") for phase in test.phases if phase.output),
        stages=tuple(test.stages),
        attempts=tuple(test.attempts),
        attachments=_attachments(test),
        file=next((phase.file for phase in phases if phase.file), ""),
        line=next((phase.line for phase in phases if phase.line), 0),
        started_ns=_started(test),
    )
    return _by_policy(_by_kernel(entry), session.start.flaky)


def _by_kernel(entry: Entry) -> Entry:
    """A kernel fault that was seen is the result, whatever became of the lab afterwards."""
    faulty = _faulty(entry.stages)
    of_the_lab = entry.type.startswith(LAB) or entry.type in DEATHS
    if faulty is None or entry.status is not Status.ERROR or not of_the_lab:
        return entry
    return replace(
        entry,
        status=Status.FAILURE,
        type=KERNEL_FAULT,
        summary=faulty.headline,
        details=f"{faulty.headline}\n\n-- then: {entry.type}: {entry.summary}\n{entry.details}",
    )


def _faulty(stages: Iterable[StageRecord]) -> StageRecord | None:
    """The first stage whose kernel log shows a fault."""
    return next((stage for stage in stages if stage.kernel_log is KernelLog.FAULT), None)


def _by_policy(entry: Entry, flaky: FlakyPolicy) -> Entry:
    """What a test that raised nothing still has to say: known weaknesses, and retries where they count."""
    if entry.status is not Status.OK:
        return entry
    if flaky is FlakyPolicy.FAIL and any(attempt.type not in DEATHS for attempt in entry.attempts):
        tries = len(entry.attempts) + 1
        summary = f"passed only at attempt {tries}"
        return replace(entry, status=Status.FAILURE, type=FLAKY, summary=summary, details=summary)
    weaknesses = tuple(dict.fromkeys(sentence for stage in entry.stages for sentence in stage.weaknesses))
    if weaknesses:
        summary = f"known weakness seen: {weaknesses[0]}"
        text = "\n".join(f"known weakness seen: {sentence}" for sentence in weaknesses)
        return replace(entry, status=Status.SKIPPED, type=XFAIL, summary=summary, details=text)
    return entry


def _died(name: str, test: _Test) -> AttemptRecord:
    """The try of a test that an earlier run of the session left unfinished."""
    phase = _in_flight(name, test)
    return AttemptRecord(
        test=name,
        type=phase.type,
        summary=phase.summary,
        details=phase.details,
        whole=True,
        attachments=_attachments(test),
        at_ns=test.run.last_ns,
    )


def _in_flight(name: str, test: _Test) -> PhaseReport:
    """The phase that a test was in when its runner stopped."""
    run = test.run
    seen = "\n".join(
        f"judged before: {stage.verdict}: {stage.headline} ({stage.history})" for stage in test.stages
    )
    done = ", ".join(phase.phase for phase in test.phases) or "none"
    text = f"phases that were complete: {done}" + (f"\n{seen}" if seen else "")
    if run.end is not None and run.end.aborted:
        kind, summary = ABORTED, f"stopped by the user in this test: {run.end.aborted}"
    elif run.host_went_down:
        kind = HOST_CRASH
        summary = f"the host {run.start.host} went down in this test: it has booted since"
    else:
        kind = INCOMPLETE
        summary = f"the runner (pid {run.start.pid} on {run.start.host}) died in this test"
    return PhaseReport(
        test=name,
        phase="call",
        status=Status.ERROR,
        type=kind,
        summary=summary,
        details=f"{summary}\n{text}",
    )


def _never_started(name: str, test: _Test, session: Session) -> Entry:
    end = session.end
    if end is None:
        why = "the runner died before"
    elif end.aborted:
        why = f"the user stopped the session: {end.aborted}"
    elif session.trouble or session.damaged:
        why = "or its records were lost: the journal is damaged"
    else:
        why = f"the session stopped before: {end.stopped}" if end.stopped else "the session ended before"
    return Entry(
        test=name,
        status=Status.SKIPPED,
        type=ABORTED if end is not None and end.aborted else NOT_RUN,
        summary=f"never started: {why}",
        details=f"never started: {why}",
        stages=tuple(test.stages),
        attempts=tuple(test.attempts),
    )


def _attachments(test: _Test) -> tuple[str, ...]:
    named = [name for phase in test.phases for name in phase.attachments]
    named += [name for stage in test.stages for name in stage.attachments]
    pictures = [name for name in named if name.endswith((".svg", ".png"))]
    histories = [stage.history for stage in test.stages if stage.history]
    given_up = [name for attempt in test.attempts for name in attempt.attachments]
    # Consumers show few of them: the best first.
    return tuple(dict.fromkeys(pictures + histories + named + given_up))


def _seconds(test: _Test) -> float:
    phases = sum(phase.seconds for phase in test.phases)
    if test.start is None:
        return phases
    end = test.finish.at_ns if test.finish else test.run.last_ns
    return max(phases, (end - test.start.at_ns) / 1e9, 0.0)


def _started(test: _Test) -> Ns:
    start = test.run.start
    if test.start is None or not start.realtime_ns:
        return Ns(0)
    return Ns(start.realtime_ns + test.start.at_ns - start.at_ns)
