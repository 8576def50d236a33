"""A model as whoever stages sees it: a process of its own, and the way to tell it what to do.

The process ends when this object is closed or its owner dies (it holds the other end of the model's standard input).
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from harness.errors import GuestError
from lab.models.programme import Fault
from lab.models.server import CONTROL, READY, SOCKET

_STARTS_WITHIN_S: Final = 30.0
_ANSWERS_WITHIN_S: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What a model answered, and when by the clock of this host: not before `asked_ns`, not after `answered_ns`."""

    result: Any
    asked_ns: int
    answered_ns: int


class ModelProcess:
    """A model that runs until `close`."""

    def __init__(self, model: str, folder: Path) -> None:
        """Start it; it listens when this returns.

        Args:
            model: which, as :func:`lab.models.catalogue.maker` takes it.
            folder: for its sockets, its own; short, because a unix socket's path holds 108 bytes.

        Raises:
            GuestError: it does not start.
        """
        self.model: Final = model
        self.socket: Final = folder / SOCKET
        with ExitStack() as undo:
            self._process = undo.enter_context(
                subprocess.Popen(
                    [sys.executable, "-P", "-m", "lab.models.server", model, str(folder)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    start_new_session=True,  # Ctrl-C is for us
                )
            )
            undo.callback(self._process.kill)
            assert self._process.stdout is not None  # noqa: S101 - a pipe was asked for
            said = self._process.stdout.readline()
            if said != READY:
                raise GuestError(f"start the model {model}", said=said.decode().strip() or "it ended at once")
            self._control = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            undo.callback(self._control.close)
            self._control.settimeout(_STARTS_WITHIN_S)
            self._control.connect(str(folder / CONTROL))
            self._control.settimeout(_ANSWERS_WITHIN_S)
            self._undo = undo.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it still serves."""
        return self._process.poll() is None

    def load(self, faults: Iterable[Fault]) -> Answered:
        """Replace its programme of faults.

        Raises:
            GuestError: it refused, or is gone.
        """
        return self._ask("load", faults=[fault.to_json() for fault in faults])

    def accesses(self) -> Answered:
        """What was accessed so far: `lost`, and `rows` of `[time_ns, what, region, offset, hex, errno]`.

        Raises:
            GuestError: it is gone.
        """
        return self._ask("log")

    def resets(self) -> int:
        """How often it was reset.

        Raises:
            GuestError: it is gone.
        """
        return int(self._ask("resets").result)

    def interrupt(self, times: int = 1) -> int:
        """Let it send MSIs; how many were sent.

        Raises:
            GuestError: it is gone.
        """
        return int(self._ask("interrupt", times=times).result)

    def dma_read(self, address: int, count: int) -> bytes:
        """Let it read `count` bytes of the guest's memory at a bus address, by message.

        Raises:
            GuestError: that memory is not mapped for it, QEMU refused, or it is gone.
        """
        return bytes.fromhex(self._ask("dma-read", address=address, count=count).result)

    def dma_write(self, address: int, data: bytes) -> None:
        """Let it write to the guest's memory at a bus address, by message.

        Raises:
            GuestError: that memory is not mapped for it, QEMU refused, or it is gone.
        """
        self._ask("dma-write", address=address, data=data.hex())

    def kill(self) -> None:
        """Let it die as a crashed server does; QEMU sees the end of its connection."""
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """End it; does nothing the second time."""
        self._undo.close()

    def _ask(self, order: str, **arguments: Any) -> Answered:
        tried = f"tell the model {self.model} to {order}"
        asked = time.monotonic_ns()
        try:
            self._control.sendall(json.dumps({"do": order, "with": arguments}).encode() + b"\n")
            line = bytearray()
            while not line.endswith(b"\n"):
                data = self._control.recv(1 << 20)
                if not data:
                    raise GuestError(tried, said="it is gone")
                line += data
        except OSError as error:
            raise GuestError(tried, said=error.strerror or "no answer in time") from error
        answer = json.loads(line)
        if "error" in answer:
            raise GuestError(tried, said=answer["error"])
        return Answered(result=answer["result"], asked_ns=asked, answered_ns=time.monotonic_ns())
