"""The host's end of execnet, which believes nothing: what a guest's agent sends is bounded before it is built.

execnet trusts lengths in the stream: five bytes make it build a list of 2^31 places, and what nobody asked for is
queued without end.  So this end reads frames itself and takes only what our agent has reason to send: data and ends
of channels that the host opened.  Whatever else comes ends the conversation, and whoever waits learns why.

Source: execnet 2.1, gateway_base.py: `Message`, `Unserializer`, `BaseGateway._thread_receiver()`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from io import BytesIO
from typing import Any, Final

from execnet import XSpec, gateway_base
from execnet.gateway import Gateway
from execnet.gateway_base import Message, RemoteError, Unserializer, opcode

from harness.model.limits import MESSAGE, MESSAGE_TEXT, MESSAGE_VALUES, TRACEBACK, UNREAD, UNREAD_BYTES, Limit
from harness.visible import visible

_HEADER: Final = struct.Struct("!bii")  # kind, channel, bytes that follow
_VALUE_BYTES: Final = 80  # what the smallest value costs here: an empty dictionary, and its place
_MOST_DIGITS: Final = 40
_NEVER_SENT: Final = (
    *(opcode.SET, opcode.FROZENSET, opcode.CHANNEL, opcode.COMPLEX),
    *(opcode.PY2STRING, opcode.UNICODE),
)


class Refused(EOFError):
    """What came is not taken; execnet hands an EOFError to everybody who waits."""


def loads(data: bytes) -> Any:
    """Build the value that execnet's format describes: None, bool, int, float, str, bytes, list, tuple, dict.

    Raises:
        Refused: it is none, or breaks a limit; says why.
    """
    return _loaded(data)[0]


def _loaded(data: bytes) -> tuple[Any, int]:
    """The value, and about how many bytes it takes here."""
    loader = _Loader(data)
    try:
        value = loader.load()
    except Refused:
        raise
    except Exception as error:  # execnet raises whatever its stack machine meets
        raise Refused(
            f"a message that is none of execnet's: {type(error).__name__}: {error}"[:300]
        ) from error
    return value, len(data) + _VALUE_BYTES * loader.values


def _refuse(limit: Limit, amount: int) -> None:
    if said := limit.excess(amount):
        raise Refused(said)


class _Loader(Unserializer):
    """Execnet's reader, with every length and every place checked."""

    def __init__(self, data: bytes) -> None:
        self._stream, self._size = BytesIO(data), len(data)
        self.values = self._text_bytes = 0
        super().__init__(self, strconfig=(True, False))

    def read(self, numbytes: int) -> bytes:
        """So many bytes of the message; it is its own stream, for every length passes here."""
        part = self._stream.read(numbytes) if numbytes >= 0 else b""
        if len(part) != numbytes:
            raise Refused(f"a message that speaks of {numbytes:,} bytes where {len(part):,} are left")
        if numbytes == 1:  # an opcode; strings of one byte count twice
            self.values += 1
            _refuse(MESSAGE_VALUES, self.values)
        return part

    def load_text(self) -> None:
        """Text, which may become four times as long here."""
        text = self.read(self._read_int4())
        self._text_bytes += len(text)
        _refuse(MESSAGE_TEXT, self._text_bytes)
        self.stack.append(text.decode())

    def load_longint(self) -> None:
        """Digits of a number beyond 32 bits."""
        length = self._read_int4()
        if length > _MOST_DIGITS:
            raise Refused(f"a number of {length:,} digits")
        self.stack.append(int(self.read(length)))

    def load_newlist(self) -> None:
        """A list, whose places are filled by what follows; each counts as a value, filled or not."""
        length = self._read_int4()
        if not 0 <= length <= self._left():
            raise Refused(f"a list of {length:,} places, and {self._left():,} bytes are left of its message")
        self.values += length
        _refuse(MESSAGE_VALUES, self.values)
        self.stack.append([None] * length)

    def load_setitem(self) -> None:
        """Fill a place of a list or a dictionary."""
        key = self.stack[-2]
        if type(key) not in (int, str):  # whoever hashes a deep tuple crashes
            raise Refused(f"a key of type {type(key).__name__}")
        super().load_setitem()

    def load_buildtuple(self) -> None:
        """A tuple of the last values."""
        length = self._read_int4()
        if not 0 <= length <= len(self.stack):
            raise Refused(f"a tuple of {length:,} values where {len(self.stack):,} are")
        first = len(self.stack) - length
        self.stack[first:] = [tuple(self.stack[first:])]

    def load_refused(self) -> None:
        """What no agent sends: sets, channels, complex numbers, text of another Python."""
        raise Refused("a value of a type that no agent sends")

    num2func: dict[bytes, Callable[[Any], None]] = {  # noqa: RUF012 - execnet's own name
        **Unserializer.num2func,
        opcode.LONGINT: load_longint,
        opcode.LONGLONG: load_longint,
        opcode.NEWLIST: load_newlist,
        opcode.SETITEM: load_setitem,
        opcode.BUILDTUPLE: load_buildtuple,
        opcode.PY3STRING: load_text,
        **dict.fromkeys(_NEVER_SENT, load_refused),
    }

    def _left(self) -> int:
        return self._size - self._stream.tell()


class GuestGateway(Gateway):
    """A gateway to an agent that may be hostile."""

    def __init__(self, stream: gateway_base.IO) -> None:
        """Begin to listen.

        Args:
            stream: to the agent, which runs execnet already.
        """
        self._unread_bytes: dict[int, int] = {}
        super().__init__(stream, XSpec("socket=guest//id=agent"))

    def _thread_receiver(self) -> None:
        """Take frames until the connection ends, or something comes that is refused."""
        try:
            while True:
                kind, number, length = _HEADER.unpack(self._io.read(_HEADER.size))
                if length < 0:
                    raise Refused(f"a message of {length} bytes")
                _refuse(MESSAGE, length)
                data = self._io.read(length)
                with self._receivelock:
                    self._take(kind, number, data)
                del data
        except EOFError as error:
            self._error = error
        except Exception as error:  # noqa: BLE001 - whoever waits must hear of it
            self._error = Refused(f"{type(error).__name__}: {error}"[:300])
        self._channelfactory._finished_receiving()  # noqa: SLF001 - as execnet's own
        self._io.close_read()
        self._io.close_write()
        self._receivepool.trigger_shutdown()

    def _take(self, kind: int, number: int, data: bytes) -> None:
        channel = self._channelfactory._channels.get(number)  # noqa: SLF001 - as execnet's own
        match kind:
            case Message.CHANNEL_DATA if channel is not None:
                self._queue(channel, data)
            case Message.CHANNEL_CLOSE_ERROR if channel is not None:
                self._end(number, RemoteError(_traceback(data)))
            case Message.CHANNEL_CLOSE | Message.CHANNEL_LAST_MESSAGE if channel is not None:
                self._end(number)
            case (
                Message.CHANNEL_DATA
                | Message.CHANNEL_CLOSE
                | Message.CHANNEL_CLOSE_ERROR
                | Message.CHANNEL_LAST_MESSAGE
            ):
                pass  # the host has closed that channel meanwhile
            case _:
                raise Refused(f"a message of kind {kind}, which no agent sends")

    def _end(self, number: int, error: RemoteError | None = None) -> None:
        self._unread_bytes.pop(number, None)
        self._channelfactory._local_close(number, error)  # noqa: SLF001 - as execnet's own

    def _queue(self, channel: Any, data: bytes) -> None:
        """Put a message where somebody will take it, unless too much waits there: an answer follows what was told."""
        items = channel._items  # noqa: SLF001 - as execnet's own
        _refuse(UNREAD, waiting := items.qsize())
        # since somebody had last taken everything, so rather too many
        unread_bytes = self._unread_bytes.get(channel.id, 0) if waiting else 0
        _refuse(UNREAD_BYTES, unread_bytes)
        item, cost_bytes = _loaded(data)
        self._unread_bytes[channel.id] = unread_bytes + cost_bytes
        items.put(item)


def _traceback(data: bytes) -> str:
    text = loads(data)
    if not isinstance(text, str):
        raise Refused(f"a channel that ended with {type(text).__name__} in place of a traceback")
    return visible(text[-TRACEBACK.most :])
