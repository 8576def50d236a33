"""A model dies, and whoever it served is answered all the same."""

from __future__ import annotations

import errno
import os
import signal
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.errors import ModelError
from harness.lab.models import wire
from harness.lab.models.interface import CONFIG_REGION
from harness.lab.models.process import ModelProcess
from harness.lab.models.row_log import unanswered
from harness.lab.models.server import LOG
from tests.unit.lab.models import client

STUCK = """
import time
from harness.lab.models import endpoint

class Stuck(endpoint.Function):
    def read(self, region, offset, count):
        if offset == 0x08:
            time.sleep(3600)
        if offset == 0x0C:
            raise ZeroDivisionError("a mistake in a model of one's own")
        return super().read(region, offset, count)

def stuck(clock):
    one = endpoint.endpoint(clock)
    one.__class__ = Stuck
    return one
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="hil-model-", dir="/tmp") as name:
        yield Path(name)


@pytest.fixture
def model(folder: Path, tmp_path: Path) -> Iterator[ModelProcess]:
    (tmp_path / "stuck.py").write_text(STUCK)
    with ModelProcess(f"{tmp_path / 'stuck.py'}:stuck", folder) as one:
        yield one


@pytest.fixture
def qemu(model: ModelProcess) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as one:
        one.settimeout(20.0)
        one.connect(str(model.socket))
        one.sendall(client.greeting())
        assert answer(one).error == 0
        yield one


def answer(qemu: socket.socket) -> wire.Header:
    header = wire.read_header(qemu.recv(wire.HEADER_BYTES, socket.MSG_WAITALL))
    rest = header.size - wire.HEADER_BYTES
    assert len(qemu.recv(rest, socket.MSG_WAITALL) if rest else b"") == rest
    return header


def read(qemu: socket.socket, offset: int, number: int) -> None:
    asked = client.read(CONFIG_REGION, offset, 4)[wire.HEADER_BYTES :]
    qemu.sendall(client.message(wire.Command.REGION_READ, asked, number=number))


def at_rest(folder: Path) -> None:
    """Wait until it has taken down that its last answer went out: a little later than we have it."""
    deadline = time.monotonic() + 20.0
    while unanswered(folder / LOG):
        assert time.monotonic() < deadline
        os.sched_yield()


def test_after_its_death_every_access_is_refused(
    model: ModelProcess, qemu: socket.socket, folder: Path
) -> None:
    read(qemu, 0, 1)
    assert answer(qemu).error == 0
    at_rest(folder)
    model.kill()
    for number in (2, 3):
        read(qemu, 0, number)
        got = answer(qemu)
        assert (got.id, got.error) == (number, errno.EIO)
    qemu.sendall(client.message(wire.Command.DEVICE_RESET, number=4))
    assert answer(qemu).error == 0, "what QEMU must be able to do with a dead function it can do"


def test_what_it_had_not_read_yet_is_refused(model: ModelProcess, qemu: socket.socket, folder: Path) -> None:
    at_rest(folder)
    os.kill(model.pid, signal.SIGSTOP)
    read(qemu, 0, 7)
    model.kill()
    got = answer(qemu)
    assert (got.id, got.error) == (7, errno.EIO)


def test_what_it_was_answering_is_refused(model: ModelProcess, qemu: socket.socket, folder: Path) -> None:
    read(qemu, 0, 1)
    answer(qemu)
    at_rest(folder)
    read(qemu, 0x08, 2)
    while not unanswered(folder / LOG):
        os.sched_yield()
    model.kill()
    got = answer(qemu)
    assert (got.id, got.error) == (2, errno.EIO)
    read(qemu, 0, 3)
    assert answer(qemu).id == 3


def test_a_mistake_in_a_model_is_told_by_its_last_words(model: ModelProcess, qemu: socket.socket) -> None:
    read(qemu, 0x0C, 2)
    assert answer(qemu).error == errno.EIO
    with pytest.raises(ModelError, match="it raised ZeroDivisionError: a mistake") as raised:
        model.load(())
    assert "stuck.py" in raised.value.evidence


def test_its_log_outlives_it(model: ModelProcess, qemu: socket.socket) -> None:
    read(qemu, 0, 1)
    answer(qemu)
    before = model.log()
    model.kill()
    assert model.log() == before
    assert len(before[0])
