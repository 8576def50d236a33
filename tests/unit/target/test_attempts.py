"""Attempts of the host, with a clock that only moves when somebody sleeps or works."""

from __future__ import annotations

import errno
from typing import Any

import pytest

from harness.errors import ClockError, GuestError, KernelRefusal, LabError
from harness.model import policy
from harness.model.operation import HOT_RESET, SUBORDINATE_RESET, TRY_CONFIG, VFIO_OPEN, VFIO_RESET, Operation
from harness.model.policy import CONNECT, PLUGGED, STARVED, WILD_CLOCK, Policy, policy_of
from harness.model.units import MS, SECOND, Ns
from harness.target.attempts import Attempt, Deadline, attempting


class World:
    """A clock, a sleep that moves it, and work that takes time and ends as it is told."""

    def __init__(self, *ends: Any, takes: float = 0.0) -> None:
        self.now = 1000.0
        self.pauses: list[float] = []
        self.began: list[float] = []
        self.seen: list[Attempt] = []
        self.ends, self.takes = list(ends), takes

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds

    def work(self) -> Any:
        self.began.append(self.now - 1000.0)
        self.now += self.takes
        end = self.ends.pop(0) if len(self.ends) > 1 else self.ends[0]
        if isinstance(end, BaseException):
            raise end
        return end

    def attempt(self, rule: Policy, **more: Any) -> Any:
        run = attempting(rule, clock=self.clock, sleep=self.sleep, observe=self.seen.append, **more)
        return run(self.work)


def refused(number: int) -> KernelRefusal:
    return KernelRefusal("resetting", errno=number)


@pytest.mark.parametrize(
    ("word", "number"),
    [
        (VFIO_RESET, errno.EAGAIN),
        (HOT_RESET, errno.EAGAIN),
        (HOT_RESET, errno.EBUSY),
        (VFIO_OPEN, errno.EAGAIN),
        (VFIO_OPEN, errno.EBUSY),
        (SUBORDINATE_RESET, errno.EAGAIN),
        (TRY_CONFIG, errno.EBUSY),
    ],
)
def test_a_refusal_is_tried_again_until_it_is_none(word: Operation, number: int) -> None:
    world = World(refused(number), refused(number), refused(number), "done")
    assert world.attempt(policy_of(word)) == "done"
    assert world.pauses == [0.001, 0.002, 0.004]
    assert [(seen.number, seen.pause_s) for seen in world.seen] == [(1, 0.001), (2, 0.002), (3, 0.004)]
    assert all(seen.error is not None and seen.answer is None for seen in world.seen)


@pytest.mark.parametrize(
    ("rule", "error"),
    [
        (policy_of(VFIO_RESET), refused(errno.EBUSY)),
        (policy_of(VFIO_RESET), refused(errno.ENOTTY)),
        (policy.RESET_BEGAN, refused(errno.EAGAIN)),
        (policy.RESET_BEGAN, refused(errno.ENOTTY)),
        (policy.CLOSE_ONCE, OSError(errno.EINTR, "x")),
        (WILD_CLOCK, GuestError("panicked")),
        (PLUGGED, GuestError("panicked")),
        (CONNECT, PermissionError(errno.EACCES, "x")),
        (policy_of(VFIO_RESET), KeyboardInterrupt()),
    ],
)
def test_any_other_answer_is_final_at_once(rule: Policy, error: BaseException) -> None:
    world = World(error)
    with pytest.raises(type(error)) as raised:
        world.attempt(rule)
    assert raised.value is error
    assert (world.began, world.pauses, world.seen) == ([0.0], [], [])


def test_the_back_off_doubles_and_ends_with_the_patience() -> None:
    world = World(refused(errno.EAGAIN))
    with pytest.raises(KernelRefusal, match="EAGAIN"):
        world.attempt(policy_of(VFIO_RESET))
    assert [round(1000 * pause) for pause in world.pauses[:9]] == [1, 2, 4, 8, 16, 32, 64, 64, 64]
    assert world.began[-1] == pytest.approx(2.0)  # the last pause is cut short
    assert len(world.seen) == len(world.began) - 1  # the last one is the answer, not given up


def test_attempts_are_counted_too() -> None:
    world = World(ClockError("wild"), takes=60.0)
    with pytest.raises(ClockError):
        world.attempt(WILD_CLOCK)
    assert len(world.began) == 2
    assert [str(seen.error) for seen in world.seen] == ["wild"]


def test_the_time_that_an_attempt_takes_counts_against_the_patience() -> None:
    world = World(refused(errno.EAGAIN), takes=0.9)
    with pytest.raises(KernelRefusal):
        world.attempt(policy_of(VFIO_RESET))
    assert [round(began, 1) for began in world.began] == [0.0, 0.9, 1.8]


def test_a_deadline_is_a_point_in_time_that_calls_share() -> None:
    world = World(refused(errno.EAGAIN), takes=0.02)
    until = Deadline.after(0.1, world.clock)
    for _ in range(2):
        with pytest.raises(KernelRefusal):
            world.attempt(policy_of(VFIO_RESET), until=until)
    assert [began for began in world.began if began >= 0.1] == world.began[-1:]  # one each, whatever is left
    assert max(began for began in world.began[:-1]) < 0.1


def test_a_deadline_after_the_patience_prolongs_nothing() -> None:
    world = World(refused(errno.EAGAIN))
    with pytest.raises(KernelRefusal):
        world.attempt(policy_of(VFIO_RESET), until=Deadline.after(60, world.clock))
    assert world.began[-1] == pytest.approx(2.0)


def test_a_deadline_says_what_is_left() -> None:
    deadline = Deadline(at=10.0)
    assert (deadline.remaining(7.5), deadline.remaining(11.0)) == (2.5, 0.0)
    assert not deadline.expired(9.999)
    assert deadline.expired(10.0)
    assert min(deadline, Deadline(9.0)) == Deadline(9.0)


def test_what_is_waited_for_is_asked_for_until_it_is_there() -> None:
    world = World(None, None, {"bdf": "0000:02:00.0"})
    assert world.attempt(PLUGGED, unsettled=lambda facts: facts is None) == {"bdf": "0000:02:00.0"}
    assert world.pauses == [0.005, 0.01]
    assert [(seen.error, seen.answer) for seen in world.seen] == [(None, None)] * 2


def test_waiting_in_vain_returns_the_last_answer() -> None:
    world = World(None)
    assert world.attempt(PLUGGED, unsettled=lambda facts: facts is None) is None
    assert world.began[-1] == pytest.approx(15.0)


def test_a_starved_stage_is_told_and_made_twice_more() -> None:
    world = World("starved", "starved again", "starved for good", takes=60.0)
    assert world.attempt(STARVED, unsettled=lambda end: end.startswith("starved")) == "starved for good"
    told = [(seen.number, seen.answer, seen.pause_s) for seen in world.seen]
    assert told == [(1, "starved", 0.0), (2, "starved again", 0.0)]


def test_an_observer_may_make_ready_for_the_next_attempt() -> None:
    world = World(ClockError("wild"), "sane")
    order: list[str] = []

    def renew(attempt: Attempt) -> None:
        order.append(f"renewed after {attempt.number}")

    def work() -> Any:
        order.append("work")
        return world.work()

    assert attempting(WILD_CLOCK, observe=renew, clock=world.clock, sleep=world.sleep)(work) == "sane"
    assert order == ["work", "renewed after 1", "work"]


def test_a_fault_ends_a_series_that_began_with_something_else() -> None:
    wide = Policy(
        reason="r", source="s", errors=(LabError,), attempts=9, patience_ns=Ns(SECOND), longest_ns=Ns(MS)
    )
    world = World(ClockError("wild"), GuestError("panicked"), "never reached")
    with pytest.raises(GuestError):
        world.attempt(wide)
    assert len(world.began) == 2


def test_real_time_passes_when_nobody_says_otherwise() -> None:
    ends = iter([None, "there"])
    assert attempting(PLUGGED, unsettled=lambda end: end is None)(lambda: next(ends)) == "there"
