"""QEMU's monitor, for callers that do not run an event loop.

A thin synchronous face over `qemu.qmp`: one event loop in one thread serves every guest of this process, and
each event is kept with the host time at which it came.  It refuses to interpret events; see lab/guest/guest.py.
"""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from qemu.qmp import QMPClient, QMPError, Runstate
from qemu.qmp.qmp_client import ExecuteError

from harness.errors import GuestError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping
    from pathlib import Path

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorEvent:
    """Something QEMU told about.

    Attributes:
        monotonic_ns: host CLOCK_MONOTONIC when it was received.
        name: QEMU's name, such as "GUEST_PANICKED".
        data: what came with it.
    """

    monotonic_ns: int
    name: str
    data: Mapping[str, Any] = field(default_factory=dict)


class Monitor:
    """A connection to one QEMU."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._events: list[MonitorEvent] = []
        self._arrived = threading.Condition()
        self._closed = False
        self._client: QMPClient | None = None
        self._listener: asyncio.Task[None] | None = None

    def connect(self, path: Path, timeout_s: float) -> None:
        """Connect and negotiate.

        Args:
            path: the unix socket that QEMU listens on.
            timeout_s: how long QEMU may take to greet.

        Raises:
            GuestError: it did not greet, or ended before.
        """
        self._await(self._connect(str(path)), timeout_s, "connect to QEMU's monitor")

    def execute(self, command: str, timeout_s: float = 30.0, **arguments: Any) -> Any:
        """Run one command and return its answer.

        Args:
            command: its QMP name.
            timeout_s: how long QEMU may take.
            arguments: its arguments; "_" in a name stands for "-".

        Raises:
            GuestError: QEMU refused, answered too late, or is gone.
        """
        named = {key.replace("_", "-"): value for key, value in arguments.items()}
        return self.run(command, named, timeout_s)

    def run(self, command: str, arguments: Mapping[str, Any], timeout_s: float = 30.0) -> Any:
        """Run one command whose arguments are data, such as those of `device_add`."""
        client = self._client
        if client is None:
            raise GuestError(f"run {command} in the monitor of {self._name}", said="not connected")
        return self._await(
            client.execute(command, dict(arguments)), timeout_s, f"run {command} in the monitor"
        )

    def begin(self, command: str) -> None:
        """Send a command whose answer nobody waits for."""
        if self._client is not None:
            asyncio.run_coroutine_threadsafe(self._client.execute(command), _loop())

    @property
    def events(self) -> tuple[MonitorEvent, ...]:
        """Everything QEMU told about so far, oldest first."""
        with self._arrived:
            return tuple(self._events)

    def wait_event(
        self, wanted: Callable[[MonitorEvent], bool], timeout_s: float, *, after_ns: int = 0
    ) -> MonitorEvent | None:
        """Wait until an event that is wanted has arrived, also one that arrived before this call.

        Args:
            wanted: tells which event is waited for.
            timeout_s: for how long.
            after_ns: ignore events received before this host time.

        Returns:
            the event; None when the time passed, or QEMU ended, without it.
        """

        def found() -> MonitorEvent | None:
            return next((one for one in self._events if one.monotonic_ns >= after_ns and wanted(one)), None)

        with self._arrived:
            self._arrived.wait_for(lambda: self._closed or found() is not None, timeout_s)
            return found()

    def wait_news(self, known: int, timeout_s: float) -> int:
        """Wait until there are more events than are known, or QEMU has hung up.

        Returns:
            how many events there are now.
        """
        with self._arrived:
            self._arrived.wait_for(lambda: self._closed or len(self._events) > known, timeout_s)
            return len(self._events)

    @property
    def closed(self) -> bool:
        """Whether QEMU has hung up."""
        with self._arrived:
            return self._closed

    def wait_closed(self, timeout_s: float) -> bool:
        """Wait until QEMU has hung up.

        Returns:
            whether it did within the time.
        """
        with self._arrived:
            return self._arrived.wait_for(lambda: self._closed, timeout_s)

    def close(self) -> None:
        """Disconnect; does nothing when there is no connection (any more)."""
        if self._client is not None:
            with suppress(GuestError):
                self._await(self._disconnect(), 5.0, "disconnect from QEMU's monitor")
            self._client = None

    async def _connect(self, path: str) -> None:
        client = QMPClient(self._name)
        # The library logs every lost connection as an error; that QEMU ends is nothing unusual here.
        client.logger.setLevel("CRITICAL")
        await client.connect(path)
        self._client = client
        self._listener = asyncio.create_task(self._listen(client))

    async def _listen(self, client: QMPClient) -> None:
        """Keep every event until QEMU or we hang up."""
        lost = asyncio.create_task(self._until_lost(client))
        try:
            while True:
                event = asyncio.create_task(client.events.get())
                await asyncio.wait({event, lost}, return_when=asyncio.FIRST_COMPLETED)
                if not event.done():
                    event.cancel()
                    break
                self._keep(event.result())
            while not client.events.empty():
                self._keep(await client.events.get())
        finally:
            lost.cancel()
            with self._arrived:
                self._closed = True
                self._arrived.notify_all()

    async def _until_lost(self, client: QMPClient) -> None:
        while client.runstate is Runstate.RUNNING:
            await client.runstate_changed()

    def _keep(self, message: Mapping[str, Any]) -> None:
        event = MonitorEvent(
            monotonic_ns=time.monotonic_ns(), name=str(message["event"]), data=message.get("data", {})
        )
        with self._arrived:
            self._events.append(event)
            self._arrived.notify_all()

    async def _disconnect(self) -> None:
        if self._client is not None:
            with suppress(QMPError, OSError, EOFError):
                await self._client.disconnect()
        if self._listener is not None:
            self._listener.cancel()
            with suppress(asyncio.CancelledError):
                await self._listener

    def _await(self, work: Coroutine[Any, Any, _T], timeout_s: float, tried: str) -> _T:
        future = asyncio.run_coroutine_threadsafe(asyncio.wait_for(work, timeout_s), _loop())
        try:
            return future.result()
        except TimeoutError as error:
            raise GuestError(f"{tried} of {self._name}", said=f"no answer within {timeout_s:g} s") from error
        except ExecuteError as error:
            raise GuestError(f"{tried} of {self._name}", said=str(error)) from error
        except (QMPError, OSError, EOFError) as error:
            raise GuestError(f"{tried} of {self._name}", said=f"QEMU is gone ({error})") from error


_LOOP_LOCK = threading.Lock()
_LOOPS: list[asyncio.AbstractEventLoop] = []


def _loop() -> asyncio.AbstractEventLoop:
    """Return the event loop of this process's monitors, starting its thread on first use."""
    with _LOOP_LOCK:
        if not _LOOPS:
            loop = asyncio.new_event_loop()
            threading.Thread(target=loop.run_forever, name="qemu-monitors", daemon=True).start()
            _LOOPS.append(loop)
        return _LOOPS[0]
