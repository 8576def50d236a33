"""A model as a process: it serves, obeys, survives its client, and does not outlive its owner."""

from __future__ import annotations

import errno
import os
import select
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import numpy as np
import pytest

from harness.errors import GuestError
from harness.history.columns import SERVED, Table
from harness.lab.models import wire
from harness.lab.models.interface import CONFIG_REGION, MSI
from harness.lab.models.process import ModelProcess
from harness.model.fault import Fault, Misbehaviour, Occasion
from harness.model.served import NO_REGION, Happened
from harness.model.units import MS, SECOND, Ns
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


def rows(model: ModelProcess) -> Table:
    data, lost = model.log()
    assert lost == 0
    return np.frombuffer(data, dtype=SERVED)


def seen(model: ModelProcess) -> list[int]:
    return [int(what) for what in rows(model)["what"]]


def until(model: ModelProcess, what: Happened) -> list[int]:
    """What its log tells, once it tells of that."""
    deadline = time.monotonic() + 20.0
    while what not in seen(model):
        assert time.monotonic() < deadline, f"{what!r} never came: {seen(model)}"
        time.sleep(0.01)
    return seen(model)


def test_it_serves_and_writes_down_what_it_sees(model: ModelProcess, connect: Connect) -> None:
    begun = time.monotonic_ns()
    one = connect()
    assert one.ask(client.read(CONFIG_REGION, 0, 4))[16:] == b"\xf4\x1a\xf0\x10"
    came, read = rows(model)
    assert came.item()[1:] == (0, 0, -1, Happened.CONNECTED, NO_REGION, 0, 0)
    assert read.item()[1:] == (0x10F0_1AF4, 0, -1, Happened.READ, CONFIG_REGION, 4, 0)
    assert begun < came["time_ns"] < read["time_ns"] < time.monotonic_ns()
    one.socket.close()
    assert until(model, Happened.DISCONNECTED)[-1] == Happened.DISCONNECTED


def test_its_log_begins_anew_with_a_programme_unless_told_otherwise(
    model: ModelProcess, connect: Connect
) -> None:
    one = connect()
    one.ask(client.read(CONFIG_REGION, 0, 4))
    model.load([Fault(what=Misbehaviour.LOSE_INTERRUPTS)])
    assert seen(model) == [Happened.FAULT_BEGINS]
    one.ask(client.read(CONFIG_REGION, 0, 4))
    model.load([], anew=False)
    assert seen(model) == [Happened.FAULT_BEGINS, Happened.READ]


def test_its_log_outlives_it(model: ModelProcess, connect: Connect) -> None:
    connect().ask(client.read(CONFIG_REGION, 0, 4))
    model.kill()
    assert seen(model) == [Happened.CONNECTED, Happened.READ]


def test_the_clock_of_the_stage_is_set_afterwards(model: ModelProcess, connect: Connect) -> None:
    one = connect()
    at_ns = Ns(1500 * MS)  # a busy machine may tell of the release late
    model.load(
        [
            Fault(what=Misbehaviour.NEVER_READY, when=Occasion.TIME, at_ns=at_ns),
            Fault(
                what=Misbehaviour.INTERRUPT_STORM,
                when=Occasion.TIME,
                at_ns=at_ns,
                lasting_ns=Ns(20 * SECOND),
            ),
        ]
    )
    assert one.ask(client.read(CONFIG_REGION, 0, 4))[16:] == b"\xf4\x1a\xf0\x10"
    released = time.monotonic_ns() - 50 * MS
    model.release(released)
    until(model, Happened.FAULT_MET)
    assert one.ask(client.read(CONFIG_REGION, 0, 4))[16:] == b"\xff" * 4
    table = rows(model)
    begun = table[table["what"] == Happened.FAULT_BEGINS]
    assert begun["time_ns"].tolist() == [released + 1500 * MS] * 2
    sent = table[(table["what"] == Happened.INTERRUPT) | (table["what"] == Happened.INTERRUPT_LOST)]
    assert len(sent)
    assert sent["time_ns"].min() >= released + 1500 * MS


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
        if at + count > len(self.bytes):
            refusal = (header.id, header.command, wire.HEADER_BYTES, 0x21, errno.EFAULT)
            self.socket.sendall(wire.HEADER.pack(*refusal))
            return
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
        refused = pool.submit(guest.serve)
        with pytest.raises(GuestError, match="Bad address"):
            model.dma_read(0x10FFF, 2)
        refused.result()
    table = rows(model)
    moved = table[(table["what"] == Happened.DMA_READ) | (table["what"] == Happened.DMA_WRITTEN)]
    assert moved[["address", "width", "what", "error"]].tolist() == [
        (0x10000, 4, Happened.DMA_READ, errno.ENOTCONN),
        (0x10010, 5, Happened.DMA_WRITTEN, 0),
        (0x1000F, 7, Happened.DMA_READ, 0),
        (0x10FFF, 2, Happened.DMA_READ, errno.EFAULT),
    ]


def test_dma_goes_astray_when_a_fault_says_so(model: ModelProcess, connect: Connect) -> None:
    guest = connect(Memory)
    assert isinstance(guest, Memory)
    with ThreadPoolExecutor(1) as pool:
        served = pool.submit(guest.serve)
        model.load([Fault(what=Misbehaviour.STRAY_DMA, value=0x10020)])
        served.result()
    assert guest.bytes[0x20:0x28] == b"stray!!\n"
    assert Happened.FAULT_MET in until(model, Happened.DMA_WRITTEN)


def test_a_client_that_speaks_nonsense_is_hung_up_on_and_the_next_is_served(connect: Connect) -> None:
    one = connect()
    one.socket.sendall(b"\0" * 64)
    assert one.socket.recv(1) == b""
    assert connect().ask(client.read(CONFIG_REGION, 0, 2))[16:] == b"\xf4\x1a"


def test_orders_that_make_no_sense_are_refused(model: ModelProcess) -> None:
    faults = [{"what": "dances"}]
    for order, arguments in (("dance", {}), ("load", {}), ("load", {"anew": True, "faults": faults})):
        with pytest.raises(GuestError, match=f"tell the model endpoint to {order}"):
            model._ask(order, **arguments)
    with pytest.raises(GuestError, match="mood"):
        model.load([Fault(what=Misbehaviour.WRONG_VALUE, register="mood")])
    assert model.resets() == 0


def test_a_model_of_ones_own(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("from harness.lab.models.endpoint import endpoint\n")
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
    for ask in (model.resets, lambda: model.load([]), lambda: model.release(0), model.interrupt):
        with pytest.raises(GuestError, match="it is gone"):
            ask()


def test_it_does_not_outlive_its_owner(folder: Path) -> None:
    owner = (
        "import sys; from pathlib import Path; from harness.lab.models.process import ModelProcess\n"
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
