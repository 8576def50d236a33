"""A VFIO user keeps a function open, an administrator takes it away: who waits, who is refused, and does all come back?

An unbind waits for its user for ever, holding device_lock: the longest driver-lock window of a stock kernel.
"""

import pytest

from harness.plugin.staging import Stage
from harness.staging.function import Function
from harness.staging.ownership import Ownership
from harness.staging.registers import NEVER_ZERO
from harness.staging.vfio_user import VfioUser


@pytest.mark.dut("igb0", "nvme0")
def test_everybody_comes_back_when_the_user_closes(dut: Function, stage: Stage) -> None:
    """A sysfs reset waits for the unbind, the unbind for its user; the user's own reads and registers never wait."""
    user = VfioUser(dut)
    stage(
        user.keeps_open("400ms"),
        user.reads(),
        user.reads_register(at=NEVER_ZERO[dut.platform]),
        user.loads_register(at=NEVER_ZERO[dut.platform]),
        dut.reads("sysfs"),
        Ownership(dut).unbinds(at="50ms"),
        dut.resets("flr", at="150ms"),
        lasting="450ms",
        meets=1,
    )


@pytest.mark.dut("igb0", "nvme0")
def test_the_users_own_resets_are_refused(dut: Function, stage: Stage) -> None:
    """From the moment the unbind waits, VFIO_DEVICE_RESET and the hot reset say EAGAIN, at once."""
    user = VfioUser(dut)
    stage(
        user.keeps_open("500ms"),
        Ownership(dut).unbinds(at="50ms"),
        user.resets(at="150ms", times=3, every="50ms"),
        user.hot_resets(at="170ms", times=2, every="50ms"),
        lasting="600ms",
        meets=3,
    )


@pytest.mark.dut("igb0")
def test_nobody_else_gets_in(dut: Function, stage: Stage) -> None:
    """Opening the function again: newer kernels refuse, for it is about to be gone; 6.1 lets one more user in."""
    user = VfioUser(dut)
    stage(
        user.keeps_open("500ms"),
        Ownership(dut).unbinds(at="20ms"),
        user.opens_late(at="200ms", times=3, every="50ms"),
        lasting="600ms",
        meets=1,
    )
