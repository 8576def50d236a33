"""Resets that a bound driver was not told of, by what the kernel's structures and its trace say."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.history.columns import Edge
from harness.history.history import History
from harness.history.windows.trace import SAVE
from harness.judge import judge
from harness.judge.evidence import Evidence
from harness.judge.evidence.untold import untold
from harness.judge.remarks import UNTOLD
from harness.model import operation as words
from harness.model.observation import Callbacks
from harness.model.plan import File, Op, Step
from tests.unit.judge.build import ALIAS, CONTRACT, Stage
from tests.unit.judge.surrounded import BESIDE, surrounded
from tests.unit.judge.witness import HOT, CallStage

BOTH = Callbacks("toy_prepare", "toy_done")


def under(history: History, driver: str, callbacks: Callbacks | None) -> History:
    first = replace(history.functions[0], driver=driver, callbacks=callbacks)
    return replace(history, functions=(first, *history.functions[1:]))


def resets(count: int = 1, *, saved: bool = True) -> Stage:
    """So many resets through sysfs, each saved for, or not."""
    stage = Stage()
    for number in range(count):
        resetter, begin = stage.resetter(f"resetter-{number}"), 10_000 + 300_000 * number
        if saved:
            stage.probe(begin + 5, SAVE, Edge.ENTRY, 100 + resetter)
        stage.reset(resetter, begin)
    return stage


def said(history: History) -> list[str]:
    return [one.said for one in untold(Evidence(history))]


def test_a_driver_without_callbacks_is_not_told() -> None:
    history = under(resets(3).history(), "igb", Callbacks())
    (one,) = untold(Evidence(history))
    assert one.said == f"igb was not told of 3 resets of {ALIAS}: it has no reset_prepare and no reset_done"
    assert len(one.rows) == 3
    (remark,) = (one for one in judge(history, CONTRACT.terms_of(history)).remarks if one.kind == UNTOLD)
    assert (remark.text, remark.count) == (one.said, 3)


def test_one_that_has_both_is_told_and_one_that_has_half_is_told_by_half() -> None:
    assert said(under(resets().history(), "virtio-pci", BOTH)) == []
    (half,) = said(under(resets().history(), "virtio-pci", Callbacks("toy_prepare", "")))
    assert half == f"virtio-pci was not told of 1 reset of {ALIAS}: it has no reset_done"


@pytest.mark.parametrize("driver", ["", "ipr", "nvme"])
def test_nobody_is_asked_without_a_driver_and_of_those_whose_callbacks_are_traced(driver: str) -> None:
    assert said(under(resets().history(), driver, Callbacks())) == []


def test_what_the_kernel_did_not_show_is_not_made_up() -> None:
    history = under(resets().history(), "igb", None)
    assert said(history) == []
    unseen = under(resets(saved=False).history(), "igb", None)
    gone = tuple(replace(one, present=one.symbol != SAVE) for one in unseen.probes)
    for unsure in (replace(unseen, probes=gone), replace(unseen, lost_kernel_events=1)):
        assert said(unsure) == []


def test_a_reset_for_which_nothing_was_saved_is_behind_its_back_whatever_it_has() -> None:
    (one,) = said(under(resets(saved=False).history(), "virtio-pci", BOTH))
    assert one.endswith("the kernel saved nothing before, and called nobody")


def test_what_was_saved_for_the_reset_before_counts_for_that_alone() -> None:
    stage = Stage()
    resetter = stage.resetter()
    stage.probe(10_005, SAVE, Edge.ENTRY, 100 + resetter)
    stage.reset(resetter, 10_000, round_=0)
    stage.reset(resetter, 310_000, round_=1)
    (one,) = untold(Evidence(under(stage.history(), "virtio-pci", BOTH)))
    assert len(one.rows) == 1


def test_methods_that_are_tried_in_vain_belong_to_the_reset_after_them() -> None:
    stage = Stage()
    resetter = stage.resetter()
    stage.probe(10_005, SAVE, Edge.ENTRY, 100 + resetter)
    stage.performed(10_010, 10_020, tid=100 + resetter, symbol="pci_dev_specific_reset", result=-25)
    stage.reset(resetter, 10_015)
    assert said(under(stage.history(), "virtio-pci", BOTH)) == []


def test_a_reset_that_failed_or_came_after_the_driver_had_left_is_none() -> None:
    stage = Stage()
    stage.op(stage.does("unbinder", words.UNBIND, "driver"), 100, 200)
    stage.reset(stage.resetter(), 10_000)
    assert said(under(stage.history(), "igb", Callbacks())) == []
    failed = Stage()
    failed.reader()
    failed.performed(1_000, 2_000, tid=900, result=-25)
    assert said(under(failed.history(), "igb", Callbacks())) == []


def hot(*, driver: str, means: str = words.HOT_RESET, saved: bool = True) -> History:
    stage = CallStage()
    caller = stage.caller(means)
    if saved:
        stage.probe(1_200, SAVE, Edge.ENTRY, 100 + caller)
    stage.performs(1_100, 101_000, tid=100 + caller, by=HOT)
    stage.called(caller, 1_000, 103_000)
    return under(stage.history(), driver, Callbacks())


@pytest.mark.parametrize("means", [words.HOT_RESET, words.VFIO_CLOSE, words.VFIO_RESET])
def test_what_a_user_asks_of_vfio_its_driver_need_not_hear(means: str) -> None:
    assert said(hot(driver="vfio-pci", means=means)) == []
    assert len(said(under(resets().history(), "vfio-pci", Callbacks()))) == 1


def test_a_last_close_when_its_user_ends_is_vfios_own() -> None:
    stage = Stage()
    stage.reader()
    stage.performed(1_000, 2_000, tid=900)
    assert said(under(stage.history(), "vfio-pci", Callbacks())) == []
    assert len(said(under(stage.history(), "igb", Callbacks()))) == 1


def test_a_reset_of_the_bus_is_one_of_each_function_on_it() -> None:
    history = surrounded(hot(driver=""))
    port, beside = history.neighbours or ()
    sibling = replace(beside, driver="igb", callbacks=Callbacks())
    (outside,) = said(replace(history, neighbours=(port, sibling)))
    lacks = "it has no reset_prepare and no reset_done"
    assert outside == f"igb was not told of 1 reset of {BESIDE}, beside {ALIAS}: {lacks}"
    plan = replace(history.plan, functions=(ALIAS, "other"))
    own = replace(history.functions[0], port=port.bdf)
    of_the_plan = replace(
        history, plan=plan, functions=(own, replace(sibling, alias="other")), neighbours=(port,)
    )
    (inside,) = said(of_the_plan)
    assert inside.startswith("igb was not told of 1 reset of other: the kernel saved nothing before")


def test_a_reset_of_all_below_a_bridge_is_one_of_each_function_there() -> None:
    stage = CallStage(port=True)
    file = File(function=f"{ALIAS}.port", role="reset_subordinate")
    caller = stage.actor("below", Step(op=Op.WRITE, means=words.SUBORDINATE_RESET, file=file, value=b"1"))
    stage.probe(1_200, SAVE, Edge.ENTRY, 100 + caller)
    stage.op(caller, 1_000, 103_000)
    (one,) = untold(Evidence(under(stage.history(), "igb", Callbacks())))
    assert (one.name, [str(row) for row in one.rows]) == (ALIAS, ["operation:0"])
