"""Opening and closing a function through VFIO resets it, or not: an open is refused, a close is silent.

A close that finds a lock taken skips its reset and reports success: the next user finds the state of the last one.
"""

import pytest

from harness.plugin.staging import Stage
from harness.staging.function import Function
from harness.staging.locks import Lock, Locks
from harness.staging.ownership import Ownership
from harness.staging.vfio_user import VfioUser


@pytest.mark.dut("igb0", "nvme0", "rng0")
def test_open_and_close_reset(dut: Function, stage: Stage) -> None:
    """Each first open and each last close resets the function, and readers of its config space wait meanwhile."""
    stage(VfioUser(dut).opens(at="20ms", times=2, holding="300ms"), dut.reads("sysfs"), lasting="1s", meets=2)


@pytest.mark.dut("igb0", "nvme0")
def test_open_is_refused_during_a_sysfs_reset(dut: Function, stage: Stage) -> None:
    """EAGAIN at once: whoever opens must try again."""
    stage(
        dut.resets("flr", at="20ms"),
        VfioUser(dut).opens(at="100ms"),  # an idle function is woken before its locks are taken
        lasting="300ms",
        meets=1,
    )


@pytest.mark.parametrize("lock", ["config", "device"])
@pytest.mark.dut("igb0")
def test_open_is_refused_while_a_driver_holds_a_lock(
    dut: Function, stage: Stage, locks: type[Locks], lock: Lock
) -> None:
    """EAGAIN, whichever lock it is."""
    stage(
        locks(dut).holds(lock, at="20ms", lasting="500ms"),
        VfioUser(dut).opens(at="150ms", times=1),
        lasting="700ms",
        meets=1,
    )


@pytest.mark.dut("igb0")
def test_a_second_descriptor_resets_nothing(dut: Function, stage: Stage) -> None:
    """While the function is open, opening it again is prompt in every window and harms nobody."""
    user = VfioUser(dut)
    stage(
        user.keeps_open("500ms"),
        user.opens_again(at="20ms", times=8, every="30ms"),
        dut.resets("flr", at="80ms"),
        dut.reads("sysfs"),
        lasting="600ms",
        meets=1,
    )


@pytest.mark.dut("igb0", "nvme0")
def test_close_skips_its_reset_during_a_sysfs_reset(dut: Function, stage: Stage) -> None:
    """The close finds the locks taken, returns success at once, and nothing was reset (a known weakness of Linux)."""
    stage(dut.resets("flr", at="50ms"), VfioUser(dut).closes(at="110ms"), lasting="500ms", meets=1)


@pytest.mark.parametrize("lock", ["config", "device"])
@pytest.mark.dut("igb0")
def test_close_skips_its_reset_while_a_driver_holds_a_lock(
    dut: Function, stage: Stage, locks: type[Locks], lock: Lock
) -> None:
    """The same under a driver's lock."""
    stage(
        locks(dut).holds(lock, at="20ms", lasting="500ms"),
        VfioUser(dut).closes(at="200ms"),
        lasting="700ms",
        meets=1,
    )


@pytest.mark.dut("igb0")
def test_close_resets_what_an_unbind_waits_for(dut: Function, stage: Stage) -> None:
    """An unbind waits for the last close, holding device_lock: so that close cannot reset (a known weakness)."""
    stage(
        VfioUser(dut).closes(at="300ms"),
        Ownership(dut).unbinds(at="50ms"),
        lasting="600ms",
        meets=1,
    )
