"""When the kernel is done with what was plugged, and who is told that a model made a mistake."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness.errors import ModelError
from harness.lab.place import GuestTarget, _is_settled
from harness.plugin.lab.guests import refuse_untold


def port(indicator: int, *, express: int = 0x48) -> bytes:
    """Config space of a port whose slot's power indicator is so."""
    config = bytearray(256)
    config[0x06] = 0x10  # it has capabilities
    config[0x34] = 0x40
    config[0x40:0x42] = bytes((0x01, express))
    config[express : express + 2] = b"\x10\x00"
    config[express + 0x18 : express + 0x1A] = (indicator << 8 | 0xC1).to_bytes(2, "little")
    return bytes(config)


@pytest.mark.parametrize(("indicator", "settled"), [(1, True), (2, False), (3, False)])
def test_it_is_when_the_power_indicator_shines_steadily(indicator: int, settled: bool) -> None:  # noqa: FBT001
    assert _is_settled(port(indicator)) is settled
    assert _is_settled(port(indicator, express=0x90)) is settled


def test_a_port_without_a_slot_never_is() -> None:
    assert not _is_settled(bytes(256))


@dataclass
class Served:
    """A function whose model made a mistake, or none."""

    wrong: ModelError | None = None

    def mistake(self) -> ModelError | None:
        return self.wrong


def test_a_mistake_that_nobody_was_told_of_is_told_once() -> None:
    served = {"one": Served(), "two": Served()}
    guest: Any = SimpleNamespace(slots=SimpleNamespace(served=served))
    target = GuestTarget(guest, cast("Any", None), start="clone")
    refuse_untold(target)
    served["two"].wrong = mistake = ModelError("model two", said="it ended the program with status 0")
    with pytest.raises(ModelError, match="model two"):
        refuse_untold(target)
    refuse_untold(target)
    assert target.mistakes() == (mistake,)
