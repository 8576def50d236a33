"""How a function interrupts is read from its config space."""

from __future__ import annotations

import pytest

from harness.scenarios.interrupts import interrupts_of
from tests.unit.judge.build import ALIAS, Stage

_STATUS, _POINTER, _MSI = 0x06, 0x34, 0x48


def config(control: int) -> bytes:
    """Config space with one capability: MSI, with that Message Control."""
    data = bytearray(256)
    data[_STATUS], data[_POINTER] = 0x10, _MSI
    data[_MSI], data[_MSI + 2] = 0x05, control
    return bytes(data)


@pytest.mark.parametrize(
    ("before", "word"),
    [(config(0x81), "msi"), (config(0x80), "intx"), (bytes(256), "intx"), (b"", "intx")],
    ids=["on", "off", "no-capability", "unread"],
)
def test_messages_count_when_they_are_switched_on(before: bytes, word: str) -> None:
    stage = Stage(before=before)
    stage.reader()
    assert interrupts_of(stage.history(), ALIAS) == word
