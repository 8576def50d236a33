"""driver_locked: does a driver hold the config lock when it begins to reset its function?"""

from __future__ import annotations

from harness.history.windows import DriverStep
from harness.judge.evidence import Evidence
from harness.judge.questions.driver_locked import driver_locked
from harness.model import operation as words
from harness.model.plan import Op
from harness.model.verdict import Blame, EventKind, Finding, Verdict
from tests.unit.judge.build import Stage, terms, worst

LOCKED, RESETS = 100_000, 200_000


def judged(stage: Stage, **changes: object) -> tuple[Finding, ...]:
    history = stage.history(**changes)
    return driver_locked(Evidence(history), terms(history))


def resetting(*, platform: str = "hil-ipr") -> Stage:
    """A driver that asked, and alerted its adapter."""
    stage = Stage(platform=platform)
    stage.heartbeat()
    stage.takes(DriverStep.ASKED, 50_000)
    stage.takes(DriverStep.ALERT, 60_000)
    return stage


def with_the_lock() -> Stage:
    stage = resetting()
    stage.tries(RESETS - 10, taken=True)
    stage.takes(DriverStep.SELF_TEST, RESETS)
    stage.unlock(1_200_000, 0)
    stage.takes(DriverStep.TESTED, 1_200_001)
    return stage


def without(*, platform: str = "hil-ipr", free_at: float = 2_900_000, patient: bool = False) -> Stage:
    """Another holds the lock; the driver tries for it every 100 ms, for 2 s or until it has it."""
    stage = resetting(platform=platform)
    holder = stage.does("holder", words.HOLD_CONFIG)
    stage.held_by(holder, LOCKED - 10, free_at + 10, opened=LOCKED, closed=free_at)
    tries = [110_000 + 100_000 * number for number in range(21)]
    for moment in tries:
        if patient and moment > free_at:
            break
        stage.tries(moment, taken=False)
    begins = free_at + 10_000 if patient else tries[-1] + 10
    if patient:
        stage.tries(begins - 10, taken=True)
    stage.takes(DriverStep.SELF_TEST, begins)
    if patient:
        stage.unlock(begins + 2_000_000, 0)
    return stage


def test_a_reset_under_the_lock_is_good() -> None:
    (finding,) = judged(with_the_lock())
    assert (finding.verdict, finding.promise) == (Verdict.PASS, "driver-reset/lock@none")
    assert "with the config lock held" in finding.claim


def test_a_reset_although_another_holds_it_is_the_weakness_that_is_known_of_ipr() -> None:
    (finding,) = judged(without())
    assert finding.verdict is Verdict.PASS
    assert finding.weakness.startswith("ipr resets its adapter after 2 s")
    assert "after 21 tries in 2 s: holder (hold/config-lock) held it, and for 790 ms more" in finding.claim


def test_what_others_try_for_is_no_try_of_the_driver() -> None:
    stage = resetting()
    other = stage.does("other", words.VFIO_RESET, "vfio", op=Op.RESET_DEVICE)
    stage.op(other, 99_990, 100_020, error=11)
    stage.tries(100_000, taken=False, tid=100 + other)
    stage.takes(DriverStep.SELF_TEST, RESETS)
    (finding,) = judged(stage)
    assert "tries" not in finding.claim


def test_a_reset_without_a_lock_that_was_free_is_the_drivers_fault() -> None:
    stage = resetting()
    stage.takes(DriverStep.SELF_TEST, RESETS)
    (finding,) = judged(stage)
    assert (finding.verdict, finding.blame) == (Verdict.FAIL, Blame.DRIVER_FAULT)
    assert finding.events[0].kind is EventKind.KERNEL


def test_a_warm_reset_is_one_too() -> None:
    stage = resetting()
    stage.takes(DriverStep.WARM_RESET, RESETS)
    assert worst(judged(stage)) is Verdict.FAIL


def test_a_driver_that_waits_until_it_has_the_lock_has_lost_its_weakness() -> None:
    (finding,) = judged(without(free_at=2_300_000, patient=True))
    assert finding.verdict is Verdict.FAIL
    assert finding.claim.startswith("A known weakness was not seen")


def test_what_was_over_before_its_patience_is_none() -> None:
    (finding,) = judged(without(free_at=1_000_000, patient=True))
    assert (finding.verdict, finding.promise) == (Verdict.PASS, "driver-reset/lock@none")


def test_what_the_contract_does_not_know_is_unknown() -> None:
    assert worst(judged(without(platform="igb"))) is Verdict.UNKNOWN


def test_with_events_lost_nobody_knows_who_held_the_lock() -> None:
    for stage in (with_the_lock(), without()):
        assert worst(judged(stage, lost_kernel_events=2)) is Verdict.UNKNOWN


def test_a_driver_that_did_not_come_so_far_is_not_asked() -> None:
    assert judged(resetting()) == ()
