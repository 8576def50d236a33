"""What is refused because something is not there: a function that was taken away, a method that a reset could use."""

import pytest

from harness.plugin.staging import Stage
from harness.staging.function import Function
from harness.staging.ownership import Ownership
from harness.staging.vfio_user import VfioUser


@pytest.mark.dut("igb0", "endpoint0")
def test_whatever_is_asked_of_a_function_that_is_gone(dut: Function, stage: Stage) -> None:
    """Who has a file of it open is refused for ever: ENODEV in sysfs, EIO in /proc; a new function has new files."""
    stage(
        Ownership(dut).removes_and_rescans(at="50ms", holding="1s"),
        dut.resets("flr", at="1200ms"),
        dut.reads("sysfs", every="5ms"),
        dut.reads("proc", every="5ms"),
        dut.reads_attribute("vendor", every="5ms"),
        dut.writes("sysfs", at=0x0C, value=b"\x10"),
        dut.writes("proc", at=0x0C, value=b"\x10"),
        lasting="1500ms",
    )


@pytest.mark.dut("igb0", "endpoint0")
def test_a_reset_of_a_function_without_a_method(dut: Function, stage: Stage) -> None:
    """VFIO says EINVAL, its users go on, and a last close that resets nothing is no fault."""
    user = VfioUser(dut)
    stage(
        dut.without_reset_methods(),
        user.resets(at="100ms", times=3, every="100ms"),
        user.reads(),
        user.opens(at="150ms", holding="100ms"),
        lasting="500ms",
    )
