"""One client's conversation with one function, without a socket: bytes in, bytes out.

Every request is answered before the next one is looked at, so there is no such thing as a late answer; after a late
one QEMU would take every further message for something else.  Any bytes may come: a request that makes no sense is
answered with an errno, and :class:`~harness.lab.models.wire.StreamLost` ends the conversation.
"""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from harness.lab.models import wire
from harness.lab.models.interface import Refused
from harness.lab.models.wire import (
    DeviceReset,
    DmaMap,
    DmaReply,
    DmaUnmap,
    GetDeviceInfo,
    GetIrqInfo,
    GetRegionInfo,
    Header,
    IrqAction,
    Malformed,
    RegionRead,
    RegionWrite,
    SetIrqs,
    StreamLost,
    Version,
)

_REGIONS: Final = 9
_IRQ_KINDS: Final = 5
_CAPABILITIES: Final = {
    "max_msg_fds": 16,
    "max_data_xfer_size": wire.LONGEST_TRANSFER,
    "write_multiple": False,
}


class Served(Protocol):
    """What a conversation is about; :class:`~harness.lab.models.function.Function` is one."""

    @property
    def sizes(self) -> Mapping[int, int]:
        """Bytes of every region that it has, by number; those of BARs are powers of two."""

    @property
    def vectors(self) -> Mapping[int, int]:
        """How many interrupts it has, by kind."""

    def read(self, region: int, offset: int, count: int) -> bytes:
        """Answer a read."""

    def write(self, region: int, offset: int, data: bytes) -> None:
        """Take a write."""

    def bus_reset(self) -> None:
        """The bus above was reset."""

    def unmasked(self) -> None:
        """INTx was lowered by the client, and may be raised again."""


class Interrupts(Protocol):
    """Where interrupts go: eventfds, owned by the edge."""

    def connect(self, index: int, start: int, descriptors: Sequence[int]) -> None:
        """Vectors from `start` on are signalled through these; without any, `start` is forgotten."""

    def disable(self, index: int) -> None:
        """Forget all vectors of a kind."""


@dataclass(slots=True)
class Maps:
    """Guest memory that the function may reach, as the client said: address to size."""

    ranges: dict[int, int] = field(default_factory=dict)


class Conversation:
    """The state of one connection.

    Attributes:
        maps: guest memory that may be reached.
        greeted: whether a version was agreed on.
    """

    def __init__(self, function: Served, interrupts: Interrupts) -> None:
        """Begin with nothing said.

        Args:
            function: that is served.
            interrupts: where they go.
        """
        self.maps: Final = Maps()
        self.greeted = False
        self._function, self._interrupts = function, interrupts
        self._sizes: Final = dict(function.sizes)
        self._buffer = bytearray()
        self._position = 0  # in the stream, of the buffer's first byte
        self._came: deque[tuple[int, list[int]]] = deque()  # where their chunk ended, and the descriptors
        self._unclaimed: list[int] = []
        self._number = 0
        self._answers: dict[int, DmaReply | None] = {}  # by number of what was asked; None: not yet

    def hear(self, data: bytes, descriptors: Sequence[int] = ()) -> Iterator[bytes]:
        """Take bytes from the client, however they were cut, and yield what to send back.

        Args:
            data: next bytes of the stream.
            descriptors: that came with them; ours from now on, see :meth:`unclaimed`.

        Raises:
            StreamLost: nothing that follows can be understood.
        """
        self._buffer += data
        if descriptors:
            self._came.append((self._position + len(self._buffer), list(descriptors)))
        while len(self._buffer) >= wire.HEADER_BYTES:
            header = wire.read_header(bytes(self._buffer[: wire.HEADER_BYTES]))
            if len(self._buffer) < header.size:
                return
            payload = bytes(self._buffer[wire.HEADER_BYTES : header.size])
            del self._buffer[: header.size]
            self._position += header.size
            answer = self._answer(header, payload, self._claim())
            if answer and header.wants_reply:
                yield answer

    def unclaimed(self) -> list[int]:
        """Descriptors that their request did not take; the caller closes them."""
        left, self._unclaimed = self._unclaimed, []
        return left

    def leave(self) -> list[int]:
        """Descriptors whose message never came whole, when the client is gone; the caller closes them."""
        left = [one for _, came in self._came for one in came]
        self._came.clear()
        return left

    def ask_dma_read(self, address: int, count: int) -> tuple[int, bytes]:
        """A request to read guest memory: its number for :meth:`dma_reply`, and the bytes to send.

        Whether the memory may be reached is the client's to say: behind an IOMMU it knows more than its maps tell.
        """
        return self._numbered(lambda number: wire.dma_read(number, address, count))

    def ask_dma_write(self, address: int, data: bytes) -> tuple[int, bytes]:
        """A request to write guest memory, likewise."""
        return self._numbered(lambda number: wire.dma_write(number, address, data))

    def dma_reply(self, number: int) -> DmaReply | None:
        """The answer to a request of ours, once; None while it has not come."""
        answer = self._answers.get(number)
        if answer is not None:
            del self._answers[number]
        return answer

    # --- inside -------------------------------------------------------------------------------------------

    def _numbered(self, ask: Callable[[int], bytes]) -> tuple[int, bytes]:
        self._number = (self._number + 1) & 0xFFFF
        self._answers[self._number] = None
        return self._number, ask(self._number)

    def _claim(self) -> list[int]:
        """The descriptors of the message that ends here.

        The kernel ends a chunk behind the message that descriptors came with (unix(7), SCM_RIGHTS), so they belong
        to the last one that begins in it.
        """
        if self._came and self._came[0][0] <= self._position:
            return self._came.popleft()[1]
        return []

    def _answer(self, header: Header, payload: bytes, descriptors: list[int]) -> bytes:
        self._unclaimed += descriptors  # until the request takes them
        try:
            request = wire.decode(header, payload)
            if self.greeted is isinstance(request, Version):
                raise Malformed("the conversation begins with VERSION, which comes once")
            match request:
                case DmaReply():
                    self._answered(request)
                    return b""
                case Version():
                    self.greeted = True
                    return wire.reply(header, wire.version_payload(_CAPABILITIES))
                case DmaMap(address=address, size=size):
                    self._map(address, size)
                    return wire.reply(header)
                case DmaUnmap(address=address, size=size):
                    self._unmap(address, size)
                    return wire.reply(header, wire.unmap_payload(request))
                case GetDeviceInfo():
                    return wire.reply(header, wire.device_info_payload(regions=_REGIONS, irqs=_IRQ_KINDS))
                case GetRegionInfo(index=index):
                    _within(index, _REGIONS, "region")
                    return wire.reply(header, wire.region_info_payload(index, self._sizes.get(index, 0)))
                case GetIrqInfo(index=index):
                    _within(index, _IRQ_KINDS, "kind of interrupt")
                    return wire.reply(
                        header, wire.irq_info_payload(index, self._function.vectors.get(index, 0))
                    )
                case SetIrqs():
                    self._set_irqs(request, descriptors)
                    return wire.reply(header)
                case RegionRead():
                    return wire.reply(header, wire.access_payload(request, self._read(request)))
                case RegionWrite():
                    self._write(request)
                    return wire.reply(header, wire.access_payload(request))
                case DeviceReset():
                    self._function.bus_reset()
                    return wire.reply(header)
        except (Malformed, Refused) as error:
            if header.is_reply:
                self._answered(DmaReply(header.id, error.errno))
            return wire.refusal(header, error.errno)

    def _answered(self, reply: DmaReply) -> None:
        """Keep what was asked for; other replies are nobody's."""
        if reply.id in self._answers:
            self._answers[reply.id] = reply

    def _read(self, request: RegionRead) -> bytes:
        self._fits(request.region, request.offset, request.count)
        return self._function.read(request.region, request.offset, request.count)

    def _write(self, request: RegionWrite) -> None:
        self._fits(request.region, request.offset, len(request.data))
        self._function.write(request.region, request.offset, request.data)

    def _fits(self, region: int, offset: int, count: int) -> None:
        if offset + count > self._sizes.get(region, 0):
            raise Malformed(f"{count} bytes at {offset:#x} of region {region}")

    def _map(self, address: int, size: int) -> None:
        # Its descriptor, if one came, shows the template's memory in a copy-on-write guest: never use it.
        if any(at < address + size and address < at + known for at, known in self.maps.ranges.items()):
            raise Malformed(f"a map of {size:#x} bytes at {address:#x} overlaps another", errno.EEXIST)
        self.maps.ranges[address] = size

    def _unmap(self, address: int, size: int) -> None:
        if self.maps.ranges.get(address) != size:
            raise Malformed(f"no map of {size:#x} bytes at {address:#x}", errno.ENOENT)
        del self.maps.ranges[address]

    def _set_irqs(self, request: SetIrqs, descriptors: list[int]) -> None:
        _within(request.index, _IRQ_KINDS, "kind of interrupt")
        vectors = range(request.start, request.start + request.count)
        count = self._function.vectors.get(request.index, 0)
        if vectors.stop > count:
            raise Malformed(f"vectors {vectors.start} to {vectors.stop} of {count}")
        if IrqAction.TRIGGER not in request.action:  # QEMU masks INTx on its side
            if IrqAction.UNMASK in request.action and request.index == 0:
                self._function.unmasked()
            return
        if IrqAction.EVENTFD in request.action:
            if len(descriptors) not in (0, len(vectors)):
                raise Malformed(f"{len(descriptors)} eventfds for {len(vectors)} vectors")
            if descriptors:
                del self._unclaimed[-len(descriptors) :]
                self._interrupts.connect(request.index, request.start, descriptors)
            else:
                for vector in vectors:
                    self._interrupts.connect(request.index, vector, ())
        elif not vectors:
            self._interrupts.disable(request.index)


def _within(index: int, count: int, what: str) -> None:
    if index >= count:
        raise Malformed(f"{what} {index} of {count}")


__all__ = ["Conversation", "Interrupts", "Maps", "Served", "StreamLost"]
