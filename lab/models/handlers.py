"""What of a model is running: said by the process that serves it, before each call, for whoever looks from outside.

A model that never returns says nothing any more, and QEMU, and with it the guest, waits for it.  So what was called is
in its log (:mod:`harness.lab.models.row_log`), a file that another process reads at any time.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Final, NamedTuple

from harness.lab.models.interface import CONFIG_REGION

_WORDS: Final = struct.Struct("<QQIBB?x")
BYTES: Final = _WORDS.size
_IDLE: Final = bytes(BYTES)


class Called(enum.IntEnum):
    """What was called of a model."""

    NOTHING = 0
    LOADED = 1
    CONNECTED = 2
    READ = 3
    WRITTEN = 4
    BUS_RESET = 5
    UNMASKED = 6
    DUE = 7
    ORDERED = 8


_IN_WORDS: Final = {
    Called.NOTHING: "no call",
    Called.LOADED: "its loading (the file, then the callable)",
    Called.CONNECTED: "a look of QEMU (its sizes, its vectors)",
    Called.READ: "a read",
    Called.WRITTEN: "a write",
    Called.BUS_RESET: "a reset of the bus above",
    Called.UNMASKED: "a look at INTx, which QEMU let go of",
    Called.DUE: "what it had put off (later)",
    Called.ORDERED: "an order of the stage (faults, interrupts, DMA)",
}


class Handler(NamedTuple):
    """A call that has not returned.

    Attributes:
        entry: tells calls apart; one that is made meanwhile has that of the outermost; 0: nothing was called.
        offset: of an access, in bytes.
        width: of an access, in bytes.
        called: what was called.
        region: of an access, as vfio numbers them.
        waits: whether it waits for QEMU to move data: that is not the model's time.
    """

    entry: int = 0
    offset: int = 0
    width: int = 0
    called: Called = Called.NOTHING
    region: int = 0
    waits: bool = False

    def to_bytes(self) -> bytes:
        """Its :data:`BYTES` bytes of a log."""
        return _WORDS.pack(*self)

    @classmethod
    def from_bytes(cls, data: bytes) -> Handler:
        """The reverse; of bytes that were cut off or make no sense: nothing was called."""
        try:
            entry, offset, width, called, region, waits = _WORDS.unpack_from(data)
            return cls(entry, offset, width, Called(called), region, waits)
        except (struct.error, ValueError):
            return cls()

    def __str__(self) -> str:
        """For people, as the object of a sentence."""
        said = _IN_WORDS[self.called]
        if self.called not in (Called.READ, Called.WRITTEN):
            return said
        where = "config space" if self.region == CONFIG_REGION else f"BAR {self.region}"
        return f"{said} of {self.width} bytes at {self.offset:#x} of {where}"


class Handlers:
    """Says what is called, and that it has returned."""

    def __init__(self, say: Callable[[bytes], object]) -> None:
        """Nothing is called yet.

        Args:
            say: told of every change: a :class:`Handler` as bytes.
        """
        self._say = say
        self._now = _IDLE
        self._entries = 0

    def calling(
        self, called: Called, region: int = 0, offset: int = 0, width: int = 0
    ) -> AbstractContextManager[None]:
        """Call the model in a block."""
        if self._now is _IDLE:
            self._entries += 1
        return _Being(self, _WORDS.pack(self._entries, offset, width, called, region, False))

    def waiting(self) -> AbstractContextManager[None]:
        """Wait for QEMU in a block, within a call."""
        return _Being(self, Handler.from_bytes(self._now)._replace(waits=True).to_bytes())

    def become(self, now: bytes) -> bytes:
        """Say what is the case from now on; what was before."""
        before, self._now = self._now, now
        self._say(now)
        return before


class _Being:
    """A block in which something is the case; at each access of a guest, so it is no generator."""

    __slots__ = ("_before", "_handlers", "_meanwhile")

    def __init__(self, handlers: Handlers, meanwhile: bytes) -> None:
        self._handlers, self._meanwhile = handlers, meanwhile

    def __enter__(self) -> None:
        self._before = self._handlers.become(self._meanwhile)

    def __exit__(self, *exception: object) -> None:
        self._handlers.become(self._before)
