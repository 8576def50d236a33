"""The members of a ZIP archive that somebody else made: few, none longer than it may be, whatever the archive says."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Mapping
from typing import Final

from harness.errors import HistoryError
from harness.model.limits import HISTORY_FILE, HISTORY_INFLATED, HISTORY_MEMBERS, Limit
from harness.model.plain import shown

_END: Final = struct.Struct("<4s4H2LH")
"""End of central directory record (PKWARE APPNOTE 6.3.10 §4.3.16)."""
_ENTRY_BYTES: Final = 1024
"""Of the directory, for one member: its fixed part has 46 bytes, and the names of ours are short."""
_SHORT_BYTES: Final = 16 << 20
"""What is no longer may repeat itself as it likes."""
_ZIP64: Final = b"PK\x06\x07"
_METHODS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def unpacked(data: bytes, limits: Mapping[str, Limit]) -> dict[str, bytes]:
    """Unpack some members of an archive.

    Args:
        data: the archive.
        limits: the members that are wanted, and how long each of them may be.

    Returns:
        Those that are there.

    Raises:
        HistoryError: it is no archive, is damaged, or has more or longer members than it may.
    """
    if excess := HISTORY_FILE.excess(len(data)):
        raise HistoryError("history", said=excess)
    _refuse_directory(data)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            known = archive.NameToInfo
            return {
                name: _member(archive, known[name], limit, len(data))
                for name, limit in limits.items()
                if name in known
            }
    except HistoryError:
        raise
    except Exception as error:  # damage makes zipfile and zlib raise a dozen different things
        raise HistoryError("history", said=f"damaged: {error}") from error


def _refuse_directory(data: bytes) -> None:
    """Look at the size of the directory before anybody makes an object of each of its entries."""
    end = len(data) - _END.size
    mark, *_, count, size, _, comment = _END.unpack_from(data, end) if end >= 0 else (b"", 0, 0, 0, 0)
    if mark != b"PK\x05\x06" or comment or data[max(0, end - 20) : end].startswith(_ZIP64):
        raise HistoryError("history", said="damaged: it does not end as a ZIP archive does")
    if excess := HISTORY_MEMBERS.excess(max(count, size // _ENTRY_BYTES)):
        raise HistoryError("history", said=excess)


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, limit: Limit, archived: int) -> bytes:
    if info.compress_type not in _METHODS:
        raise HistoryError("history", said=f"{shown(info.filename)} is not compressed by deflate")
    if excess := limit.excess(info.file_size):
        raise HistoryError("history", said=excess)
    packed = max(1, min(info.compress_size, archived))
    most = min(limit.most, max(_SHORT_BYTES, HISTORY_INFLATED.most * packed))
    with archive.open(info) as member:
        data = member.read(most + 1)  # inflated no further, whatever the directory has said
    if len(data) > most:
        raise HistoryError(
            "history", said=limit.excess(len(data)) or HISTORY_INFLATED.excess(1 + len(data) // packed)
        )
    return data
