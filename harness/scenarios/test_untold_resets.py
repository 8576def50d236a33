"""A sysfs reset under a bound storage driver: nvme is told of it and goes on, ipr is not and its disk stands still.

The same write to `reset`, and the same reader of the disk beside it: the difference is what two callbacks of a driver
are worth.  And what was written before an adapter's own reset is still there after it.
"""

import random
from typing import Final

import pytest

from harness.model.verdict import Blame
from harness.plugin.staging import Stage
from harness.staging.adapter import BLOCK_BYTES, Adapter, Disk
from harness.staging.function import Function

pytestmark = pytest.mark.hil_ipr

_PATTERN: Final = random.Random(2011).randbytes(BLOCK_BYTES)  # noqa: S311  test data, no secret


@pytest.mark.dut("nvme0")
def test_a_driver_that_is_told_goes_on(dut: Function, stage: Stage) -> None:
    """The driver nvme hears of the reset before and after it, and holds its commands back meanwhile: for 0.2 s.

    QEMU's null drive keeps no data: nobody reads the block that is written.
    """
    disk = Disk(dut, driver="nvme")
    stage(
        dut.resets("flr", at="500ms"),
        disk.reads(),
        disk.writes_once(_PATTERN, block=7, at="550ms"),
        lasting="4s",
    )


@pytest.mark.dut("ipr0")
@pytest.mark.hil_slow
def test_a_driver_that_is_not_told_stands_still(dut: Function, stage: Stage) -> None:
    """The adapter has lost its queues, and ipr waits for answers that never come: 80 s, of 90 s that this takes.

    The first command gets 5 s instead of 30, then its abort and a bus reset time out, and ipr resets the adapter.  What
    the adapter would have saved, had it been told, is lost; the data on the disk are not.
    """
    disk = Disk(dut, timeout_s=5)
    run = stage(
        dut.resets("flr", at="500ms"),
        disk.writes_once(_PATTERN, block=7),
        disk.reads(block=7, at="100ms"),
        lasting="3s",
        deadline="150s",
    )
    run.names(Blame.MISMATCH, "reset/flr by resetter came unannounced")


@pytest.mark.dut("ipr0", "ipr64")
def test_data_outlives_an_adapter_reset(dut: Function, stage: Stage) -> None:
    """Commands wait for 2.7 s, while the adapter is reset; what was written before is read after."""
    disk = Disk(dut)
    stage(
        Adapter(dut).resets(at="500ms"),
        disk.writes_once(_PATTERN, block=7),
        disk.reads(block=7, at="100ms"),
        lasting="4s",
    )
