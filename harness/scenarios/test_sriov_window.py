"""Making and removing virtual functions locks the physical one for 100 ms and for 1 s, while it is alive and well.

The one window of a stock kernel in which config access is blocked and nothing at all is wrong with the function.
"""

import pytest

from harness.plugin.staging import Stage
from harness.staging.function import Function
from harness.staging.ownership import Ownership
from harness.staging.registers import NEVER_ZERO
from harness.staging.vfio_user import VfioUser


@pytest.mark.dut("igb0")
def test_config_reads_wait_while_registers_work(dut: Function, stage: Stage) -> None:
    """Readers by sysfs, /proc and VFIO sleep through both windows; registers answer by read and by mapping."""
    user = VfioUser(dut)
    stage(
        Ownership(dut).makes_vfs(at="50ms", holding="700ms"),
        dut.reads("sysfs"),
        dut.reads("proc"),
        user.reads(),
        user.reads_copies(),
        user.reads_register(at=NEVER_ZERO[dut.platform]),
        user.loads_register(at=NEVER_ZERO[dut.platform]),
        lasting="2200ms",
        meets=4,
    )


@pytest.mark.dut("igb0")
def test_a_sysfs_reset_waits(dut: Function, stage: Stage) -> None:
    """A reset that comes in the middle waits for its turn, and then resets."""
    stage(
        Ownership(dut).makes_vfs(at="20ms", holding="700ms"),
        VfioUser(dut).keeps_open("2400ms"),
        dut.resets("flr", at="60ms", times=1),
        dut.resets("flr", at="900ms", times=1),
        lasting="2500ms",
        meets=1,
    )
