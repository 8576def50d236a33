"""VFIO_DEVICE_RESET and the FLR bit through VFIO, in every window: refused at once, or done after a wait, as promised.

The seed's question, "must a second locker wait, or fail at once and gracefully?", has both answers in Linux: sysfs
waits, VFIO tries.
"""

import pytest

from harness.plugin.staging import Stage
from harness.staging.function import Function
from harness.staging.locks import Lock, Locks
from harness.staging.ownership import Ownership
from harness.staging.vfio_user import VfioUser


@pytest.mark.dut("igb0", "nvme0", "rng0")
def test_alone_it_resets(dut: Function, stage: Stage) -> None:
    """The oracle register forgets its mark, config space is restored; three times."""
    stage(
        VfioUser(dut).resets_with_oracle(times=3, holding="50ms"),
        dut.reads("sysfs"),
        lasting="1500ms",
        meets=1,
    )


@pytest.mark.dut("igb0", "nvme0")
def test_it_is_refused_during_a_sysfs_reset(dut: Function, stage: Stage) -> None:
    """EAGAIN at once, and nothing was done."""
    user = VfioUser(dut)
    stage(
        dut.resets("flr", at="50ms", times=2, every="300ms"),
        user.resets(at="10ms", times=None, every="20ms"),
        lasting="800ms",
        meets=2,
    )


@pytest.mark.dut("igb0")
def test_it_waits_for_another_of_its_kind(dut: Function, stage: Stage) -> None:
    """Two users of one open function wait for one another: their lock is VFIO's own."""
    user = VfioUser(dut)
    stage(user.resets(at="20ms", times=2, actors=2), user.reads(), lasting="800ms", meets=2)


@pytest.mark.dut("igb0")
def test_it_is_refused_while_virtual_functions_come_and_go(dut: Function, stage: Stage) -> None:
    """The function is healthy, its locks are taken: EAGAIN."""
    user = VfioUser(dut)
    stage(
        Ownership(dut).makes_vfs(at="20ms", holding="700ms"),
        user.resets(at="10ms", times=None, every="30ms"),
        lasting="2s",
        meets=2,
    )


@pytest.mark.dut("igb0", "nvme0")
def test_who_tries_again_gets_through(dut: Function, stage: Stage) -> None:
    """Fail gracefully or retry?  The refusal came before anything began, so the user may try again, and does."""
    user = VfioUser(dut)
    stage(
        user.keeps_open("1s"),
        dut.resets("flr", at="20ms", times=2, every="250ms"),
        user.insists_on_reset(at="60ms", times=2),
        dut.reads("sysfs"),
        lasting="1100ms",
        meets=2,
    )


@pytest.mark.parametrize("lock", ["config", "device", "both"])
@pytest.mark.dut("igb0")
def test_it_is_refused_while_a_driver_holds_a_lock(
    dut: Function, stage: Stage, locks: type[Locks], lock: Lock
) -> None:
    """Whichever of the two locks a driver holds: EAGAIN at once."""
    user = VfioUser(dut)
    stage(
        locks(dut).holds(lock, at="50ms", lasting="400ms"),
        user.resets(at="10ms", times=None, every="30ms"),
        lasting="600ms",
        meets=2,
    )


@pytest.mark.dut("igb0", "nvme0")
def test_the_flr_bit_waits_for_a_sysfs_reset_and_then_resets(dut: Function, stage: Stage) -> None:
    """The write reads Device Control first, which waits; then its own reset finds the function free."""
    user = VfioUser(dut)
    stage(
        user.keeps_open("700ms"),
        dut.resets("flr", at="80ms"),
        user.sets_flr_bit(at="10ms", holding="110ms"),
        lasting="800ms",
        meets=1,
    )


@pytest.mark.dut("igb0", "nvme0")
def test_the_flr_bit_does_nothing_while_an_unbind_waits(dut: Function, stage: Stage) -> None:
    """Success is reported, the oracle register keeps its mark: there was no reset (a known weakness of Linux)."""
    user = VfioUser(dut)
    stage(
        Ownership(dut).unbinds(at="20ms"),
        user.keeps_open("500ms"),
        user.sets_flr_bit(at="150ms"),
        lasting="600ms",
        meets=1,
    )
