"""Verbs of an adapter under its own driver, and of the disk behind it."""

from __future__ import annotations

import pytest

from harness.errors import UsageError
from harness.model import operation
from harness.model.plan import Op, Setting
from harness.staging.adapter import BLOCK_BYTES, Adapter, Disk, driven
from harness.staging.part import Part, plan_of
from tests.unit.staging.functions import IGB

DUT = IGB
BOUND = Setting(function=DUT.alias, attribute="driver", value="ipr")


@pytest.mark.parametrize(
    ("part", "means", "role", "value"),
    [
        (Adapter(DUT).resets(), operation.HOST_RESET, "scsi-host/reset_host", b"1"),
        (Adapter(DUT).runs_diagnostics(), operation.DIAGNOSTICS, "scsi-host/run_diagnostics", b"1"),
        (Adapter(DUT).goes_online(), operation.REVIVAL, "scsi-host/online_state", b"online"),
    ],
)
def test_an_adapter_is_reset_by_writing_to_its_host_once(
    part: Part, means: str, role: str, value: bytes
) -> None:
    (actor,) = part.actors
    (step,) = actor.steps
    assert (step.op, step.means, step.value, actor.times) == (Op.WRITE, means, value, 1)
    assert step.file is not None
    assert (step.file.function, step.file.role) == (DUT.alias, role)
    assert (part.settings, part.modules) == ((BOUND,), ("ipr", "sd_mod"))


def test_its_state_is_read_until_the_end() -> None:
    (actor,) = Adapter(DUT).tells_its_state().actors
    assert (actor.steps[0].means, actor.steps[0].width, actor.times) == (operation.ONLINE_STATE, 8, None)


def test_a_driver_without_messages_is_bound_after_they_are_switched_off() -> None:
    off, bound = driven(DUT, "ipr", by_message=False)
    assert (off.attribute, off.value) == ("msi_bus", "0")
    assert bound == BOUND
    assert Adapter(DUT, by_message=False).resets().settings == (off, bound)


def test_a_driver_may_be_all_that_there_is() -> None:
    part = Adapter(DUT, by_message=False).is_driven()
    assert (part.actors, part.settings) == ((), driven(DUT, "ipr", by_message=False))
    assert part.modules == ("ipr", "sd_mod")


def test_a_block_is_filled_with_its_pattern() -> None:
    (actor,) = Disk(DUT).writes_once(b"\x01\x02", block=3).actors
    (step,) = actor.steps
    assert (step.offset, step.value) == (3 * BLOCK_BYTES, b"\x01\x02" * 256)
    assert step.file is not None
    assert (step.file.role, step.means) == ("disk", operation.DISK_WRITE)


@pytest.mark.parametrize("pattern", [b"", b"abc", bytes(513)])
def test_a_pattern_that_does_not_fill_a_block_is_refused(pattern: bytes) -> None:
    with pytest.raises(UsageError, match="does not fill a block"):
        Disk(DUT).writes_once(pattern)


def test_a_disk_is_read_block_by_block() -> None:
    (actor,) = Disk(DUT).reads(block=2, at="10ms", times=5).actors
    read = actor.steps[0]
    assert (read.op, read.means, read.offset, read.width) == (Op.READ, operation.DISK_READ, 1024, 512)
    assert (actor.starts_ns, actor.times) == (10_000_000, 5)


def test_the_kernels_patience_with_a_disk_is_set_after_its_driver_is_bound() -> None:
    part = Disk(DUT, timeout_s=5).reads()
    assert part.settings == (BOUND, Setting(function=DUT.alias, attribute="disk/timeout", value="5"))


def test_another_driver_needs_its_own_module_alone() -> None:
    part = Disk(DUT, driver="nvme").reads()
    assert (part.modules, part.settings[0].value) == (("nvme",), "nvme")


def test_adapter_and_disk_go_together_in_one_stage() -> None:
    plan = plan_of((Adapter(DUT).resets(), Disk(DUT).reads()), title="both", lasting="1s")
    assert (plan.settings, plan.modules) == ((BOUND,), ("ipr", "sd_mod"))
