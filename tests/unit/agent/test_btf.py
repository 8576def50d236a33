"""Type information of a kernel: members of structures are found by name, whatever else has the same number."""

from __future__ import annotations

import struct

import pytest

from harness.agent.btf import Btf

INT, POINTER, ARRAY, STRUCT, UNION, ENUM, FORWARD, TYPEDEF = 1, 2, 3, 4, 5, 6, 7, 8
CONST, FUNCTION, PROTOTYPE, VARIABLE, SECTION, TAG, ENUM64 = 10, 12, 13, 14, 15, 17, 19
PACKED = 1 << 31


class Types:
    """Writes BTF, type by type; numbers begin at 1, or behind those of a base."""

    def __init__(self, base: Types | None = None) -> None:
        self.strings = b"" if base else b"\0"
        self.first_string: int = base.first_string + len(base.strings) if base else 0
        self.count: int = base.count if base else 0
        self.base = base
        self.types = b""

    def string(self, text: str) -> int:
        """Offset of a string, which stands there once."""
        if not text:
            return 0
        name = text.encode() + b"\0"
        if self.base and b"\0" + name in self.base.strings:
            return self.base.strings.index(b"\0" + name) + 1
        if self.strings.startswith(name):
            return self.first_string
        if b"\0" + name not in self.strings:
            self.strings += name
        at = 0 if self.strings == name else self.strings.index(b"\0" + name) + 1
        return self.first_string + at

    def add(
        self, kind: int, name: str = "", size: int = 0, *, parts: int = 0, more: bytes = b"", flag: int = 0
    ) -> int:
        """Add any type; returns its number."""
        self.types += struct.pack("<III", self.string(name), flag | kind << 24 | parts, size) + more
        self.count += 1
        return self.count

    def structure(
        self, name: str, size: int, *members: tuple[str, int, int], kind: int = STRUCT, flag: int = 0
    ) -> int:
        """Add a structure of members (name, type, offset in bits)."""
        packed = [struct.pack("<III", self.string(member), type_, bits) for member, type_, bits in members]
        return self.add(kind, name, size, parts=len(members), more=b"".join(packed), flag=flag)

    def data(self) -> bytes:
        """What the kernel would show in /sys/kernel/btf."""
        sizes = (0, len(self.types), len(self.types), len(self.strings))
        return struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, *sizes) + self.types + self.strings


def one_of_each(types: Types) -> int:
    """Types of every kind, whose parts have to be stepped over; returns the number of an int."""
    number = types.add(INT, "int", 4, more=bytes(4))
    types.add(ARRAY, more=struct.pack("<III", number, number, 4))
    types.add(ENUM, "colour", 4, parts=2, more=struct.pack("<IiIi", types.string("red"), 0, 0, 1))
    types.add(ENUM64, "big", 8, parts=1, more=struct.pack("<III", types.string("far"), 0, 1))
    types.add(FORWARD, "later")
    types.add(PROTOTYPE, size=number, parts=2, more=struct.pack("<IIII", types.string("a"), 1, 0, 0))
    types.add(FUNCTION, "call", number)
    types.add(VARIABLE, "global", number, more=bytes(4))
    types.add(SECTION, ".data", 4, parts=1, more=struct.pack("<III", number, 0, 4))
    types.add(TAG, "tag", number, more=bytes(4))
    return number


@pytest.fixture
def kernel() -> Types:
    types = Types()
    number = one_of_each(types)
    inner = types.structure("", 8, ("deep", number, 0), ("deeper", number, 32))
    choice = types.structure("", 16, ("left", number, 0), ("", inner, 64), kind=UNION)
    alias = types.add(TYPEDEF, "alias", types.add(CONST, size=choice))
    types.structure("kobject", 16, ("name", types.add(POINTER), 0), ("entry", number, 64))
    types.structure("device", 64, ("kobj", number, 0), ("", alias, 128), ("last", number, 480))
    flagged = [("wide", number, 64), ("bit", number, 1 << 24 | 67), ("five", number, 5 << 24 | 72)]
    types.structure("flagged", 16, *flagged, flag=PACKED)
    return types


@pytest.mark.parametrize(
    ("structure", "member", "offset"),
    [
        ("kobject", "name", 0),
        ("kobject", "entry", 8),
        ("device", "last", 60),
        ("device", "left", 16),
        ("device", "deep", 24),
        ("device", "deeper", 28),
        ("flagged", "wide", 8),
        ("flagged", "five", 9),
    ],
)
def test_a_member_is_found_also_inside_unnamed_ones(
    kernel: Types, structure: str, member: str, offset: int
) -> None:
    assert Btf(kernel.data()).offset(structure, member) == offset


@pytest.mark.parametrize(
    ("structure", "member", "said"),
    [
        ("device", "absent", "is not there"),
        ("absent", "kobj", "is not there"),
        ("device", "name", "is not there"),  # a member of another structure
        ("colour", "red", "is not there"),  # not a structure
        ("", "kobj", "is not there"),
        ("flagged", "bit", "not at a byte"),
    ],
)
def test_what_is_not_there_is_no_guess(kernel: Types, structure: str, member: str, said: str) -> None:
    with pytest.raises(LookupError, match=said):
        Btf(kernel.data()).offset(structure, member)


def test_a_number_equal_to_the_name_is_no_structure() -> None:
    types = Types()
    assert types.string("int") == 1
    name = types.string("device")
    # in the place of a name, with an offset behind it that looks like a structure of 7 members
    number = types.add(INT, "int", 4, more=bytes(4))
    types.structure("trap", 8, ("x", name, STRUCT << 24 | 7), flag=PACKED)
    # the same, with a member of the right name; but it would lie beyond the end of a structure of 1 byte
    kobj = types.string("kobj")
    types.structure(
        "trap", 8, ("x", name, STRUCT << 24 | 1), ("int", kobj, number), ("far", number, 0), flag=PACKED
    )
    types.add(ENUM, "device", 4, parts=2, more=struct.pack("<IiIi", kobj, 0, types.string("x"), 8))
    types.add(ARRAY, more=struct.pack("<III", number, name, STRUCT << 24 | 60000))
    types.structure("device", 8, ("kobj", number, 32))
    assert Btf(types.data()).offset("device", "kobj") == 4


def test_two_structures_of_one_name_must_agree() -> None:
    types = Types()
    number = types.add(INT, "int", 4, more=bytes(4))
    types.structure("twin", 8, ("same", number, 32), ("other", number, 0))
    types.structure("twin", 16, ("same", number, 32), ("other", number, 64))
    assert Btf(types.data()).offset("twin", "same") == 4
    with pytest.raises(LookupError, match="several places"):
        Btf(types.data()).offset("twin", "other")


def test_a_module_has_types_on_top_of_the_kernels(kernel: Types) -> None:
    module = Types(kernel)
    # the first string of a module has no zero before it; `kobj` is a string of the kernel
    assert module.string("vfio_device") == len(kernel.strings)
    number = 1
    theirs = 11  # the kernel's own unnamed structure, behind one type of each kind
    unnamed = module.structure("", 16, ("inside", number, 64))
    module.structure(
        "vfio_device", 64, ("kobj", number, 64), ("", unnamed, 128), ("", theirs, 384), ("own", number, 256)
    )
    types = Btf(module.data(), Btf(kernel.data()))
    assert types.offset("vfio_device", "kobj") == 8
    assert types.offset("vfio_device", "own") == 32
    assert types.offset("vfio_device", "inside") == 24
    assert types.offset("vfio_device", "deeper") == 52
    assert types.offset("device", "deep") == 24, "the kernel's own"
    with pytest.raises(LookupError, match="is not there"):
        Btf(kernel.data()).offset("vfio_device", "own")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "0 bytes"),
        (bytes(100), "magic 0x0"),
        (Types().data()[:-1], "cut short"),
        (struct.pack(">HBBIIIII", 0xEB9F, 1, 0, 24, 0, 0, 0, 1) + b"\0", "magic"),
    ],
)
def test_what_is_no_btf_is_refused(data: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Btf(data)
