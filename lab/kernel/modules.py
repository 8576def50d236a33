"""Find kernel modules, decompress them, and work out in which order they must be loaded.

All of it happens on the host: the guest gets plain `.ko` files and lists, and needs neither depmod nor
modprobe nor time to decompress. Dependencies come from the modules themselves (`.modinfo`), so no
`modules.dep` is needed and nothing is written into the kernel's folder. It refuses to guess: a wanted
module that is neither a file nor built in is an error that names it.

Source: `depends=` and `softdep=` of include/linux/module.h; Linux writes names with "_", files may use "-".
"""

from __future__ import annotations

import gzip
import io
import lzma
import shutil
import struct
import subprocess
import tempfile
import zlib
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Final, cast

from harness.errors import SetupError
from harness.model.limits import MODULE, MODULE_FILE, MODULE_INFO
from harness.outside import read_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

_SUFFIXES = (".ko", ".ko.xz", ".ko.zst", ".ko.gz")
_CHUNK: Final = 1 << 20
_LONGEST_NAME: Final = 256  # of a section
_DICTIONARY: Final = 128 << 20  # bytes that a decoder may take for itself; xz -9 wants 65 MB


@dataclass(frozen=True, slots=True, kw_only=True)
class Module:
    """One module, ready for the guest.

    Attributes:
        name: as the kernel writes it, with underscores.
        content: the uncompressed ELF object.
        after: names of the modules that must be loaded before it.
    """

    name: str
    content: bytes
    after: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleTree:
    """Where the modules of one kernel are.

    Attributes:
        files: path by name.
        built_in: names of what is part of the kernel image.
        own: modules of the user's own by name, uncompressed: they go before the file of that name.
    """

    files: Mapping[str, Path] = field(default_factory=dict)
    built_in: frozenset[str] = frozenset()
    own: Mapping[str, bytes] = field(default_factory=dict)

    def has(self, name: str) -> bool:
        """Whether there is a module of this name to load."""
        return name in self.own or name in self.files

    def content(self, name: str) -> bytes:
        """Read a module that is there.

        Raises:
            SetupError: as :func:`decompressed`.
        """
        return self.own[name] if name in self.own else decompressed(self.files[name])


def canonical(name: str) -> str:
    """Turn a module's file name or any spelling of its name into the kernel's spelling."""
    base = name.rsplit("/", 1)[-1]
    for suffix in sorted(_SUFFIXES, key=len, reverse=True):
        base = base.removesuffix(suffix)
    return base.replace("-", "_")


def scan(folder: Path) -> ModuleTree:
    """List the modules below a folder: `/lib/modules/RELEASE`, or a built kernel tree."""
    files = {
        canonical(path.name): path
        for path in sorted(folder.rglob("*.ko*"))
        if path.name.endswith(_SUFFIXES) and path.is_file()
    }
    listed = folder / "modules.builtin"
    built_in = listed.read_text().split() if listed.is_file() else []
    return ModuleTree(files=files, built_in=frozenset(map(canonical, built_in)))


def modinfo(content: bytes) -> dict[str, list[str]]:
    """Read the `.modinfo` section of an ELF64 little-endian module.

    Returns:
        values by key, in the order of the section; empty when there is no such section.

    Raises:
        ValueError: not an ELF64 little-endian object.
    """
    fields: dict[str, list[str]] = {}
    for name, offset, size in _sections(content):
        if name != b".modinfo":
            continue
        if excess := MODULE_INFO.excess(size):
            raise ValueError(excess)
        for line in content[offset : offset + size].split(b"\0"):
            key, equals, value = line.decode(errors="replace").partition("=")
            if equals:
                fields.setdefault(key, []).append(value)
        break
    return fields


def section_names(content: bytes) -> frozenset[str]:
    """Name the sections of an ELF64 little-endian object.

    Raises:
        ValueError: it is none.
    """
    return frozenset(name.decode(errors="replace") for name, _, _ in _sections(content))


def _sections(content: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Name, offset and size in bytes of each section.

    Raises:
        ValueError: not an ELF64 little-endian object, or one that is cut short.
    """
    if content[:6] != b"\x7fELF\x02\x01":
        raise ValueError("not an ELF64 little-endian object")
    try:
        (table_offset,) = struct.unpack_from("<Q", content, 0x28)
        entry_bytes, count, names_index = struct.unpack_from("<HHH", content, 0x3A)

        def section(index: int) -> tuple[int, int, int]:
            name, _type, _flags, _addr, offset, size = struct.unpack_from(
                "<IIQQQQ", content, table_offset + index * entry_bytes
            )
            return name, offset, size

        _, names_offset, _ = section(names_index)
        for index in range(count):
            name, offset, size = section(index)
            start = names_offset + name
            yield content[start : start + _LONGEST_NAME].partition(b"\0")[0], offset, size
    except struct.error as error:
        raise ValueError("an ELF object that is cut short") from error


def requirements(fields: Mapping[str, list[str]]) -> tuple[list[str], list[str]]:
    """Split what a module needs into hard and soft requirements (names in the kernel's spelling).

    A soft one ("softdep=pre: crc32c_generic") may be absent or have a name that no file has.
    """
    hard = [canonical(name) for value in fields.get("depends", []) for name in value.split(",") if name]
    soft: list[str] = []
    for value in fields.get("softdep", []):
        before = False
        for word in value.split():
            if word.endswith(":"):
                before = word == "pre:"
            elif before:
                soft.append(canonical(word))
    return hard, soft


def decompressed(path: Path) -> bytes:
    """Read a module file, whatever its compression.

    Raises:
        SetupError: the file is damaged or too large, or zstd is needed and this machine has no way to read it.
        UsageError: it cannot be read.
    """
    raw = read_file(path, MODULE_FILE, what="kernel module")
    try:
        match path.suffix:
            case ".xz":
                return _whole(_xz(raw), path)
            case ".gz":
                return _whole(_read(gzip.GzipFile(fileobj=io.BytesIO(raw))), path)
            case ".zst":
                return _zstd(raw, path)
            case _:
                return raw
    except (lzma.LZMAError, zlib.error, EOFError, OSError) as error:
        raise SetupError(f"decompress kernel module {path}", said=str(error)) from error


def _read(stream: IO[bytes] | gzip.GzipFile) -> Iterator[bytes]:
    yield from iter(lambda: stream.read(_CHUNK), b"")


def _xz(raw: bytes) -> Iterator[bytes]:
    decoder = lzma.LZMADecompressor(memlimit=_DICTIONARY)
    while not decoder.eof:
        yield decoder.decompress(raw, _CHUNK)
        raw = b""
        if decoder.needs_input:
            raise EOFError("it is cut short")


def _whole(parts: Iterator[bytes], path: Path) -> bytes:
    """All parts, and never more than a module may have.

    Raises:
        SetupError: there is more.
    """
    whole = bytearray()
    for part in parts:
        whole += part
        if excess := MODULE.excess(len(whole)):
            raise SetupError(
                f"decompress kernel module {path}",
                said=excess,
                hint="Does it carry debug information?  `strip --strip-debug` removes that.",
            )
    return bytes(whole)


def _zstd(raw: bytes, path: Path) -> bytes:
    # The standard library reads zstd only from Python 3.14 on; the tool is on nearly every Linux.
    if shutil.which("zstd") is None:
        raise SetupError(
            f"decompress kernel module {path}", said="no zstd here", hint="Install the package zstd."
        )
    with tempfile.TemporaryFile() as packed, tempfile.TemporaryFile() as errors:
        packed.write(raw)
        packed.seek(0)
        with subprocess.Popen(
            ["zstd", "-dcq", f"--memory={_DICTIONARY >> 20}MB"],
            stdin=packed,
            stdout=subprocess.PIPE,
            stderr=errors,
        ) as process:
            try:
                content = _whole(_read(cast("IO[bytes]", process.stdout)), path)
            except SetupError:
                process.kill()
                raise
        if process.returncode:
            errors.seek(0)
            said = errors.read(4096).decode(errors="replace")
            raise SetupError(f"decompress kernel module {path}", said=said)
    return content


def closure(tree: ModuleTree, wanted: Iterable[str]) -> list[Module]:
    """Collect modules and everything they need, in an order in which they can be loaded.

    Args:
        tree: where to look.
        wanted: module names in any spelling; those that are built in give nothing.

    Returns:
        each module once, after all that it needs.

    Raises:
        SetupError: a wanted or needed module is neither a file of the tree nor built in.
    """
    done: dict[str, Module] = {}
    open_: set[str] = set()

    def visit(name: str, *, asked_by: str) -> None:
        if name in done or name in tree.built_in or name in open_:
            return
        if not tree.has(name):
            raise SetupError(
                f"collect kernel module {name} (wanted by {asked_by})",
                said="it is neither among the kernel's modules nor built in",
                hint="Point --modules at the folder made by `make modules_install`, or switch the option on.",
            )
        open_.add(name)
        content = tree.content(name)
        hard, soft = requirements(modinfo(content))
        soft = [other for other in soft if tree.has(other)]
        for other in (*soft, *hard):
            visit(other, asked_by=name)
        open_.remove(name)
        after = tuple(other for other in (*soft, *hard) if other in done)
        done[name] = Module(name=name, content=content, after=after)

    for name in wanted:
        visit(canonical(name), asked_by="the guest root")
    return list(done.values())


def load_order(modules: Iterable[Module], name: str) -> list[str]:
    """Name what must be loaded for one module, itself last.

    Args:
        modules: a closure that contains it.
        name: the module, in any spelling.
    """
    by_name = {module.name: module for module in modules}
    order: dict[str, None] = {}

    def visit(current: str) -> None:
        if current in order:
            return
        for other in by_name[current].after:
            visit(other)
        order[current] = None

    visit(canonical(name))
    return list(order)
