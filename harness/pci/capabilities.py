"""Walk the capability lists of a config space that has already been read.

Works on bytes alone: no file is opened and no device is touched.  A broken list (a loop, a pointer into the
header, all-ones from a dead function) ends the walk; it never raises.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from harness.model.pci import CAPABILITIES_POINTER, CONFIG_SPACE_BYTES

CAPABILITY_IDS: Final = {
    "pm": 0x01,
    "vpd": 0x03,
    "msi": 0x05,
    "vendor": 0x09,
    "pcie": 0x10,
    "msix": 0x11,
    "af": 0x13,
}
"""Capabilities in the first 256 bytes (PCI Code and ID Assignment Specification r1.15 §2)."""

EXTENDED_CAPABILITY_IDS: Final = {
    "aer": 0x0001,
    "vsec": 0x000B,
    "sriov": 0x0010,
    "dpc": 0x001D,
    "dvsec": 0x0023,
    "doe": 0x002E,
}
"""Capabilities from offset 256 on (PCI Code and ID Assignment Specification r1.15 §3)."""

_STATUS: Final = 0x06
_HEADER_TYPE: Final = 0x0E
_STATUS_CAPABILITIES_LIST: Final = 0x10
_FIRST_OFFSET: Final = 0x40  # the type 0 and type 1 headers end here (PCIe r6.0 §7.5.1)
_DOE_BYTES: Final = 0x18  # DOE has a fixed size (PCIe r6.0 §7.9.24)


@dataclass(frozen=True, slots=True, kw_only=True)
class Capability:
    """One capability of a function.

    Attributes:
        id: capability id, 8 bits, or 16 bits when extended.
        offset: of its header, in bytes from the start of config space.
        extended: True for one that lives from offset 256 on.
    """

    id: int
    offset: int
    extended: bool


def capabilities(config: bytes) -> tuple[Capability, ...]:
    """List all capabilities, in the order of the lists.

    Args:
        config: config space from offset 0: 64, 256 or 4096 bytes; empty gives no capability.

    Source: PCIe r6.0 §7.5.3 (capability list), §7.6.3 (extended capability header).
    """
    return (*_conventional(config), *_extended(config))


def find(config: bytes, name: str) -> tuple[Capability, ...]:
    """All capabilities called `name` in :data:`CAPABILITY_IDS` or :data:`EXTENDED_CAPABILITY_IDS`.

    Raises:
        KeyError: no such name.
    """
    extended = name in EXTENDED_CAPABILITY_IDS
    wanted = EXTENDED_CAPABILITY_IDS[name] if extended else CAPABILITY_IDS[name]
    return tuple(c for c in capabilities(config) if c.id == wanted and c.extended is extended)


def layout(config: bytes) -> int | None:
    """Layout of the header: 0, or 1 of a bridge; None where config space was not read (PCIe r6.0 §7.5.1.1.9)."""
    return config[_HEADER_TYPE] & 0x7F if len(config) > _HEADER_TYPE else None


def length(config: bytes, capability: Capability) -> int:
    """Size of a capability in bytes, header included, where it says so itself; else 0.

    Source: PCIe r6.0 §7.9.4 (vendor-specific), §7.9.5 (VSEC), §7.9.6 (DVSEC), §7.9.24 (DOE).
    """
    named = EXTENDED_CAPABILITY_IDS if capability.extended else CAPABILITY_IDS
    name = next((name for name, number in named.items() if number == capability.id), "")
    match name:
        case "vendor":
            declared = config[capability.offset + 2]
        case "vsec" | "dvsec":
            declared = int.from_bytes(config[capability.offset + 4 : capability.offset + 8], "little") >> 20
        case "doe":
            declared = _DOE_BYTES
        case _:
            declared = 0
    return min(declared, len(config) - capability.offset)


def loop(config: bytes) -> tuple[int, ...]:
    """Offsets of the extended capabilities that lead back to themselves, the first one again at the end.

    Empty when the list ends, as it must.
    """
    found = [one.offset for one in _extended(config)]
    if not found:
        return ()
    last = int.from_bytes(config[found[-1] : found[-1] + 4], "little") >> 20 & 0xFFC
    return (*found[found.index(last) :], last) if last in found else ()


def _conventional(config: bytes) -> tuple[Capability, ...]:
    end = min(len(config), CONFIG_SPACE_BYTES)
    if end <= CAPABILITIES_POINTER or not config[_STATUS] & _STATUS_CAPABILITIES_LIST:
        return ()
    found: dict[int, Capability] = {}
    offset = config[CAPABILITIES_POINTER] & 0xFC
    while _FIRST_OFFSET <= offset <= end - 4 and offset not in found and config[offset] != 0xFF:
        found[offset] = Capability(id=config[offset], offset=offset, extended=False)
        offset = config[offset + 1] & 0xFC
    return tuple(found.values())


def _extended(config: bytes) -> tuple[Capability, ...]:
    found: dict[int, Capability] = {}
    offset = CONFIG_SPACE_BYTES
    while CONFIG_SPACE_BYTES <= offset <= len(config) - 4 and offset not in found:
        header = int.from_bytes(config[offset : offset + 4], "little")
        if header in (0, 0xFFFF_FFFF):
            break
        found[offset] = Capability(id=header & 0xFFFF, offset=offset, extended=True)
        offset = header >> 20 & 0xFFC
    return tuple(found.values())
