"""A guest that sends what it likes: raw frames of execnet's wire, behind the greeting of an honest agent."""

from __future__ import annotations

import socket
import struct
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from execnet.gateway_base import dumps_internal

from harness.model.observation import Greeting
from harness.model.units import Ns
from harness.model.wire import PROTOCOL, to_line
from harness.target import port
from harness.target.agent import Agent

CHANNEL = 1
"""The channel that the host opens first, for the service."""
DATA, CLOSE_ERROR = 4, 6

Say = Callable[[socket.socket], None]
"""What the guest does when the host has asked its first question."""


def frame(kind: int, channel: int, data: bytes, *, length: int | None = None) -> bytes:
    """One message of execnet, whose header may lie about how much follows."""
    return struct.pack("!bii", kind, channel, len(data) if length is None else length) + data


def says(value: Any) -> bytes:
    """A value on the service's channel."""
    return frame(DATA, CHANNEL, dumps_internal(value))


def in_full(*frames: bytes) -> Say:
    """Send these, and keep the line open."""

    def say(connection: socket.socket) -> None:
        connection.sendall(b"".join(frames))

    return say


@contextmanager
def guest(folder: Path, say: Say, *, asked: int = 1) -> Iterator[Agent]:
    """The host's own agent, connected to a guest that answers the greeting and then says what it likes.

    Args:
        folder: for the socket.
        say: is called when the host has asked so many questions.
        asked: how many.
    """
    path = folder / "port"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        listener.listen()

        def serve() -> None:
            connection, _ = listener.accept()
            with connection, suppress(OSError):
                lines = connection.makefile("rb")
                lines.readline()
                greeting = Greeting(protocol=PROTOCOL, pid=7, monotonic_ns=Ns(1))
                connection.sendall(to_line(greeting.to_wire()))
                lines.readline()
                connection.sendall(b'{"result": "execnet"}\n')
                for _ in range(1 + asked):  # the first begins the service
                    header = lines.read(9)
                    lines.read(struct.unpack("!bii", header)[2])
                say(connection)
                while lines.read(1):
                    pass

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        agent = port.connect(path, deadline_s=20)
        try:
            yield agent
        finally:
            agent.close()
            thread.join(10)


class Peak:
    """The most that Python held at a time, in bytes, while a block ran."""

    bytes = 0


@contextmanager
def peak() -> Iterator[Peak]:
    """Measure a block."""
    measured = Peak()
    tracemalloc.start()
    try:
        yield measured
    finally:
        measured.bytes = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
