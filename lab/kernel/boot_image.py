"""Read x86 kernel images: which release, what is packed inside, whether it can boot by PVH.

Sources: the kernel's documentation of the x86 boot protocol (setup header, payload fields) and of PVH;
the ELF specification; `CONFIG_IKCONFIG` (a gzip stream between two markers).

This module refuses to run anything: bytes in, facts out.
"""

from __future__ import annotations

import ctypes
import enum
import gzip
import hashlib
import lzma
import mmap
import re
import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from harness.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Offsets in a bzImage, from the x86 boot protocol.
_SETUP_SECTORS: Final = 0x1F1  # u8; 0 means 4
_MAGIC: Final = 0x202  # "HdrS"
_VERSION_POINTER: Final = 0x20E  # u16: offset of the release text, less 0x200
_PAYLOAD: Final = 0x248  # u32 offset from the start of protected-mode code, u32 length
_SECTOR: Final = 512

_PT_NOTE: Final = 4
_XEN_PHYS32_ENTRY: Final = 18  # the ELF note that makes a vmlinux bootable by PVH
_CONFIG_START: Final = b"IKCFG_ST"
_CONFIG_END: Final = b"IKCFG_ED"


class Decompressor(Protocol):
    """What zlib's and lzma's decompressors have in common."""

    @property
    def eof(self) -> bool:
        """Whether the end of the stream was met."""

    def decompress(self, data: bytes, /) -> bytes:
        """Decompress all of `data`, up to the end of the stream."""


class Kind(enum.Enum):
    """The form of a kernel image."""

    BZIMAGE = "bzImage"
    VMLINUX = "vmlinux"


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What an image says about itself."""

    kind: Kind
    release: str


def identify(image: Path) -> Identity:
    """Read the form and the release of a kernel image.

    Raises:
        UsageError: it is neither an x86 bzImage nor a 64-bit vmlinux.
        OSError: it cannot be read.
    """
    with image.open("rb") as file:
        head = file.read(0x8000)
    if head[_MAGIC : _MAGIC + 4] == b"HdrS":
        start = struct.unpack_from("<H", head, _VERSION_POINTER)[0] + 0x200
        text = head[start : start + 256].split(b"\0")[0].decode("latin-1")
        if release := text.split(" ")[0]:
            return Identity(kind=Kind.BZIMAGE, release=release)
    if head[:6] == b"\x7fELF\x02\x01" and (match := re.search(rb"Linux version (\S+) ", mapped(image))):
        return Identity(kind=Kind.VMLINUX, release=match[1].decode("latin-1"))
    raise UsageError(
        f"reading the kernel {image}",
        said="it is neither an x86 bzImage nor a 64-bit vmlinux",
        hint="Give arch/x86/boot/bzImage, vmlinux or the folder of a built kernel tree",
    )


def fingerprint(image: Path) -> str:
    """Hash an image to 16 hexadecimal digits."""
    with image.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def mapped(image: Path) -> mmap.mmap:
    """Map a file for reading: a vmlinux with debug information is too large to copy."""
    with image.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def unpack_payload(image: Path) -> bytes | None:
    """Return the vmlinux that a bzImage carries; None when it is packed in a way unknown here."""
    data = image.read_bytes()
    offset, length = struct.unpack_from("<II", data, _PAYLOAD)
    start = ((data[_SETUP_SECTORS] or 4) + 1) * _SECTOR + offset
    payload = data[start : start + length]
    try:
        vmlinux = _decompress(payload)
    except (OSError, EOFError, lzma.LZMAError, zlib.error, ValueError):
        return None
    return vmlinux if vmlinux is not None and vmlinux.startswith(b"\x7fELF") else None


def _decompress(payload: bytes) -> bytes | None:
    # All but gzip are followed by the unpacked size, little-endian; gzip ends with it anyway.
    match payload[:4]:
        case b"\x1f\x8b\x08\x00" | b"\x1f\x8b\x08\x08":
            return _whole(zlib.decompressobj(wbits=31), payload)
        case b"\xfd7zX":
            return _whole(lzma.LZMADecompressor(lzma.FORMAT_XZ), payload)
        case b"\x28\xb5\x2f\xfd":
            return _decompress_zstd(payload[:-4], struct.unpack("<I", payload[-4:])[0])
        case _:
            return None  # lz4, lzo, bzip2, lzma: rare, and the image boots as it is


def _whole(decompressor: Decompressor, payload: bytes) -> bytes | None:
    """Decompress one stream; None when its end is missing, bytes behind its end are of no interest."""
    data = decompressor.decompress(payload)
    return data if decompressor.eof else None


def _decompress_zstd(data: bytes, size_bytes: int) -> bytes | None:
    """Decompress with the system's libzstd (dpkg itself links it): Python has its own only from 3.14 on."""
    try:
        library = ctypes.CDLL("libzstd.so.1")
    except OSError:
        return None
    library.ZSTD_decompress.restype = ctypes.c_size_t
    library.ZSTD_decompress.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t]
    unpacked = bytearray(size_bytes)
    target = (ctypes.c_char * size_bytes).from_buffer(unpacked)
    written = library.ZSTD_decompress(target, size_bytes, data, len(data))
    return bytes(unpacked) if written == size_bytes else None


def has_pvh_entry(vmlinux: bytes | mmap.mmap) -> bool:
    """Say whether a 64-bit ELF file carries the note with a PVH entry point."""
    try:
        return _XEN_PHYS32_ENTRY in _xen_notes(vmlinux)
    except struct.error:  # cut off
        return False


def _xen_notes(vmlinux: bytes | mmap.mmap) -> Iterator[int]:
    table, entry_size, count = struct.unpack_from("<Q14xHH", vmlinux, 0x20)
    for number in range(count):
        kind, _flags, offset, _vaddr, _paddr, size = struct.unpack_from(
            "<IIQQQQ", vmlinux, table + number * entry_size
        )
        end = offset + size
        while kind == _PT_NOTE and offset + 12 <= end:
            name_size, data_size, note_type = struct.unpack_from("<III", vmlinux, offset)
            if vmlinux[offset + 12 : offset + 16] == b"Xen\0":
                yield note_type
            offset += 12 + (name_size + 3) // 4 * 4 + (data_size + 3) // 4 * 4


def embedded_config(image: Path) -> str | None:
    """Return the configuration that a kernel with CONFIG_IKCONFIG carries, or None."""
    data: bytes | mmap.mmap = mapped(image)
    if data[_MAGIC : _MAGIC + 4] == b"HdrS":
        data = unpack_payload(image) or b""
    start, end = data.find(_CONFIG_START), data.find(_CONFIG_END)
    if not 0 <= start < end:
        return None
    try:
        return gzip.decompress(data[start + len(_CONFIG_START) : end]).decode(errors="replace")
    except (OSError, EOFError, zlib.error):
        return None
