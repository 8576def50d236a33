"""driver_told: drivers that heard of a reset, that did not, that heard half of it, and that nobody knows."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.history.history import History
from harness.history.windows import Callback, DriverStep
from harness.judge.evidence import Evidence
from harness.judge.questions.driver_told import driver_told
from harness.model.operation import TELLING, UNBIND
from harness.model.terms import Terms
from harness.model.verdict import Blame, Finding, Verdict
from tests.unit.judge.build import terms
from tests.unit.judge.storage import RESET_AT, RESET_OVER, TOLD, StorageStage

PREPARE, DONE = TOLD


def found(history: History) -> tuple[Finding, ...]:
    return driver_told(Evidence(history), terms(history))


def reset(*told: tuple[Callback, float], driver: str = "nvme", platform: str = "nvme") -> StorageStage:
    stage = StorageStage(driver=driver, platform=platform)
    stage.reset_under_driver(*told)
    return stage


def test_a_driver_that_hears_of_it_before_and_after_is_told() -> None:
    (finding,) = found(reset(*TOLD).history())
    assert (finding.verdict, finding.met) == (Verdict.PASS, 1)
    assert finding.promise == "driver-told/reset@none:nvme"
    assert "it heard reset_prepare before it, and reset_done after it" in finding.claim
    assert not finding.weakness


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ((), "nothing before it, and nothing after it"),
        ((PREPARE,), "reset_prepare before it, and nothing after it"),
        ((DONE,), "nothing before it, and reset_done after it"),
        (
            ((Callback.DONE, PREPARE[1]), (Callback.PREPARE, DONE[1])),
            "reset_done before it, and reset_prepare after it",
        ),
        ((PREPARE, (Callback.DONE, PREPARE[1] + 2)), "reset_prepare and reset_done before it, and nothing"),
    ],
)
def test_a_driver_that_hears_less_or_out_of_order_convicts(
    told: tuple[tuple[Callback, float], ...], said: str
) -> None:
    (finding,) = found(reset(*told).history())
    assert (finding.verdict, finding.blame) == (Verdict.FAIL, Blame.MISMATCH)
    assert said in finding.claim
    assert len(finding.events) == 1 + len(told)


def test_what_another_thread_says_is_of_another_reset() -> None:
    stage = reset()
    for what, when in TOLD:
        stage.told(what, when, tid=900)
    assert found(stage.history())[0].verdict is Verdict.FAIL


def test_each_of_several_resets_by_one_thread_needs_its_own_two_calls() -> None:
    stage = reset(*TOLD)
    stage.reset(0, RESET_AT + 1e6)
    (finding,) = found(stage.history())
    assert finding.verdict is Verdict.FAIL
    assert "1 of 2 resets" in finding.claim
    for what, when in TOLD:
        stage.told(what, when + 1e6, tid=100)
    (finding,) = found(stage.history())
    assert (finding.verdict, finding.met) == (Verdict.PASS, 2)


def test_a_driver_without_callbacks_is_a_known_weakness() -> None:
    (finding,) = found(reset(driver="ipr", platform="hil-ipr").history())
    assert finding.verdict is Verdict.PASS
    assert "does not tell ipr" in finding.weakness
    (finding,) = found(reset(*TOLD, driver="ipr", platform="hil-ipr").history())
    assert (finding.verdict, finding.blame) == (Verdict.FAIL, Blame.WEAKNESS_GONE)
    assert "ipr heard of 1 of 1 resets" in finding.claim


@pytest.mark.parametrize("driver", ["", "vfio-pci", "igb"])
def test_of_drivers_whose_callbacks_are_not_known_nothing_is_said(driver: str) -> None:
    assert found(reset(driver=driver).history()) == ()


def test_a_reset_that_failed_is_none() -> None:
    stage = StorageStage()
    stage.resetter()
    stage.performed(RESET_AT, RESET_OVER, tid=100, result=-25)
    assert found(stage.history()) == ()


def test_a_reset_by_the_driver_itself_needs_no_telling() -> None:
    stage = reset(driver="ipr", platform="nvme")
    stage.takes(DriverStep.ASKED, RESET_AT - 200_000)
    stage.takes(DriverStep.SELF_TEST, RESET_AT - 100_000, tid=100)
    assert found(stage.history()) == ()


def test_after_an_unbind_there_is_nobody_to_tell() -> None:
    stage = reset()
    stage.op(stage.does("unbinder", UNBIND), RESET_AT - 1_000, RESET_AT - 500)
    assert found(stage.history()) == ()


def test_without_certainty_nothing_is_known() -> None:
    history = reset(*TOLD).history()
    probes = tuple(replace(one, present=one.symbol != "nvme_reset_done") for one in history.probes)
    for doubtful in (replace(history, lost_kernel_events=1), replace(history, probes=probes)):
        (finding,) = found(doubtful)
        assert finding.verdict is Verdict.UNKNOWN
        assert "not certain" in finding.claim


def test_where_the_contract_is_silent_nothing_is_known() -> None:
    history = reset(*TOLD).history()
    promises = {
        alias: tuple(one for one in entries if one.operation != TELLING)
        for alias, entries in terms(history).promises.items()
    }
    (finding,) = driver_told(Evidence(history), Terms(promises=promises))
    assert finding.verdict is Verdict.UNKNOWN
    assert "does not say" in finding.claim
