"""The process of one function: serves it to QEMU on one socket, and is told what to do on another.

`python -m lab.models.server MODEL FOLDER` listens on `FOLDER/vfio-user` and `FOLDER/control` (JSON lines) before it
says `ready` on its standard output.  One client at a time; when QEMU hangs up, the next may come,
and the function keeps its state.  It ends when its standard input is closed, so it never outlives who started it.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import selectors
import socket
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Final

from harness.errors import HarnessError, UsageError
from lab.models.catalogue import maker
from lab.models.conversation import MSI, Access, Conversation, StreamLost
from lab.models.function import Function
from lab.models.programme import Fault
from lab.models.recording import FROM_CLIENT, TO_CLIENT, Frame

SOCKET: Final = "vfio-user"
CONTROL: Final = "control"
READY: Final = b"ready\n"
_CHUNK: Final = 1 << 20
_MOST_DESCRIPTORS: Final = 16
_DMA_ANSWERS_WITHIN_S: Final = 5.0
_LOG_LENGTH: Final = 200_000
"""Accesses that are kept; an enumeration is about 130, a second of busy reading some 10,000."""


class Eventfds:
    """Where interrupts go: eventfds that QEMU handed over, closed when it takes them back."""

    def __init__(self) -> None:
        self._vectors: dict[tuple[int, int], int] = {}

    def connect(self, index: int, start: int, descriptors: Sequence[int]) -> None:
        """See :class:`~lab.models.conversation.Interrupts`."""
        if not descriptors:
            self._forget(index, start)
        for vector, descriptor in enumerate(descriptors, start):
            self._forget(index, vector)
            self._vectors[index, vector] = descriptor

    def disable(self, index: int) -> None:
        """See :class:`~lab.models.conversation.Interrupts`."""
        for kind, vector in list(self._vectors):
            if kind == index:
                self._forget(kind, vector)

    def signal_msi(self) -> None:
        """Send the one message."""
        if (descriptor := self._vectors.get((MSI, 0))) is not None:
            os.eventfd_write(descriptor, 1)

    def close(self) -> None:
        """Give all of them back."""
        while self._vectors:
            os.close(self._vectors.popitem()[1])

    def _forget(self, index: int, vector: int) -> None:
        if (descriptor := self._vectors.pop((index, vector), None)) is not None:
            os.close(descriptor)


class AccessLog:
    """The last accesses, with the time of this host; counts what it had to forget."""

    def __init__(self) -> None:
        self._kept: deque[tuple[int, Access]] = deque(maxlen=_LOG_LENGTH)
        self.count = 0

    def __call__(self, access: Access) -> None:
        """Keep one access."""
        self._kept.append((time.monotonic_ns(), access))
        self.count += 1

    def to_json(self) -> dict[str, Any]:
        """Everything that is kept, oldest first, as rows `[time_ns, what, region, offset, hex, errno]`."""
        rows = [[at, one.what, one.region, one.offset, one.data.hex(), one.error] for at, one in self._kept]
        return {"lost": self.count - len(rows), "rows": rows}


Record = Callable[[Frame], object]
"""Told of every chunk that came or went."""


class Server:
    """One function, its client, and whoever controls it."""

    def __init__(
        self, function: Function, sockets: tuple[socket.socket, socket.socket], record: Record
    ) -> None:
        """Serve `function`.

        Args:
            function: that is served.
            sockets: listening ones: for QEMU, and for control.
            record: told of every chunk.
        """
        self._record = record
        self._function = function
        self._log = AccessLog()
        self._interrupts = Eventfds()
        function.listen(self._interrupts.signal_msi)
        self._client: socket.socket | None = None
        self._conversation: Conversation | None = None
        self._selector = selectors.DefaultSelector()
        for listener, greet in zip(sockets, (self._greet_client, self._greet_controller), strict=True):
            self._selector.register(listener, selectors.EVENT_READ, _calling(greet, listener))

    def run(self, lifeline: int) -> None:
        """Serve until `lifeline` is closed by whoever holds its other end."""
        running = True

        def end() -> None:
            nonlocal running
            running = bool(os.read(lifeline, 1))

        self._selector.register(lifeline, selectors.EVENT_READ, end)
        while running:
            for key, _ in self._selector.select():
                key.data()

    # --- QEMU ---------------------------------------------------------------------------------------------

    def _greet_client(self, listener: socket.socket) -> None:
        client, _ = listener.accept()
        if self._client is not None:  # one function is in one machine
            client.close()
            return
        self._client = client
        self._conversation = conversation = Conversation(
            self._function, self._interrupts, bar_bytes=self._function.bar.size, log=self._log
        )
        self._selector.register(client, selectors.EVENT_READ, lambda: self._serve(client, conversation))

    def _serve(self, client: socket.socket, conversation: Conversation) -> None:
        try:
            data, descriptors, _, _ = socket.recv_fds(client, _CHUNK, _MOST_DESCRIPTORS)
            self._record(Frame(FROM_CLIENT, data, len(descriptors)))
            for answer in conversation.hear(data, descriptors):
                client.sendall(answer)
                self._record(Frame(TO_CLIENT, answer))
            if data:
                return
        except (OSError, StreamLost) as error:
            sys.stderr.write(f"vfio-user: {error}\n")
        finally:
            for descriptor in conversation.unclaimed():
                os.close(descriptor)
        self._hang_up(client, conversation)

    def _hang_up(self, client: socket.socket, conversation: Conversation) -> None:
        for descriptor in conversation.leave():
            os.close(descriptor)
        self._selector.unregister(client)
        client.close()
        self._interrupts.close()
        self._client = self._conversation = None

    def _dma(self, ask: Callable[[Conversation], tuple[int, bytes]]) -> bytes:
        """Move data by message, serving QEMU meanwhile: it may ask for something before it answers.

        Raises:
            UsageError: the memory is not mapped, QEMU refused or is gone.
        """
        tried = "reach the guest's memory"
        client, conversation = self._client, self._conversation
        if client is None or conversation is None:
            raise UsageError(tried, said="no QEMU is connected")
        try:
            number, said = ask(conversation)
        except PermissionError as error:
            raise UsageError(tried, said=str(error.strerror)) from error
        client.sendall(said)
        self._record(Frame(TO_CLIENT, said))
        until = time.monotonic() + _DMA_ANSWERS_WITHIN_S
        while self._client is client:
            if not select.select([client], [], [], max(0.0, until - time.monotonic()))[0]:
                raise UsageError(tried, said=f"QEMU did not answer in {_DMA_ANSWERS_WITHIN_S:g} s")
            self._serve(client, conversation)
            if (reply := conversation.dma_reply(number)) is not None:
                if reply.error:
                    raise UsageError(tried, said=os.strerror(reply.error))
                return reply.data
        raise UsageError(tried, said="QEMU hung up")

    # --- control ------------------------------------------------------------------------------------------

    def _greet_controller(self, listener: socket.socket) -> None:
        connection, _ = listener.accept()
        rest = bytearray()

        def obey() -> None:
            data = b""
            with suppress(OSError):
                data = connection.recv(_CHUNK)
            rest.extend(data)
            while b"\n" in rest:
                line, _, behind = bytes(rest).partition(b"\n")
                rest[:] = behind
                with suppress(OSError):
                    connection.sendall(
                        json.dumps(self._order(line.decode(errors="replace"))).encode() + b"\n"
                    )
            if not data:
                self._selector.unregister(connection)
                connection.close()

        self._selector.register(connection, selectors.EVENT_READ, obey)

    def _order(self, line: str) -> dict[str, Any]:
        try:
            order = json.loads(line)
            return {"at_ns": time.monotonic_ns(), "result": self._obey(order["do"], order.get("with", {}))}
        except HarnessError as error:
            return {"error": str(error)}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            return {"error": f"not understood: {line.strip()[:80]!r}: {error!r}"}

    def _obey(self, order: str, arguments: dict[str, Any]) -> Any:
        match order:
            case "load":
                self._function.load([Fault.from_json(one) for one in arguments["faults"]])
                return len(arguments["faults"])
            case "log":
                return self._log.to_json()
            case "interrupt":
                return sum(self._function.interrupt() for _ in range(int(arguments.get("times", 1))))
            case "resets":
                return self._function.resets
            case "dma-read":
                address, count = int(arguments["address"]), int(arguments["count"])
                return self._dma(lambda talk: talk.ask_dma_read(address, count)).hex()
            case "dma-write":
                address, data = int(arguments["address"]), bytes.fromhex(arguments["data"])
                self._dma(lambda talk: talk.ask_dma_write(address, data))
                return len(data)
            case _:
                known = "dma-read, dma-write, interrupt, load, log, resets"
                raise UsageError(f"order {order!r}", said="unknown", hint=f"There are: {known}.")


def main() -> int:
    """Serve one model until standard input is closed."""
    parser = argparse.ArgumentParser(prog="lab.models.server", description=__doc__)
    parser.add_argument("model", help="a name of the catalogue, or FILE.py:CALLABLE")
    parser.add_argument("folder", type=Path, help="where its sockets go")
    parser.add_argument("--record", type=Path, metavar="FILE", help="write down what goes over the socket")
    options = parser.parse_args()
    try:
        function = maker(options.model)(time.monotonic_ns)
    except UsageError as error:
        sys.stdout.write(f"{error}\n")
        return 2
    sockets = (_listening(options.folder / SOCKET), _listening(options.folder / CONTROL))
    with ExitStack() as stack:
        record: Record = _nothing
        if options.record is not None:
            file = stack.enter_context(options.record.open("wb"))
            record = lambda frame: file.write(frame.to_bytes())  # noqa: E731
        server = Server(function, sockets, record)
        sys.stdout.write(READY.decode())
        sys.stdout.flush()
        server.run(sys.stdin.fileno())
    return 0


def _nothing(_: Frame) -> None:
    """Nobody wants a recording."""


def _listening(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    listener.listen(1)
    return listener


def _calling(greet: Callable[[socket.socket], None], listener: socket.socket) -> Callable[[], None]:
    return lambda: greet(listener)


if __name__ == "__main__":
    sys.exit(main())
