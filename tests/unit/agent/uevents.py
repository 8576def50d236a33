"""A source of uevents that says what a test lets it say: pyudev's monitor, as far as anybody listens to it."""

from __future__ import annotations

import json
import socket
from dataclasses import dataclass
from types import TracebackType
from typing import Self


@dataclass(frozen=True)
class Device:
    """What pyudev makes of a message."""

    action: str
    device_path: str


class Source:
    """Used with `with`."""

    def __init__(self) -> None:
        self._ours, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ours.close()
        self._theirs.close()

    def start(self) -> None:
        """Nothing happens."""

    def fileno(self) -> int:
        """What becomes readable."""
        return self._ours.fileno()

    def says(self, action: str, path: str) -> None:
        """Have it heard."""
        self._theirs.send(json.dumps([action, path]).encode())

    def stammers(self) -> None:
        """Have something heard that is no event: whoever listens raises."""
        self._theirs.send(b"x")

    def poll(self, timeout: float) -> Device | None:
        """The next event; None when there is none."""
        self._ours.settimeout(timeout)
        return Device(*json.loads(self._ours.recv(4096)))
