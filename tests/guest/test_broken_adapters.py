"""What is promised for an adapter under its driver is seen broken: by a kernel that is, and by a model.

The controls, the same stages with nothing broken, are the shipped scenarios.
"""

from __future__ import annotations

import pytest

from harness.model.fault import Misbehaviour
from harness.model.pci import VENDOR_ID
from harness.model.verdict import Blame
from harness.staging.adapter import Adapter, Disk
from harness.staging.faulty import Faulty
from harness.staging.function import Function
from harness.staging.part import plan_of
from tests.guest.surgery import Cut, Patient


@pytest.fixture
def ipr64(patient: Patient) -> Function:
    return patient.function("ipr64")


def test_a_recovery_that_resets_no_bus(patient: Patient, ipr64: Function) -> None:
    """The kernel's log tells of a reset of the link, and the driver brings the adapter up: only its own log tells."""
    patient.cut(pci_bus_error_reset=Cut.RETURN_ZERO)
    parts = (
        Faulty(ipr64).link_reports("DLP", at="300ms"),
        Disk(ipr64).reads(),
        ipr64.reads("sysfs", at=VENDOR_ID, every="5ms"),
    )
    outcome = patient.stage(plan_of(parts, title="no bus reset", lasting="3s"))
    (claimed,) = outcome.failures("recovered")
    assert claimed.blame is Blame.RESET_FAILED
    assert "AER called ipr64 recovered" in claimed.claim
    assert "its bus was not reset" in claimed.claim


def test_config_space_that_is_not_restored(patient: Patient, ipr64: Function) -> None:
    """A register of which nothing depends: everything works, and it is not what it was."""
    parts = (
        Faulty(ipr64).fails(Misbehaviour.LOSE_WRITES, register="cache-line-size", at="100ms"),
        Adapter(ipr64).resets(at="300ms"),
    )
    outcome = patient.stage(plan_of(parts, title="no restore", lasting="4s"))
    (lost,) = outcome.failures("driver_restored")
    assert lost.blame is Blame.DRIVER_FAULT
    assert "The driver of ipr64 did not restore config space" in lost.claim
    assert "0x00c" in lost.claim
