"""A served function in the newest QEMUs that Debian has: each is the real client of our server.

QEMU is such a client since 10.1.  Debian's stable has 10.0, which is none and which the lab refuses.  The lab uses that
of its backports; testing has its own, and when testing moves to the next major, this test moves with it.
"""

from __future__ import annotations

import dataclasses
import struct
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import pytest

from harness.history.columns import SERVED, Table
from harness.lab.models import wire
from harness.lab.models.endpoint import DEVICE, SCRATCH, VENDOR
from harness.lab.models.process import ModelProcess
from harness.lab.models.recording import FROM_CLIENT, frames
from harness.lab.models.wire import Command
from harness.lab.qemu.emulator import QEMU, unpacked
from harness.lab.qemu.machine import Machine
from harness.lab.template.template import recipe
from harness.model.observation import FunctionFacts
from harness.model.policy import PLUGGED
from harness.model.served import Happened
from harness.target.attempts import attempting
from tests.unit.agent.run import until

if TYPE_CHECKING:
    from harness.lab.cache.store import Cache
    from harness.lab.place import GuestTarget, Place

_GOLDEN: Final = Path(__file__).parents[1] / "golden" / "vfio_user"
_TESTING: Final = "forky"
_OF_TESTING: Final = dataclasses.replace(
    QEMU, label="qemu-of-testing", suites=(_TESTING,), preferred="", from_preferred=()
)
_ALIAS: Final = "endpoint0"
_UNPLUGGED_WITHIN_S: Final = 60.0
_RESET: Final = """
import mmap
from pathlib import Path
folder = Path("/sys/bus/pci/devices", channel.receive())
offset, method = channel.receive(), channel.receive()
(folder / "enable").write_text("1")
with (folder / "resource0").open("r+b", 0) as file, mmap.mmap(file.fileno(), 4096) as bar:
    bar[offset:offset + 4] = b"mark"
    before = bar[offset:offset + 4]
    (folder / "reset_method").write_text(method)
    (folder / "reset").write_text("1")
    after = bar[offset:offset + 4]
(folder / "enable").write_text("0")
channel.send([before, after])
"""


@dataclass(frozen=True)
class Seen:
    """What became of a served function in one QEMU.

    Attributes:
        version: of QEMU.
        facts: what the guest's kernel knows of it.
        registers: by reset method, the scratch register before and after a reset.
        log: rows of the model.
        said: what QEMU sent, one message a line, until the function was there.
    """

    version: str
    facts: FunctionFacts
    registers: dict[str, list[bytes]]
    log: Table
    said: list[str]


@pytest.fixture(scope="session", params=["the lab's", _TESTING])
def seen(
    request: pytest.FixtureRequest, place: Place, cache: Cache, tmp_path_factory: pytest.TempPathFactory
) -> Seen:
    """Plug, reset in two ways and unplug in a guest of one QEMU."""
    console = tmp_path_factory.mktemp(request.param) / "console.log"
    version, guest = place.recipe.emulator.version, place.clone(console)
    if request.param == _TESTING:
        emulator = unpacked(cache, _OF_TESTING)
        made = recipe(cache, emulator, place.recipe.kernel, place.recipe.machine)
        version, guest = emulator.version, dataclasses.replace(place, recipe=made).boot(console)
    # Sockets' paths are short.
    with tempfile.TemporaryDirectory(prefix="hil-") as name, guest as target:
        recording = Path(name, "recording")
        with ModelProcess("endpoint", Path(name), ("--record", str(recording))) as model:
            facts = _plugged(target, model)
            said = _said(recording.read_bytes())
            registers = {
                method: target.agent.run_source(_RESET, str(facts.bdf), SCRATCH, method)
                for method in ("flr", "bus")
            }
            _unplug(target)
            until(lambda: _log_of(model)["what"][-1] == Happened.DISCONNECTED, 30.0)  # QEMU says so first
            log = _log_of(model)
    return Seen(version=version, facts=facts, registers=registers, log=log, said=said)


def _plugged(target: GuestTarget, model: ModelProcess) -> FunctionFacts:
    machine: Machine = target.guest.machine
    arguments = machine.plug_arguments(_ALIAS)[0]
    socket = {"type": "unix", "path": str(model.socket)}
    target.guest.monitor.run("device_add", {**arguments, "socket": socket})
    wait = attempting(PLUGGED, unsettled=lambda facts: facts is None)
    facts: FunctionFacts | None = wait(target.agent.ask, machine.finding(_ALIAS))
    assert facts is not None
    return facts


def _log_of(model: ModelProcess) -> Table:
    rows: Table = np.frombuffer(model.log()[0], dtype=SERVED)
    return rows


def _unplug(target: GuestTarget) -> None:
    begun = time.monotonic_ns()
    target.guest.monitor.execute("device_del", id=_ALIAS)
    gone = target.guest.monitor.wait_event(
        lambda event: event.name == "DEVICE_DELETED" and event.data.get("device") == _ALIAS,
        _UNPLUGGED_WITHIN_S,
        after_ns=begun,
    )
    assert gone is not None


def _said(recording: bytes) -> list[str]:
    """Messages of the client, in words: up to its own reset of the function, before the guest touches it."""
    stream = b"".join(one.data for one in frames(recording) if one.direction == FROM_CLIENT)
    lines = []
    while stream:
        header = wire.read_header(stream)
        payload, stream = stream[wire.HEADER_BYTES : header.size], stream[header.size :]
        command = Command(header.command)
        lines.append(f"{command.name} {_in_words(command, payload)}".rstrip())
        if command is Command.DEVICE_RESET:
            break
    return lines


def _in_words(command: Command, payload: bytes) -> str:
    match command:
        case Command.VERSION:
            return payload[4:].rstrip(b"\0").decode()
        case Command.REGION_READ | Command.REGION_WRITE:
            offset, region, count = struct.unpack_from("=QII", payload)
            return f"region {region} at {offset:#x}, {count} bytes {payload[16:].hex()}"
        case Command.DEVICE_GET_REGION_INFO | Command.DEVICE_GET_IRQ_INFO:
            return f"index {struct.unpack_from('=I', payload, 8)[0]}"
        case Command.DEVICE_SET_IRQS:
            flags, index, start, count = struct.unpack_from("=IIII", payload, 4)
            return f"index {index}, flags {flags:#x}, {start} + {count}"
    return ""


def major(version: str) -> int:
    return int(version.partition(".")[0])


def test_it_is_a_qemu_with_a_client(seen: Seen) -> None:
    assert major(seen.version) >= 11


def test_the_guest_enumerates_it(seen: Seen) -> None:
    assert (seen.facts.vendor, seen.facts.device) == (VENDOR, DEVICE)
    assert {"flr", "bus"} <= set(seen.facts.reset_methods)


@pytest.mark.parametrize("method", ["flr", "bus"])
def test_a_reset_reaches_the_model_and_clears_what_a_reset_clears(seen: Seen, method: str) -> None:
    before, after = seen.registers[method]
    assert (before, after) == (b"mark", bytes(4))
    row = {"flr": Happened.FLR, "bus": Happened.BUS_RESET}[method]
    marked = seen.log["time_ns"][
        (seen.log["what"] == Happened.WRITTEN) & (seen.log["region"] == 0) & (seen.log["address"] == SCRATCH)
    ]
    first = marked[("flr", "bus").index(method)]
    assert np.any((seen.log["what"] == row) & (seen.log["time_ns"] > first))


def test_it_is_unplugged(seen: Seen) -> None:
    assert list(seen.log["what"]).count(Happened.CONNECTED) == 1
    assert list(seen.log["what"])[-1] == Happened.DISCONNECTED


def test_what_it_says_before_the_guest_does_is_what_this_major_has_always_said(seen: Seen) -> None:
    path = _GOLDEN / f"begin-of-qemu-{major(seen.version)}.txt"
    assert seen.said == path.read_text().splitlines()
