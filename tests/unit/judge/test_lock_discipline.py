"""lock_discipline, and what the kernel log and stuck readers say of whoever broke it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.history.columns import INTERRUPT, Edge
from harness.history.windows import LOCK
from harness.judge import judge
from harness.judge.evidence import Evidence
from harness.judge.questions.finished import finished
from harness.judge.questions.kernel_log import kernel_log
from harness.judge.questions.lock_discipline import lock_discipline
from harness.model import operation as words
from harness.model.verdict import Blame, EventKind, Finding, Verdict
from tests.unit.judge.build import FLR, Stage, terms, worst

OLD_WARNING = "WARNING: CPU: 1 PID: 99 at drivers/pci/access.c:331 pci_cfg_access_unlock+0x5f/0x70"
NEW_WARNING = "WARNING: drivers/pci/access.c:331 at pci_cfg_access_unlock+0x5f/0x70, CPU#1: actor/99"


def judged(stage: Stage, **changes: object) -> tuple[Finding, ...]:
    history = stage.history(**changes)
    return lock_discipline(Evidence(history), terms(history))


def logged(stage: Stage, **changes: object) -> tuple[Finding, ...]:
    history = stage.history(**changes)
    return kernel_log(Evidence(history), terms(history))


def stolen() -> Stage:
    """A holder whose lock is stolen after 50 of 150 ms, and a reader that gets through."""
    stage = Stage()
    holder = stage.does("holder", words.HOLD_CONFIG)
    thief = stage.does("thief", words.STEAL)
    reader = stage.reader()
    stage.heartbeat()
    stage.op(holder, 99_900, 250_100)
    stage.window(100_000, None, tid=100 + holder)
    stage.op(thief, 149_990, 150_020)
    stage.unlock(150_000, 100 + thief)
    stage.unlock(250_000, 100 + holder)
    stage.op(reader, 200_000, 200_020)
    return stage


def unlocked_twice() -> Stage:
    stage = Stage()
    misuser = stage.does("double-unlocker", words.UNLOCK_TWICE)
    stage.held_by(misuser, 99_900, 200_200, opened=100_000, closed=200_000)
    stage.unlock(200_100, 100 + misuser)
    return stage


def never_unlocked() -> Stage:
    """A keeper that returns with the lock held, and a reader that never comes back."""
    stage = Stage()
    keeper, reader = stage.does("keeper", words.NEVER_UNLOCK), stage.reader()
    stage.heartbeat()
    stage.op(keeper, 99_900, 100_020)
    stage.window(100_000, None, tid=100 + keeper)
    stage.op(reader, 150_000, None)
    stage.wait(150_005, reader)
    stage.ends(reader, end="abandoned", wchan="pci_wait_cfg")
    return stage


def test_locks_that_are_given_back_pass() -> None:
    stage = Stage()
    resetter = stage.resetter()
    stage.reset(resetter, 1_000)
    stage.window(500_000, 600_000)
    (good,) = judged(stage)
    assert (good.verdict, good.met) == (Verdict.PASS, 2)


def test_without_locks_there_is_nothing_to_ask() -> None:
    stage = Stage()
    stage.reader()
    assert judged(stage) == ()
    assert judged(stage, probes=()) == ()


def test_a_theft_convicts_the_thief_and_shows_lock_theft_and_what_came_of_it() -> None:
    (bad,) = judged(stolen())
    assert (bad.verdict, bad.blame, bad.met) == (Verdict.FAIL, Blame.DRIVER_FAULT, 1)
    assert bad.claim == (
        "thief (misuse/steal) unlocked the config lock of disk that holder (hold/config-lock) held, which gave it "
        "back 100 ms later."
    )
    assert [event.kind for event in bad.events] == [EventKind.KERNEL] * 3
    history = stolen().history()
    times = [int(history.kernel["time_ns"][event.row] - history.begin_ns) for event in bad.events]
    assert times == [100_000_000, 150_000_000, 250_000_000]


def test_the_theft_is_the_headline_and_no_reader_is_convicted() -> None:
    history = stolen().history()
    judgement = judge(history, terms(history))
    assert judgement.verdict is Verdict.FAIL
    assert judgement.decisive is not None
    assert judgement.decisive.checker == "lock_discipline"
    assert {f.checker for f in judgement.findings if f.verdict is Verdict.FAIL} == {"lock_discipline"}


def test_a_thread_that_is_no_actors_is_named_by_its_number() -> None:
    stage = Stage()
    stage.reader()
    stage.window(100_000, None, tid=900)
    stage.unlock(150_000, 901)
    (bad,) = judged(stage)
    assert bad.claim == "thread 901 unlocked the config lock of disk that thread 900 held."


def test_an_unlock_too_many_convicts() -> None:
    (bad,) = judged(unlocked_twice())
    assert (bad.verdict, bad.blame) == (Verdict.FAIL, Blame.DRIVER_FAULT)
    assert bad.claim == (
        "double-unlocker (misuse/unlock-twice) unlocked the config lock of disk while nobody held it, which it had "
        "held last."
    )


def test_equal_faults_are_one_finding() -> None:
    stage = unlocked_twice()
    for number in range(3):
        stage.unlock(300_000 + 100 * number, 100)
    (bad,) = judged(stage)
    assert bad.met == 4
    assert "(3 more times)" in bad.claim


def test_a_lock_that_is_never_given_back_convicts_its_owner() -> None:
    (bad,) = judged(never_unlocked())
    assert (bad.verdict, bad.blame) == (Verdict.FAIL, Blame.DRIVER_FAULT)
    assert bad.claim.startswith("keeper (misuse/never-unlock) never unlocked the config lock of disk, ")


def test_a_holder_that_is_still_at_work_has_broken_nothing_yet() -> None:
    stage = Stage()
    resetter = stage.resetter()
    stage.op(resetter, 100, None)
    stage.window(200, None, tid=100 + resetter)
    (good,) = judged(stage)
    assert good.verdict is Verdict.PASS


def test_a_lock_that_a_strange_thread_still_holds_is_unknown() -> None:
    stage = Stage()
    stage.reader()
    stage.window(200, None)
    (finding,) = judged(stage)
    assert finding.verdict is Verdict.UNKNOWN
    assert "may still be at work" in finding.claim


@pytest.mark.parametrize(("line", "verdict"), [("", Verdict.UNKNOWN), (OLD_WARNING, Verdict.FAIL)])
def test_an_unlock_of_what_nobody_was_seen_to_lock_needs_the_kernels_word(
    line: str, verdict: Verdict
) -> None:
    stage = Stage()
    stage.reader()
    stage.unlock(100, 900)
    if line:
        stage.log(line)
    assert worst(judged(stage)) is verdict


def test_two_holders_at_once_are_a_hole_in_the_trace() -> None:
    stage = Stage()
    stage.reader()
    stage.window(100, None, tid=900)
    stage.window(300, 400, tid=901)
    (finding,) = judged(stage)
    assert finding.verdict is Verdict.UNKNOWN
    assert "an unlock is missing" in finding.claim


@pytest.mark.parametrize("make", [stolen, unlocked_twice, never_unlocked])
def test_a_trace_that_lost_events_convicts_nobody(make: type[Stage]) -> None:
    (finding,) = judged(make(), lost_kernel_events=1)
    assert finding.verdict is Verdict.UNKNOWN
    history = make().history()
    probes = tuple(replace(p, missed=1) if p.symbol == LOCK else p for p in history.probes)
    assert worst(judged(make(), probes=probes)) is Verdict.UNKNOWN


# the kernel log


@pytest.mark.parametrize("line", [OLD_WARNING, NEW_WARNING])
def test_the_kernels_warning_names_the_culprit(line: str) -> None:
    stage = unlocked_twice()
    stage.log(line)
    stage.log("RIP: 0010:pci_cfg_access_unlock+0x5f/0x70")
    history = stage.history()
    (bad,) = kernel_log(Evidence(history), terms(history))
    assert (bad.verdict, bad.blame, bad.met) == (Verdict.FAIL, Blame.DRIVER_FAULT, 1)
    assert bad.claim.startswith(f"Kernel log: {line}: that is because double-unlocker (misuse/unlock-twice)")
    assert [event.kind for event in bad.events] == [EventKind.LOG, EventKind.LOG, EventKind.KERNEL]
    decisive = judge(history, terms(history)).decisive
    assert decisive is not None
    assert decisive.checker == "lock_discipline"


def test_the_victims_warning_names_the_thief() -> None:
    stage = stolen()
    stage.log(OLD_WARNING)
    (bad,) = logged(stage)
    assert "that is because thief (misuse/steal) unlocked" in bad.claim


def test_other_lines_stand_for_themselves() -> None:
    stage = unlocked_twice()
    stage.log(OLD_WARNING)
    stage.log("BUG: kernel NULL pointer dereference, address: 0")
    assert [f.blame for f in logged(stage)] == [Blame.DRIVER_FAULT, Blame.KERNEL_FAULT]


@pytest.mark.parametrize("change", [{"lost_kernel_events": 2}, {"probes": ()}])
def test_a_warning_without_a_certain_culprit_stands_for_itself(change: dict[str, object]) -> None:
    stage = unlocked_twice()
    stage.log(OLD_WARNING)
    (bad,) = logged(stage, **change)
    assert bad.blame is Blame.KERNEL_FAULT


# stuck readers


def test_a_stuck_reader_names_who_holds_the_lock() -> None:
    history = never_unlocked().history()
    (bad,) = finished(Evidence(history), terms(history))
    assert bad.blame is Blame.TIMEOUT
    assert "asleep in pci_wait_cfg; keeper (misuse/never-unlock) has held its config lock for" in bad.claim
    assert [event.kind for event in bad.events] == [EventKind.OPERATION, EventKind.KERNEL]


def test_a_stuck_reset_does_not_wait_for_itself() -> None:
    stage = Stage()
    resetter = stage.resetter(means=FLR)
    stage.op(resetter, 100, None)
    stage.window(200, None, tid=100 + resetter)
    history = stage.history()
    (bad,) = finished(Evidence(history), terms(history))
    assert "has held" not in bad.claim


def test_who_holds_the_lock_is_not_said_when_it_is_not_certain() -> None:
    history = never_unlocked().history(lost_kernel_events=1)
    (bad,) = finished(Evidence(history), terms(history))
    assert "has held" not in bad.claim


@pytest.mark.parametrize("means", [words.VFIO_RESET, words.BAR_READ, words.UNBIND, words.VFIO_CLOSE])
def test_whatever_it_was_an_operation_that_never_returned_convicts(means: str) -> None:
    stage = Stage()
    stage.op(stage.does("actor", means, "vfio"), 10, None)
    history = stage.history()
    (bad,) = finished(Evidence(history), terms(history))
    assert (bad.verdict, bad.blame) == (Verdict.FAIL, Blame.TIMEOUT)


def test_a_theft_of_a_lock_that_was_just_being_taken_convicts_the_thief_and_no_reader() -> None:
    """The thread that took it may have slept between setting the bit and returning: nobody knows which came first."""
    stage = Stage()
    holder, thief = stage.does("holder", words.HOLD_CONFIG), stage.does("thief", words.STEAL)
    reader = stage.reader()
    stage.heartbeat()
    stage.op(holder, 99_900, 250_100)
    stage.probe(100_000, LOCK, Edge.ENTRY, 100 + holder)
    stage.op(thief, 119_990, 120_020)
    stage.unlock(120_000, 100 + thief)
    stage.probe(150_000, LOCK, Edge.RETURN, 100 + holder, function=-1)
    stage.unlock(250_000, 100 + holder)
    stage.op(reader, 200_000, 200_020)
    sleeper = stage.reader("sleeper")
    stage.op(sleeper, 110_000, 250_100)
    stage.wait(110_005, sleeper)
    (bad,) = judged(stage)
    assert bad.claim == (
        "thief (misuse/steal) unlocked the config lock of disk that holder (hold/config-lock) was just taking, which "
        "gave it back 130 ms later."
    )
    history = stage.history()
    failed = {f.checker for f in judge(history, terms(history)).findings if f.verdict is Verdict.FAIL}
    assert failed == {"lock_discipline"}


CONTEXTS = ("interrupt", "worker", "adapter-reset", "driver", "thief", "hold", "idle")
"""Who may take or give back a lock: an interrupt, a thread of the kernel's own, actors at work, and one that is not."""
OF_A_DRIVER = CONTEXTS[:4]


@pytest.mark.parametrize("giver", CONTEXTS)
@pytest.mark.parametrize("taker", CONTEXTS)
def test_a_lock_that_was_tried_for_is_its_drivers_to_give_back(taker: str, giver: str) -> None:
    """An interrupt stands on one side: what it takes, or gives back, is a driver's; so must the other side be."""
    stage = Stage(platform="hil-ipr")
    doing = {
        "adapter-reset": words.HOST_RESET,
        "driver": words.UNBIND,
        "thief": words.STEAL,
        "hold": words.TRY_CONFIG,
        "idle": words.VFIO_CLOSE,
    }
    actors = {name: stage.does(name, means) for name, means in doing.items()}
    stage.reader()
    if taker not in ("interrupt", "worker", "idle"):
        stage.op(actors[taker], 99_000, 101_000)
    if giver not in ("interrupt", "worker", "idle"):
        stage.op(actors[giver], 149_000, 151_000)
    tids = {"interrupt": INTERRUPT, "worker": 900, **{name: 100 + number for name, number in actors.items()}}
    stage.tries(100_000, taken=True, tid=tids[taker])
    stage.unlock(150_000, tids[giver])
    mine = taker == giver or ("interrupt" in (taker, giver) and {taker, giver} <= {*OF_A_DRIVER})
    (finding,) = judged(stage)
    assert finding.verdict is (Verdict.PASS if mine else Verdict.FAIL)
    if not mine:
        culprit = {"interrupt": "an interrupt", "worker": "thread 900"}.get(giver, giver)
        assert finding.claim.startswith(culprit)


def test_a_theft_from_an_interrupt_convicts_the_thief_and_not_the_timer_that_comes_too_late() -> None:
    stage = Stage(platform="hil-ipr")
    thief = stage.does("thief", words.STEAL)
    stage.reader()
    stage.tries(100_000, taken=True)
    stage.op(thief, 149_000, 151_000)
    stage.unlock(150_000, 100 + thief)
    stage.unlock(200_000, INTERRUPT)
    (finding,) = judged(stage)
    assert finding.claim == (
        "thief (misuse/steal) unlocked the config lock of disk that an interrupt held, which gave it back 50 ms later."
    )
    assert worst(judged(stage, lost_kernel_events=1)) is Verdict.UNKNOWN
