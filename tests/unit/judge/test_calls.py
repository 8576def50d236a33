"""call_outcome and call_time on calls of every kind, on histories written by hand."""

from __future__ import annotations

import errno
from dataclasses import replace

import pytest

from harness.history.columns import Edge
from harness.history.history import History
from harness.history.windows import TRYLOCK, UNREGISTER, WAIT
from harness.judge.evidence import Evidence
from harness.judge.questions.call_outcome import call_outcome
from harness.judge.questions.call_time import call_time
from harness.judge.questions.collided import collided
from harness.model import operation as words
from harness.model.plan import Retries
from harness.model.promise import WindowKind
from harness.model.units import MS, SECOND, Ns
from harness.model.verdict import Blame, Finding, Verdict
from tests.unit.judge.build import ALIAS, CONTRACT, FLR, worst
from tests.unit.judge.witness import HOT, PORT, PORT_NUMBER, SIBLING, SIBLING_NUMBER, CallStage

STRANGER = 900  # a thread that is no actor's


def outcome(history: History) -> tuple[Finding, ...]:
    return call_outcome(Evidence(history), CONTRACT.terms_of(history))


def time(history: History) -> tuple[Finding, ...]:
    return call_time(Evidence(history), CONTRACT.terms_of(history))


def lost(history: History) -> History:
    return replace(history, lost_kernel_events=1)


def locked(means: str, begin: float, end: float, *, error: int = 0, **how: object) -> CallStage:
    """One call, while a stranger holds the config lock from 1 ms to 500 ms."""
    stage = CallStage(**how)  # type: ignore[arg-type]
    stage.heartbeat(until_us=4e6)
    stage.holds(1_000, 500_000, tid=STRANGER)
    stage.called(stage.caller(means), begin, end, error=error)
    return stage


# what a call met


def kinds(stage: CallStage) -> list[tuple[WindowKind, ...]]:
    return [call.kinds for call in Evidence(stage.history()).calls]


def test_a_window_has_the_kind_of_what_its_holder_does() -> None:
    stage = CallStage()
    resetter, user = stage.resetter(), stage.caller(words.VFIO_RESET)
    stage.reset(resetter, 1_000)
    stage.called(user, 50_000, 50_400, error=errno.EAGAIN)
    assert kinds(stage) == [(WindowKind.NONE,), (WindowKind.SYSFS_RESET,)]


def test_the_locks_of_a_call_itself_are_not_anothers() -> None:
    stage = CallStage()
    enabler = stage.caller(words.ENABLE_VFS)
    stage.holds(1_010, 101_500, tid=100 + enabler)
    stage.called(enabler, 1_000, 180_000)
    assert kinds(stage) == [(WindowKind.NONE,)]


def test_device_lock_is_possible_before_and_after_what_is_traced() -> None:
    stage = CallStage()
    enabler, user = stage.caller(words.ENABLE_VFS), stage.caller(words.VFIO_RESET)
    stage.holds(1_010, 101_500, tid=100 + enabler)
    stage.called(enabler, 1_000, 180_000)
    stage.called(user, 150_000, 150_100, error=errno.EAGAIN)  # virtual functions are being added
    stage.called(user, 200_000, 200_100, error=errno.EAGAIN, round_=1)
    assert kinds(stage)[1:] == [(WindowKind.NONE, WindowKind.SRIOV), (WindowKind.NONE,)]
    assert [f.verdict for f in outcome(stage.history())] == [Verdict.PASS, Verdict.PASS, Verdict.FAIL]


def test_a_bind_holds_device_lock_though_nothing_is_traced() -> None:
    stage = CallStage()
    binder, user = stage.caller(words.BIND), stage.caller(words.VFIO_OPEN)
    stage.called(binder, 1_000, 80_000)
    stage.called(user, 50_000, 50_100, error=errno.EAGAIN)
    assert kinds(stage) == [(WindowKind.NONE,), (WindowKind.NONE, WindowKind.DEVICE_LOCK)]
    assert worst(outcome(stage.history())) is Verdict.PASS


def test_who_follows_a_holder_may_be_met_as_well() -> None:
    stage = CallStage()
    one, two, user = (
        stage.caller(words.VFIO_RESET),
        stage.caller(FLR),
        stage.caller(words.VFIO_RESET, "user"),
    )
    end = stage.resets(one, 1_000)
    stage.called(one, 900, end)
    stage.resets(two, end + 5)
    stage.called(two, 20_000, end + 120_000)
    stage.called(
        user, 50_000, end + 100, error=errno.EAGAIN
    )  # it waited for memory_lock, then found the lock taken
    assert kinds(stage)[2] == (WindowKind.VFIO_RESET, WindowKind.SYSFS_RESET)
    assert worst(outcome(stage.history())) is Verdict.PASS


@pytest.mark.parametrize("means", [words.UNBIND, words.BIND, words.REMOVE])
def test_what_needs_device_lock_alone_minds_it_alone(means: str) -> None:
    stage = CallStage()
    holder, caller = stage.caller(words.HOLD_BOTH), stage.caller(means)
    stage.holds(1_010, 500_000, tid=100 + holder)
    stage.holds_device(1_020, 499_000, tid=100 + holder)
    stage.called(holder, 1_000, 500_100)
    stage.called(caller, 50_000, 502_000)
    assert kinds(stage)[1][0] is WindowKind.DEVICE_LOCK
    assert worst(outcome(stage.history())) is Verdict.PASS


@pytest.mark.parametrize(
    ("means", "error", "verdict"),
    [
        (words.TRY_CONFIG, 0, Verdict.PASS),
        (words.TRY_CONFIG, errno.EBUSY, Verdict.FAIL),
        (words.VFIO_RESET, errno.EAGAIN, Verdict.PASS),
    ],
)
def test_trying_the_config_lock_does_not_mind_device_lock(means: str, error: int, verdict: Verdict) -> None:
    stage = CallStage()
    holder, caller = stage.caller(words.HOLD_DEVICE), stage.caller(means)
    stage.holds_device(1_020, 499_000, tid=100 + holder)
    stage.called(holder, 1_000, 500_100)
    stage.called(caller, 50_000, 50_100, error=error)
    assert worst(outcome(stage.history())) is verdict


def test_a_hot_reset_needs_the_locks_of_the_whole_bus() -> None:
    stage = CallStage(sibling=True)
    stage.holds(1_000, 500_000, tid=STRANGER, function=SIBLING_NUMBER)
    stage.called(stage.caller(words.HOT_RESET), 50_000, 50_100, error=errno.EAGAIN)
    stage.called(stage.caller(words.VFIO_RESET, alias=SIBLING), 60_000, 60_100, error=errno.EAGAIN)
    assert kinds(stage) == [(WindowKind.CONFIG_LOCK,), (WindowKind.CONFIG_LOCK,)]
    assert worst(outcome(stage.history())) is Verdict.PASS


@pytest.mark.parametrize(
    ("means", "begin", "end", "verdict"),
    [
        (words.VFIO_COMMAND, 49_000, 50_050, Verdict.PASS),
        (words.RING, 50_020, 50_030, Verdict.PASS),
        (words.BAR_READ, 50_020, None, Verdict.PASS),
        (words.VFIO_COMMAND, 40_000, 49_000, Verdict.FAIL),
        (words.VFIO_READ, 49_000, 50_050, Verdict.FAIL),
    ],
)
@pytest.mark.parametrize("alias", [ALIAS, SIBLING])
def test_a_hot_reset_is_refused_while_any_user_of_the_bus_is_inside_memory_lock(
    means: str, begin: float, end: float | None, verdict: Verdict, alias: str
) -> None:
    """`vfio_pci_dev_set_hot_reset()` tries for each function's memory_lock: EBUSY (found by random plans)."""
    stage = CallStage(sibling=True)
    stage.called(stage.caller(words.HOT_RESET), 50_000, 50_100, error=errno.EBUSY)
    stage.called(stage.caller(means, alias=alias), begin, end)
    said = tuple(finding for finding in outcome(stage.history()) if words.HOT_RESET in finding.claim)
    assert worst(said) is verdict


def test_a_reset_of_all_below_needs_the_locks_of_all_below() -> None:
    stage = CallStage(port=True)
    stage.holds(1_000, 500_000, tid=STRANGER)
    stage.called(stage.caller(words.SUBORDINATE_RESET, alias=PORT), 50_000, 50_100, error=errno.EAGAIN)
    assert kinds(stage) == [(WindowKind.CONFIG_LOCK,)]
    assert worst(outcome(stage.history())) is Verdict.PASS


@pytest.mark.parametrize(
    ("release", "begin", "verdict"),
    [
        ("6.12.117", 500_200, Verdict.PASS),
        ("6.12.117", 50_100, Verdict.FAIL),
        ("6.1.192", 50_100, Verdict.PASS),
    ],
)
def test_a_sysfs_reset_waits_for_the_port_since_6_10(release: str, begin: float, verdict: Verdict) -> None:
    stage = CallStage(port=True, release=release)
    holder, resetter = stage.caller(words.HOLD_PORT), stage.resetter()
    stage.called(holder, 900, 500_100)
    stage.holds(1_000, 500_000, tid=100 + holder, function=PORT_NUMBER)
    stage.called(resetter, 50_000, stage.resets(resetter, begin))
    assert kinds(stage) == [(WindowKind.NONE,), (WindowKind.PORT_LOCK,)]
    assert worst(outcome(stage.history())) is verdict


# call_outcome


def test_a_refusal_in_a_window_passes() -> None:
    (good,) = outcome(locked(words.VFIO_RESET, 50_000, 50_100, error=errno.EAGAIN).history())
    assert (good.verdict, good.met) == (Verdict.PASS, 1)
    assert "returned EAGAIN, for another held a lock" in good.claim


def test_a_refusal_of_a_free_function_convicts() -> None:
    history = locked(words.VFIO_RESET, 600_000, 600_100, error=errno.EAGAIN).history()
    (bad,) = outcome(history)
    assert (bad.verdict, bad.blame) == (Verdict.FAIL, Blame.RESET_FAILED)
    assert "it returned EAGAIN" in bad.claim


def test_with_lost_events_a_refusal_that_a_window_could_explain_is_unknown() -> None:
    history = locked(words.VFIO_RESET, 600_000, 600_100, error=errno.EAGAIN).history()
    assert worst(outcome(lost(history))) is Verdict.UNKNOWN
    history = locked(words.VFIO_RESET, 600_000, 600_100, error=errno.ENOTTY).history()
    assert worst(outcome(lost(history))) is Verdict.FAIL


def test_a_reset_that_should_be_refused_convicts() -> None:
    stage = locked(words.VFIO_RESET, 50_000, 152_000)
    stage.performs(50_100, 101_000, tid=101)
    (bad,) = outcome(stage.history())
    assert (bad.verdict, bad.blame) == (Verdict.FAIL, Blame.MISMATCH)
    assert "reset inside that window" in bad.claim
    assert [str(event) for event in bad.events] == ["operation:6", "kernel:1"]


@pytest.mark.parametrize(
    ("begin", "verdict"), [(499_000, Verdict.PASS), (455_000, Verdict.PASS), (400_000, Verdict.FAIL)]
)
@pytest.mark.parametrize("means", [words.VFIO_RESET, words.VFIO_CLOSE])
def test_who_tries_for_a_lock_that_is_about_to_be_free_may_find_it_free(
    means: str, begin: float, verdict: Verdict
) -> None:
    """It began inside the window for certain; when it tried is not known.  Who waits for 100 ms does not try."""
    stage = locked(means, begin, 610_000)
    stage.performs(501_000, 101_000, tid=101)
    assert worst(outcome(stage.history())) is verdict


@pytest.mark.parametrize(
    ("means", "end", "verdict"),
    [
        (FLR, 400_000, Verdict.FAIL),
        (FLR, 650_000, Verdict.PASS),
        (words.HOLD_CONFIG, 400_000, Verdict.FAIL),
        (words.HOLD_CONFIG, 650_000, Verdict.PASS),
    ],
)
def test_a_call_that_slept_for_the_lock_met_it_whenever_it_began(
    means: str, end: float, verdict: Verdict
) -> None:
    stage = CallStage()
    stage.heartbeat(until_us=4e6)
    stage.holds(1_000, 500_000, tid=STRANGER)
    caller = stage.caller(means)
    stage.called(caller, 995, end)
    stage.wait(1_020, caller)
    (finding,) = outcome(stage.history())
    assert finding.verdict is verdict
    if verdict is Verdict.FAIL:
        assert "it waited inside a window of another thread (config-lock)" in finding.claim
        assert worst(outcome(lost(stage.history()))) is Verdict.UNKNOWN


def test_a_call_that_slept_for_the_port_has_not_met_the_lock_of_the_function() -> None:
    stage = CallStage()
    stage.heartbeat(until_us=4e6)
    stage.holds(1_000, 300_000, tid=STRANGER)
    caller = stage.caller(FLR)
    stage.called(caller, 995, 650_000)
    stage.probe(1_020, WAIT, Edge.ENTRY, 100 + caller, function=PORT_NUMBER)
    (call,) = Evidence(stage.history()).calls
    assert not any(met.certain for met in call.situations)


def test_at_the_edge_of_a_window_neither_promise_convicts_but_anything_else_does() -> None:
    stage = CallStage()
    resetter, user = stage.caller(FLR), stage.caller(words.VFIO_RESET)
    stage.called(resetter, 1_000, stage.resets(resetter, 20_000))
    stage.called(user, 10_000, 10_100, error=errno.EAGAIN)  # device_lock may have been taken already
    assert worst(outcome(stage.history())) is Verdict.PASS
    stage.called(user, 15_000, 15_100, error=errno.ENOTTY, round_=1)
    bad = next(f for f in outcome(stage.history()) if f.verdict is Verdict.FAIL)
    assert "the promise ok or EAGAIN: it returned ENOTTY" in bad.claim


def test_where_the_contract_is_silent_nothing_is_known() -> None:
    history = locked(words.OVERRIDE, 50_000, 50_100, release="6.6.1").history()
    (finding,) = outcome(history)
    assert finding.verdict is Verdict.UNKNOWN
    assert "says nothing on driver/override on disk in window config-lock" in finding.claim


def held_device(means: str, end: float, *, by: str = "hil_hold_device_lock", **how: object) -> CallStage:
    """One call, while another holds device_lock from 1 ms to 500 ms."""
    stage = CallStage(**how)  # type: ignore[arg-type]
    stage.heartbeat(until_us=4e6)
    holder = stage.caller(words.UNBIND if by == UNREGISTER else words.HOLD_DEVICE)
    stage.holds_device(1_000, 500_000, tid=100 + holder, by=by)
    stage.called(holder, 900, 500_100)
    stage.called(stage.caller(means), 50_000, end)
    return stage


def test_waiting_for_device_lock() -> None:
    assert worst(outcome(held_device(words.UNBIND, 502_000).history())) is Verdict.PASS
    bad = next(f for f in outcome(held_device(words.UNBIND, 60_000).history()) if f.verdict is Verdict.FAIL)
    assert "without waiting for its end" in bad.claim
    assert worst(outcome(lost(held_device(words.UNBIND, 502_000).history()))) is Verdict.UNKNOWN


def test_an_absent_probe_on_device_lock_is_unknown() -> None:
    history = held_device(words.UNBIND, 502_000).history()
    probes = tuple(replace(p, present="hil_hold" not in p.symbol) for p in history.probes)
    assert worst(outcome(replace(history, probes=probes))) is Verdict.UNKNOWN


@pytest.mark.parametrize(
    ("release", "end", "verdict"),
    [
        ("6.12.117", 50_100, Verdict.PASS),
        ("6.1.192", 50_100, Verdict.FAIL),
        ("6.1.192", 500_900, Verdict.PASS),
    ],
)
def test_driver_override_waits_on_old_kernels_only(release: str, end: float, verdict: Verdict) -> None:
    assert worst(outcome(held_device(words.OVERRIDE, end, release=release).history())) is verdict


def test_a_function_that_is_still_bound_is_not_bound_again() -> None:
    assert worst(outcome(held_device(words.BIND, 50_100, by=UNREGISTER).history())) is Verdict.PASS
    assert worst(outcome(held_device(words.BIND, 50_100).history())) is Verdict.FAIL


# refused, and tried again

TRIES = Retries(
    errnos=(errno.EAGAIN,),
    attempts=8,
    first_ns=Ns(MS),
    longest_ns=Ns(64 * MS),
    patience_ns=Ns(2 * SECOND),
)


def insistent(*attempts: float) -> CallStage:
    """A reset that was refused at these times, and done at 600 ms; the lock is held from 1 ms to 500 ms."""
    stage = CallStage()
    stage.holds(1_000, 500_000, tid=STRANGER)
    user = stage.caller(words.VFIO_RESET, retries=TRIES)
    for begin in attempts:
        stage.called(user, begin, begin + 100, error=errno.EAGAIN)
    stage.called(user, 600_000, stage.resets(user, 600_100))
    return stage


def test_attempts_that_were_refused_inside_the_window_pass() -> None:
    found = outcome(insistent(50_000, 120_000, 250_000).history())
    assert [(f.verdict, f.met) for f in found] == [(Verdict.PASS, 3), (Verdict.PASS, 0)]


def test_an_attempt_that_was_refused_without_a_window_convicts() -> None:
    bad = next(f for f in outcome(insistent(50_000, 540_000).history()) if f.verdict is Verdict.FAIL)
    assert "1 reset/vfio" in bad.claim


# what is skipped


def closed(*, performs: bool, error: int = -errno.EAGAIN) -> History:
    stage = locked(words.VFIO_CLOSE, 50_000, 170_000 if performs else 62_000)
    if performs:
        stage.performs(50_100, 101_000, tid=101)
    else:
        stage.performs(51_000, 100, tid=101, by=HOT, result=error)  # of the whole bus: refused as well
    return stage.history()


def test_a_skipped_reset_is_a_known_weakness() -> None:
    (good,) = outcome(closed(performs=False))
    assert good.verdict is Verdict.PASS
    assert "skips the reset" in good.weakness


def test_a_weakness_that_is_gone_fails() -> None:
    (bad,) = outcome(closed(performs=True))
    assert (bad.verdict, bad.blame) == (Verdict.FAIL, Blame.WEAKNESS_GONE)


def test_whether_a_reset_was_skipped_is_unknown_when_events_were_lost() -> None:
    assert worst(outcome(lost(closed(performs=False)))) is Verdict.UNKNOWN
    history = closed(performs=False)
    probes = tuple(replace(p, missed=int(p.symbol == "pcie_flr")) for p in history.probes)
    assert worst(outcome(replace(history, probes=probes))) is Verdict.UNKNOWN


# call_time


def test_a_refusal_must_be_prompt() -> None:
    assert worst(time(locked(words.VFIO_RESET, 50_000, 50_100, error=errno.EAGAIN).history())) is Verdict.PASS
    slow = locked(words.VFIO_RESET, 50_000, 1_100_000, error=errno.EAGAIN)
    (bad,) = time(slow.history())
    assert (bad.verdict, bad.blame) == (Verdict.FAIL, Blame.TIMEOUT)
    assert "longer than 1 s" in bad.claim


def test_no_time_of_a_starved_machine_convicts() -> None:
    stage = CallStage()
    stage.heartbeat(late_at=300_000, until_us=4e6)
    stage.holds(1_000, 500_000, tid=STRANGER)
    stage.called(stage.caller(words.VFIO_RESET), 50_000, 1_100_000, error=errno.EAGAIN)
    (finding,) = time(stage.history())
    assert (finding.verdict, finding.blame) == (Verdict.UNKNOWN, Blame.STARVED)


@pytest.mark.parametrize(
    ("length", "verdict"), [(860_000, Verdict.FAIL), (880_000, Verdict.UNKNOWN), (910_000, Verdict.PASS)]
)
def test_a_starved_machine_shortens_a_wait_by_no_more_than_it_was_late(length: int, verdict: Verdict) -> None:
    """900 ms are promised: a beat that came 30 ms late says nothing of 40 ms that are missing."""
    stage = CallStage()
    stage.heartbeat(late_at=300_000, late_ms=30, until_us=4e6)
    stage.called(stage.caller(words.DISABLE_VFS), 1_000, 1_000 + length)
    assert worst(time(stage.history())) is verdict


def test_with_lost_events_no_time_is_certain() -> None:
    history = locked(words.VFIO_RESET, 50_000, 1_100_000, error=errno.EAGAIN).history()
    assert worst(time(lost(history))) is Verdict.UNKNOWN


def reopened(end: float) -> tuple[Finding, ...]:
    stage = CallStage()
    stage.heartbeat(until_us=4e6)
    one, two = stage.caller(words.HOT_RESET), stage.caller(words.VFIO_REOPEN)
    stage.called(one, 900, stage.resets(one, 1_000, 500_000, by=HOT))
    stage.called(two, 50_000, end)
    return tuple(f for f in time(stage.history()) if "open/vfio-again" in f.claim)


def test_who_waited_must_return_soon_after_the_window() -> None:
    (good,) = reopened(502_000)
    assert "after the window had closed" in good.claim
    (bad,) = reopened(1_600_000)
    assert (bad.verdict, bad.blame) == (Verdict.FAIL, Blame.TIMEOUT)


def test_who_does_not_mind_a_window_may_outlast_it_but_not_sit_in_it() -> None:
    stage = CallStage()
    stage.heartbeat(until_us=4e6)
    stage.holds(1_000, 2_000_000, tid=STRANGER)
    stage.called(stage.caller(words.UNBIND), 1_900_000, 2_050_000)
    assert worst((*outcome(stage.history()), *time(stage.history()))) is Verdict.PASS
    stage = CallStage()
    stage.heartbeat(until_us=4e6)
    stage.holds(1_000, 2_000_000, tid=STRANGER)
    stage.called(stage.caller(words.UNBIND), 500_000, 2_000_500)
    assert worst(outcome(stage.history())) is Verdict.PASS
    (bad,) = time(stage.history())
    assert "1.5 s of it inside the window" in bad.claim


def test_taking_virtual_functions_away_takes_a_second() -> None:
    for length, verdict in ((1_010_000, Verdict.PASS), (400_000, Verdict.FAIL)):
        stage = CallStage()
        stage.heartbeat(until_us=4e6)
        stage.called(stage.caller(words.DISABLE_VFS), 1_000, 1_000 + length)
        assert worst(time(stage.history())) is verdict


# collided


def counted(stage: CallStage) -> tuple[Finding, ...]:
    history = stage.history()
    return collided(Evidence(history), CONTRACT.terms_of(history))


def test_refused_calls_count_where_nobody_reads_config_space() -> None:
    (good,) = counted(locked(words.VFIO_RESET, 50_000, 50_100, error=errno.EAGAIN, meets=1))
    assert (good.verdict, good.met) == (Verdict.PASS, 1)
    (short,) = counted(locked(words.VFIO_RESET, 600_000, 700_000, meets=1))
    assert short.verdict is Verdict.UNKNOWN
    (doubtful,) = collided(
        Evidence(lost(locked(words.VFIO_RESET, 50_000, 50_100, error=errno.EAGAIN, meets=1).history())),
        CONTRACT.terms_of(locked(words.VFIO_RESET, 1, 2).history()),
    )
    assert doubtful.verdict is Verdict.UNKNOWN


def test_control_samples_do_not_hide_calls() -> None:
    stage = locked(FLR, 50_000, 602_000, meets=1)
    stage.op(stage.reader("control", means=words.ATTRIBUTE_READ, offset=0), 60_000, 60_010)
    assert worst(counted(stage)) is Verdict.PASS


def test_config_accesses_that_all_ran_free_hide_calls_unless_vfio_takes_part() -> None:
    stage = locked(FLR, 50_000, 602_000, meets=1)
    stage.op(stage.reader(), 600_000, 600_010)
    assert worst(counted(stage)) is Verdict.UNKNOWN
    stage.called(stage.caller(words.VFIO_INFO), 600_000, 600_010)
    (good,) = counted(stage)
    assert (good.verdict, good.met) == (Verdict.PASS, 1)


def test_register_accesses_that_waited_count() -> None:
    stage = CallStage(meets=2)
    user = stage.caller(words.VFIO_RESET)
    end = stage.resets(user, 1_000)
    stage.called(user, 900, end)
    for number in range(2):
        stage.op(stage.reader(f"bar-{number}", means=words.BAR_READ), 50_000, end + 100)
    (good,) = counted(stage)
    assert (good.verdict, good.met) == (Verdict.PASS, 2)


def test_a_lock_that_was_tried_makes_a_window_too() -> None:
    stage = CallStage()
    stage.holds(1_000, 500_000, tid=STRANGER, by=TRYLOCK)
    stage.called(stage.caller(words.VFIO_RESET), 50_000, 50_100, error=errno.EAGAIN)
    assert worst(outcome(stage.history())) is Verdict.PASS
    assert ALIAS in outcome(stage.history())[0].claim
