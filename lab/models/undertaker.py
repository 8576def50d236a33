"""Answers for a model that is dead, so that QEMU outlives it.

QEMU 11.1.3 aborts when it writes to a server that has hung up, and waits in vain for the answer to a request that died
with it.  So whoever started the model keeps its connection open, and here every access is refused: the guest reads
all-ones, as from a function that has gone.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final

from harness.lab.models import wire
from harness.lab.models.conversation import Conversation, StreamLost
from harness.lab.models.interface import Refused

_CHUNK: Final = 1 << 20
_MOST_DESCRIPTORS: Final = 16
_ANY_SIZE: Final = 1 << 40
_MOST_VECTORS: Final = 2048


class _Dead:
    """A function that refuses everything."""

    sizes: Mapping[int, int] = dict.fromkeys(range(9), _ANY_SIZE)
    vectors: Mapping[int, int] = dict.fromkeys(range(5), _MOST_VECTORS)

    def read(self, region: int, offset: int, count: int) -> bytes:  # noqa: ARG002
        """Refuse."""
        raise Refused(errno.EIO)

    def write(self, region: int, offset: int, data: bytes) -> None:  # noqa: ARG002
        """Refuse."""
        raise Refused(errno.EIO)

    def bus_reset(self) -> None:
        """Nothing can be reset any more."""

    def unmasked(self) -> None:
        """Nothing has a cause to interrupt any more."""


class _Nobody:
    """Interrupts of the dead: descriptors are closed at once."""

    def connect(self, index: int, start: int, descriptors: Sequence[int]) -> None:  # noqa: ARG002
        """Forget them."""
        for one in descriptors:
            os.close(one)

    def disable(self, index: int) -> None:
        """There are none."""


def undertake(connection: socket.socket, unanswered: bytes) -> None:
    """Refuse what comes until the other side hangs up.

    Args:
        connection: to QEMU, blocking.
        unanswered: header of the request that the dead one had read and not answered; empty: there was none.
    """
    talk = Conversation(_Dead(), _Nobody())
    talk.greeted = True
    with connection, suppress(OSError, StreamLost):
        if unanswered:
            connection.sendall(wire.refusal(wire.read_header(unanswered), errno.EIO))
        while True:
            data, descriptors, _, _ = socket.recv_fds(connection, _CHUNK, _MOST_DESCRIPTORS)
            if not data:
                break
            for answer in talk.hear(data, descriptors):
                connection.sendall(answer)
            for descriptor in talk.unclaimed():
                os.close(descriptor)
    for descriptor in (*talk.unclaimed(), *talk.leave()):
        os.close(descriptor)
