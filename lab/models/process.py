"""A model as whoever stages sees it: a process of its own, and the way to tell it what to do.

The process ends when this object is closed or its owner dies (it holds the other end of the model's standard input).
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Final, Self

from harness.errors import GuestError, HarnessError, ModelError
from harness.model.fault import Fault
from lab.models.row_log import read_rows, unanswered
from lab.models.server import CONTROL, LOG, READY, SOCKET
from lab.models.undertaker import undertake

ERRORS: Final = "errors"
_STARTS_WITHIN_S: Final = 30.0
_ANSWERS_WITHIN_S: Final = 10.0


class ModelProcess:
    """A model that runs until `close`."""

    def __init__(self, model: str, folder: Path, options: Sequence[str] = ()) -> None:
        """Start it; it listens when this returns.

        Args:
            model: which, as :func:`lab.models.catalogue.maker` takes it.
            folder: for its sockets, its own; short, because a unix socket's path holds 108 bytes.
            options: further ones of :mod:`lab.models.server`.

        Raises:
            GuestError: it does not start.
        """
        self.model: Final = model
        self.socket: Final = folder / SOCKET
        self._log: Final = folder / LOG
        self._errors: Final = folder / ERRORS
        with ExitStack() as undo:
            self._kept, keeper = socket.socketpair()
            undo.callback(self._kept.close)
            errors = undo.enter_context(self._errors.open("wb"))
            self._process = undo.enter_context(
                subprocess.Popen(
                    [
                        *(sys.executable, "-P", "-m", "lab.models.server", model, str(folder)),
                        f"--keeper={keeper.fileno()}",
                        *options,
                    ],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    pass_fds=(keeper.fileno(),),
                    start_new_session=True,  # Ctrl-C is for us
                )
            )
            keeper.close()
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
        self._closing = False
        self._mourned: socket.socket | None = None
        self._undertaker = threading.Thread(
            target=self._undertake, name=f"undertaker of {model}", daemon=True
        )
        self._undertaker.start()

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

    def mistake(self, within_s: float = 0.0) -> ModelError | None:
        """What it raised, with the traceback as evidence.

        Args:
            within_s: how long it may take to end; whoever talked to it learns that it does a moment before.

        Returns:
            None: it runs, or was killed.
        """
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(within_s)
        wrote = self._errors.read_text(errors="replace").strip()
        if (self._process.poll() or 0) <= 0 or not wrote:
            return None
        return ModelError(
            f"model {self.model}",
            said=f"it raised {wrote.rpartition(chr(10))[2]}",
            hint="Mend the model: its traceback is below.",
            evidence=wrote,
        )

    def load(self, faults: Iterable[Fault], *, anew: bool = True) -> None:
        """Replace its programme of faults.

        Args:
            faults: what it is to do wrong.
            anew: whether its log begins anew.

        Raises:
            GuestError: it refused, or is gone.
            ModelError: it raised.
        """
        self._ask("load", faults=[fault.to_json() for fault in faults], anew=anew)

    def release(self, release_ns: int) -> None:
        """The actors were released at that time of the host's CLOCK_MONOTONIC.

        Raises:
            GuestError: it is gone.
        """
        self._ask("release", release_ns=release_ns)

    def log(self) -> tuple[bytes, int]:
        """What it saw and did since the log began, were it dead or alive; see :func:`lab.models.row_log.read_rows`.

        Raises:
            GuestError: there is none.
        """
        try:
            return read_rows(self._log)
        except OSError as error:
            raise GuestError(f"read the log of the model {self.model}", said=str(error)) from error

    def resets(self) -> int:
        """How often it was reset.

        Raises:
            GuestError: it is gone.
        """
        return int(self._ask("resets"))

    def interrupt(self, times: int = 1) -> int:
        """Let it send MSIs; how many were sent.

        Raises:
            GuestError: it is gone.
        """
        return int(self._ask("interrupt", times=times))

    def dma_read(self, address: int, count: int) -> bytes:
        """Let it read `count` bytes of the guest's memory at a bus address, by message.

        Raises:
            GuestError: QEMU refused, or it is gone.
        """
        return bytes.fromhex(self._ask("dma-read", address=address, count=count))

    def dma_write(self, address: int, data: bytes) -> None:
        """Let it write to the guest's memory at a bus address, by message.

        Raises:
            GuestError: QEMU refused, or it is gone.
        """
        self._ask("dma-write", address=address, data=data.hex())

    def kill(self) -> None:
        """Let it die as a crashed server does; from then on every access is refused in its name."""
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """End it; does nothing the second time."""
        self._closing = True
        self._process.kill()
        if self._mourned is not None:
            with suppress(OSError):  # QEMU has hung up
                self._mourned.shutdown(socket.SHUT_RDWR)
        self._undertaker.join()
        self._undo.close()

    def _undertake(self) -> None:
        """Answer for it when it died before its time; see :mod:`lab.models.undertaker`."""
        self._process.wait()
        connection = self._inherited()
        if connection is None:
            return
        if self._closing:
            connection.close()
            return
        self._mourned = connection
        undertake(connection, unanswered(self._log))

    def _inherited(self) -> socket.socket | None:
        """Its last connection to QEMU, which it gave into our keeping."""
        last: socket.socket | None = None
        self._kept.setblocking(False)
        with suppress(BlockingIOError):
            while found := socket.recv_fds(self._kept, 1, 1)[1]:
                if last is not None:
                    last.close()
                last = socket.socket(fileno=found[0])
        return last

    def _ask(self, order: str, **arguments: Any) -> Any:
        tried = f"tell the model {self.model} to {order}"
        try:
            self._control.sendall(json.dumps({"do": order, "with": arguments}).encode() + b"\n")
            line = bytearray()
            while not line.endswith(b"\n"):
                data = self._control.recv(1 << 20)
                if not data:
                    raise self._gone(tried)
                line += data
        except (BrokenPipeError, ConnectionResetError) as error:
            raise self._gone(tried) from error
        except OSError as error:
            raise GuestError(tried, said=error.strerror or "no answer in time") from error
        answer = json.loads(line)
        if "error" in answer:
            raise GuestError(tried, said=answer["error"])
        return answer["result"]

    def _gone(self, tried: str) -> HarnessError:
        return self.mistake(_ANSWERS_WITHIN_S) or GuestError(tried, said="it is gone")
