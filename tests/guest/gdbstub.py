"""As much of the gdb remote protocol as it takes to look at a guest's memory and to change it.

The guest stands still from the first byte until the connection is closed.  QEMU writes for a debugger where
the guest itself could not, into kernel text too, and translates what was changed again.

Source: GDB manual, "GDB Remote Serial Protocol": packets `m`, `M` and `D`.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ANSWER_S = 20.0


class Stub:
    """An open conversation with QEMU's gdb stub; addresses are the kernel's own."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._received = b""

    def read(self, address: int, count: int) -> bytes:
        """Read `count` bytes of memory."""
        return bytes.fromhex(self._ask(f"m{address:x},{count:x}"))

    def write(self, address: int, data: bytes) -> None:
        """Write memory, and see that it is there."""
        assert self._ask(f"M{address:x},{len(data):x}:{data.hex()}") == "OK"
        assert self.read(address, len(data)) == data

    def detach(self) -> None:
        """Let the guest run on."""
        assert self._ask("D") == "OK"

    def _ask(self, packet: str) -> str:
        self._connection.sendall(f"${packet}#{sum(packet.encode()) & 0xFF:02x}".encode())
        return self._answer().decode()

    def _answer(self) -> bytes:
        """Take the next `$data#xx` from the stream; acknowledgements (`+`) before it say nothing new."""
        while True:
            _, dollar, rest = self._received.partition(b"$")
            data, hash_, checksum = rest.partition(b"#")
            if dollar and hash_ and len(checksum) >= 2:
                assert int(checksum[:2], 16) == sum(data) & 0xFF
                self._received = checksum[2:]
                self._connection.sendall(b"+")
                return data
            more = self._connection.recv(65536)
            assert more, "QEMU closed the connection of gdb"
            self._received += more


@contextmanager
def halted(path: Path) -> Iterator[Stub]:
    """Stop the guest whose stub listens on the unix socket `path`, and let it run on at the end."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(ANSWER_S)
        connection.connect(str(path))
        stub = Stub(connection)
        yield stub
        stub.detach()
