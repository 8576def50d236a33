"""Two functions of one device: what is wrong with one is not put down to the other; a reset of the bus is of both."""

import pytest

from harness.model.fault import Misbehaviour
from harness.model.served import Happened
from harness.model.verdict import Blame, Verdict
from harness.plugin.lab import Functions
from harness.plugin.staging import Run, Stage
from harness.staging.faulty import Faulty
from harness.staging.function import Function
from harness.staging.vfio_user import VfioUser

pytestmark = pytest.mark.dut("duo0")


def bus_resets(run: Run, alias: str) -> int:
    """How often a function saw its bus reset while the stage ran."""
    history, rows = run.history, run.evidence.of(alias).served(Happened.BUS_RESET)
    return int((history.served["time_ns"][rows] > history.begin_ns).sum())


def test_a_reset_that_one_ignores_is_not_put_down_to_the_other(
    dut: Function, functions: Functions, stage: Stage
) -> None:
    """Both are reset by FLR, one after the other; one does nothing."""
    sibling = functions("duo1")
    run = stage(
        Faulty(dut).fails(Misbehaviour.IGNORE_FLR),
        dut.resets_with_oracle("flr", at="50ms"),
        sibling.resets_with_oracle("flr", at="400ms"),
        lasting="800ms",
    )
    run.names(Blame.RESET_FAILED, f"reset/flr on {dut.alias}")
    about = [
        one for one in run.judgement.findings if sibling.alias in one.claim and one.checker != "fault_met"
    ]
    assert about
    assert {one.verdict for one in about} == {Verdict.PASS}


def test_who_owns_both_resets_both(dut: Function, functions: Functions, stage: Stage) -> None:
    """With both groups shown; each of the two models sees it."""
    sibling = functions("duo1")
    run = stage(
        VfioUser(dut).hot_resets(at="50ms", beside=(sibling,)),
        VfioUser(sibling).reads(),
        lasting="500ms",
        meets=1,
    )
    run.enforce()
    assert bus_resets(run, dut.alias) == bus_resets(run, sibling.alias) >= 1
