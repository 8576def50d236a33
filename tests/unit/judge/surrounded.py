"""The functions around those of a history written by hand: a port above, and another function of the same device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from harness.history.history import FunctionRecord, History
from tests.unit.judge.build import config_space

PORT = "0000:00:02.0"
BESIDE = "0000:01:00.1"
LINK_STATUS, ROOT_ERRORS, SECONDARY_STATUS = 0x52, 0x130, 0x1E
MEMORY_BASE = 0x20


def port_space() -> bytes:
    """A root port with Express and AER capabilities, enabled."""
    config = bytearray(config_space(4096))
    config[0x0E] = 1
    config[0x10:0x18] = bytes(8)
    config[0x18:0x1B] = bytes([0, 1, 1])
    config[0x40:0x44] = bytes.fromhex("10004200")
    config[0x100:0x104] = bytes.fromhex("01000200")
    return bytes(config)


def changed(config: bytes, values: Mapping[int, int]) -> bytes:
    """Config space with other bytes at some offsets."""
    after = bytearray(config)
    for at, value in values.items():
        after[at] = value
    return bytes(after)


def surrounded(
    history: History,
    *,
    own: Mapping[int, int] | None = None,
    port: Mapping[int, int] | None = None,
    beside: Mapping[int, int] | None = None,
) -> History:
    """The history with neighbours that were looked at.

    Args:
        history: of one function at least; the first one's port is told.
        own: bytes of the first function that are something else afterwards.
        port: the same of the port above.
        beside: the same of the function beside.
    """
    first = history.functions[0]
    first = replace(first, port=PORT, config_after=changed(first.config_before, own or {}))
    return replace(
        history,
        functions=(first, *history.functions[1:]),
        neighbours=(
            _looked_at(PORT, port_space(), port or {}),
            replace(_looked_at(BESIDE, config_space(), beside or {}), port=PORT),
        ),
    )


def _looked_at(bdf: str, config: bytes, after: Mapping[int, int]) -> FunctionRecord:
    return FunctionRecord(
        alias=bdf,
        platform="unknown",
        bdf=bdf,
        vendor=0x1B36,
        device=0x10,
        config_before=config,
        config_after=changed(config, after),
    )
