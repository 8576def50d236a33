"""What is promised for an adapter under its driver is seen broken: by a kernel that is, and by a model.

The controls, the same stages with nothing broken, are the shipped scenarios.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from harness.contract import Contract
from harness.lab.place import Place
from harness.model.fault import Misbehaviour
from harness.model.pci import VENDOR_ID
from harness.model.plan import Plan
from harness.model.verdict import Blame
from harness.staging.adapter import Adapter, Disk
from harness.staging.faulty import Faulty
from harness.staging.function import Function
from harness.staging.part import plan_of
from tests.guest import stubborn_adapters
from tests.guest.surgery import Cut, Patient, on_the_table

pytestmark = pytest.mark.adapter


@pytest.fixture
def ipr64(patient: Patient) -> Function:
    return patient.function("ipr64")


def link_error(function: Function, title: str) -> Plan:
    """The stage of the shipped scenario."""
    parts = (
        Faulty(function).link_reports("DLP", at="300ms"),
        Disk(function).reads(),
        function.reads("sysfs", at=VENDOR_ID, every="5ms"),
    )
    return plan_of(parts, title=title, lasting="3s")


def test_a_recovery_that_resets_no_bus(patient: Patient, ipr64: Function) -> None:
    """The kernel's log tells of a reset of the link, and the driver brings the adapter up: only its own log tells."""
    patient.cut(pci_bus_error_reset=Cut.RETURN_ZERO)
    outcome = patient.stage(link_error(ipr64, title="no bus reset"))
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
    assert lost.blame is Blame.RESET_FAILED
    assert "The driver of ipr64 did not restore config space" in lost.claim
    assert "0x00c" in lost.claim


@pytest.fixture
def stubborn(
    request: pytest.FixtureRequest, place: Place, console: Path, contract: Contract
) -> Iterator[Patient]:
    """A clone in which another model is served as ipr64: the kernel is healthy."""
    served = f"{Path(stubborn_adapters.__file__)}:{request.param}"
    machine = place.recipe.machine
    functions = tuple(
        replace(one, served=served) if one.alias == "ipr64" else one for one in machine.functions
    )
    recipe = replace(place.recipe, machine=replace(machine, functions=functions))
    # The template is the same: what a model serves is plugged into its clones.
    other = replace(place, recipe=recipe, template=replace(place.template, recipe=recipe))
    with on_the_table(other, console, {}, contract) as one:
        yield one


@pytest.mark.parametrize(
    ("stubborn", "said"),
    [
        ("lying", "the reset of its bus did not take its cache line size, 0x20 from it"),
        ("keeping", "the reset of its bus did not take the queue at 0x"),
    ],
    indirect=["stubborn"],
    ids=["it only says so", "it keeps its queue"],
)
def test_an_adapter_that_a_reset_of_its_bus_does_not_reset(stubborn: Patient, said: str) -> None:
    """It works afterwards, config space is what it was, and the kernel calls it recovered: only its own log tells."""
    outcome = stubborn.stage(link_error(stubborn.function("ipr64"), title="a bus reset for nothing"))
    (claimed,) = outcome.failures("recovered")
    assert claimed.blame is Blame.RESET_FAILED
    assert "AER called ipr64 recovered" in claimed.claim
    assert said in claimed.claim
