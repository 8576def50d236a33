"""Readers block while the kernel holds the config lock, and only then, and read sane values after."""

import pytest

from harness.model.pci import COMMAND, REVISION_ID, SUBSYSTEM_ID, Width
from harness.plugin.staging import Stage
from harness.staging.function import Function
from harness.staging.registers import NEVER_ZERO


@pytest.mark.dut("igb0", "e1000e0", "nvme0", "rng0")
def test_sysfs_readers_wait_for_a_reset(dut: Function, stage: Stage) -> None:
    """Three readers of COMMAND sleep through a reset; the cached vendor attribute does not."""
    stage(
        dut.reads("sysfs", at=COMMAND, actors=3),
        dut.reads_attribute("vendor"),
        dut.resets(dut.reset_methods[0], at="50ms", times=2),
        lasting="400ms",
        meets=3,
    )


@pytest.mark.dut("igb0", "nvme0")
def test_proc_readers_wait_for_a_reset(dut: Function, stage: Stage) -> None:
    """The file in /proc/bus/pci keeps the same promise as sysfs."""
    stage(
        dut.reads("proc", at=COMMAND, actors=2),
        dut.reads("sysfs", at=REVISION_ID),
        dut.resets("flr", at="50ms", times=2),
        lasting="400ms",
        meets=3,
    )


@pytest.mark.parametrize("width", [1, 2, 4])
@pytest.mark.dut("igb0")
def test_readers_of_every_width_wait(dut: Function, stage: Stage, width: Width) -> None:
    """The lock is taken for each transaction, whatever its width."""
    stage(
        dut.reads("sysfs", at=SUBSYSTEM_ID, width=width, actors=2),
        dut.reads("proc", at=SUBSYSTEM_ID, width=width),
        dut.resets("flr", at="50ms"),
        lasting="250ms",
        meets=2,
    )


@pytest.mark.dut("igb0")
def test_nobody_waits_without_a_window(dut: Function, stage: Stage) -> None:
    """Readers of one function never wait when nobody resets it: the control experiment."""
    stage(dut.reads("sysfs", actors=2), dut.reads("proc"), lasting="200ms")


@pytest.mark.dut("pair1", "edu0", "nvmesriov")
def test_readers_wait_on_a_hot_plugged_or_shared_function(dut: Function, stage: Stage) -> None:
    """A function with a sibling behind its port, and functions that were plugged into a running kernel."""
    stage(
        dut.reads("sysfs", actors=2),
        dut.resets(dut.reset_methods[0], at="50ms", times=3, every="50ms"),
        lasting="500ms",
        meets=2,
    )


@pytest.mark.dut("igb0", "nvme0")
def test_who_maps_registers_is_not_kept_out(dut: Function, stage: Stage) -> None:
    """A mapping of sysfs `resource0` stays during a reset: loads never wait, and may find nothing there."""
    stage(
        dut.loads_register(at=NEVER_ZERO[dut.platform]),
        dut.reads("sysfs"),
        dut.resets("flr", at="150ms"),
        lasting="500ms",
        meets=1,
    )


@pytest.mark.hil_boots
@pytest.mark.dut("igb0")
def test_readers_wait_in_a_booted_guest(dut: Function, stage: Stage) -> None:
    """What a clone shows holds in a guest that was booted for this test, too."""
    stage(dut.reads("sysfs", actors=2), dut.resets("flr", at="50ms"), lasting="300ms", meets=2)
