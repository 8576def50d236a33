"""A function that writes where it must not: the IOMMU stops it, and the kernel says who it was."""

import pytest

from harness.model.fault import Misbehaviour
from harness.model.verdict import Blame
from harness.plugin.staging import Stage
from harness.staging.faulty import Faulty
from harness.staging.function import Function
from harness.staging.vfio_user import VfioUser

UNMAPPED = 0x5000_0000
"""A bus address above all memory of the guest; a user who maps nothing has mapped nothing there either."""


@pytest.mark.dut("endpoint0")
def test_a_stray_write_is_stopped_by_the_iommu(dut: Function, stage: Stage) -> None:
    """A user has the function open and has mapped nothing; it writes all the same."""
    user = VfioUser(dut)
    run = stage(
        Faulty(dut).fails(Misbehaviour.STRAY_DMA, value=UNMAPPED, at="200ms"),
        user.writes_command(),
        lasting="700ms",
    )
    run.names(Blame.MISMATCH, "IOMMU fault", f"on {dut.alias}", f"fault addr {UNMAPPED:#x}")
