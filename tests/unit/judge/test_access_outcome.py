"""access_outcome: accesses wait exactly while the config lock is held."""

from __future__ import annotations

import errno
from dataclasses import replace

import pytest

from harness.history.columns import Edge
from harness.history.history import LOCKDOWN, Probe
from harness.history.windows import LOCK
from harness.judge.evidence import Evidence
from harness.judge.questions.access_outcome import access_outcome
from harness.model.operation import ATTRIBUTE_CONFIG_READ, ATTRIBUTE_READ, Operation, config_write
from harness.model.outcome import Outcome
from harness.model.pci import AccessPath
from harness.model.terms import Terms
from harness.model.verdict import Blame, EventKind, Finding, Verdict
from tests.unit.judge.build import CONTRACT, READ, WRITE, Stage, terms, worst


def judged(stage: Stage) -> tuple[Finding, ...]:
    history = stage.history()
    return access_outcome(Evidence(history), terms(history))


def collision(**how: object) -> tuple[Stage, int]:
    """One window of 100 ms, one read that waits for it, one before and one after."""
    stage = Stage(**how)  # type: ignore[arg-type]
    reader = stage.reader()
    stage.heartbeat()
    stage.window(100_000, 200_000)
    stage.op(reader, 50, 70)
    stage.op(reader, 150_000, 201_000)
    stage.wait(150_005, reader)
    stage.op(reader, 300_000, 300_020)
    return stage, reader


def test_waiting_for_the_window_is_a_pass_that_names_how_many_met_it() -> None:
    findings = judged(collision()[0])
    assert worst(findings) is Verdict.PASS
    assert [f.met for f in findings] == [1, 2]
    assert findings[0].promise == "config-read/sysfs@config-lock"


def test_a_read_inside_the_window_convicts_and_names_the_pair() -> None:
    stage, reader = collision()
    stage.op(reader, 110_000, 110_012)
    (bad, _) = judged(stage)
    assert (bad.verdict, bad.blame) == (Verdict.FAIL, Blame.MISMATCH)
    assert [event.kind for event in bad.events[:2]] == [EventKind.OPERATION, EventKind.KERNEL]
    history = stage.history()
    assert history.kernel[bad.events[1].row]["time_ns"] == history.begin_ns + 100_000_000
    assert "12 us" in bad.claim
    assert "reader" in bad.claim


def slept(*, begin: float = 99_990, slept: float = 100_020, end: float = 140_000) -> Stage:
    """A read that waits for a window from 100 to 200 ms, and returns."""
    stage = Stage()
    stage.heartbeat()
    reader = stage.reader()
    stage.window(100_000, 200_000)
    stage.op(reader, begin, end)
    stage.wait(slept, reader)
    return stage


def test_who_slept_for_the_lock_and_came_back_while_it_was_held_convicts_whenever_the_read_began() -> None:
    (bad,) = judged(slept())
    assert (bad.verdict, bad.blame) == (Verdict.FAIL, Blame.MISMATCH)
    assert (
        "reader was let through and returned after 40 ms, 60 ms before the close of a config lock"
        in bad.claim
    )
    assert "in which it waited from 20 us after it opened" in bad.claim
    assert [event.kind for event in bad.events] == [EventKind.OPERATION, EventKind.KERNEL, EventKind.KERNEL]
    assert worst(judged(slept(end=200_800))) is Verdict.PASS
    assert worst(judged(slept(slept=100_000))) is Verdict.PASS, "at the edge: perhaps it was in another's"
    doubtful = slept().history(lost_kernel_events=1)
    assert worst(access_outcome(Evidence(doubtful), terms(doubtful))) is Verdict.UNKNOWN


def test_a_sleep_in_a_window_before_does_not_convict_who_returns_in_the_next() -> None:
    stage = slept(end=300_500)
    stage.window(300_000, 400_000)
    assert worst(judged(stage)) is Verdict.PASS
    stage.wait(300_020, 1)
    assert worst(judged(stage)) is Verdict.FAIL, "but it slept in that, too"


@pytest.mark.parametrize(
    ("begin", "end"), [(99_990, 100_010), (199_990, 200_010), (100_000.5, 199_999), (100_001, 150_000)]
)
def test_an_edge_within_the_resolution_proves_nothing(begin: float, end: float) -> None:
    stage, reader = collision()
    stage.op(reader, begin, end)
    findings = judged(stage)
    assert worst(findings) is Verdict.PASS
    assert [f.met for f in findings] == [1, 2]


def test_waiting_while_the_lock_is_free_convicts() -> None:
    stage, reader = collision()
    stage.op(reader, 400_000, 400_500)
    stage.wait(400_010, reader)
    bad = judged(stage)[-1]
    assert (bad.verdict, bad.blame) == (Verdict.FAIL, Blame.MISMATCH)
    assert "while the config lock was free" in bad.claim


def test_waiting_between_unlock_and_its_return_is_no_breach() -> None:
    stage, reader = collision()
    stage.op(reader, 200_001, 200_300)
    stage.wait(200_002, reader)
    assert worst(judged(stage)) is Verdict.PASS


@pytest.mark.parametrize(("begin", "verdict"), [(215_000, Verdict.PASS), (225_000, Verdict.FAIL)])
def test_without_a_probe_on_unlocks_return_waiting_soon_after_is_no_breach(
    begin: float, verdict: Verdict
) -> None:
    stage, reader = collision(unlock_return=False)
    stage.op(reader, begin, begin + 300)
    stage.wait(begin + 2, reader)
    assert worst(judged(stage)) is verdict


def test_waking_late_is_a_timeout() -> None:
    stage, reader = collision()
    stage.op(reader, 160_000, 460_000)
    stage.wait(160_010, reader)
    (bad, _) = judged(stage)
    assert (bad.verdict, bad.blame) == (Verdict.FAIL, Blame.TIMEOUT)
    assert "260 ms after its window had closed" in bad.claim


def test_waking_late_on_a_starved_machine_is_unknown() -> None:
    stage = Stage()
    reader = stage.reader()
    stage.heartbeat(late_at=200_000, late_ms=280)
    stage.window(100_000, 200_000)
    stage.op(reader, 160_000, 460_000)
    stage.wait(160_010, reader)
    (finding,) = judged(stage)
    assert finding.verdict is Verdict.UNKNOWN
    assert "280 ms late" in finding.claim


def test_waking_late_with_no_heartbeat_is_unknown() -> None:
    stage = Stage()
    reader = stage.reader()
    stage.window(100_000, 200_000)
    stage.op(reader, 160_000, 460_000)
    stage.wait(160_010, reader)
    assert worst(judged(stage)) is Verdict.UNKNOWN


def test_a_reader_passed_over_by_the_next_window_is_not_late() -> None:
    stage, reader = collision()
    stage.window(200_100, 300_000, tid=901)
    stage.op(reader, 160_000, 301_000)
    stage.wait(160_010, reader)
    stage.op(reader, 301_100, 301_120)
    assert worst(judged(stage)) is Verdict.PASS


@pytest.mark.parametrize("change", [{"lost_kernel_events": 3}, {"probes": ()}])
def test_doubtful_windows_are_never_a_fail_nor_a_pass(change: dict[str, object]) -> None:
    stage, reader = collision()
    stage.op(reader, 110_000, 110_012)
    history = stage.history(**change)
    (finding,) = access_outcome(Evidence(history), terms(history))
    assert finding.verdict is Verdict.UNKNOWN


def test_an_absent_probe_and_missed_hits_are_doubts() -> None:
    history = collision()[0].history()
    for change in ({"present": False}, {"missed": 2}):
        probes = tuple(
            replace(p, **change) if (p.symbol, p.edge) == (LOCK, Edge.RETURN) else p for p in history.probes
        )
        (finding,) = access_outcome(Evidence(replace(history, probes=probes)), terms(history))
        assert finding.verdict is Verdict.UNKNOWN
        assert "pci_cfg_access_lock" in finding.claim
    assert isinstance(history.probes[0], Probe)


def test_an_errno_that_nobody_promised_convicts_even_at_an_edge() -> None:
    for begin in (50_000, 99_999.9, 150_000):
        stage, reader = collision()
        stage.op(reader, begin, begin + 15, error=5)
        bad = next(f for f in judged(stage) if f.verdict is Verdict.FAIL)
        assert "EIO" in bad.claim


def test_the_control_sample_must_not_wait() -> None:
    stage, _ = collision()
    control = stage.reader("control", means=ATTRIBUTE_READ, offset=0)
    stage.op(control, 120_000, 121_000)
    assert worst(judged(stage)) is Verdict.PASS
    stage.op(control, 130_000, 201_000)
    bad = next(f for f in judged(stage) if f.verdict is Verdict.FAIL)
    assert (bad.promise, bad.blame) == ("attribute-read/sysfs@config-lock", Blame.TIMEOUT)


@pytest.mark.parametrize(("error", "verdict"), [(0, Verdict.PASS), (errno.EAGAIN, Verdict.FAIL)])
def test_an_attribute_that_the_kernel_reads_by_itself_waits_for_nobody(error: int, verdict: Verdict) -> None:
    stage = Stage()
    stage.heartbeat()
    reader = stage.reader(means=ATTRIBUTE_CONFIG_READ)
    stage.window(100_000, 200_000)
    stage.op(reader, 120_000, 120_020, error=error)
    assert worst(judged(stage)) is verdict
    history = stage.history()
    assert worst(access_outcome(Evidence(history), replace(terms(history), promises={}))) is Verdict.UNKNOWN


UNREADABLE = "unreadable: No such file or directory"


@pytest.mark.parametrize(
    ("lockdown", "error", "verdict"),
    [
        ("integrity", errno.EPERM, Verdict.PASS),
        ("confidentiality", errno.EPERM, Verdict.PASS),
        ("integrity", 0, Verdict.FAIL),
        ("integrity", errno.EACCES, Verdict.FAIL),
        ("none", errno.EPERM, Verdict.FAIL),
        ("none", 0, Verdict.PASS),
        (UNREADABLE, errno.EPERM, Verdict.UNKNOWN),
        (UNREADABLE, errno.EACCES, Verdict.FAIL),
        (UNREADABLE, 0, Verdict.PASS),
        (None, errno.EPERM, Verdict.FAIL),  # an earlier harness did not ask
    ],
)
@pytest.mark.parametrize("means", [WRITE, config_write(AccessPath.PROC)])
@pytest.mark.parametrize("window", [False, True])
def test_a_kernel_that_is_locked_down_refuses_writes_and_one_of_which_nobody_knows_may(
    lockdown: str | None,
    error: int,
    verdict: Verdict,
    means: Operation,
    window: bool,  # noqa: FBT001
) -> None:
    stage = Stage()
    stage.heartbeat()
    writer = stage.writer(0x0C, b"\x10", means=means)
    if window:
        stage.window(100_000, 200_000)
    waits = window and not error
    stage.op(writer, 120_000, 200_300 if waits else 120_020, error=error)
    if waits:
        stage.wait(120_005, writer)
    history = stage.history()
    if lockdown is not None:
        history = replace(history, provenance={**history.provenance, LOCKDOWN: lockdown})
    assert worst(access_outcome(Evidence(history), CONTRACT.terms_of(history))) is verdict


def test_reads_are_free_whatever_is_locked_down() -> None:
    for lockdown in ("integrity", UNREADABLE):
        for error, verdict in ((0, Verdict.PASS), (errno.EPERM, Verdict.FAIL)):
            stage = Stage()
            stage.heartbeat()
            stage.op(stage.reader(), 120_000, 120_020, error=error)
            history = stage.history()
            history = replace(history, provenance={**history.provenance, LOCKDOWN: lockdown})
            assert worst(access_outcome(Evidence(history), CONTRACT.terms_of(history))) is verdict


def test_a_slow_read_of_a_free_function_is_a_timeout() -> None:
    stage, reader = collision()
    stage.op(reader, 400_000, 1_600_000)
    assert [f.blame for f in judged(stage) if f.verdict is Verdict.FAIL] == [Blame.TIMEOUT]


def test_a_silent_contract_is_unknown() -> None:
    history = collision()[0].history()
    findings = access_outcome(Evidence(history), Terms(promises={}))
    assert {f.verdict for f in findings} == {Verdict.UNKNOWN}


@pytest.mark.parametrize("window", ["none", "config-lock"])
def test_a_wrong_promise_turns_the_same_history_red(window: str) -> None:
    history = collision()[0].history()
    right = terms(history)
    wrong = Outcome.OK if window == "config-lock" else Outcome.BLOCKED
    flipped = tuple(
        replace(p, outcome=wrong) if (p.operation, p.window) == (READ, window) else p
        for p in right.promises["disk"]
    )
    assert worst(access_outcome(Evidence(history), right)) is Verdict.PASS
    assert (
        worst(access_outcome(Evidence(history), replace(right, promises={"disk": flipped}))) is Verdict.FAIL
    )


def test_nothing_to_ask_without_accesses() -> None:
    stage = Stage()
    stage.resetter()
    assert judged(stage) == ()


def test_only_accesses_that_waited_for_a_window_count_as_blocked() -> None:
    stage, reader = collision()
    stage.op(reader, 110_000, 110_012)
    stage.op(reader, 400_000, 400_500)
    stage.wait(400_010, reader)
    assert Evidence(stage.history()).blocked_accesses == 1


def test_a_window_that_never_closes_lasts_to_the_end() -> None:
    stage = Stage()
    reader = stage.reader()
    stage.window(100_000, None)
    stage.op(reader, 150_000, 150_020)
    assert worst(judged(stage)) is Verdict.FAIL
