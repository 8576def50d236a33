"""An adapter whose driver wants a warm reset, on a machine that has none.

Linux asks the architecture to reset the slot, and only powerpc can.  The driver does not look at the answer.
"""

import pytest

from harness.model.pci import VENDOR_ID
from harness.plugin.staging import Stage
from harness.staging.adapter import Adapter, Disk
from harness.staging.function import Function

pytestmark = pytest.mark.hil_ipr

_PATTERN = bytes.fromhex("1db71064")


@pytest.mark.dut("iprwarm")
def test_a_warm_reset_does_not_reach_the_adapter(dut: Function, stage: Stage) -> None:
    """Config reads wait for 2.5 s, the driver reports success, and the adapter was not reset."""
    stage(
        Adapter(dut).resets(at="200ms"),
        dut.reads("sysfs", at=VENDOR_ID, every="5ms"),
        dut.reads_attribute(every="5ms"),
        Disk(dut).writes_once(_PATTERN),
        Disk(dut).reads(at="100ms"),
        lasting="4500ms",
        meets=1,
    )
