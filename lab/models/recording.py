"""What went over a vfio-user socket, as a file: chunks as they came and went, for replay and as a fuzzer's seed.

Each frame: direction (`>` from the client, `<` to it), number of descriptors that came with it, length, data.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from harness.errors import HistoryError

_FRAME: Final = struct.Struct("<cBI")
FROM_CLIENT: Final = b">"
TO_CLIENT: Final = b"<"


@dataclass(frozen=True, slots=True)
class Frame:
    """One chunk.

    Attributes:
        direction: :data:`FROM_CLIENT` or :data:`TO_CLIENT`.
        data: its bytes.
        descriptors: how many descriptors came with it, at most 255.
    """

    direction: bytes
    data: bytes
    descriptors: int = 0

    def to_bytes(self) -> bytes:
        """As it lies in the file."""
        return _FRAME.pack(self.direction, self.descriptors, len(self.data)) + self.data


def frames(recording: bytes) -> Iterator[Frame]:
    """Read a recording; a torn last frame, as a killed model leaves it, is left out.

    Raises:
        HistoryError: it is no recording.
    """
    at = 0
    while at + _FRAME.size <= len(recording):
        direction, descriptors, length = _FRAME.unpack_from(recording, at)
        if direction not in (FROM_CLIENT, TO_CLIENT):
            raise HistoryError("read a recording of vfio-user", said=f"no frame at {at:#x}")
        begin, at = at + _FRAME.size, at + _FRAME.size + length
        if at > len(recording):
            return
        yield Frame(direction, recording[begin:at], descriptors)
