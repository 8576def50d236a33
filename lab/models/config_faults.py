"""Config space while single registers of it are wrong: what a read shows then, which writes get lost.

That all of it is silent, or refused, is decided before (lab/models/function.py); what a write brings about, afterwards.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from harness.errors import UsageError
from harness.lab.models.declared import POWER_STATE
from harness.lab.models.programme import Programme
from harness.lab.models.registers import RegisterFile, Written
from harness.model.fault import OF_A_REGISTER, Fault, Misbehaviour

_RETRY_STATUS: Final = b"\x01\x00\xff\xff"
_ADDRESS_BYTES: Final = 8
POWER: Final = "pm-control-status"
"""The register of the power state; a function without power management has none, and never sleeps."""


def check(fault: Fault, config: RegisterFile) -> None:
    """See that a function with that config space can carry a fault out.

    Raises:
        UsageError: it names a register that config space does not have, or a value that does not fit.
    """
    width = _ADDRESS_BYTES
    if fault.what in OF_A_REGISTER:
        if fault.register not in config:
            known = ", ".join(one.name for one in config.registers)
            raise UsageError(
                f"fault {fault.what} of register {fault.register!r}",
                said="config space has none of that name",
                hint=f"There are: {known}.",
            )
        width = config.declaration(fault.register).width
    if fault.what is Misbehaviour.STAY_ASLEEP and POWER not in config:
        raise UsageError(f"fault {fault.what}", said="the function has no power management: it never sleeps")
    if fault.value is not None and fault.value >= 1 << 8 * width:
        raise UsageError(f"fault {fault.what}", said=f"value {fault.value:#x} has more than {width} bytes")


def read(config: RegisterFile, programme: Programme, offset: int, count: int, at_ns: int) -> bytes:
    """Read bytes as software sees them at that time.

    Args:
        config: what it holds.
        programme: what is wrong; a fault that shows is told of as met.
        offset: of the first byte.
        count: how many.
        at_ns: CLOCK_MONOTONIC.
    """
    data = bytearray(config.read(offset, count))
    for name in programme.registers(Misbehaviour.WRONG_VALUE, at_ns):
        one = config.declaration(name)
        if _overlap(offset, count, one.offset, one.width):
            fault = programme.meets(Misbehaviour.WRONG_VALUE, at_ns=at_ns, register=name)
            inverted = config[name] ^ ((1 << 8 * one.width) - 1)
            value = inverted if fault is None or fault.value is None else fault.value
            _overlay(data, offset, one.offset, value.to_bytes(one.width, "little"))
    if POWER in config:
        one = config.declaration(POWER)
        if _overlap(offset, count, one.offset, one.width) and programme.meets(
            Misbehaviour.STAY_ASLEEP, at_ns=at_ns
        ):
            _overlay(data, offset, one.offset, (config[POWER] | POWER_STATE).to_bytes(2, "little"))
    if offset < len(_RETRY_STATUS) and programme.meets(Misbehaviour.RETRY_STATUS, at_ns=at_ns):
        _overlay(data, offset, 0, _RETRY_STATUS)
    return bytes(data)


def write(
    config: RegisterFile, programme: Programme, offset: int, data: bytes, at_ns: int
) -> Iterator[Written]:
    """Write bytes as software does at that time.

    Args:
        config: takes them.
        programme: what is wrong, likewise.
        offset: of the first byte.
        data: what is written.
        at_ns: CLOCK_MONOTONIC.

    Yields:
        the registers that were reached and did not lose the write, by offset.
    """
    kept = {name: config[name] for name in programme.registers(Misbehaviour.LOSE_WRITES, at_ns)}
    for one in config.write(offset, data):
        if one.name in kept:
            programme.meets(Misbehaviour.LOSE_WRITES, at_ns=at_ns, register=one.name)
            config[one.name] = kept[one.name]
        else:
            yield one


def _overlap(offset: int, count: int, at: int, width: int) -> bool:
    return offset < at + width and at < offset + count


def _overlay(data: bytearray, offset: int, at: int, value: bytes) -> None:
    """Put the bytes of `value`, which belong at `at`, into `data`, which was read at `offset`."""
    for position, byte in enumerate(value, at - offset):
        if 0 <= position < len(data):
            data[position] = byte
