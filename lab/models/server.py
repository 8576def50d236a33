"""The process of one function: serves it to QEMU on one socket, and is told what to do on another.

`python -m harness.lab.models.server MODEL FOLDER` listens on `FOLDER/vfio-user` and `FOLDER/control` (JSON lines)
before it says `ready` on its standard output, or why it cannot, as a line of JSON; what it sees and does goes to
`FOLDER/log`. One client at a time; when QEMU hangs up, the next may come, and the function keeps its state.  It ends
when its standard input is closed, so it never outlives who started it.

What it calls of the model is said in the log first (:mod:`harness.lab.models.handlers`), and :data:`WHERE` makes it
write its stack to `FOLDER/stack`: whoever started it finds out from outside that a model does not return, and where.
"""

from __future__ import annotations

import argparse
import errno
import faulthandler
import fcntl
import json
import os
import select
import selectors
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

from harness.errors import HarnessError, UsageError
from harness.lab.models import wire
from harness.lab.models.conversation import Conversation, Served, StreamLost
from harness.lab.models.function import Function
from harness.lab.models.handlers import Called, Handlers
from harness.lab.models.interface import Told
from harness.lab.models.loading import loaded
from harness.lab.models.recording import FROM_CLIENT, TO_CLIENT, Frame
from harness.lab.models.row_log import RowLog
from harness.model.fault import Fault
from harness.model.served import Happened
from harness.model.units import SECOND

SOCKET: Final = "vfio-user"
CONTROL: Final = "control"
LOG: Final = "log"
STACK: Final = "stack"
WHERE: Final = signal.SIGUSR1
"""Asks for the stack; faulthandler answers in C, also where Python does not come to handle a signal."""
READY: Final = b"ready\n"
_REFUSED: Final = 2
_RAISED: Final = 1
_CHUNK: Final = 1 << 20
_MOST_DESCRIPTORS: Final = 16
_DMA_ANSWERS_WITHIN_S: Final = 5.0
_NOTHING: Final = bytes(wire.HEADER_BYTES)


class Eventfds:
    """Where interrupts go: eventfds that QEMU handed over, closed when it takes them back."""

    def __init__(self) -> None:
        self._vectors: dict[tuple[int, int], int] = {}

    def connect(self, index: int, start: int, descriptors: Sequence[int]) -> None:
        """See :class:`~harness.lab.models.conversation.Interrupts`."""
        if not descriptors:
            self._forget(index, start)
        for vector, descriptor in enumerate(descriptors, start):
            self._forget(index, vector)
            self._vectors[index, vector] = descriptor

    def disable(self, index: int) -> None:
        """See :class:`~harness.lab.models.conversation.Interrupts`."""
        for kind, vector in list(self._vectors):
            if kind == index:
                self._forget(kind, vector)

    def signal(self, index: int, vector: int) -> bool:
        """Signal a vector; whether anybody listens."""
        descriptor = self._vectors.get((index, vector))
        if descriptor is not None:
            os.eventfd_write(descriptor, 1)
        return descriptor is not None

    def close(self) -> None:
        """Give all of them back."""
        while self._vectors:
            os.close(self._vectors.popitem()[1])

    def _forget(self, index: int, vector: int) -> None:
        if (descriptor := self._vectors.pop((index, vector), None)) is not None:
            os.close(descriptor)


Record = Callable[[Frame], object]
"""Told of every chunk that came or went."""


class _Announced:
    """A function as a conversation sees it, each call of which is said."""

    def __init__(self, function: Function, handlers: Handlers) -> None:
        self._function, self._handlers = function, handlers

    @property
    def sizes(self) -> Mapping[int, int]:
        """See :class:`~harness.lab.models.conversation.Served`."""
        with self._handlers.calling(Called.CONNECTED):
            return self._function.sizes

    @property
    def vectors(self) -> Mapping[int, int]:
        """See :class:`~harness.lab.models.conversation.Served`."""
        with self._handlers.calling(Called.CONNECTED):
            return self._function.vectors

    def read(self, region: int, offset: int, count: int) -> bytes:
        """See :class:`~harness.lab.models.conversation.Served`."""
        with self._handlers.calling(Called.READ, region, offset, count):
            return self._function.read(region, offset, count)

    def write(self, region: int, offset: int, data: bytes) -> None:
        """See :class:`~harness.lab.models.conversation.Served`."""
        with self._handlers.calling(Called.WRITTEN, region, offset, len(data)):
            self._function.write(region, offset, data)

    def bus_reset(self) -> None:
        """See :class:`~harness.lab.models.conversation.Served`."""
        with self._handlers.calling(Called.BUS_RESET):
            self._function.bus_reset()

    def unmasked(self) -> None:
        """See :class:`~harness.lab.models.conversation.Served`."""
        with self._handlers.calling(Called.UNMASKED):
            self._function.unmasked()


class Server:
    """One function, its client, and whoever controls it."""

    def __init__(
        self,
        function: Function,
        sockets: tuple[socket.socket, socket.socket],
        keeper: socket.socket,
        log: RowLog,
        record: Record,
        *,
        handlers: Handlers,
    ) -> None:
        """Serve `function`.

        Args:
            function: that is served.
            sockets: listening ones: for QEMU, and for control.
            keeper: is given every connection to QEMU, to keep it open should this process die.
            log: told of what happens.
            record: told of every chunk.
            handlers: told of every call of the function.
        """
        self._record = record
        self._handlers = handlers
        self._served: Served = _Announced(function, handlers)
        self._function = function
        self._log = log
        self._interrupts = Eventfds()
        self._keeper = keeper
        function.outlets = self
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
            with self._handlers.calling(Called.DUE):
                due = self._function.run_due()
            wait_s = None if due is None else max(0, due - time.monotonic_ns()) / SECOND
            for key, _ in self._selector.select(wait_s):
                key.data()

    # --- what the function may do to the machine ------------------------------------------------------------

    def signal(self, kind: int, vector: int) -> bool:
        """See :class:`~harness.lab.models.interface.Outlets`."""
        return self._interrupts.signal(kind, vector)

    def dma_read(self, address: int, count: int) -> bytes:
        """See :class:`~harness.lab.models.interface.Outlets`."""
        return self._dma(lambda talk: talk.ask_dma_read(address, count))

    def dma_write(self, address: int, data: bytes) -> None:
        """See :class:`~harness.lab.models.interface.Outlets`."""
        self._dma(lambda talk: talk.ask_dma_write(address, data))

    # --- QEMU ---------------------------------------------------------------------------------------------

    def _greet_client(self, listener: socket.socket) -> None:
        client, _ = listener.accept()
        if self._client is not None:  # one function is in one machine
            client.close()
            return
        socket.send_fds(self._keeper, [b"."], [client.fileno()])
        self._client = client
        self._conversation = conversation = Conversation(self._served, self._interrupts)
        self._function.tell(Told(Happened.CONNECTED, time.monotonic_ns()))
        self._selector.register(client, selectors.EVENT_READ, lambda: self._serve(client, conversation))

    def _serve(self, client: socket.socket, conversation: Conversation) -> None:
        try:
            data, descriptors, _, _ = socket.recv_fds(client, _CHUNK, _MOST_DESCRIPTORS)
            self._record(Frame(FROM_CLIENT, data, len(descriptors)))
            self._log.answering(wire.last_request(data))
            for answer in conversation.hear(data, descriptors):
                client.sendall(answer)
                self._log.answering(_NOTHING)
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
        with suppress(OSError):  # it hung up before us
            client.shutdown(socket.SHUT_RDWR)  # closing is not enough: the keeper has it too
        client.close()
        self._interrupts.close()
        self._client = self._conversation = None
        self._function.tell(Told(Happened.DISCONNECTED, time.monotonic_ns()))

    def _dma(self, ask: Callable[[Conversation], tuple[int, bytes]]) -> bytes:
        """Move data by message, serving QEMU meanwhile: it may ask for something before it answers.

        Raises:
            OSError: QEMU refused, is gone, or says nothing.
        """
        client, conversation = self._client, self._conversation
        if client is None or conversation is None:
            raise OSError(errno.ENOTCONN, "no QEMU is connected")
        number, said = ask(conversation)
        client.sendall(said)
        self._record(Frame(TO_CLIENT, said))
        until = time.monotonic() + _DMA_ANSWERS_WITHIN_S
        while self._client is client:
            with self._handlers.waiting():
                if not select.select([client], [], [], max(0.0, until - time.monotonic()))[0]:
                    raise OSError(errno.ETIMEDOUT, f"QEMU did not answer in {_DMA_ANSWERS_WITHIN_S:g} s")
                self._serve(client, conversation)
            if (reply := conversation.dma_reply(number)) is not None:
                if reply.error:
                    raise OSError(reply.error, os.strerror(reply.error))
                return reply.data
        raise OSError(errno.ENOTCONN, "QEMU hung up")

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
            todo = self._understood(order["do"], order.get("with", {}))
        except UsageError as error:
            return {"error": str(error)}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            return {"error": f"not understood: {line.strip()[:80]!r}: {error!r}"}
        try:  # what the model itself raises is a mistake of its own, and ends it
            with self._handlers.calling(Called.ORDERED):
                return {"at_ns": time.monotonic_ns(), "result": todo()}
        except HarnessError as error:
            return {"error": str(error)}
        except OSError as error:
            return {"error": f"{error.strerror}"}

    def _understood(self, order: str, arguments: dict[str, Any]) -> Callable[[], Any]:
        """What an order asks for, yet to be done."""
        function = self._function
        match order:
            case "load":
                return partial(
                    self._load, [Fault.from_json(one) for one in arguments["faults"]], anew=arguments["anew"]
                )
            case "release":
                return partial(function.release, int(arguments["release_ns"]))
            case "interrupt":
                times = int(arguments.get("times", 1))
                return lambda: sum(function.interrupt() for _ in range(times))
            case "resets":
                return lambda: function.resets
            case "dma-read":
                address, count = int(arguments["address"]), int(arguments["count"])
                return lambda: function.dma_read(address, count).hex()
            case "dma-write":
                return partial(
                    function.dma_write, int(arguments["address"]), bytes.fromhex(arguments["data"])
                )
            case _:
                known = "dma-read, dma-write, interrupt, load, release, resets"
                raise UsageError(f"order {order!r}", said="unknown", hint=f"There are: {known}.")

    def _load(self, faults: list[Fault], *, anew: bool) -> int:
        if anew:
            self._log.begin()
        self._function.load(faults)
        return len(faults)


def main() -> int:
    """Serve one model until standard input is closed."""
    parser = argparse.ArgumentParser(prog="harness.lab.models.server", description=__doc__)
    parser.add_argument("model", help="a name of the catalogue, or FILE.py:CALLABLE")
    parser.add_argument("folder", type=Path, help="where its sockets go")
    parser.add_argument(
        "--keeper", type=int, required=True, metavar="FD", help="a socket that keeps connections"
    )
    parser.add_argument(
        "--no-log", action="store_true", help="take nothing down: what the log costs can be measured"
    )
    parser.add_argument("--record", type=Path, metavar="FILE", help="write down what goes over the socket")
    options = parser.parse_args()
    answer = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a model prints is no answer of ours
    with ExitStack() as stack:
        stack.enter_context(answer)
        _be_found_out(stack.enter_context((options.folder / STACK).open("wb")).fileno())
        log = RowLog(options.folder / LOG)
        handlers = Handlers(log.calls)
        try:
            with handlers.calling(Called.LOADED):
                function = loaded(options.model, time.monotonic_ns)
        except UsageError as error:
            answer.write(json.dumps({"said": error.said, "hint": error.hint}) + "\n")
            return _REFUSED
        sockets = (_listening(options.folder / SOCKET), _listening(options.folder / CONTROL))
        record: Record = _nothing
        if options.record is not None:
            file = stack.enter_context(options.record.open("wb"))
            record = lambda frame: file.write(frame.to_bytes())  # noqa: E731
        if not options.no_log:
            function.tell = log
        keeper = stack.enter_context(socket.socket(fileno=options.keeper))
        server = Server(function, sockets, keeper, log, record, handlers=handlers)
        answer.write(READY.decode())
        answer.flush()
        try:
            server.run(sys.stdin.fileno())
        except SystemExit:  # of a model, which is told as an exception and has no status of its choice
            traceback.print_exc()
            return _RAISED
    return 0


def _be_found_out(stack: int) -> None:
    """Tell where it is when asked to, and end with its owner, whatever a model is doing.

    Args:
        stack: descriptor that the stack is written to.
    """
    faulthandler.enable()
    faulthandler.register(WHERE, file=stack, all_threads=False)
    # The kernel ends the process when the other end is closed (SIGIO): a model that loops does not look there.
    fcntl.fcntl(sys.stdin, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(sys.stdin, fcntl.F_SETFL, fcntl.fcntl(sys.stdin, fcntl.F_GETFL) | os.O_ASYNC)


def _nothing(_: Frame) -> None:
    """Nobody wants a recording."""


def _listening(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    listener.listen(1)
    return listener


def _calling(greet: Callable[[socket.socket], None], listener: socket.socket) -> Callable[[], None]:
    return lambda: greet(listener)


if __name__ == "__main__":
    sys.exit(main())
