"""config_restored of functions beside the plan's: a reset of a bus answers for all that it took along."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.history.history import History
from harness.judge.evidence import Evidence
from harness.judge.questions.config_kept import config_kept
from harness.judge.questions.config_restored import config_restored
from harness.model import operation as words
from harness.model.verdict import Blame, Finding, Verdict
from tests.unit.judge.build import ALIAS, CONTRACT, worst
from tests.unit.judge.surrounded import BESIDE, MEMORY_BASE, PORT, surrounded
from tests.unit.judge.witness import HOT, CallStage

CACHE_LINE = 0x0C


def restored(history: History) -> tuple[Finding, ...]:
    return config_restored(Evidence(history), CONTRACT.terms_of(history))


def hot(count: int = 1, *, error: int = 0) -> History:
    """So many hot resets of the function, each by an actor of its own."""
    stage = CallStage()
    stage.heartbeat(until_us=4e6)
    for number in range(count):
        caller, begin = stage.caller(words.HOT_RESET), 1_000 + 200_000 * number
        stage.performs(begin + 100, 101_000, tid=100 + caller, by=HOT)
        stage.called(caller, begin, begin + 103_000, error=error)
    return stage.history()


def test_it_passes_for_each_that_is_as_before() -> None:
    own, beside = sorted(restored(surrounded(hot())), key=lambda one: BESIDE in one.claim)
    assert (own.verdict, beside.verdict) == (Verdict.PASS, Verdict.PASS)
    assert f"{BESIDE}, beside {ALIAS}, (256 bytes) is what it was before reset/hot" in beside.claim


def test_the_call_that_lost_it_is_convicted() -> None:
    history = surrounded(hot(), beside={CACHE_LINE: 9})
    (bad,) = (one for one in restored(history) if one.verdict is not Verdict.PASS)
    assert (bad.verdict, bad.blame) == (Verdict.FAIL, Blame.RESET_FAILED)
    assert (
        f"Config space of {BESIDE}, beside {ALIAS}, was not restored after reset/hot by caller-1" in bad.claim
    )
    assert [history.operations["actor"][event.row] for event in bad.events] == [1]
    kept = config_kept(Evidence(history), CONTRACT.terms_of(history))
    assert worst(kept) is Verdict.PASS  # the port; one effect is told once


def test_of_several_all_that_it_may_have_been_are_named() -> None:
    (bad,) = (
        one for one in restored(surrounded(hot(3), beside={CACHE_LINE: 9})) if one.verdict is Verdict.FAIL
    )
    assert "after reset/hot by caller-3, or after reset/hot by caller-1 or reset/hot by caller-2" in bad.claim
    assert len(bad.events) == 3


def test_one_that_reads_all_ones_is_lost() -> None:
    bad = restored(surrounded(hot(), beside=dict.fromkeys(range(256), 0xFF)))
    assert Blame.DEVICE_LOST in {one.blame for one in bad}


def test_one_that_could_not_be_read_is_unknown() -> None:
    history = surrounded(hot())
    port, beside = history.neighbours or ()
    assert worst(restored(replace(history, neighbours=(port, replace(beside, config_after=b""))))) is (
        Verdict.UNKNOWN
    )


def test_a_reset_that_failed_answers_for_nothing_and_explains_nothing() -> None:
    history = surrounded(hot(error=25), beside={CACHE_LINE: 9})
    assert restored(history) == ()
    assert worst(config_kept(Evidence(history), CONTRACT.terms_of(history))) is Verdict.UNKNOWN


def test_the_port_is_not_reset_by_what_resets_all_behind_it() -> None:
    history = surrounded(hot(), port={MEMORY_BASE: 9})
    assert worst(restored(history)) is Verdict.PASS
    (bad,) = config_kept(Evidence(history), CONTRACT.terms_of(history))
    assert (bad.verdict, PORT in bad.claim) == (Verdict.UNKNOWN, True)


@pytest.mark.parametrize("means", [words.VFIO_RESET, words.VFIO_OPEN])
def test_a_reset_of_one_function_answers_for_no_other(means: str) -> None:
    stage = CallStage()
    stage.heartbeat(until_us=4e6)
    caller = stage.caller(means)
    stage.performs(1_100, 101_000, tid=100 + caller)
    stage.called(caller, 1_000, 103_000)
    history = surrounded(stage.history(), beside={CACHE_LINE: 9})
    assert worst(restored(history)) is Verdict.PASS
    assert worst(config_kept(Evidence(history), CONTRACT.terms_of(history))) is Verdict.UNKNOWN


def test_a_last_close_that_resets_the_bus_answers_for_the_bus() -> None:
    stage = CallStage()
    stage.heartbeat(until_us=4e6)
    caller = stage.caller(words.VFIO_CLOSE)
    stage.performs(1_100, 101_000, tid=100 + caller, by=HOT)
    stage.called(caller, 1_000, 103_000)
    (bad,) = (
        one for one in restored(surrounded(stage.history(), beside={CACHE_LINE: 9})) if BESIDE in one.claim
    )
    assert (bad.verdict, bad.blame) == (Verdict.FAIL, Blame.RESET_FAILED)


def test_what_is_behind_a_bridge_is_reset_with_its_bus_at_any_depth() -> None:
    history = surrounded(hot())
    port, beside = history.neighbours or ()
    deep = replace(beside, alias="0000:02:00.0", bdf="0000:02:00.0", port=BESIDE)
    lost = replace(deep, config_after=b"\x00" * 256)
    assert worst(restored(replace(history, neighbours=(port, beside, deep)))) is Verdict.PASS
    (bad,) = (
        one
        for one in restored(replace(history, neighbours=(port, beside, lost)))
        if one.verdict is Verdict.FAIL
    )
    assert "0000:02:00.0" in bad.claim
