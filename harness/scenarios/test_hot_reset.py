"""VFIO_DEVICE_PCI_HOT_RESET: alone, contended, without owning every function, and where the hardware has none."""

import pytest

from harness.model.operation import HOT_RESET_IMPOSSIBLE, HOT_RESET_NOT_OWNED
from harness.plugin.lab import Functions
from harness.plugin.staging import Stage
from harness.staging.function import Function
from harness.staging.ownership import Ownership
from harness.staging.vfio_user import VfioUser


@pytest.mark.dut("igb0", "nvme0")
def test_alone_it_resets(dut: Function, stage: Stage) -> None:
    """The oracle register forgets its mark, and readers of config space wait."""
    user = VfioUser(dut)
    stage(
        user.hot_resets_with_oracle(at="50ms", times=2, holding="250ms"),
        user.reads(),
        dut.reads("sysfs"),
        lasting="700ms",
        meets=2,
    )


@pytest.mark.dut("igb0", "nvme0")
def test_it_is_refused_during_a_sysfs_reset(dut: Function, stage: Stage) -> None:
    """EAGAIN: the function's locks are taken."""
    user = VfioUser(dut)
    stage(
        user.keeps_open("800ms"),
        dut.resets("flr", at="30ms", times=2, every="300ms"),
        user.hot_resets(at="80ms", times=4, every="40ms"),
        lasting="900ms",
        meets=1,
    )


@pytest.mark.dut("igb0")
def test_it_is_refused_during_a_vfio_reset(dut: Function, stage: Stage) -> None:
    """EBUSY: another user of the function is inside VFIO's own lock."""
    user = VfioUser(dut)
    stage(
        user.resets(at="30ms", times=2, every="300ms"),
        user.hot_resets(at="80ms", times=4, every="40ms"),
        lasting="700ms",
        meets=1,
    )


@pytest.mark.dut("igb0")
def test_two_of_them_wait_for_one_another(dut: Function, stage: Stage) -> None:
    """They share a lock above all others, and wait for that."""
    user = VfioUser(dut)
    stage(user.hot_resets(at="30ms"), user.hot_resets(at="60ms"), lasting="700ms", meets=1)


@pytest.mark.dut("pair0")
def test_it_needs_every_function_behind_the_port(dut: Function, functions: Functions, stage: Stage) -> None:
    """EINVAL while the sibling belongs to nobody: a reset would hit a function that the caller does not own."""
    functions("pair1")
    stage(VfioUser(dut).hot_resets(at="20ms", means=HOT_RESET_NOT_OWNED), lasting="200ms")


@pytest.mark.dut("pair0")
def test_who_owns_both_functions_resets_both(dut: Function, functions: Functions, stage: Stage) -> None:
    """With both groups shown it resets both; readers of the sibling wait as well."""
    sibling = functions("pair1")
    stage(
        VfioUser(dut).hot_resets(at="50ms", beside=(sibling,)),
        VfioUser(sibling).reads(),
        sibling.reads("sysfs"),
        dut.reads("sysfs"),
        lasting="500ms",
        meets=2,
    )


@pytest.mark.dut("rngroot")
def test_on_the_root_bus_there_is_none(dut: Function, stage: Stage) -> None:
    """ENODEV: there is no port above whose bus could be reset."""
    stage(VfioUser(dut).hot_resets(at="20ms", means=HOT_RESET_IMPOSSIBLE), lasting="200ms")


@pytest.mark.dut("igb0")
def test_a_bridge_cannot_be_reset_while_a_function_below_is(
    dut: Function, functions: Functions, stage: Stage
) -> None:
    """`reset_subordinate` of the port tries, like VFIO: EAGAIN while any function below is locked."""
    port = functions(dut.port)
    user = VfioUser(dut)
    stage(
        user.keeps_open("500ms"),
        Ownership(dut).unbinds(at="20ms"),
        port.resets_all_below(at="150ms", times=3),
        lasting="600ms",
        meets=1,
    )
