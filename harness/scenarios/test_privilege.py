"""What a user without privilege may see and do, and what a descriptor is worth that was opened before."""

import pytest

from harness.model.pci import REVISION_ID
from harness.plugin.staging import Stage
from harness.staging.function import Function


@pytest.mark.dut("igb0", "nvme0")
def test_nobody_sees_the_first_64_bytes_only(dut: Function, stage: Stage) -> None:
    """Past them a read ends at once, with nothing, also during a reset; within them it waits as everybody's."""
    stage(
        dut.reads_without_privilege(at=0x40),
        dut.reads("sysfs", at=REVISION_ID),
        dut.resets("flr", at="50ms"),
        lasting="400ms",
        meets=1,
    )


@pytest.mark.dut("igb0", "nvme0")
def test_a_descriptor_keeps_the_privilege_of_who_opened_it(dut: Function, stage: Stage) -> None:
    """Opened as root, given up since: it still reads everything, and waits like root."""
    stage(dut.reads_with_a_kept_descriptor(at=0x40), dut.resets("flr", at="50ms"), lasting="400ms", meets=1)


@pytest.mark.dut("igb0", "nvme0")
def test_nobody_may_not_write(dut: Function, stage: Stage) -> None:
    """EACCES for every file that changes something."""
    stage(
        dut.opens_without_privilege("config", "proc", "reset", "reset_method", "resource0", "remove"),
        lasting="100ms",
    )
