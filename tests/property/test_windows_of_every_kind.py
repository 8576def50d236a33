"""access_outcome with windows of every kind, against a twin that compares one access with one window at a time."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from harness.history.history import History
from harness.history.reading import Reading
from harness.history.windows import TRACE_RESOLUTION, LockWindow
from harness.judge.evidence import Evidence
from harness.judge.evidence.meeting import possible
from harness.judge.questions.access_outcome import access_outcome
from harness.model import operation as words
from harness.model.operation import Operation, verb
from harness.model.outcome import Outcome
from harness.model.promise import WindowKind
from harness.model.verdict import Blame
from tests.unit.judge.build import ALIAS, BEGIN, Stage, terms

HOLDERS = (
    words.HOLD_CONFIG,
    "reset/flr",
    words.VFIO_RESET,
    words.HOT_RESET,
    words.ENABLE_VFS,
    words.VFIO_OPEN,
)
ACCESSES = (
    "config-read/sysfs",
    words.VFIO_WRITE,
    words.VFIO_COPY_READ,
    words.ATTRIBUTE_READ,
    words.BAR_READ,
    words.MAPPED_WRITE,
    words.SYSFS_MAPPED_READ,
)


@dataclass(frozen=True)
class Access:
    begin: int
    end: int
    waited: bool
    slept: int
    error: int


@st.composite
def histories(draw: st.DrawFn) -> tuple[History, Operation, list[Access]]:
    """Config and device lock windows in turns, and accesses of one thread, edges often close together."""
    moments = st.integers(min_value=1_000, max_value=40_000)
    stage = Stage()
    means = Operation(draw(st.sampled_from(ACCESSES)))
    actor = stage.does("actor", means, "config")
    holders = [stage.does(f"holder-{number}", holder) for number, holder in enumerate(HOLDERS)]
    edges = sorted(set(draw(st.lists(moments, max_size=12))))
    for opened, closed in zip(edges[::2], edges[1::2], strict=False):
        if closed - opened < 8:
            continue
        if draw(st.booleans()):
            stage.held_by(
                draw(st.sampled_from(holders)), opened - 0.2, closed + 2.2, opened=opened, closed=closed
            )
        else:
            stage.device_window(opened, closed)
    near = st.builds(lambda edge, by: max(edge + by, 0.5), st.sampled_from(edges or [1]), st.floats(-3, 3))
    times = sorted(set(draw(st.lists(near | moments.map(float), max_size=24))))
    accesses = []
    for begin, end in zip(times[::2], times[1::2], strict=False):
        if end - begin < 0.01:
            continue
        traced = verb(means) in ("config-read", "config-write")
        waited, error = (
            traced and draw(st.booleans()) and end - begin > 4,
            draw(st.sampled_from((0, 0, 0, 5))),
        )
        stage.op(actor, begin, end, error=error)
        slept = draw(st.floats(1.5, end - begin - 2)) if waited else 0
        if waited:
            stage.wait(begin + slept, actor)
        last = round((BEGIN + round((begin + slept) * 1000)) / 1000) * 1000
        accesses.append(
            Access(
                BEGIN + round(begin * 1000), BEGIN + round(end * 1000), waited, last if waited else 0, error
            )
        )
    return stage.history(), means, accesses


def within(window: LockWindow, moment: int) -> bool:
    return window.opened_ns + TRACE_RESOLUTION < moment < window.closed_ns - TRACE_RESOLUTION


def meets(windows: tuple[LockWindow, ...], access: Access) -> list[LockWindow]:
    """Windows that an access may have overlapped, in order."""
    if not windows:
        return []
    spans = zip(windows, *possible(windows), strict=True)
    return [window for window, begin, end in spans if begin <= access.end and access.begin <= end]


def breaks(promised: dict[WindowKind, Outcome], windows: tuple[LockWindow, ...], access: Access) -> bool:
    """Whether an access shows another outcome than every promise that may apply to it."""
    if access.error:
        return True  # no entry of these operations promises an errno
    inside = [
        window
        for window in windows
        if within(window, max(access.begin, access.slept)) and within(window, access.end)
    ]
    near = meets(windows, access)
    if inside:
        return promised[inside[0].kind] is Outcome.BLOCKED  # it came back before the window had ended
    if near:
        return access.waited and promised[near[-1].kind] is not Outcome.BLOCKED
    return access.waited  # nothing but a config lock makes it wait


@settings(max_examples=200, deadline=None)
@given(histories())
def test_it_convicts_exactly_what_the_twin_convicts(case: tuple[History, Operation, list[Access]]) -> None:
    history, means, accesses = case
    applying = terms(history)
    promised = {
        kind: promise.outcome for kind in WindowKind if (promise := applying.promise(ALIAS, means, kind))
    }
    windows = Reading(history).windows
    wrong = any(breaks(promised, windows, access) for access in accesses)
    findings = access_outcome(Evidence(history), applying)
    assert any(f.blame is Blame.MISMATCH for f in findings) is wrong


@settings(max_examples=100, deadline=None)
@given(histories())
def test_every_access_is_counted_at_most_once(case: tuple[History, Operation, list[Access]]) -> None:
    history, _, accesses = case
    findings = access_outcome(Evidence(history), terms(history))
    kinds = {f.promise for f in findings}
    assert len(findings) <= 3 * len(kinds)
    assert sum(f.met for f in findings) <= len(accesses)
