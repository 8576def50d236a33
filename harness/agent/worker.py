"""The agent's process in a guest: wait for a host on the virtio-serial port, answer it, and start over.

The conversation begins with JSON lines, `{"ask": NAME, "with": {…}}` and one line back, which need nothing but
this process: first `hello`, in which each end says its version of the wire; `{"ask": "execnet"}` hands the port to
execnet.  When the host goes away the process ends and init starts a new one.

Source of the port's behaviour: Linux drivers/char/virtio_console.c, `port_fops_read()` returns 0 while no host is
connected, and a write takes at most 32 KiB.
"""

from __future__ import annotations

import os
import select
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Protocol

from execnet import gateway_base

from harness.agent import shell, threads
from harness.agent.command import Programs
from harness.agent.mistake import as_answer, traceback_of
from harness.agent.nursery import Nursery
from harness.agent.service import Service
from harness.agent.stage import Tell, untold
from harness.bindings.actor import now
from harness.model.observation import Greeting, Progress
from harness.model.wire import PROTOCOL, Conversation, from_line, to_line

PORT: Final = "hil.rpc"
SERVE: Final = Conversation.SERVE
UPGRADED: Final = b'{"result": "execnet"}\n'


class Answering(Protocol):
    """What :class:`~harness.agent.service.Service` is to whoever carries requests to it."""

    @property
    def programs(self) -> Programs:
        """What a shell can run."""

    def answer(self, name: object, fields: object, tell: Tell = ...) -> dict[str, Any]:
        """Carry a request out."""

    def close(self) -> None:
        """Leave nothing behind."""


class Unfit:
    """Stands in for a service that could not be made, and says so to whoever asks."""

    def __init__(self, error: Exception) -> None:
        self._error = error
        self.programs: Final = Programs()

    def answer(self, name: object, fields: object, tell: Tell = untold) -> dict[str, Any]:  # noqa: ARG002
        """Say why nothing is carried out."""
        return as_answer("starting the agent", self._error)

    def close(self) -> None:
        """Nothing was begun."""


_service: Answering | None = None
"""That of this process; figures and tests, which run source of their own in it, find it here."""


def _this_service() -> Answering:
    if _service is None:
        raise RuntimeError("this process is no agent")
    return _service


class Threads(gateway_base.ThreadExecModel):
    """What execnet takes its threads from: those that wait already."""

    def start(self, func: Callable[..., object], args: tuple[object, ...] = ()) -> None:
        """Let one do this."""
        threads.begin(lambda: func(*args))


class Port:
    """The virtio-serial port as execnet wants it: read exactly n bytes, write all, EOFError when the host is gone."""

    def __init__(self, path: Path, execmodel: Any) -> None:
        self.execmodel = execmodel
        self._fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        self._buffer = b""

    def wait_for_host(self) -> None:
        """Return when a host has connected; reads return nothing until then."""
        self._buffer = b""
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        pause = threading.Event()
        while any(flags & select.POLLHUP for _, flags in poll.poll()):
            pause.wait(0.01)  # the driver offers no wait for this condition

    def read(self, numbytes: int) -> bytes:
        """Read exactly so many bytes."""
        while len(self._buffer) < numbytes:
            chunk = os.read(self._fd, max(65536, numbytes - len(self._buffer)))
            if not chunk:
                raise EOFError("the host is gone")
            self._buffer += chunk
        data, self._buffer = self._buffer[:numbytes], self._buffer[numbytes:]
        return data

    def read_line(self) -> bytes:
        """Read up to and without the next newline."""
        line = b""
        while not line.endswith(b"\n"):
            line += self.read(1)
        return line[:-1]

    def write(self, data: bytes) -> None:
        """Write everything, in as many pieces as the port takes."""
        view = memoryview(data)
        while view:
            view = view[os.write(self._fd, view[:32768]) :]

    def close_read(self) -> None:
        """Nothing to do: the port stays open until the process ends."""

    def close_write(self) -> None:
        """Nothing to do: the port stays open until the process ends."""

    def wait(self) -> int | None:
        """Nothing to wait for: there is no process behind a port."""
        return None

    def kill(self) -> None:
        """Nothing to kill: there is no process behind a port."""


class AgentGateway(gateway_base.WorkerGateway):
    """execnet's end in the agent: the host opens channels for what :class:`Conversation` names.

    Whatever else it sends execnet runs as Python source: figures and tests measure so, nothing that a run uses.
    """

    def executetask(self, item: Any) -> None:
        """Hold a conversation."""
        channel, (purpose, *_) = item
        if purpose not in list(Conversation):
            super().executetask(item)
            return
        try:
            match Conversation(purpose):
                case Conversation.SERVE:
                    serve(channel, _this_service())
                case Conversation.SHELL:
                    shell.converse(channel, _this_service().programs)
        except BaseException as error:
            with suppress(OSError):  # the host has left: there is nobody to tell
                channel.close(traceback_of(error))
            if not isinstance(error, Exception):
                raise
        else:
            channel.close()


def find_port() -> Path:
    """The device node of our port.

    Raises:
        FileNotFoundError: the machine has no virtio-serial port of that name.
    """
    for name in Path("/sys/class/virtio-ports").glob("*/name"):
        if name.read_text().strip() == PORT:
            return Path("/dev") / name.parent.name
    raise FileNotFoundError(f"no virtio-serial port named {PORT}")


def hello(spoken: object) -> dict[str, Any]:
    """First answer of every conversation; a host that speaks another version is told ours, and the console of it."""
    if spoken != PROTOCOL:
        sys.stderr.write(f"hil-agent: the host speaks protocol {spoken!r}, this agent speaks {PROTOCOL}\n")
    return Greeting(protocol=PROTOCOL, pid=os.getpid(), monotonic_ns=now()).to_wire()


def converse(port: Port, service: Answering) -> None:
    """Answer JSON lines, of one host after the other, until one asks for execnet; serve that one until it leaves.

    Whatever a line asks is answered by a line: what cannot be understood, too, and what nobody expected.

    A guest is frozen between two hosts: what the first one warmed must still be there for the next.
    """
    while True:
        try:
            line = port.read_line()
        except EOFError:
            port.wait_for_host()
            continue
        answer = answer_line(line, service)
        port.write(answer)
        if answer == UPGRADED:
            AgentGateway(io=port, id="agent", _startcount=2).serve()
            return


def answer_line(line: bytes, service: Answering) -> bytes:
    """The line that answers a line; :data:`UPGRADED` when execnet takes over after it."""
    try:
        request = from_line(line)
        match request["ask"]:
            case "hello":
                answer = hello(request.get("protocol"))
            case "execnet":
                return UPGRADED
            case name:
                answer = service.answer(name, request.get("with", {}))
        return to_line(answer)
    except Exception as error:  # noqa: BLE001 - the host must hear of each
        return to_line(as_answer(f"answering the line {line[:200]!r}", error))


def serve(channel: Any, service: Answering) -> None:
    """Requests in, answers out, one at a time: `(number, name, fields)`, and `(number, {"result": …})` or an error.

    Before its answer a request may say how far it is: `(number, {"progress": {NAME: {…}}})`.
    """
    for number, name, fields in channel:

        def tell(progress: Progress, number: int = number) -> None:
            channel.send((number, {"progress": {type(progress).__name__: progress.to_wire()}}))

        channel.send((number, service.answer(name, fields, tell)))


def main() -> None:
    """Run the agent until its host has left."""
    global _service  # noqa: PLW0603 - see its definition
    try:
        _service = Service(Nursery.start())  # before any thread, any mapping, any device
    except Exception as error:  # noqa: BLE001 - the host must hear of each
        _service = Unfit(error)
    port = Port(find_port(), Threads())
    try:
        converse(port, _service)
    finally:
        _service.close()
    sys.stderr.write("hil-agent: the host has left\n")


if __name__ == "__main__":
    # whoever imports this module by its name finds its service: run that one, not the copy called __main__
    from harness.agent import worker

    worker.main()
