"""A model as a process: it serves, obeys, survives its client, and does not outlive its owner."""

from __future__ import annotations

import os
import select
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import pytest

from harness.errors import GuestError
from harness.model.units import SECOND, Ns
from lab.models import wire
from lab.models.conversation import MSI
from lab.models.function import CONFIG_REGION
from lab.models.process import ModelProcess
from harness.model.fault import Fault, Misbehaviour
from tests.unit.lab.models import client


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="hil-model-", dir="/tmp") as name:
        yield Path(name)


@pytest.fixture
def model(folder: Path) -> Iterator[ModelProcess]:
    with ModelProcess("endpoint", folder) as one:
        yield one


class Client:
    """What QEMU is to a model."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(20.0)
        self.socket.connect(str(path))
        self.ask(client.greeting())

    def ask(self, said: bytes, descriptors: list[int] | None = None) -> bytes:
        socket.send_fds(self.socket, [said], descriptors or [])
        header = wire.read_header(self._exactly(wire.HEADER_BYTES))
        return self._exactly(header.size - wire.HEADER_BYTES)

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            part = self.socket.recv(count - len(data))
            assert part
            data += part
        return data


class Connect(Protocol):
    def __call__(self, kind: type[Client] = ...) -> Client: ...


@pytest.fixture
def connect(model: ModelProcess) -> Iterator[Connect]:
    with ExitStack() as stack:

        def another(kind: type[Client] = Client) -> Client:
            one = kind(model.socket)
            stack.callback(one.socket.close)
            return one

        yield another


def test_it_serves_and_logs(model: ModelProcess, connect: Connect) -> None:
    one = connect()
    assert one.ask(client.read(CONFIG_REGION, 0, 4))[16:] == b"\xf4\x1a\xf0\x10"
    log = model.accesses()
    (row,) = log.result["rows"]
    assert row[1:] == ["read", CONFIG_REGION, 0, "f41af010", 0]
    assert row[0] < log.answered_ns
    assert log.result["lost"] == 0


def test_faults_are_loaded_while_it_serves(model: ModelProcess, connect: Connect) -> None:
    one = connect()
    model.load([Fault(what=Misbehaviour.NOT_READY, lasting_ns=Ns(3600 * SECOND))])
    assert one.ask(client.read(CONFIG_REGION, 0, 4))[16:] == b"\xff" * 4
    model.load([])
    assert one.ask(client.read(CONFIG_REGION, 0, 4))[16:] == b"\xf4\x1a\xf0\x10"


def test_it_keeps_its_state_for_the_next_client(model: ModelProcess, connect: Connect) -> None:
    first = connect()
    first.ask(client.write(CONFIG_REGION, 4, b"\x06\x00"))
    first.ask(client.message(wire.Command.DEVICE_RESET))
    first.ask(client.write(CONFIG_REGION, 4, b"\x02\x00"))
    first.socket.close()
    assert connect().ask(client.read(CONFIG_REGION, 4, 2))[16:] == b"\x02\x00"
    assert model.resets() == 1


def test_an_interrupt_reaches_the_eventfd(model: ModelProcess, connect: Connect) -> None:
    one = connect()
    event = os.eventfd(0, os.EFD_NONBLOCK)
    one.ask(client.set_irqs(0x24, MSI, 0, 1), [event])
    config = one.ask(client.read(CONFIG_REGION, 0, 4096))[16:]
    at = config.index(bytes([0x05]), 0x40)  # the MSI capability
    one.ask(client.write(CONFIG_REGION, 4, b"\x06\x00"))
    one.ask(client.write(CONFIG_REGION, at + 2, b"\x81\x00"))
    assert model.interrupt(times=3) == 3
    assert os.eventfd_read(event) == 3
    os.close(event)


class Memory(Client):
    """A client that answers DMA from memory of its own, and asks for something in between."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.bytes = bytearray(0x1000)
        self.ask(client.dma_map(0x10000, len(self.bytes)))

    def serve(self) -> None:
        header = wire.read_header(self._exactly(wire.HEADER_BYTES))
        payload = self._exactly(header.size - wire.HEADER_BYTES)
        address, count = struct.unpack_from("=QQ", payload)
        at, answer = address - 0x10000, payload[:16]
        if header.command == wire.Command.DMA_READ:
            answer += self.bytes[at : at + count]
        else:
            self.bytes[at : at + count] = payload[16:]
        self.ask(client.read(CONFIG_REGION, 0, 4))
        self.socket.sendall(client.message(wire.Command(header.command), answer, number=header.id, flags=1))


def test_memory_of_the_guest_is_reached_by_message(model: ModelProcess, connect: Connect) -> None:
    with pytest.raises(GuestError, match="no QEMU"):
        model.dma_read(0x10000, 4)
    guest = connect(Memory)
    assert isinstance(guest, Memory)
    with ThreadPoolExecutor(1) as pool:
        written = pool.submit(guest.serve)
        model.dma_write(0x10010, b"hello")
        written.result()
        read = pool.submit(guest.serve)
        assert model.dma_read(0x1000F, 7) == b"\0hello\0"
        read.result()
    with pytest.raises(GuestError, match="not mapped"):
        model.dma_read(0x10FFF, 2)


def test_a_client_that_speaks_nonsense_is_hung_up_on_and_the_next_is_served(connect: Connect) -> None:
    one = connect()
    one.socket.sendall(b"\0" * 64)
    assert one.socket.recv(1) == b""
    assert connect().ask(client.read(CONFIG_REGION, 0, 2))[16:] == b"\xf4\x1a"


def test_orders_that_make_no_sense_are_refused(model: ModelProcess) -> None:
    for order, arguments in (("dance", {}), ("load", {}), ("load", {"faults": [{"what": "dances"}]})):
        with pytest.raises(GuestError):
            model._ask(order, **arguments)
    assert model.resets() == 0


def test_a_model_of_ones_own(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("from lab.models.endpoint import endpoint\n")
    with ModelProcess(f"{tmp_path / 'mine.py'}:endpoint", folder) as mine:
        assert mine.resets() == 0


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("perpetuum", "There are: endpoint"),
        ("nowhere.py:mine", "no Python file"),
        ("broken.py:mine", "ZeroDivisionError"),
        ("empty.py:mine", "has no attribute 'mine'"),
    ],
)
def test_a_model_that_there_is_not_is_an_error(folder: Path, tmp_path: Path, model: str, said: str) -> None:
    (tmp_path / "broken.py").write_text("1 / 0\n")
    (tmp_path / "empty.py").write_text("")
    with pytest.raises(GuestError, match=said):
        ModelProcess(str(tmp_path / model) if ":" in model else model, folder)


def test_a_model_that_died_says_so(model: ModelProcess) -> None:
    model.kill()
    assert not model.running
    with pytest.raises(GuestError):
        model.resets()


def test_it_does_not_outlive_its_owner(folder: Path) -> None:
    owner = (
        "import sys; from pathlib import Path; from lab.models.process import ModelProcess\n"
        f"one = ModelProcess('endpoint', Path({str(folder)!r})); print(one.pid, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", owner], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        alive = os.pidfd_open(int(process.stdout.readline()))
        process.kill()
        process.wait()
    gone, _, _ = select.select([alive], [], [], 20.0)
    os.close(alive)
    assert gone
