"""From the unix socket of a guest's virtio-serial port to a connected :class:`Agent`.

QEMU keeps what we send until the guest opens the port, so one may connect before the guest has booted.
"""

from __future__ import annotations

import contextlib
import select
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from execnet import gateway_base

from harness.errors import AgentLost
from harness.model.limits import LINE
from harness.model.observation import Greeting
from harness.model.plain import Misfit, shown
from harness.model.policy import CONNECT
from harness.model.request import Request
from harness.model.wire import PROTOCOL, from_line, to_line
from harness.target.agent import Agent, Answer, answer_to, misread
from harness.target.attempts import Deadline, attempting
from harness.target.gateway import GuestGateway

_STALE: Final = "Its root image is stale: remove the template with `harness cache --clean`."


class SocketIO:
    """A unix socket as execnet wants it: exactly n bytes or EOFError.

    Attributes:
        heard: bytes that have arrived.
    """

    def __init__(self, connection: socket.socket) -> None:
        self.execmodel = gateway_base.get_execmodel("thread")
        self.remoteaddress = "virtio-serial"
        self._socket = connection
        self.heard: int = 0

    def read(self, numbytes: int) -> bytes:
        """Read exactly so many bytes; EOFError when QEMU has closed the port."""
        parts, missing = [], numbytes
        while missing:
            try:
                part = self._socket.recv(min(missing, 1 << 20))
            except OSError as error:
                raise EOFError(str(error)) from error
            if not part:
                raise EOFError(f"expected {numbytes} bytes, {missing} are missing")
            self.heard += len(part)
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)

    def write(self, data: bytes) -> None:
        """Write everything."""
        self._socket.sendall(data)

    def close_read(self) -> None:
        """End reading; a reader that waits gets EOFError."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RD)

    def close_write(self) -> None:
        """End writing."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """End both directions and give the socket back."""
        self.close_read()
        self._socket.close()

    def wait(self) -> int | None:
        """Nothing to wait for: QEMU is the launcher's business."""
        return None

    def kill(self) -> None:
        """Nothing to kill: QEMU is the launcher's business."""


class Line:
    """The plain conversation of one JSON line each way, before execnet."""

    def __init__(
        self,
        path: Path,
        *,
        deadline_s: float,
        opened: Callable[[socket.socket], None] = lambda connection: None,  # noqa: ARG005
    ) -> None:
        """Connect, and say hello: each end tells which version of the wire it speaks.

        Args:
            path: of the unix socket.
            deadline_s: for the guest to answer, in seconds from now; a booting guest needs some.
            opened: is told of the connection before anything is asked; who knows that nothing will be answered any
                more may shut it down, and whoever waits learns it at once.

        Raises:
            AgentLost: no socket, no answer, or another version.
        """
        self._until = time.monotonic() + deadline_s
        self._socket = _connect(path, deadline_s)
        opened(self._socket)
        self._rest = b""
        try:
            self.hello = _greeting(self._ask({"ask": "hello", "protocol": PROTOCOL}, self._until))
        except BaseException:
            self.close()
            raise

    def ask(self, request: Request[Answer], /, *, deadline_s: float = 60.0) -> Answer:
        """Make a request.

        Raises:
            AgentLost: no answer in time, or none that an agent gives.
            HarnessError: what the agent raised.
        """
        line = {"ask": type(request).__name__, "with": request.to_wire()}
        return answer_to(request, self._ask(line, time.monotonic() + deadline_s))

    def upgrade(self) -> Agent:
        """Hand the connection to execnet.

        Raises:
            AgentLost: no answer in time, or another one.
        """
        if (said := self._ask({"ask": "execnet"}, time.monotonic() + 30)) != {"result": "execnet"}:
            raise misread("the answer to 'execnet'", f"it is {shown(said)}")
        stream = SocketIO(self._socket)
        return Agent(GuestGateway(stream), stream.close, lambda: stream.heard)

    def close(self) -> None:
        """Close the socket; the guest's worker starts over."""
        self._socket.close()

    def _ask(self, request: dict[str, Any], until: float) -> Any:
        what = f"asking the agent for {request['ask']}"
        try:
            self._socket.sendall(to_line(request))
            while b"\n" not in self._rest:
                ready, _, _ = select.select([self._socket], [], [], max(0.0, until - time.monotonic()))
                chunk = self._socket.recv(65536) if ready else b""
                if not chunk:
                    why = "the port was closed" if ready else "no answer in time"
                    raise AgentLost(what, said=why, hint="Look at its console.")
                self._rest += chunk
                if said := LINE.excess(len(self._rest)):
                    raise AgentLost(what, said=said)
        except OSError as error:
            raise AgentLost(what, said=str(error)) from error
        line, _, self._rest = self._rest.partition(b"\n")
        try:
            return from_line(line)
        except (ValueError, RecursionError) as error:
            raise AgentLost(what, said=f"it is no agent that says {line[:80]!r}") from error


def connect(path: Path, *, deadline_s: float) -> Agent:
    """Connect to the agent behind a socket, through execnet.

    Raises:
        AgentLost: no socket, or no answer in time.
    """
    line = Line(path, deadline_s=deadline_s)
    try:
        return line.upgrade()
    except BaseException:
        line.close()
        raise


def _greeting(said: object) -> Greeting:
    """The first words of an agent; its version is looked at before anything that depends on it.

    Raises:
        AgentLost: it is none, or speaks another version.
    """
    if not isinstance(said, dict) or type(spoken := said.get("protocol")) is not int:
        raise misread("the agent's greeting", f"{shown(said)} tells no protocol")
    if spoken != PROTOCOL:
        raise AgentLost(
            "greeting the agent", said=f"it speaks protocol {spoken}, we speak {PROTOCOL}", hint=_STALE
        )
    try:
        return Greeting.from_wire(said)
    except Misfit as error:
        raise misread("the agent's greeting", str(error)) from error


def _connect(path: Path, deadline_s: float) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        attempting(CONNECT, until=Deadline.after(deadline_s))(connection.connect, str(path))
    except OSError as error:
        connection.close()
        raise AgentLost(
            f"connecting to {path}", said=error.strerror or str(error), hint="Is QEMU running?"
        ) from error
    return connection
