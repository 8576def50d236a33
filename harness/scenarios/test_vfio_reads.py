"""Through VFIO, bits that the function answers wait for the config lock; bits that VFIO answers itself do not.

Whoever probes a function for life through a copied bit is told that all is well, whatever became of it.
"""

import pytest

from harness.model.pci import CACHE_LINE_SIZE, REVISION_ID, VENDOR_ID, ResetMethod
from harness.plugin.staging import Stage
from harness.staging.function import Function
from harness.staging.registers import NEVER_ZERO
from harness.staging.vfio_user import VfioUser


@pytest.mark.dut("igb0", "nvme0", "rng0")
def test_reads_wait_for_a_sysfs_reset_and_copies_do_not(dut: Function, stage: Stage) -> None:
    """Somebody resets the function under its VFIO user, who is told nothing and waits."""
    user = VfioUser(dut)
    stage(
        user.reads(at=REVISION_ID, actors=2),
        user.reads_copies(at=VENDOR_ID),
        user.asks(),
        dut.resets("flr", at="50ms", times=2, every="250ms"),
        lasting="600ms",
        meets=2,
    )


@pytest.mark.dut("igb0")
def test_writes_wait_for_a_sysfs_reset(dut: Function, stage: Stage) -> None:
    """What VFIO passes on waits for the lock, whoever writes it and whatever it is."""
    user = VfioUser(dut)
    stage(
        user.writes(at=CACHE_LINE_SIZE),
        user.writes_command(),
        dut.reads("sysfs", at=REVISION_ID),
        dut.resets("flr", at="50ms"),
        lasting="400ms",
        meets=2,
    )


@pytest.mark.dut("igb0", "nvme0")
def test_registers_stay_readable_in_a_sysfs_reset(dut: Function, stage: Stage) -> None:
    """A sysfs reset locks nobody out of the registers: they read as if nothing was there."""
    user = VfioUser(dut)
    stage(
        user.reads_register(at=NEVER_ZERO[dut.platform]),
        user.loads_register(at=NEVER_ZERO[dut.platform]),
        user.reads(),
        dut.resets("flr", at="150ms"),
        lasting="500ms",
        meets=1,
    )


@pytest.mark.dut("igb0", "nvme0")
def test_registers_wait_for_a_vfio_reset(dut: Function, stage: Stage) -> None:
    """VFIO_DEVICE_RESET does: reads of registers and page faults of mappings wait, and so do config reads."""
    user = VfioUser(dut)
    stage(
        user.reads_register(at=NEVER_ZERO[dut.platform]),
        user.loads_register(at=NEVER_ZERO[dut.platform]),
        user.reads(),
        user.reads_copies(),
        user.resets(at="150ms"),
        lasting="500ms",
        meets=2,
    )


@pytest.mark.dut("igb0", "nvme0")
def test_writes_of_registers_wait_for_a_vfio_reset(dut: Function, stage: Stage) -> None:
    """So do writes and stores; written is what the register holds after any reset."""
    user, oracle = VfioUser(dut), dut.oracle(ResetMethod.FLR)
    value = oracle.cleared.to_bytes(oracle.width, "little")
    stage(
        user.writes_register(value, at=oracle.offset),
        user.stores_register(value, at=oracle.offset),
        user.reads(),
        user.resets(at="150ms"),
        lasting="500ms",
        meets=1,
    )


@pytest.mark.dut("igb0", "nvme0")
def test_without_decode_a_mapping_is_gone(dut: Function, stage: Stage) -> None:
    """While memory decode is off a load ends in SIGBUS and a `pread` in EIO; nothing hangs, nothing is made up."""
    stage(VfioUser(dut).touches_without_decode(at=NEVER_ZERO[dut.platform]), lasting="300ms")
