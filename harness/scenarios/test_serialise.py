"""The regression that the thread of 2011 implies: resetters and readers of one function only serialise.

Two endless shell loops writing `reset` of one function used to crash the kernel (`pci_block_user_cfg_access()` hit
BUG_ON when the access was blocked already).  Since `pci_cfg_access_lock()` the second one has to wait.
"""

import pytest

from harness.plugin.staging import Stage
from harness.staging.function import Function


@pytest.mark.dut("igb0", "e1000e0", "nvme0", "rng0")
def test_two_endless_resetters_and_readers(dut: Function, stage: Stage) -> None:
    """Every reset happens, one after the other; every read sees the same function."""
    stage(
        dut.resets(dut.reset_methods[0], times=None, actors=2),
        dut.reads("sysfs", actors=2),
        lasting="1s",
        meets=2,
    )
