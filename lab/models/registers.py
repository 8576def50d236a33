"""Registers as declarations, and the file of bytes that they describe.

A register is data: offset, width, value after a reset, which bits can be written, which are cleared by writing one,
what survives a reset, what it means.  A :class:`RegisterFile` does the rest, for config space as for a BAR; there
are no branches on offsets anywhere.  Capabilities are declarations too, and :func:`config_space` links them.

Source: PCIe r6.0 §7.5 (config space header, PCI Express capability), §7.5.2 (power management), §7.7.1 (MSI),
§7.8.4 (Advanced Error Reporting); PCI Local Bus 3.0 §6 for what these left alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from harness.errors import UsageError

CONFIG_BYTES: Final = 4096
_FIRST_CAPABILITY: Final = 0x40
_FIRST_EXTENDED: Final = 0x100
_CAPABILITY_LIST: Final = 0x0010
"""Of STATUS (PCIe r6.0 §7.5.1.1.4)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Register:
    """One register.

    Attributes:
        name: lower case, words joined by hyphens; unique in its file.
        offset: bytes from the start of the file, or of its capability.
        width: bytes: 1, 2, 4 or 8.
        value: after a reset.
        writable: bits that software can set and clear.
        clears: bits that software clears by writing one (RW1C).
        sticky: whether its value survives a function level reset and a bus reset.
        meaning: half a sentence for people.
    """

    name: str
    offset: int
    width: int
    value: int = 0
    writable: int = 0
    clears: int = 0
    sticky: bool = False
    meaning: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capability:
    """A capability: its number, and its registers by offsets from its start.

    Attributes:
        name: prefix of its registers' names: `pm` makes `pm-control-status`.
        id: as the specification numbers it.
        size: bytes that it takes.
        registers: those behind the header of 2 bytes (4 bytes when extended).
        version: of an extended capability; 0 for a standard one.
    """

    name: str
    id: int
    size: int
    registers: tuple[Register, ...]
    version: int = 0


@dataclass(frozen=True, slots=True)
class Written:
    """A register that a write has reached.

    Attributes:
        name: of the register.
        before, after: its value.
        value: what was written, in its place; bits that the write did not reach are those of `before`.
    """

    name: str
    before: int
    after: int
    value: int


class RegisterFile:
    """Bytes that behave as their declarations say.  Bytes that nobody declared read as zero and ignore writes."""

    def __init__(self, registers: Iterable[Register], size: int) -> None:
        """Lay the registers out.

        Args:
            registers: their declarations.
            size: bytes of the file.

        Raises:
            UsageError: two registers overlap, one does not fit or has bits that do not, or two have one name.
        """
        self.size: Final = size
        self._registers: dict[str, Register] = {}
        self._at: dict[int, Register] = {}
        self._bytes = bytearray(size)
        self._writable = bytearray(size)
        self._clears = bytearray(size)
        for one in registers:
            place = range(one.offset, one.offset + one.width)
            taken = one.name in self._registers or any(byte in self._at for byte in place)
            if taken or place.start < 0 or place.stop > size:
                raise UsageError(
                    f"register {one.name!r} at {one.offset:#x}", said="not free, or its name is taken"
                )
            if any(not 0 <= bits < 1 << 8 * one.width for bits in (one.value, one.writable, one.clears)):
                raise UsageError(
                    f"register {one.name!r} at {one.offset:#x}",
                    said=f"it has more bits than {one.width} bytes",
                )
            self._registers[one.name] = one
            self._at.update(dict.fromkeys(place, one))
            self._writable[place.start : place.stop] = one.writable.to_bytes(one.width, "little")
            self._clears[place.start : place.stop] = one.clears.to_bytes(one.width, "little")
            self[one.name] = one.value

    def __getitem__(self, name: str) -> int:
        one = self._registers[name]
        return int.from_bytes(self._bytes[one.offset : one.offset + one.width], "little")

    def __setitem__(self, name: str, value: int) -> None:
        """Set a register as the function itself does: nothing is masked."""
        one = self._registers[name]
        self._bytes[one.offset : one.offset + one.width] = value.to_bytes(one.width, "little")

    def __contains__(self, name: str) -> bool:
        return name in self._registers

    def declaration(self, name: str) -> Register:
        """The declaration of a register."""
        return self._registers[name]

    @property
    def registers(self) -> tuple[Register, ...]:
        """The declarations, by offset."""
        return tuple(sorted(self._registers.values(), key=lambda one: one.offset))

    def read(self, offset: int, count: int) -> bytes:
        """Read bytes as software sees them; beyond the end there are zeros."""
        data = bytes(self._bytes[offset : offset + count])
        return data + bytes(count - len(data))

    def write(self, offset: int, data: bytes) -> tuple[Written, ...]:
        """Write bytes as software does.

        Returns:
            the registers that were reached, each once, by offset.
        """
        reached = list(
            dict.fromkeys(
                self._at[byte].name for byte in range(offset, offset + len(data)) if byte in self._at
            )
        )
        before = {name: self[name] for name in reached}
        asked = {name: self._overlaid(name, offset, data) for name in reached}
        for at, new in enumerate(data[: max(0, self.size - offset)], offset):
            old, writable, clears = self._bytes[at], self._writable[at], self._clears[at]
            self._bytes[at] = ((old & ~writable) | (new & writable)) & ~(new & clears)
        return tuple(Written(name, before[name], self[name], asked[name]) for name in reached)

    def reset(self) -> None:
        """Give every register its value after a reset, except those that survive one."""
        for one in self._registers.values():
            if not one.sticky:
                self[one.name] = one.value

    def _overlaid(self, name: str, offset: int, data: bytes) -> int:
        one = self._registers[name]
        image = bytearray(self._bytes[one.offset : one.offset + one.width])
        for at in range(one.width):
            position = one.offset + at - offset
            if 0 <= position < len(data):
                image[at] = data[position]
        return int.from_bytes(image, "little")


def config_space(header: Sequence[Register], capabilities: Sequence[Capability]) -> RegisterFile:
    """Lay out a config space of 4096 bytes: the header, and all capabilities, linked in the order given.

    Args:
        header: registers of the first 64 bytes, with `status` and `capabilities-pointer` among them.
        capabilities: standard ones and extended ones.

    Raises:
        UsageError: they do not fit.
    """
    registers = list(header)
    standard = [one for one in capabilities if not one.version]
    extended = [one for one in capabilities if one.version]
    places = _places(standard, _FIRST_CAPABILITY, _FIRST_EXTENDED)
    for one, at, following in zip(standard, places, [*places, 0][1:], strict=True):
        registers.append(Register(name=f"{one.name}-id", offset=at, width=1, value=one.id, sticky=True))
        registers.append(
            Register(name=f"{one.name}-next", offset=at + 1, width=1, value=following, sticky=True)
        )
        registers += _placed(one, at)
    if places:
        registers = [_linked(one, places[0]) for one in registers]
    places = _places(extended, _FIRST_EXTENDED, CONFIG_BYTES)
    for one, at, following in zip(extended, places, [*places, 0][1:], strict=True):
        link = one.id | one.version << 16 | following << 20  # PCIe r6.0 §7.6.3
        registers.append(Register(name=f"{one.name}-header", offset=at, width=4, value=link, sticky=True))
        registers += _placed(one, at)
    return RegisterFile(registers, CONFIG_BYTES)


def _places(capabilities: Sequence[Capability], first: int, end: int) -> list[int]:
    places, at = [], first
    for one in capabilities:
        places.append(at)
        at += -(-one.size // 4) * 4  # aligned to dwords
        if at > end:
            raise UsageError(f"capability {one.name!r} at {places[-1]:#x}", said=f"it ends behind {end:#x}")
    return places


def _placed(capability: Capability, at: int) -> list[Register]:
    return [
        replace(one, name=f"{capability.name}-{one.name}", offset=at + one.offset)
        for one in capability.registers
    ]


def _linked(one: Register, first: int) -> Register:
    match one.name:
        case "capabilities-pointer":
            return replace(one, value=first)
        case "status":
            return replace(one, value=one.value | _CAPABILITY_LIST)
        case _:
            return one
