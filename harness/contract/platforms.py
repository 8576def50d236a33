"""Entries `[[platform]]`: function models by vendor and device id."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from harness.contract.schema import Entry
from harness.model.pci import Nature

UNKNOWN_PLATFORM: Final = "unknown"
"""A function that no entry describes: only promises for all platforms apply."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """One function model.

    Attributes:
        word: what promises and histories call it.
        vendor, device: identity, 16 bits each.
        nature: emulated or physical.
        name: for people.
        source: where the identity is written.
    """

    word: str
    vendor: int
    device: int
    nature: Nature
    name: str
    source: str


def read_platform(entry: Entry) -> Platform:
    """Read one entry.

    Raises:
        ContractError: a field is missing, unknown or makes no sense.
    """
    word = entry.text("word")
    entry.name = f"platform {word}"
    if word in ("*", UNKNOWN_PLATFORM):
        entry.refuse("word", f"{word!r} has a meaning of its own")
    platform = Platform(
        word=word,
        vendor=entry.number("vendor", most=0xFFFF),
        device=entry.number("device", most=0xFFFF),
        nature=entry.word("nature", Nature),
        name=entry.text("name"),
        source=entry.text("source"),
    )
    entry.finish()
    return platform
