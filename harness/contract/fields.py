"""Entries `[[volatile]]` and `[[unrestored]]`: bits of config space that are not held against anybody.

An entry names a capability and an offset inside it; where the capability lies is read from the recorded
config space of each function.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from harness.contract.schema import Entry
from harness.history.history import FunctionRecord
from harness.model.terms import VolatileField
from harness.pci.capabilities import CAPABILITY_IDS, EXTENDED_CAPABILITY_IDS, Capability, find, layout, length

HEADER: Final = "header"
"""Stands for the header of config space, where other entries name a capability."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """A field of the same capability that must hold a value for the entry to apply."""

    offset: int
    width: int
    mask: int
    value: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldEntry:
    """Bits of a capability.

    Attributes:
        platforms: function models, or `*`.
        capability: name as in :mod:`harness.pci.capabilities`, or `header`.
        offset: in bytes from the start of the capability.
        width: in bytes: 1, 2 or 4; 0 for the whole capability, as long as it says that it is.
        repeat: how many such fields follow each other.
        mask: bits of each field.
        only_if: condition, or None.
        layout: of the header of functions that it is about, 0 or 1 (a bridge); None for all.
        source: why the bits may differ.
    """

    platforms: tuple[str, ...]
    capability: str
    offset: int
    width: int
    repeat: int
    mask: int
    only_if: Condition | None
    layout: int | None
    source: str


def read_field(entry: Entry) -> FieldEntry:
    """Read one entry.

    Raises:
        ContractError: a field is missing, unknown or makes no sense.
    """
    capability = entry.text("capability")
    if capability not in (HEADER, *CAPABILITY_IDS, *EXTENDED_CAPABILITY_IDS):
        entry.refuse("capability", f"is {capability!r}, unknown to harness/pci/capabilities.py")
    whole = not entry.has("offset") and capability != HEADER
    entry.name = f"bits of {capability}"
    width = 0 if whole else entry.access_width("width")
    condition = entry.optional_table("only_if")
    field = FieldEntry(
        platforms=entry.texts("platforms"),
        capability=capability,
        offset=0 if whole else entry.number("offset", most=0xFFF),
        width=width,
        repeat=1 if whole else entry.number("repeat", least=1, most=64, default=1),
        mask=0xFF if whole else entry.number("mask", least=1, most=(1 << 8 * width) - 1),
        only_if=_condition(condition) if condition else None,
        layout=entry.number("layout", most=1) if entry.has("layout") else None,
        source=entry.text("source"),
    )
    entry.finish()
    return field


def resolve(entries: Sequence[FieldEntry], functions: Sequence[FunctionRecord]) -> tuple[VolatileField, ...]:
    """Find the bits of all entries in the recorded config space of each function."""
    return tuple(
        VolatileField(
            function=function.alias, offset=offset, width=width, value=entry.mask, source=entry.source
        )
        for function in functions
        for entry in entries
        if "*" in entry.platforms or function.platform in entry.platforms
        if entry.layout in (None, layout(function.config_before))
        for offset, width in _places(entry, function.config_before)
    )


def _places(entry: FieldEntry, config: bytes) -> Iterator[tuple[int, int]]:
    """Absolute offset and width of each field of an entry that lies within `config`."""
    header = Capability(id=0, offset=0, extended=False)
    for capability in (header,) if entry.capability == HEADER else find(config, entry.capability):
        if not _holds(entry.only_if, config, capability.offset):
            continue
        width, repeat = entry.width or 1, entry.repeat if entry.width else length(config, capability)
        for number in range(repeat):
            offset = capability.offset + entry.offset + number * width
            if offset + width <= len(config):
                yield offset, width


def _holds(condition: Condition | None, config: bytes, base: int) -> bool:
    if condition is None:
        return True
    at = base + condition.offset
    return int.from_bytes(config[at : at + condition.width], "little") & condition.mask == condition.value


def _condition(entry: Entry) -> Condition:
    width = entry.access_width("width")
    most = (1 << 8 * width) - 1
    condition = Condition(
        offset=entry.number("offset", most=0xFFF),
        width=width,
        mask=entry.number("mask", least=1, most=most),
        value=entry.number("value", most=most),
    )
    entry.finish()
    return condition
