"""Fold the records of a session into one entry a test.

However many phases, stages and attempts a test took, and wherever its runner died: one entry, the worst
outcome (failure before error before skipped), the other phases appended to its text.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from harness.journal.record import (
    AttemptRecord,
    FlakyPolicy,
    HealthRecord,
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
from harness.journal.session import ABORTED, FLAKY, HOST_CRASH, INCOMPLETE, NOT_RUN, XFAIL, Entry, Session
from harness.model.units import Ns


@dataclass(slots=True)
class _Test:
    """All that was said about one test so far."""

    start: TestStart | None = None
    finish: TestFinish | None = None
    phases: list[PhaseReport] = field(default_factory=list)
    stages: list[StageRecord] = field(default_factory=list)
    attempts: list[AttemptRecord] = field(default_factory=list)


def fold(
    records: Iterable[Record], *, boot_id: str = "", damaged: int = 0, trouble: tuple[str, ...] = ()
) -> Session:
    """Make a session of its records, in the order in which they were written.

    Args:
        records: of one session.
        boot_id: of the host now; empty when nobody knows.
        damaged: lines that could not be read.
        trouble: why records may be missing.
    """
    start = SessionStart()
    end: SessionEnd | None = None
    tests: dict[str, _Test] = {}
    health: list[HealthRecord] = []
    last = Ns(0)
    for record in records:
        match record:
            case SessionStart():
                start = record
            case TestPlan(tests=planned):
                for test in planned:
                    tests.setdefault(test, _Test())
                continue
            case TestStart(test=test):
                tests.setdefault(test, _Test()).start = record
            case PhaseReport(test=test):
                tests.setdefault(test, _Test()).phases.append(record)
            case StageRecord(test=test):
                known = tests.setdefault(test, _Test())
                known.attempts.extend(record.retried)
                known.stages.append(record)
            case AttemptRecord(test=test):
                tests.setdefault(test, _Test()).attempts.append(record)
            case TestFinish(test=test):
                tests.setdefault(test, _Test()).finish = record
            case HealthRecord():
                health.append(record)
            case SessionEnd():
                end = record
        last = max(last, record.at_ns)
    session = Session(
        start=start,
        health=tuple(health),
        end=end,
        host_went_down=bool(boot_id and start.boot_id and boot_id != start.boot_id and end is None),
        last_ns=last,
        damaged=damaged,
        trouble=trouble,
    )
    return replace(session, entries=tuple(_entry(name, test, session) for name, test in tests.items()))


def _entry(name: str, test: _Test, session: Session) -> Entry:
    phases = list(test.phases)
    if test.start is not None and test.finish is None:
        phases.append(_in_flight(name, test, session))
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
        summary=decisive.summary,
        details=details,
        seconds=_seconds(test, session),
        output="\n".join(phase.output.rstrip("\n") for phase in test.phases if phase.output),
        stages=tuple(test.stages),
        attempts=tuple(test.attempts),
        attachments=_attachments(test),
        file=next((phase.file for phase in phases if phase.file), ""),
        line=next((phase.line for phase in phases if phase.line), 0),
        started_ns=_started(test, session),
    )
    return _by_policy(entry, session.start.flaky)


def _by_policy(entry: Entry, flaky: FlakyPolicy) -> Entry:
    """What a test that raised nothing still has to say: known weaknesses, and retries where they count."""
    if entry.status is not Status.OK:
        return entry
    if entry.attempts and flaky is FlakyPolicy.FAIL:
        tries = len(entry.attempts) + 1
        summary = f"passed only at attempt {tries}"
        return replace(entry, status=Status.FAILURE, type=FLAKY, summary=summary, details=summary)
    weaknesses = tuple(dict.fromkeys(sentence for stage in entry.stages for sentence in stage.weaknesses))
    if weaknesses:
        summary = f"known weakness seen: {weaknesses[0]}"
        text = "\n".join(f"known weakness seen: {sentence}" for sentence in weaknesses)
        return replace(entry, status=Status.SKIPPED, type=XFAIL, summary=summary, details=text)
    return entry


def _in_flight(name: str, test: _Test, session: Session) -> PhaseReport:
    """The phase that a test was in when its runner stopped."""
    seen = "\n".join(
        f"judged before: {stage.verdict}: {stage.headline} ({stage.history})" for stage in test.stages
    )
    done = ", ".join(phase.phase for phase in test.phases) or "none"
    text = f"phases that were complete: {done}" + (f"\n{seen}" if seen else "")
    if session.end is not None and session.end.aborted:
        kind, summary = ABORTED, f"stopped by the user in this test: {session.end.aborted}"
    elif session.host_went_down:
        kind = HOST_CRASH
        summary = f"the host {session.start.host} went down in this test: it has booted since"
    else:
        kind = INCOMPLETE
        summary = f"the runner (pid {session.start.pid} on {session.start.host}) died in this test"
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
    return tuple(dict.fromkeys(pictures + histories + named))  # consumers show few of them: the best first


def _seconds(test: _Test, session: Session) -> float:
    phases = sum(phase.seconds for phase in test.phases)
    if test.start is None:
        return phases
    end = test.finish.at_ns if test.finish else session.last_ns
    return max(phases, (end - test.start.at_ns) / 1e9, 0.0)


def _started(test: _Test, session: Session) -> Ns:
    if test.start is None or not session.start.realtime_ns:
        return Ns(0)
    return Ns(session.start.realtime_ns + test.start.at_ns - session.start.at_ns)
