"""A driver holds a lock of its function, as ipr does for its BIST: what waits, what is refused, what goes on?

The holder is a kernel module of our own (lab/kmod), for the drivers that do so need hardware that nobody has.
"""

import pytest

from harness.model.pci import CACHE_LINE_SIZE
from harness.plugin.staging import Stage
from harness.staging.function import Function
from harness.staging.locks import Lock, Locks
from harness.staging.ownership import Ownership
from harness.staging.registers import NEVER_ZERO
from harness.staging.vfio_user import VfioUser


@pytest.mark.parametrize("lock", ["config", "both"])
@pytest.mark.dut("igb0", "nvme0")
def test_config_accesses_wait_for_the_config_lock(
    dut: Function, stage: Stage, locks: type[Locks], lock: Lock
) -> None:
    """Reads and writes by sysfs and /proc sleep until the driver is done; cached attributes do not."""
    stage(
        locks(dut).holds(lock, at="50ms", lasting="200ms", times=2),
        dut.reads("sysfs"),
        dut.reads("proc"),
        dut.writes("sysfs", at=CACHE_LINE_SIZE, value=b"\x10"),
        dut.reads_attribute("vendor"),
        lasting="700ms",
        meets=3,
    )


@pytest.mark.dut("igb0", "nvme0")
def test_a_vfio_user_waits_for_the_config_lock(dut: Function, stage: Stage, locks: type[Locks]) -> None:
    """So does a VFIO user's config access; registers, by read and by mapping, work all along."""
    user = VfioUser(dut)
    stage(
        locks(dut).holds("config", at="50ms", lasting="300ms"),
        user.reads(),
        user.reads_copies(),
        user.writes(),
        user.reads_register(at=NEVER_ZERO[dut.platform]),
        user.loads_register(at=NEVER_ZERO[dut.platform]),
        user.asks(),
        lasting="500ms",
        meets=2,
    )


@pytest.mark.dut("igb0", "nvme0")
def test_nobody_who_reads_minds_the_device_lock(dut: Function, stage: Stage, locks: type[Locks]) -> None:
    """device_lock is between drivers and administrators: config reads and registers never wait for it."""
    user = VfioUser(dut)
    stage(
        locks(dut).holds("device", at="50ms", lasting="300ms"),
        dut.reads("sysfs"),
        user.reads(),
        user.reads_register(at=NEVER_ZERO[dut.platform]),
        user.loads_register(at=NEVER_ZERO[dut.platform]),
        lasting="500ms",
    )


@pytest.mark.parametrize("lock", ["config", "both"])
@pytest.mark.dut("igb0")
def test_a_sysfs_reset_waits_for_the_driver(
    dut: Function, stage: Stage, locks: type[Locks], lock: Lock
) -> None:
    """A reset that nobody asked the driver for must not begin before the driver lets go of its locks."""
    stage(
        locks(dut).holds(lock, at="20ms", lasting="400ms"),
        dut.resets("flr", at="150ms"),
        lasting="600ms",
        meets=1,
    )


@pytest.mark.dut("igb0", "nvme0")
def test_a_sysfs_reset_that_waited_for_the_device_lock_resets(
    dut: Function, stage: Stage, locks: type[Locks]
) -> None:
    """It waits, and then resets all the same: the oracle register forgets the mark that it was given before."""
    stage(
        locks(dut).holds("device", at="50ms", lasting="400ms"),
        dut.resets_with_oracle("flr", at="20ms", holding="130ms"),
        lasting="700ms",
        meets=1,
    )


@pytest.mark.dut("igb0")
def test_two_drivers_wait_for_one_another(dut: Function, stage: Stage, locks: type[Locks]) -> None:
    """`pci_cfg_access_lock()` waits; it used to be a BUG."""
    stage(
        locks(dut).holds("config", at="20ms", lasting="200ms"),
        locks(dut).holds("config", at="100ms", lasting="100ms"),
        lasting="400ms",
        meets=1,
    )


@pytest.mark.dut("igb0")
def test_a_driver_that_may_not_sleep_is_told_at_once(dut: Function, stage: Stage, locks: type[Locks]) -> None:
    """`pci_cfg_access_trylock()` fails at once while a reset is under way, and again, and then has the lock."""
    stage(
        dut.resets("flr", at="50ms"),
        locks(dut).tries(at="10ms", times=8),
        lasting="600ms",
        meets=1,
    )


@pytest.mark.dut("igb0")
def test_unbind_and_sriov_wait_for_the_device_lock(dut: Function, stage: Stage, locks: type[Locks]) -> None:
    """An unbind of a function that nobody has open waits for the driver's lock."""
    stage(
        locks(dut).holds("device", at="20ms", lasting="300ms"),
        Ownership(dut).unbinds(at="120ms"),
        lasting="500ms",
        meets=1,
    )


@pytest.mark.dut("igb0")
def test_bind_waits_for_the_device_lock(dut: Function, stage: Stage, locks: type[Locks]) -> None:
    """So does a bind."""
    stage(
        locks(dut).holds("device", at="20ms", lasting="300ms"),
        Ownership(dut).binds(at="120ms"),
        lasting="500ms",
        meets=1,
    )


@pytest.mark.dut("igb0")
def test_writes_of_driver_override_and_the_device_lock(
    dut: Function, stage: Stage, locks: type[Locks]
) -> None:
    """Whether `driver_override` waits for device_lock depends on the kernel; the contract says for which."""
    stage(
        locks(dut).holds("device", at="50ms", lasting="300ms"),
        Ownership(dut).writes_override(),
        dut.reads("sysfs"),
        lasting="500ms",
    )


@pytest.mark.dut("igb0")
def test_removal_waits_for_the_device_lock(dut: Function, stage: Stage, locks: type[Locks]) -> None:
    """The function is removed only when the driver lets go, and a rescan finds it again."""
    stage(
        locks(dut).holds("device", at="20ms", lasting="300ms"),
        Ownership(dut).removes_and_rescans(at="120ms", holding="100ms"),
        lasting="1s",
        meets=1,
    )


@pytest.mark.dut("igb0", "nvme0")
def test_choosing_a_reset_method_takes_no_lock(dut: Function, stage: Stage) -> None:
    """`reset_method` can be written while a reset by it is under way."""
    stage(
        dut.writes_reset_method("flr"),
        dut.resets("flr", at="50ms", times=2),
        dut.reads("sysfs"),
        lasting="500ms",
        meets=1,
    )
