"""Functions that are slow to come back from a reset, that do not come back, and that only pretend to have been reset.

Each test stages one fault of our programmable endpoint.  Where Linux copes, the verdict is PASS, and the findings say
what was borne; where it cannot, the verdict is FAIL, and the test is green only if it names what was staged.
"""

from itertools import pairwise
from typing import Literal

import pytest

from harness.history.columns import Table
from harness.history.history import History
from harness.judge.questions.came_back import waits
from harness.model.fault import Misbehaviour
from harness.model.pci import BAR0
from harness.model.plan import Setting
from harness.model.served import Happened
from harness.model.verdict import Blame, Verdict
from harness.plugin.staging import Run, Stage
from harness.staging.faulty import Faulty
from harness.staging.function import Function
from harness.staging.ownership import Ownership
from harness.staging.part import Part
from harness.staging.vfio_user import VfioUser

pytestmark = pytest.mark.dut("endpoint0")

_LADDER_MS = [(1 << step) - 1 for step in range(10, 17)]
"""1.023, 2.047 … 65.535 s: what the kernel has slept by each of its lines."""
_OCCASIONS = {"flr": "FLR", "bus": "bus reset", "pm": "PM D3hot->D0"}
"""What the kernel calls them in its log."""
_OFFSETS = {"command": "0x004", "express-device-control": "0x060"}
_CONFIG_SPACE = 7  # number of the region
_POWER_STATE = 0x44  # control and status of power management, lab/models/endpoint.py


def keeps_everything_else(run: Run) -> None:
    """Beside what the verdict names, every entry of the contract was kept, and nothing stayed open."""
    others = [finding for finding in run.judgement.findings if finding is not run.judgement.decisive]
    assert [one.claim for one in others if one.verdict is Verdict.UNKNOWN] == []
    assert [one.claim for one in others if one.verdict is Verdict.FAIL and one.promise] == []


def says(run: Run, checker: str, words: str) -> None:
    """The verdict is PASS, and a finding of that checker says so."""
    run.enforce()
    claims = [finding.claim for finding in run.judgement.findings if finding.checker == checker]
    assert any(words in claim for claim in claims), claims


def rows(history: History, what: Happened) -> Table:
    """What the model saw of that kind."""
    found: Table = history.served[history.served["what"] == what]
    return found


@pytest.mark.parametrize("method", ["flr", "pm"])
def test_a_healthy_endpoint_resets_and_restores(
    dut: Function, stage: Stage, method: Literal["flr", "bus", "pm"]
) -> None:
    """Nothing is wrong with it: every reset clears its register, and config space comes back."""
    stage(dut.resets_with_oracle(method, at="20ms", times=2), dut.reads("sysfs"), lasting="600ms", meets=1)


def test_a_bus_reset_loses_the_bar_and_linux_puts_it_back(dut: Function, stage: Stage) -> None:
    """Base addresses are gone after it; the model sees the kernel write back what was there before."""
    run = stage(
        dut.resets_with_oracle("bus", at="20ms"), dut.reads("sysfs", at=BAR0), lasting="600ms", meets=1
    )
    run.enforce()
    (reset,) = rows(run.history, Happened.BUS_RESET)
    written = rows(run.history, Happened.WRITTEN)
    bar = (written["region"] == _CONFIG_SPACE) & (written["address"] == BAR0)
    values = written["value"][bar & (written["time_ns"] >= reset["time_ns"])]
    config = run.history.function(dut.alias).config_before
    before = int.from_bytes(config[BAR0 : BAR0 + 4], "little")
    assert before != 0
    assert values.tolist()[:1] == [0], "QEMU clears its own copy"
    assert values.tolist()[-1:] == [before], "the kernel restores it"


@pytest.mark.parametrize("method", _OCCASIONS)
def test_slow_but_ready(dut: Function, stage: Stage, method: Literal["flr", "bus", "pm"]) -> None:
    """All-ones for a second after the reset: the kernel waits, readers of config space too, and never see them."""
    run = stage(
        Faulty(dut).fails(Misbehaviour.NOT_READY, after=method, lasting="1s"),
        dut.resets_with_oracle(method, at="20ms"),
        dut.reads("sysfs"),
        lasting="1500ms",
        meets=1,
    )
    says(run, "came_back", "slow but ready")
    found = waits(run.history)
    assert all(wait.occasion == _OCCASIONS[method] and wait.found for wait in found)
    # Where sleeps are late, the function is back before the kernel has slept for 1.023 s by its own count, and it says
    # nothing.
    if found:
        says(run, "kernel_log", "the function was slow to come back")


@pytest.mark.hil_slow
def test_never_ready(dut: Function, stage: Stage) -> None:
    """All-ones for ever after an FLR: the kernel looks after 1, 2, 4 … 65 s, gives up, and says so."""
    run = stage(
        Faulty(dut).fails(Misbehaviour.NEVER_READY, after="flr"),
        dut.resets_with_oracle("flr", at="20ms"),
        lasting="1s",
        deadline="90s",
    )
    run.names(Blame.RESET_FAILED, "the function did not come back", "giving up")
    keeps_everything_else(run)
    (wait,) = waits(run.history)
    assert (wait.occasion, wait.found, wait.over) == ("FLR", False, True)
    assert list(wait.looked_ms) == _LADDER_MS
    told = [run.history.log[row].time_us // 1000 for row in wait.rows]
    slept = [later - earlier for earlier, later in pairwise(_LADDER_MS)]
    passed = [later - earlier for earlier, later in pairwise(told)]
    assert all(long > 0.9 * pause for long, pause in zip(passed, slept, strict=True)), (passed, slept)


def test_retry_status_at_a_rescan(dut: Function, stage: Stage) -> None:
    """Request Retry Status for the first 1.5 s of a scan: the kernel waits, and finds the function again."""
    run = stage(
        Faulty(dut).fails(Misbehaviour.RETRY_STATUS, at="100ms", lasting="2300ms"),
        Ownership(dut).removes_and_rescans(at="50ms", holding="850ms"),
        lasting="1s",
    )
    says(run, "came_back", "slow but ready")
    says(run, "kernel_log", "Request Retry Status")
    assert [(wait.occasion, wait.found) for wait in waits(run.history)] == [("", True)]


@pytest.mark.parametrize("fault", [Misbehaviour.IGNORE_FLR, Misbehaviour.KEEP_SCRATCH])
def test_an_flr_that_clears_nothing(dut: Function, stage: Stage, fault: Misbehaviour) -> None:
    """The kernel reports success, for it cannot know better; the register knows."""
    run = stage(Faulty(dut).fails(fault), dut.resets_with_oracle("flr", at="20ms"), lasting="300ms")
    run.names(Blame.RESET_FAILED, "oracle register", "(kept), promised is cleared")
    keeps_everything_else(run)


@pytest.mark.parametrize("register", _OFFSETS)
def test_an_flr_after_which_writes_get_lost(dut: Function, stage: Stage, register: str) -> None:
    """The kernel writes back what it had saved, and it does not arrive."""
    run = stage(
        Faulty(dut).fails(Misbehaviour.LOSE_WRITES, register=register, after="flr"),
        Part(functions=(dut.alias,), settings=(Setting(function=dut.alias, attribute="enable", value="1"),)),
        dut.resets("flr", at="20ms"),
        lasting="300ms",
    )
    run.names(Blame.RESET_FAILED, "was not restored after reset/flr", _OFFSETS[register])
    keeps_everything_else(run)


def test_a_pm_reset_that_does_not_wake(dut: Function, stage: Stage) -> None:
    """In D3hot for 300 ms after D0 was written: the kernel does not look, and reports success."""
    run = stage(
        Faulty(dut).fails(Misbehaviour.STAY_ASLEEP, after="pm", lasting="300ms"),
        dut.resets("pm", at="20ms"),
        dut.reads("sysfs", at=_POWER_STATE, width=2),
        lasting="600ms",
        meets=1,
    )
    run.names(Blame.RESET_FAILED, "reported success while the function was stay-asleep", "did not wait")
    keeps_everything_else(run)


def test_a_function_that_wakes_slowly_for_its_user(dut: Function, stage: Stage) -> None:
    """The same when VFIO opens an idle function: there the kernel looks, says so, and goes on."""
    run = stage(
        Faulty(dut).fails(Misbehaviour.STAY_ASLEEP, after="pm", lasting="300ms"),
        VfioUser(dut).opens(at="20ms", holding="500ms"),
        lasting="900ms",
    )
    says(run, "kernel_log", "the function stayed in its power state")
