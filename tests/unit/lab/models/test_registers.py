"""Registers do what their declarations say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.pci.capabilities import CAPABILITY_IDS, capabilities
from lab.models.declared import AER, MSI, PCI_EXPRESS, POWER_MANAGEMENT, endpoint_header
from lab.models.registers import Register, RegisterFile, Written, config_space

MIXED = Register(name="mixed", offset=4, width=4, value=0xF0F0_0000, writable=0x0000_FFFF, clears=0xF000_0000)


def test_bits_are_written_cleared_or_kept_as_declared() -> None:
    file = RegisterFile([MIXED], 16)
    (written,) = file.write(4, (0x8000_1234).to_bytes(4, "little"))
    assert written == Written("mixed", 0xF0F0_0000, 0x70F0_1234, 0x8000_1234)
    assert file.read(4, 4) == (0x70F0_1234).to_bytes(4, "little")


def test_a_part_of_a_register_can_be_written() -> None:
    file = RegisterFile([MIXED], 16)
    assert file.write(5, b"\xab") == (Written("mixed", 0xF0F0_0000, 0xF0F0_AB00, 0xF0F0_AB00),)


def test_what_nobody_declared_reads_as_zero_and_ignores_writes() -> None:
    file = RegisterFile([MIXED], 16)
    assert file.write(8, b"\xff" * 8) == ()
    assert file.read(8, 8) == bytes(8)
    assert file.read(12, 8) == bytes(8)


def test_a_reset_spares_what_is_sticky() -> None:
    sticky = Register(name="sticky", offset=0, width=2, value=1, writable=0xFFFF, sticky=True)
    file = RegisterFile([sticky, MIXED], 16)
    file.write(0, b"\x34\x12\0\0\x99\x99")
    file.reset()
    assert (file["sticky"], file["mixed"]) == (0x1234, 0xF0F0_0000)


@pytest.mark.parametrize(
    "other",
    [
        Register(name="mixed", offset=8, width=4),
        Register(name="over", offset=7, width=2),
        Register(name="beyond", offset=15, width=2),
    ],
)
def test_registers_that_do_not_fit_are_refused(other: Register) -> None:
    with pytest.raises(UsageError):
        RegisterFile([MIXED, other], 16)


def test_capabilities_are_linked_so_that_others_find_them() -> None:
    header = endpoint_header(vendor=0x1AF4, device=0x10F0, class_code=0xFF0000)
    config = config_space(header, (POWER_MANAGEMENT, MSI, PCI_EXPRESS, AER))
    found = {(one.id, one.extended) for one in capabilities(config.read(0, 4096))}
    assert found == {
        (CAPABILITY_IDS["pm"], False),
        (CAPABILITY_IDS["msi"], False),
        (CAPABILITY_IDS["pcie"], False),
        (AER.id, True),
    }
    assert config["status"] & 0x10


def test_a_function_without_capabilities_points_nowhere() -> None:
    config = config_space(endpoint_header(vendor=0x1AF4, device=0x10F0, class_code=0xFF0000), ())
    assert config["capabilities-pointer"] == 0
    assert not config["status"] & 0x10


@given(offset=st.integers(0, 15), data=st.binary(min_size=1, max_size=16))
def test_writing_bytewise_is_the_same_as_writing_at_once(offset: int, data: bytes) -> None:
    once, bytewise = RegisterFile([MIXED], 16), RegisterFile([MIXED], 16)
    once.write(offset, data)
    for at, byte in enumerate(data):
        bytewise.write(offset + at, bytes([byte]))
    assert once.read(0, 16) == bytewise.read(0, 16)
