"""What `lspci -vvv` in the guest says of each model that is shipped: golden, and what its declarations say."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from harness.lab.models.catalogue import maker
from harness.lab.models.function import Function
from harness.lab.qemu.machine import Machine
from tests.guest.conformance import lspci_inside

if TYPE_CHECKING:
    from harness.lab.cache.store import Cache
    from harness.lab.place import Place

_GOLDEN: Final = Path(__file__).parents[1] / "golden" / "lspci"
_SERVED: Final = tuple(one for one in Machine().functions if one.served)
_ALIASES: Final = tuple(one.alias for one in _SERVED)
_UNITS: Final = {"": 1, "K": 1 << 10, "M": 1 << 20}


@pytest.fixture(scope="session")
def said(place: Place, cache: Cache, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What lspci said, by alias; all in one guest."""
    with place.clone(tmp_path_factory.mktemp("lspci") / "console.log") as target:
        places = {alias: str(target.address(alias)) for alias in _ALIASES}
        told = lspci_inside.said_of(target, cache, list(places.values()))
    return {alias: told[bdf] for alias, bdf in places.items()}


@pytest.fixture(params=_SERVED, ids=_ALIASES)
def one(request: pytest.FixtureRequest, said: dict[str, str]) -> tuple[str, str, Function]:
    """A function: its alias, what lspci says, and its declarations."""
    function = maker(request.param.served)(time.monotonic_ns)
    return request.param.alias, said[request.param.alias], function


def test_it_is_what_it_was(one: tuple[str, str, Function]) -> None:
    alias, text, _ = one
    assert text == (_GOLDEN / f"{alias}.txt").read_text()


def test_it_has_the_identity_that_is_declared(one: tuple[str, str, Function]) -> None:
    _, text, model = one
    config = model.config
    assert text.startswith(
        f"BDF {config['class']:04x}: {config['vendor']:04x}:{config['device']:04x} (rev {config['revision']:02x})\n"
    )
    assert f"Subsystem: {config['subsystem-vendor']:04x}:{config['subsystem']:04x}\n" in text


def test_it_has_the_capabilities_that_are_declared_in_their_places(one: tuple[str, str, Function]) -> None:
    _, text, model = one
    declared = {
        (register.offset, register.value & 0xFFFF if register.width == 4 else register.value)
        for register in model.config.registers
        if register.value and re.fullmatch(r".*-(id|header)", register.name)
    }
    words = {
        "Power Management": 0x01, "MSI:": 0x05, "MSI-X:": 0x11, "Express": 0x10, "Advanced Error Reporting": 0x01,
        "Vendor Specific Information": 0x09,
    }  # fmt: skip
    found = re.findall(r"(?m)^\tCapabilities: \[(\w+)(?: v\d+)?\] (.*)$", text)
    known = {
        (int(at, 16), next((number for word, number in words.items() if rest.startswith(word)), 0))
        for at, rest in found
    }
    assert known == declared


def test_it_has_the_bars_that_are_declared(one: tuple[str, str, Function]) -> None:
    _, text, model = one
    found = {
        int(number): int(size) * _UNITS[unit]
        for number, size, unit in re.findall(r"(?m)^\tRegion (\d): Memory .*\[size=(\d+)([KM]?)\]", text)
    }
    assert found == {number: bar.size for number, bar in model.bars.items()}
