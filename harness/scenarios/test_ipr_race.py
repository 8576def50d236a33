"""The driver of the 2011 thread and the config lock: its BIST window, and what comes of it when another has the lock.

Measured on 6.12.117 under TCG.  See docs/ipr.md.
"""

import pytest

from harness.model.fault import Misbehaviour
from harness.model.pci import VENDOR_ID
from harness.model.verdict import Blame
from harness.plugin.staging import Stage
from harness.scenarios.interrupts import interrupts_of
from harness.staging.adapter import Adapter, Disk
from harness.staging.faulty import Faulty
from harness.staging.function import Function
from harness.staging.locks import Locks

pytestmark = pytest.mark.hil_ipr

_PATTERN = bytes.fromhex("d1ce5eed0badf00d")


@pytest.mark.dut("ipr0", "ipr64")
def test_config_reads_wait_for_the_self_test(dut: Function, stage: Stage) -> None:
    """The driver holds the lock for the 2 s that it grants the self-test: reads wait, and nothing else does."""
    stage(
        Adapter(dut).resets(at="200ms"),
        dut.reads("sysfs", at=VENDOR_ID, every="5ms"),
        dut.reads("proc", at=VENDOR_ID, every="5ms"),
        dut.reads_attribute(every="5ms"),
        Adapter(dut).tells_its_state(),
        Disk(dut).writes_once(_PATTERN),
        Disk(dut).reads(at="100ms"),
        lasting="4s",
        meets=2,
    )


@pytest.mark.dut("ipr0")
def test_config_reads_wait_for_the_self_test_of_a_driver_with_intx(dut: Function, stage: Stage) -> None:
    """The same with an interrupt pin: the mask that the driver restores is another."""
    run = stage(
        Adapter(dut, by_message=False).resets(at="200ms"),
        dut.reads("sysfs", at=VENDOR_ID, every="5ms"),
        dut.reads_attribute(every="5ms"),
        lasting="4s",
        meets=1,
    )
    run.enforce()
    assert interrupts_of(run.history, dut.alias) == "intx"


@pytest.mark.dut("ipr0")
def test_a_driver_resets_although_another_holds_the_lock(
    dut: Function, stage: Stage, locks: type[Locks]
) -> None:
    """Our module holds the lock for longer than ipr's patience of 2 s: ipr goes on without it, and is done."""
    stage(
        locks(dut).holds("config", at="150ms", lasting="6500ms"),
        Adapter(dut).resets(at="250ms"),
        dut.reads_attribute(every="5ms"),
        lasting="7s",
    )


@pytest.mark.hil_slow
@pytest.mark.dut("ipr0")
def test_the_race_of_2011(dut: Function, stage: Stage) -> None:
    """A sysfs reset takes the lock while ipr waits for its adapter, and an adapter that is slow to return keeps it.

    ipr tries for 2 s, starts a self-test that nobody sees, restores config space of a function that is not there, takes
    all-ones for an adapter that has come up, and is saved by a time-out 30 s later: 41 s in all.
    """
    run = stage(
        Faulty(dut).fails(Misbehaviour.CRITICAL_SLOW),
        Faulty(dut).fails(Misbehaviour.NOT_READY, after="flr", lasting="7500ms"),
        Adapter(dut).resets(at="100ms"),
        dut.resets("flr", at="1s"),
        dut.reads("sysfs", at=VENDOR_ID, every="20ms"),
        dut.reads_attribute(every="20ms"),
        lasting="5s",
        deadline="60s",
    )
    run.names(Blame.MISMATCH, "reset/flr by resetter came", "critical section")
    assert any("although another holds the config lock" in one for one in run.judgement.weaknesses)


@pytest.mark.hil_slow
@pytest.mark.dut("ipr0")
def test_a_sysfs_reset_lands_between_self_test_and_bring_up(dut: Function, stage: Stage) -> None:
    """It waits for the lock, which covers the self-test and nothing after it: the doorbell of the bring-up gets lost.

    ipr then waits for 300 s, which nobody else does: 40 s in all.
    """
    run = stage(
        Adapter(dut).resets(at="100ms"),
        dut.resets("flr", at="1s"),
        dut.reads_attribute(every="20ms"),
        lasting="4s",
        deadline="30s",
    )
    run.names(Blame.TIMEOUT, "never returned from adapter-reset/host")
