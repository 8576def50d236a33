"""What a model of ours moves by message lies in the memory of this guest, and never in that of its template.

A clone's memory is that of the template until it is written to, and the descriptor that comes with a map of it is the
template's: whoever used that would read what was, and write into every clone to come.
"""

from __future__ import annotations

import hashlib
import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from harness.errors import GuestError
from harness.model.request import Bind

if TYPE_CHECKING:
    from harness.lab.models.process import ModelProcess
    from harness.lab.place import GuestTarget, Place

ALIAS: Final = "endpoint0"
PAGE: Final = 4096
BUS_ADDRESS: Final = 0x4000_0000
ELSEWHERE: Final = 0x5000_0000
WRITTEN_BY_THE_GUEST: Final = b"only the guest wrote this: 6b1f0c"
WRITTEN_BY_THE_MODEL: Final = b"only the model wrote this: 93d7e2"
WRITTEN_BY_NOBODY_ELSE: Final = b"Linux version "

# Opens the function through VFIO, gives it a page, and keeps both; says where the page is in the guest's memory.
_MAP: Final = """
import builtins, mmap, struct
from harness.bindings import vfio
from harness.model.pci import COMMAND, Bdf
from harness.vfio.container import opened, Container
bdf, address, text = (channel.receive() for _ in range(3))
container = Container()
device = container.attach(Bdf.parse(bdf)).open(Bdf.parse(bdf))
device.config.write(COMMAND, 2, device.read_config(COMMAND, 2) | 6)
page = mmap.mmap(-1, 4096)
page[:len(text)] = text
mapping = container.map_dma(page, address)
virtual, _ = vfio.address_of(memoryview(page))
with open("/proc/self/pagemap", "rb") as file:
    file.seek(virtual // 4096 * 8)
    entry, = struct.unpack("<Q", file.read(8))
builtins.kept_by_the_test = container, device, page, mapping
channel.send((entry & (1 << 55) - 1) * 4096)
"""
_READ: Final = """
import builtins
channel.send(bytes(builtins.kept_by_the_test[2][:channel.receive()]))
"""


@pytest.fixture
def target(place: Place, console: Path) -> Iterator[GuestTarget]:
    with place.clone(console) as started:
        yield started


@pytest.fixture
def model(target: GuestTarget) -> ModelProcess:
    target.facts(ALIAS)
    return target.guest.slots.served[ALIAS].process


@pytest.fixture
def physical(target: GuestTarget) -> int:
    """Where a page lies that the guest has written to and given to the function, in bytes."""
    bdf = target.address(ALIAS)
    target.agent.ask(Bind(bdf=bdf, driver="vfio-pci"))
    found: int = target.agent.run_source(_MAP, str(bdf), BUS_ADDRESS, WRITTEN_BY_THE_GUEST)
    return found


def ram(place: Place) -> Path:
    return place.template.path / "ram"


def holds(path: Path, text: bytes) -> bool:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as memory:
        return memory.find(text) >= 0


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()


def test_dma_goes_to_the_memory_of_this_guest_and_never_to_the_templates(
    place: Place, target: GuestTarget, model: ModelProcess, physical: int
) -> None:
    before = digest(ram(place))
    assert model.dma_read(BUS_ADDRESS, len(WRITTEN_BY_THE_GUEST)) == WRITTEN_BY_THE_GUEST
    model.dma_write(BUS_ADDRESS, WRITTEN_BY_THE_MODEL)
    assert target.agent.run_source(_READ, len(WRITTEN_BY_THE_MODEL)) == WRITTEN_BY_THE_MODEL
    # From outside of the guest, too: it is the page that the guest's kernel says it is.
    assert target.guest.read_physical(physical, len(WRITTEN_BY_THE_MODEL)) == WRITTEN_BY_THE_MODEL
    assert holds(ram(place), WRITTEN_BY_NOBODY_ELSE), "whoever finds nothing anywhere proves nothing"
    assert not holds(ram(place), WRITTEN_BY_THE_GUEST)
    assert not holds(ram(place), WRITTEN_BY_THE_MODEL)
    assert digest(ram(place)) == before


def test_what_was_not_mapped_is_refused_and_leaves_no_trace(
    target: GuestTarget, model: ModelProcess, physical: int
) -> None:
    before = target.guest.read_physical(physical, PAGE)
    for address in (physical, ELSEWHERE):
        with pytest.raises(GuestError, match="dma-write"):
            model.dma_write(address, WRITTEN_BY_THE_MODEL)
        with pytest.raises(GuestError, match="dma-read"):
            model.dma_read(address, 8)
    assert target.guest.read_physical(physical, PAGE) == before
