"""A model as whoever stages sees it: a process of its own, and the way to tell it what to do.

The process ends when this object is closed or its owner dies (it holds the other end of the model's standard input).
"""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Final

from harness.closing import Closing
from harness.errors import GuestError, HarnessError, ModelError
from harness.lab.models import mistake
from harness.lab.models.attendant import attend, stack_of
from harness.lab.models.handlers import Handler
from harness.lab.models.overdue import LIMIT
from harness.lab.models.row_log import called, read_rows, unanswered
from harness.lab.models.server import CONTROL, LOG, READY, SOCKET, STACK, WHERE
from harness.lab.models.undertaker import undertake
from harness.model.fault import Fault
from harness.model.units import Ns

ERRORS: Final = "errors"
_STARTS_WITHIN_S: Final = 30.0
_ANSWERS_WITHIN_S: Final = 30.0
"""Longer than a call of a model may last before it is found out, on a host that is busy."""


class ModelProcess(Closing):
    """A model that runs until `close`."""

    def __init__(
        self,
        model: str,
        folder: Path,
        options: Sequence[str] = (),
        *,
        alias: str = "",
        call_limit: Ns = LIMIT,
    ) -> None:
        """Start it; it listens when this returns.

        Args:
            model: which, as :func:`harness.lab.models.catalogue.maker` takes it.
            folder: for its sockets, its own; short, because a unix socket's path holds 108 bytes.
            options: further ones of :mod:`harness.lab.models.server`.
            alias: of the function that it serves, for people.
            call_limit: how long one call of it may take, as :mod:`harness.lab.models.overdue` counts; at least some
                of its looks.

        Raises:
            GuestError: it does not start.
            ModelError: it never returned while it was loaded, or ended the program.
        """
        self.model: Final = model
        self.socket: Final = folder / SOCKET
        self._named: Final = f"{alias} ({model})" if alias else model
        self._folder: Final = folder
        self._call_limit: Final = call_limit
        self._log: Final = folder / LOG
        self._errors: Final = folder / ERRORS
        self._closing = self._ended_by_us = False
        self._mourned: socket.socket | None = None
        self._mistake: ModelError | None = None
        self._deciding = threading.Lock()
        with ExitStack() as undo:
            self._kept, keeper = socket.socketpair()
            undo.callback(self._kept.close)
            errors = undo.enter_context(self._errors.open("wb"))
            self._process = undo.enter_context(
                subprocess.Popen(
                    [
                        # What a model prints is not lost when it ends the program.
                        *(sys.executable, "-P", "-u", "-m", "harness.lab.models.server", model, str(folder)),
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
            self._life = os.pidfd_open(self._process.pid)
            undo.callback(os.close, self._life)
            attendant = threading.Thread(target=self._attend, name=f"attendant of {model}", daemon=True)
            attendant.start()
            undo.callback(attendant.join)
            undo.callback(self._end)
            if (said := self._first_words()) != READY:
                raise self._never_began(said)
            self._control = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            undo.callback(self._control.close)
            self._control.settimeout(_STARTS_WITHIN_S)
            self._control.connect(str(folder / CONTROL))
            self._control.settimeout(_ANSWERS_WITHIN_S)
            self._undo = undo.pop_all()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it still serves."""
        return self._process.poll() is None

    def mistake(self, within_s: float = 0.0) -> ModelError | None:
        """What it did that no model may: it raised, did not return, or ended; with traceback or stack as evidence.

        Args:
            within_s: how long it may take to end; whoever talked to it learns that it does a moment before.

        Returns:
            the same one every time; None: it runs, or was ended by us.
        """
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(within_s)
        status = self._process.poll()
        with self._deciding:
            if self._mistake is None and status is not None and not self._ended_by_us:
                self._mistake = mistake.ended(self._named, status, called(self._log), self._wrote())
            return self._mistake

    def load(self, faults: Iterable[Fault], *, anew: bool = True) -> None:
        """Replace its programme of faults.

        Args:
            faults: what it is to do wrong.
            anew: whether its log begins anew.

        Raises:
            GuestError: it refused, or is gone.
            ModelError: it raised, did not return, or ended.
        """
        self._ask("load", faults=[fault.to_json() for fault in faults], anew=anew)

    def release(self, release_ns: int) -> None:
        """The actors were released at that time of the host's CLOCK_MONOTONIC.

        Raises:
            GuestError: it is gone.
        """
        self._ask("release", release_ns=release_ns)

    def log(self) -> tuple[bytes, int]:
        """What it saw and did since the log began, dead or alive; see :func:`harness.lab.models.row_log.read_rows`.

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
        self._end()
        self._process.wait()

    def close(self) -> None:
        """End it; does nothing the second time."""
        self._closing = True
        self._end()
        if self._mourned is not None:
            with suppress(OSError):  # QEMU has hung up
                self._mourned.shutdown(socket.SHUT_RDWR)
        self._undo.close()

    # --- inside -------------------------------------------------------------------------------------------

    def _end(self) -> None:
        """End its process, which is no mistake of the model unless it has made one before."""
        with self._deciding:
            self._ended_by_us |= self._process.poll() is None
        self._process.kill()

    def _attend(self) -> None:
        """See that it ends; answer for it when it died before its time (:mod:`harness.lab.models.undertaker`)."""
        attend(self._process.pid, self._life, self._log, self._call_limit, self._find_out)
        connection = self._inherited()
        if connection is None:
            return
        if self._closing:
            connection.close()
            return
        self._mourned = connection
        undertake(connection, unanswered(self._log))

    def _find_out(self, handler: Handler) -> None:
        """Find out where a call is that does not return, and end it, so that the guest goes on."""
        self._process.send_signal(WHERE)
        stack = stack_of(self._folder / STACK)
        file = self.model.rpartition(":")[0]
        with self._deciding:
            if not self._ended_by_us:
                self._mistake = mistake.stuck(self._named, file, handler, self._call_limit, stack)
        self._process.kill()

    def _first_words(self) -> bytes:
        """What it says first; nothing when it ended before."""
        assert self._process.stdout is not None  # noqa: S101 - a pipe was asked for
        said = self._process.stdout
        select.select([said.fileno(), self._life], [], [])  # a child of the model may hold its output open
        return said.readline() if select.select([said.fileno()], [], [], 0)[0] else b""

    def _never_began(self, said: bytes) -> HarnessError:
        """Why there is no model."""
        if not said and (error := self.mistake(_STARTS_WITHIN_S)):
            return error
        try:
            told = json.loads(said)
            return GuestError(f"start the model {self.model}", said=told["said"], hint=told["hint"])
        except (ValueError, KeyError, TypeError):
            return GuestError(f"start the model {self.model}", said=f"it said {said!r}")

    def _wrote(self) -> str:
        return self._errors.read_text(errors="replace").strip()

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
