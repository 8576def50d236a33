"""A function that loses interrupts, and one that sends them without a cause: its user notices, the machine goes on."""

from typing import Final

import pytest

from harness.model.fault import Misbehaviour
from harness.model.verdict import Blame
from harness.plugin.staging import Stage
from harness.staging.faulty import Faulty
from harness.staging.function import Function
from harness.staging.vfio_user import Interrupts, VfioUser

TRIGGER, ACKNOWLEDGE = 0x010, 0x014
"""Registers of our endpoint: a write is the cause of an interrupt; a write takes that of INTx away."""
KIND: Final[dict[str, Interrupts]] = {"endpoint0": "msi", "msix0": "msix"}


@pytest.mark.dut("endpoint0", "msix0")
def test_each_message_comes_once(dut: Function, stage: Stage) -> None:
    """By MSI, and by MSI-X where the function has it."""
    user = VfioUser(dut)
    stage(user.asks_for_interrupts(KIND[dut.alias], trigger=TRIGGER), user.reads(), lasting="400ms")


@pytest.mark.dut("endpoint0")
def test_each_level_comes_once(dut: Function, stage: Stage) -> None:
    """INTx masks itself when it comes; it is acknowledged, and unmasked."""
    user = VfioUser(dut)
    stage(
        user.asks_for_interrupts("intx", trigger=TRIGGER, acknowledge=ACKNOWLEDGE),
        user.reads(),
        lasting="400ms",
    )


@pytest.mark.dut("endpoint0")
def test_a_lost_interrupt_is_named(dut: Function, stage: Stage) -> None:
    """After all went well for a while there is cause for one that is not sent; its user waits for a second."""
    run = stage(
        Faulty(dut).fails(Misbehaviour.LOSE_INTERRUPTS, at="200ms"),
        VfioUser(dut).asks_for_interrupts("msi", trigger=TRIGGER),
        lasting="600ms",
    )
    run.names(Blame.TIMEOUT, "Interrupt lost: 1 of", f"that {dut.alias} had cause for", "it kept 1 to itself")


@pytest.mark.dut("endpoint0")
def test_a_storm_is_named(dut: Function, stage: Stage) -> None:
    """Two thousand a second, and cause for two hundred at most; the guest lives through it."""
    run = stage(
        Faulty(dut).fails(Misbehaviour.INTERRUPT_STORM, at="100ms"),
        VfioUser(dut).asks_for_interrupts("msi", trigger=TRIGGER),
        lasting="800ms",
    )
    run.names(Blame.MISMATCH, "Interrupt storm", f"of {dut.alias} came")


@pytest.mark.dut("endpoint0")
def test_a_storm_of_levels_is_held_back_by_its_mask(dut: Function, stage: Stage) -> None:
    """VFIO masks INTx each time it comes: however often it is raised, one comes for each time it is unmasked."""
    user = VfioUser(dut)
    stage(
        Faulty(dut).fails(Misbehaviour.INTERRUPT_STORM, at="100ms"),
        user.asks_for_interrupts("intx", trigger=TRIGGER, acknowledge=ACKNOWLEDGE),
        lasting="700ms",
    )
