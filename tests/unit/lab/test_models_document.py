"""docs/models.md names every function that is shipped, and every word for what goes wrong."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Final

import pytest

from harness.lab.models.catalogue import maker
from harness.lab.qemu.machine import Machine
from harness.model.fault import IncidentKind, Misbehaviour

_TEXT: Final = (Path(__file__).parents[3] / "docs" / "models.md").read_text()
_ROWS: Final = [line.split(" | ") for line in _TEXT.splitlines() if line.startswith("| `")]
_DEVICE: Final = re.compile(r"[0-9a-f]{4}:[0-9a-f]{4}\b")
_SERVED: Final = {one.alias: one.served for one in Machine().functions if one.served}


def told(*columns: int) -> list[str]:
    """All words in code type that stand in these columns of the tables."""
    return [word for row in _ROWS for column in columns for word in re.findall(r"`([\w-]+)`", row[column])]


def test_every_word_for_what_goes_wrong_has_one_place() -> None:
    words = [*map(str, Misbehaviour), *map(str, IncidentKind)]
    found = [word for word in told(0, 1) if word in words]
    assert sorted(found) == sorted(words)


@pytest.mark.parametrize("alias", _SERVED)
def test_every_function_is_told_with_its_device(alias: str) -> None:
    (row,) = [row for row in _ROWS if f"`{alias}`" in row[0]]
    config = maker(_SERVED[alias])(time.monotonic_ns).config
    device, _, subsystem = row[1].partition(", subsystem ")
    assert device == f"{config['vendor']:04x}:{config['device']:04x}"
    assert subsystem in ("", f"{config['subsystem']:04x}")


def test_every_function_that_is_told_is_shipped() -> None:
    devices = [row for row in _ROWS if _DEVICE.match(row[1])]
    assert {word for row in devices for word in re.findall(r"`(\w+)`", row[0])} == set(_SERVED)
