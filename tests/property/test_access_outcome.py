"""access_outcome against a twin that compares every access with every window, one pair at a time."""

from __future__ import annotations

from dataclasses import dataclass, replace

from hypothesis import given, settings
from hypothesis import strategies as st

from harness.history.history import History
from harness.history.reading import Reading
from harness.history.windows import TRACE_RESOLUTION, LockWindow
from harness.judge.evidence import Evidence
from harness.judge.evidence.meeting import UNLOCK_GRACE
from harness.judge.questions.access_outcome import access_outcome
from harness.model.verdict import Blame, Verdict
from tests.unit.judge.build import BEGIN, Stage, terms


@dataclass(frozen=True)
class Access:
    begin: int
    end: int
    waited: bool
    slept: int
    error: int


@st.composite
def histories(draw: st.DrawFn) -> tuple[History, list[Access]]:
    """Windows one after another, and accesses of one thread one after another, edges often close together."""
    moments = st.integers(min_value=1, max_value=400_000)
    stage = Stage(unlock_return=draw(st.booleans()))
    reader = stage.reader()
    if draw(st.booleans()):
        stage.heartbeat(late_at=draw(st.none() | moments))
    edges = sorted(set(draw(st.lists(moments, max_size=12))))
    for opened, closed in zip(edges[::2], edges[1::2], strict=False):
        asked = draw(st.sampled_from((1, 2, 5_000)))
        stage.window(opened, closed, tid=draw(st.sampled_from((900, 901))), asked=max(opened - asked, 0))
    near = st.builds(lambda edge, by: max(edge + by, 0.5), st.sampled_from(edges or [1]), st.floats(-3, 3))
    times = sorted(set(draw(st.lists(near | moments.map(float), max_size=24))))
    accesses = []
    for begin, end in zip(times[::2], times[1::2], strict=False):
        if end - begin < 0.01:
            continue
        waited, error = draw(st.booleans()) and end - begin > 4, draw(st.sampled_from((0, 0, 0, 5)))
        stage.op(reader, begin, end, error=error)
        if waited:
            for slept in draw(st.lists(st.floats(1.5, end - begin - 2), min_size=1, max_size=3).map(sorted)):
                stage.wait(begin + slept, reader)
                last = round((BEGIN + round((begin + slept) * 1000)) / 1000) * 1000
        accesses.append(
            Access(
                BEGIN + round(begin * 1000), BEGIN + round(end * 1000), waited, last if waited else 0, error
            )
        )
    return stage.history(), accesses


def twin(history: History, accesses: list[Access]) -> tuple[bool, int]:
    """Whether any access convicts for the wrong outcome, and how many waited for a window that they met."""
    windows = sorted(Reading(history).windows, key=lambda window: window.opened_ns)
    wrong, met = False, 0
    for access in accesses:
        inside = any(
            w.opened_ns + TRACE_RESOLUTION < max(access.begin, access.slept)
            and access.end < w.closed_ns - TRACE_RESOLUTION
            for w in windows
        )
        touched = any(
            earliest(windows, n) <= access.end and access.begin <= latest(windows, n)
            for n in range(len(windows))
        )
        if access.error:
            wrong = True  # the contract promises an errno in neither window
        elif inside:
            wrong = True
        elif access.waited and touched:
            met += 1
        elif access.waited:
            wrong = True
        if access.error and access.waited and touched and not inside:
            met += 1
    return wrong, met


def earliest(windows: list[LockWindow], number: int) -> int:
    window = windows[number]
    assert window.asked_ns is not None
    free = max((w.closed_ns for w in windows[:number]), default=0)
    return max(window.asked_ns, free) - TRACE_RESOLUTION


def latest(windows: list[LockWindow], number: int) -> int:
    window = windows[number]
    gone = window.closed_ns + UNLOCK_GRACE if window.released_ns is None else window.released_ns
    return gone + TRACE_RESOLUTION


@settings(max_examples=400, deadline=None)
@given(histories())
def test_it_convicts_exactly_what_the_twin_convicts(case: tuple[History, list[Access]]) -> None:
    history, accesses = case
    wrong, met = twin(history, accesses)
    findings = access_outcome(Evidence(history), terms(history))
    assert any(f.blame is Blame.MISMATCH for f in findings) is wrong
    assert Evidence(history).blocked_accesses == met
    if not accesses:
        assert findings == ()


@settings(max_examples=200, deadline=None)
@given(histories(), st.integers(min_value=1))
def test_lost_events_leave_only_unknown(case: tuple[History, list[Access]], lost: int) -> None:
    history, accesses = case
    doubtful = replace(history, lost_kernel_events=lost)
    found = {finding.verdict for finding in access_outcome(Evidence(doubtful), terms(doubtful))}
    assert found == ({Verdict.UNKNOWN} if accesses else set())


@settings(max_examples=200, deadline=None)
@given(histories())
def test_a_timeout_needs_a_machine_that_was_watched(case: tuple[History, list[Access]]) -> None:
    history, _ = case
    if any(actor.name == "heartbeat" for actor in history.plan.actors):
        return
    assert all(
        finding.blame is not Blame.TIMEOUT for finding in access_outcome(Evidence(history), terms(history))
    )
