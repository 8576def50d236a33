"""Whoever waits for a guest's answer learns at once that none will come.

The socket to the agent does not tell: QEMU holds it while it lives.  QEMU's monitor tells of everything else: that
the guest panicked, went down, was paused, that the agent's process has let go of its port.  So a thread watches the
monitor, and hangs up the connection that somebody may be waiting at.  That QEMU was stopped itself nobody tells;
the kernel is asked twice a second.

Refuses to say why: that takes looking around (lab/guest/post_mortem.py).
"""

from __future__ import annotations

import math
import socket
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from harness.lab.qemu.qmp import Monitor, MonitorEvent

PANIC_WRITES_S: Final = 20.0
"""How long a kernel may take to write about its panic; then it asks for a reboot, which QEMU tells."""
PAUSE_S: Final = 1.0
"""How long a guest may be paused by anybody but us and a debugger."""
_ASK_EVERY_S: Final = 0.5


def end_of_answers_ns(
    events: Sequence[MonitorEvent], *, since_ns: int, pause_s: float = PAUSE_S
) -> int | None:
    """When the last answer could have come, as far as QEMU tells; in the future when a guest may recover or finish.

    Args:
        events: what QEMU told about, oldest first.
        since_ns: host CLOCK_MONOTONIC of the beginning of the conversation; the agent's process may have ended
            before.
        pause_s: how long the guest may be paused.

    Returns:
        host CLOCK_MONOTONIC; None while answers may come.
    """
    ends = []
    for event in events:
        match event.name:
            case "SHUTDOWN":
                ends.append(event.monotonic_ns)
            case "RESET" if event.data.get("guest"):
                ends.append(event.monotonic_ns)
            case "GUEST_PANICKED":
                ends.append(event.monotonic_ns + int(PANIC_WRITES_S * 1e9))
            case "VSERPORT_CHANGE" if is_end_of_agent(event, since_ns):
                ends.append(event.monotonic_ns)
    pauses = [event for event in events if event.name in ("STOP", "RESUME")]
    if pauses and pauses[-1].name == "STOP" and math.isfinite(pause_s):
        ends.append(pauses[-1].monotonic_ns + int(pause_s * 1e9))
    return min(ends, default=None)


def is_end_of_agent(event: MonitorEvent, since_ns: int) -> bool:
    """Whether the agent's process has let go of its port, after a host time; nothing but its end does that."""
    closed = event.name == "VSERPORT_CHANGE" and not event.data.get("open", True)
    return closed and event.monotonic_ns >= since_ns


def is_stopped(pid: int) -> bool:
    """Whether a process is stopped, as by SIGSTOP."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] == "T"


class Watch:
    """Watches one guest from `begin` until its monitor hangs up."""

    def __init__(self, monitor: Monitor, *, pause_s: float = PAUSE_S) -> None:
        self._monitor = monitor
        self._pause_s = pause_s
        self._pid = 0
        self._lock = threading.Lock()
        self._connection: socket.socket | None = None
        self._since_ns = 0

    def begin(self, pid: int) -> None:
        """Begin to watch the guest of a QEMU."""
        self._pid = pid
        threading.Thread(target=self._run, name="guest-watch", daemon=True).start()

    def guard(self, connection: socket.socket) -> None:
        """Hang this connection up as soon as nothing will be answered any more; instead of the one before."""
        with self._lock:
            self._connection, self._since_ns = connection, time.monotonic_ns()
            if self._is_over():
                self._hang_up()

    @property
    def agent_has_ended(self) -> bool:
        """Whether the agent has ended since the conversation began."""
        return any(is_end_of_agent(event, self._since_ns) for event in self._monitor.events)

    def _is_over(self) -> bool:
        end_ns = end_of_answers_ns(self._monitor.events, since_ns=self._since_ns, pause_s=self._pause_s)
        return self._monitor.closed or (end_ns is not None and end_ns <= time.monotonic_ns())

    def _hang_up(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(OSError):  # closed already
                connection.shutdown(socket.SHUT_RDWR)

    def _run(self) -> None:
        stopped = known = 0
        while not self._monitor.closed:
            known = self._monitor.wait_news(known, _ASK_EVERY_S)
            stopped = stopped + 1 if is_stopped(self._pid) else 0
            with self._lock:
                # Twice: somebody may have stopped it for a moment, to look at it.
                if stopped > 1 or self._is_over():
                    self._hang_up()
        with self._lock:
            self._hang_up()
