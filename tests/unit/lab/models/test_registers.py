"""Registers do what their declarations say."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.lab.models.catalogue import MODELS
from harness.lab.models.declared import AER, MSI, PCI_EXPRESS, POWER_MANAGEMENT, endpoint_header
from harness.lab.models.registers import Capability, Register, RegisterFile, Written, config_space
from harness.pci.capabilities import CAPABILITY_IDS, capabilities

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
        Register(name="before", offset=-1, width=1),
        Register(name="rich", offset=0, width=2, value=0x1_0000),
        Register(name="open", offset=0, width=1, writable=0x100),
        Register(name="clear", offset=0, width=1, clears=0x100),
        Register(name="negative", offset=0, width=1, value=-1),
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


FILES = st.lists(
    st.builds(
        lambda width, bits, sticky: (width, *(one & ((1 << 8 * width) - 1) for one in bits), sticky),
        st.sampled_from([1, 2, 4, 8]),
        st.tuples(*[st.integers(0, 2**64 - 1)] * 3),
        st.booleans(),
    ),
    min_size=1,
    max_size=6,
)


def laid_out(shapes: list[tuple[int, int, int, int, bool]]) -> list[Register]:
    """Registers side by side, a byte apart."""
    registers, at = [], 0
    for number, (width, value, writable, clears, sticky) in enumerate(shapes):
        registers.append(
            Register(
                name=f"r{number}",
                offset=at,
                width=width,
                value=value,
                writable=writable,
                clears=clears & ~writable,
                sticky=sticky,
            )
        )
        at += width + 1
    return registers


@given(FILES, st.lists(st.tuples(st.integers(0, 63), st.binary(min_size=1, max_size=16)), max_size=6))
def test_any_registers_do_bit_by_bit_what_they_declare(
    shapes: list[tuple[int, int, int, int, bool]], writes: list[tuple[int, bytes]]
) -> None:
    registers = laid_out(shapes)
    file = RegisterFile(registers, 64)
    expected = {one.name: one.value for one in registers}
    for offset, data in writes:
        told = file.write(offset, data)
        reached = []
        for one in registers:
            came = new = 0
            for at, byte in enumerate(data, offset):
                if 0 <= at - one.offset < one.width:
                    came |= 0xFF << 8 * (at - one.offset)
                    new |= byte << 8 * (at - one.offset)
            if not came:
                continue
            old = expected[one.name]
            kept = old & ~(one.writable & came) | new & one.writable
            expected[one.name] = kept & ~(new & one.clears)
            reached.append(Written(one.name, old, expected[one.name], old & ~came | new))
        assert told == tuple(reached)
    assert {one.name: file[one.name] for one in registers} == expected
    file.reset()
    assert {one.name: file[one.name] for one in registers} == {
        one.name: expected[one.name] if one.sticky else one.value for one in registers
    }


def test_capabilities_that_find_no_room_are_refused() -> None:
    header = endpoint_header(vendor=0x1AF4, device=0x10F0, class_code=0xFF0000)
    standard = Capability(name="large", id=0x09, size=0xC0, registers=())
    extended = Capability(name="huge", id=0x0B, version=1, size=0xF00, registers=())
    config_space(header, (standard, extended))
    for one in (standard, extended):
        with pytest.raises(UsageError, match="ends behind"):
            config_space(header, (one, replace(one, name="more", size=4)))


IDS = {*((0x1AF4, device) for device in range(0x10F0, 0x1100)), (0x1014, 0x0339), (0x1014, 0x034A)}
"""Ours are those that QEMU leaves to experiments; an adapter's are those that its driver knows it by."""


@pytest.mark.parametrize("name", MODELS)
def test_every_model_lays_out_what_others_can_read(name: str) -> None:
    function = MODELS[name](lambda: 0)
    config = function.config
    assert (config["vendor"], config["device"]) in IDS
    assert capabilities(config.read(0, 4096))
    for number, size in function.sizes.items():
        assert size.bit_count() == 1, "QEMU takes powers of two"
        if number <= 5:
            function.config.write(0x10 + 4 * number, b"\xff" * 4)
            assert config[f"bar{number}"] == 0x1_0000_0000 - size
