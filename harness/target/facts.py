"""What an agent says of its machine and of a function on it, checked; see `harness.pci.functions.facts`."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Final

from harness.errors import UsageError
from harness.model.pci import Bdf
from harness.target.shapes import Fields, wrong

_WORD: Final = 0xFFFF
_CONFIG_BYTES: Final = 4096


def function_facts(where: str, value: object) -> dict[str, Any]:
    """Facts on a function, as they were sent.

    Raises:
        AgentLost: they have another shape, or the address is none.
    """
    facts = Fields(where, value)
    for name in ("vendor", "device"):
        facts.number(name, 0, _WORD)
    for name in ("driver", "iommu_group"):
        facts.text(name)
    facts.texts("reset_methods")
    _address(facts, "bdf")
    if facts.text("port"):
        _address(facts, "port")
    for name in ("config_before", "config_after"):
        config(f"{name!r} of {where}", facts.data(name, b""))
    return facts.raw


def config(where: str, value: object) -> bytes:
    """Config space: at most 4096 bytes, or hexadecimal text in the plain conversation, for JSON has no bytes.

    Raises:
        AgentLost: it is none.
    """
    found = value
    if isinstance(value, str):
        with suppress(ValueError):
            found = bytes.fromhex(value)
    if not isinstance(found, bytes) or len(found) > _CONFIG_BYTES:
        raise wrong(where, value, "config space")
    return found


def _address(facts: Fields, name: str) -> None:
    try:
        Bdf.parse(facts.text(name))
    except UsageError as error:
        raise wrong(f"{name!r} of {facts.where}", facts.text(name), "the address of a function") from error
