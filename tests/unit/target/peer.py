"""The far end of a virtio-serial port without a guest: the real worker and service behind a unix socket.

`python peer.py SOCKET` listens there.  A connected socket stands for the opened port, and, as behind QEMU, one host
after the other may connect.
"""

from __future__ import annotations

import socket
import sys

from harness.agent import worker
from harness.agent.nursery import Nursery
from harness.agent.service import Service


class SocketPort(worker.Port):
    """The worker's own port, with the descriptor of a socket in place of a character device's."""

    def __init__(self, path: str) -> None:
        self.execmodel = worker.Threads()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(path)
        self._listener.listen()
        self.wait_for_host()

    def wait_for_host(self) -> None:
        """Return when a host has connected."""
        self._buffer = b""
        self._connection, _ = self._listener.accept()
        self._fd = self._connection.fileno()


def main() -> None:
    """Serve hosts until one that asked for execnet has left."""
    service = Service(Nursery.start())
    worker._service = service
    worker.converse(SocketPort(sys.argv[1]), service)


if __name__ == "__main__":
    main()
