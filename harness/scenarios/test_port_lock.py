"""Which resets lock the port above: readers of the port then wait, and so do resets of its other functions.

It differs by kernel and by the way of the reset; the contract says how, for each.
"""

import pytest

from harness.model.pci import MethodWord
from harness.plugin.lab import Functions
from harness.plugin.staging import Stage
from harness.staging.function import Function
from harness.staging.locks import Locks
from harness.staging.vfio_user import VfioUser


@pytest.mark.parametrize("method", ["flr", "bus"])
@pytest.mark.dut("igb0", "nvme0")
def test_sysfs_reset_and_the_port(
    dut: Function, functions: Functions, stage: Stage, method: MethodWord
) -> None:
    """Since 6.10 a sysfs reset locks the port, whatever its method."""
    port = functions(dut.port)
    stage(
        dut.resets(method, at="50ms", times=2, every="300ms"),
        port.reads("sysfs"),
        dut.reads("sysfs"),
        lasting="700ms",
        meets=1,
    )


@pytest.mark.dut("igb0", "nvme0")
def test_vfio_reset_and_the_port(dut: Function, functions: Functions, stage: Stage) -> None:
    """VFIO_DEVICE_RESET leaves the port alone."""
    port = functions(dut.port)
    stage(VfioUser(dut).resets(at="50ms"), port.reads("sysfs"), dut.reads("sysfs"), lasting="400ms", meets=1)


@pytest.mark.dut("igb0", "nvme0")
def test_hot_reset_and_the_port(dut: Function, functions: Functions, stage: Stage) -> None:
    """A hot reset locks the port and everything behind it."""
    port = functions(dut.port)
    stage(
        VfioUser(dut).hot_resets(at="50ms"), port.reads("sysfs"), dut.reads("sysfs"), lasting="500ms", meets=1
    )


@pytest.mark.dut("igb0")
def test_vfio_close_and_the_port(dut: Function, functions: Functions, stage: Stage) -> None:
    """The reset of a last close locks the port too, on kernels that have that correction."""
    port = functions(dut.port)
    stage(
        VfioUser(dut).opens(at="50ms", holding="300ms"),
        port.reads("sysfs"),
        dut.reads("sysfs"),
        lasting="700ms",
        meets=1,
    )


@pytest.mark.dut("igb0")
def test_a_reset_and_the_locked_port(
    dut: Function, functions: Functions, stage: Stage, locks: type[Locks]
) -> None:
    """With the port locked by somebody else a sysfs reset waits where it locks the port itself, and only there."""
    port = functions(dut.port)
    stage(
        locks(dut).holds("bridge", at="50ms", lasting="400ms"),
        dut.resets_with_oracle("flr", at="20ms", holding="130ms"),
        port.reads("sysfs"),
        lasting="700ms",
        meets=1,
    )


@pytest.mark.dut("pair1")
def test_resets_of_siblings_serialise(dut: Function, functions: Functions, stage: Stage) -> None:
    """Two functions behind one port: where the reset locks the port, they take turns."""
    sibling = functions("pair0")
    port = functions(dut.port)
    stage(
        dut.resets("flr", at="50ms", times=2),
        sibling.resets("flr", at="60ms", times=2),
        port.reads("sysfs"),
        dut.reads("sysfs"),
        sibling.reads("sysfs"),
        lasting="700ms",
        meets=2,
    )
