"""The other builds of the endpoint: with MSI-X, and one of two."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from harness.lab.models.catalogue import MODELS
from harness.lab.models.endpoint import TRIGGER, Endpoint
from harness.lab.models.interface import CONFIG_REGION, INTX, MSI, MSIX
from harness.lab.models.variants import PENDING, TABLE, VECTORS, of_two, with_msix
from tests.unit.lab.models.surroundings import Machine

COMMAND, SUBSYSTEM = 0x04, 0x2C


@pytest.fixture
def function() -> Endpoint:
    return with_msix(lambda: 0)


@pytest.fixture
def machine(function: Endpoint) -> Machine:
    function.outlets = machine = Machine()
    return machine


def capability(function: Endpoint, number: int) -> int:
    """Where a capability is, found as software does."""
    at = function.read(CONFIG_REGION, 0x34, 1)[0]
    while at and function.read(CONFIG_REGION, at, 1)[0] != number:
        at = function.read(CONFIG_REGION, at + 1, 1)[0]
    return at


def test_its_capability_says_where_the_table_is(function: Endpoint) -> None:
    at = capability(function, 0x11)
    words = [int.from_bytes(function.read(CONFIG_REGION, at + 4 * n, 4), "little") for n in range(3)]
    assert words[0] >> 16 == VECTORS - 1
    assert words[1:] == [TABLE, PENDING]
    assert function.vectors == {INTX: 1, MSI: 1, MSIX: VECTORS}
    assert TABLE + 16 * VECTORS <= PENDING < function.sizes[0]


@pytest.mark.parametrize(
    ("control", "command", "sent"),
    [
        (0x8000, 0x06, [(MSIX, 0)]),
        (0x8000, 0x02, []),
        (0xC000, 0x06, []),
        (0x0000, 0x06, [(INTX, 0)]),
    ],
)
def test_a_trigger_sends_the_first_vector_when_software_wants_it(
    function: Endpoint, machine: Machine, control: int, command: int, sent: list[tuple[int, int]]
) -> None:
    function.write(CONFIG_REGION, COMMAND, command.to_bytes(2, "little"))
    function.write(CONFIG_REGION, capability(function, 0x11) + 2, control.to_bytes(2, "little"))
    function.write(0, TRIGGER, b"\x01\0\0\0")
    assert machine.signalled == sent


def test_who_has_no_pin_sends_no_level(function: Endpoint, machine: Machine) -> None:
    del function.vectors[INTX]
    assert not function.interrupt()
    assert machine.signalled == []


@pytest.mark.parametrize(("make", "ids"), [(with_msix, b"\xf4\x1a\xf8\x10"), (of_two, b"\xf4\x1a\xf9\x10")])
def test_each_has_an_id_of_its_own(make: Callable[[Callable[[], int]], Endpoint], ids: bytes) -> None:
    assert make(lambda: 0).read(CONFIG_REGION, 0, 4) == ids


def test_no_two_models_share_an_id() -> None:
    """Two adapters differ in their subsystem alone, and their driver goes by that."""
    functions = [make(lambda: 0) for make in MODELS.values()]
    ids = [one.read(CONFIG_REGION, 0, 4) + one.read(CONFIG_REGION, SUBSYSTEM, 4) for one in functions]
    assert len(set(ids)) == len(ids)
