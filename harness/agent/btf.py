"""Where a member lies in a structure of the running kernel, read out of its type information (BTF).  Pure.

A name is looked for as bytes, in the strings and then among the types, instead of walking all 130,000 types:
Python in an emulated guest is twenty times slower than elsewhere.  Only a member of an unnamed structure makes
it walk.

Source: Linux Documentation/bpf/btf.rst; include/uapi/linux/btf.h.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

_MAGIC: Final = 0xEB9F
_HEADER: Final = struct.Struct(
    "<HBBIIIII"
)  # magic, version, flags, header bytes, then offset and bytes of both
_TYPE: Final = struct.Struct("<III")  # name, info, bytes (or another type)
_MEMBER: Final = struct.Struct("<III")  # name, type, offset in bits
_STRUCT: Final = 4
_UNION: Final = 5
_ALIASES: Final = (8, 9, 10, 11)  # typedef, volatile, const, restrict
# Bytes that follow a type, by kind: int, array, variable, tag ...
_FIXED: Final = {1: 4, 3: 12, 14: 4, 17: 4}
# ... and bytes for each of its parts: struct, union, enum, prototype, section, enum of 64 bits.
_EACH: Final = {_STRUCT: 12, _UNION: 12, 6: 8, 13: 8, 15: 12, 19: 12}


class Btf:
    """Types of a kernel, or of one of its modules on top of them."""

    def __init__(self, data: bytes, base: Btf | None = None) -> None:
        """Read the header.

        Args:
            data: a file of /sys/kernel/btf.
            base: the kernel's own types, for those of a module.

        Raises:
            ValueError: this is no BTF of this machine's byte order.
        """
        if len(data) < _HEADER.size:
            raise ValueError(f"{len(data)} bytes are no BTF")
        magic, _, _, header, types, types_bytes, strings, strings_bytes = _HEADER.unpack_from(data)
        if magic != _MAGIC:
            raise ValueError(f"magic {magic:#x} is not that of BTF")
        if header + max(types + types_bytes, strings + strings_bytes) > len(data):
            raise ValueError("BTF is cut short")
        self._base = base
        self._types: Final = data[header + types :][:types_bytes]
        self._strings: Final = data[header + strings :][:strings_bytes]
        self._first_string: int = base.end_string if base else 0
        self._places: list[int] = []

    @property
    def end_string(self) -> int:
        """Offset behind the last string; a module's strings count on from there."""
        return self._first_string + len(self._strings)

    def offset(self, structure: str, member: str) -> int:
        """Bytes from the beginning of a structure (or union) to one of its members.

        Members of unnamed structures inside it count as its own, as in C.

        Raises:
            LookupError: there is no such structure or member, the member is no whole number of bytes away, or
                several structures of that name differ in it.
        """
        wanted = self.name(member)
        every = (self.bits(place, wanted) for place in self._structures(structure))
        found = {bits for bits in every if bits is not None} if wanted else set()
        if not found and self._base:
            return self._base.offset(structure, member)
        if len(found) != 1 or min(found) % 8:
            said = (
                "lies at several places"
                if len(found) > 1
                else "is not at a byte"
                if found
                else "is not there"
            )
            raise LookupError(f"{member} of struct {structure} {said}")
        return found.pop() // 8

    def name(self, text: str) -> int:
        """Offset of a string among those of base and module; 0 when neither has it."""
        if self._base and (found := self._base.name(text)):
            return found
        name = text.encode() + b"\0"
        if self._base and self._strings.startswith(name):  # a module's strings begin without an empty one
            return self._first_string
        at = self._strings.find(b"\0" + name)
        return self._first_string + at + 1 if at >= 0 else 0

    def _structures(self, name: str) -> Iterator[int]:
        """Places of all structures and unions of that name."""
        offset = self.name(name)
        pattern = struct.pack("<I", offset)
        at = self._types.find(pattern) if offset else -1
        while at >= 0:
            if at % 4 == 0 and self._is_structure(at):
                yield at
            at = self._types.find(pattern, at + 1)

    def _is_structure(self, at: int) -> bool:
        """Tell a structure from a number that happens to be equal to its name."""
        if at + _TYPE.size > len(self._types):
            return False
        _, info, size = _TYPE.unpack_from(self._types, at)
        kind, parts, _ = _split(info)
        if kind not in (_STRUCT, _UNION) or at + _TYPE.size + parts * _MEMBER.size > len(self._types):
            return False
        return all(name < self.end_string and bits <= size * 8 for name, _, bits in self._members(at))

    def _members(self, at: int) -> Iterator[tuple[int, int, int]]:
        """Name, type and offset in bits of each member."""
        _, parts, packed = _split(_TYPE.unpack_from(self._types, at)[1])
        begin = at + _TYPE.size
        for name, kind, bits in _MEMBER.iter_unpack(self._types[begin : begin + parts * _MEMBER.size]):
            yield name, kind, bits & 0xFF_FFFF if packed else bits  # then the width is in the high byte

    def bits(self, at: int, wanted: int) -> int | None:
        """Offset of the member with that name, looked for in unnamed members last: following them is slow."""
        unnamed = []
        for name, kind, bits in self._members(at):
            if name == wanted:
                return bits
            if not name:
                unnamed.append((kind, bits))
        for kind, bits in unnamed:
            owner, place = self.resolve(kind)
            inside = owner.bits(place, wanted) if place >= 0 else None
            if inside is not None:
                return bits + inside
        return None

    def resolve(self, number: int) -> tuple[Btf, int]:
        """Whose a type is, by its number, and where; -1 when it is neither structure nor union."""
        below = len(self._base.index()) if self._base else 0
        if self._base and number < below:
            return self._base.resolve(number)
        at = self.index()[number - below]
        _, info, target = _TYPE.unpack_from(self._types, at)
        kind, _, _ = _split(info)
        if kind in _ALIASES:
            return self.resolve(target)
        return self, at if kind in (_STRUCT, _UNION) else -1

    def index(self) -> list[int]:
        """Places of all types by number; walked once.  Number 0, which is void, has place 0 in a base."""
        if not self._places:
            at, places = 0, [] if self._base else [0]
            while at < len(self._types):
                places.append(at)
                kind, parts, _ = _split(_TYPE.unpack_from(self._types, at)[1])
                at += _TYPE.size + _FIXED.get(kind, 0) + parts * _EACH.get(kind, 0)
            self._places = places
        return self._places


def _split(info: int) -> tuple[int, int, bool]:
    """Kind, number of parts and kind flag."""
    return info >> 24 & 0x7F, info & 0xFF_FFFF, bool(info >> 31)
