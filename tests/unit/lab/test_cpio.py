"""The archive that the kernel unpacks: laid out as its documentation says, and the same every time."""

from __future__ import annotations

import stat
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.lab.image import cpio
from tests.tools import tool


def unpack(archive: bytes) -> dict[str, tuple[int, bytes, tuple[int, int]]]:
    """Read archives, one behind the other, the way the kernel does; mode, content and device by path, in order."""
    found: dict[str, tuple[int, bytes, tuple[int, int]]] = {}
    at = 0
    while True:
        assert archive[at : at + 6] == b"070701"
        fields = [int(archive[at + 6 + 8 * n : at + 14 + 8 * n], 16) for n in range(13)]
        mode, size, device, name_size = fields[1], fields[6], (fields[9], fields[10]), fields[11]
        name = archive[at + 110 : at + 110 + name_size]
        assert name.endswith(b"\0")
        at = (at + 110 + name_size + 3) & ~3
        if name == b"TRAILER!!!\0":
            at = len(archive) - len(archive[at:].lstrip(b"\0"))
            if at == len(archive):
                return found
            continue
        found[name[:-1].decode()] = (mode, archive[at : at + size], device)
        at = (at + size + 3) & ~3


def test_an_entry_comes_back_with_type_permissions_and_content() -> None:
    archive = cpio.archive(
        [
            cpio.file("init", b"\x7fELF", 0o755),
            cpio.link("bin/sh", "busybox"),
            cpio.character_device("dev/console", 5, 1),
        ]
    )
    assert unpack(archive) == {
        "bin": (stat.S_IFDIR | 0o755, b"", (0, 0)),
        "bin/sh": (stat.S_IFLNK | 0o777, b"busybox", (0, 0)),
        "dev": (stat.S_IFDIR | 0o755, b"", (0, 0)),
        "dev/console": (stat.S_IFCHR | 0o600, b"", (5, 1)),
        "init": (stat.S_IFREG | 0o755, b"\x7fELF", (0, 0)),
    }


_names = st.text("abc-._", min_size=1, max_size=5).filter(lambda name: name not in {".", ".."})
_paths = st.lists(_names, min_size=1, max_size=3).map("/".join)


@given(st.dictionaries(_paths, st.binary(max_size=20), max_size=8), st.randoms())
def test_same_entries_in_any_order_give_the_same_bytes_with_parents_first(
    contents: dict[str, bytes], random: object
) -> None:
    # A path that is also somebody's parent cannot be a file.
    files = {
        path: content
        for path, content in contents.items()
        if not any(other.startswith(path + "/") for other in contents)
    }
    entries = [cpio.file(path, content) for path, content in files.items()]
    archive = cpio.archive(entries)
    random.shuffle(entries)  # type: ignore[attr-defined] # hypothesis gives a random.Random
    assert cpio.archive(entries) == archive
    assert len(archive) % 512 == 0
    unpacked = unpack(archive)
    assert {path: found[1] for path, found in unpacked.items() if stat.S_ISREG(found[0])} == files
    seen: set[str] = set()
    for path in unpacked:
        assert "/" not in path or path.rsplit("/", 1)[0] in seen
        seen.add(path)


@pytest.mark.parametrize("path", ["/etc", "../etc", "a/../b", "a//b", ".", "", "a/"])
def test_a_path_that_is_not_plain_and_relative_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="plain and relative"):
        cpio.archive([cpio.file(path, b"")])


def test_two_entries_with_one_path_are_refused() -> None:
    with pytest.raises(ValueError, match="two archive entries"):
        cpio.archive([cpio.file("a", b"1"), cpio.file("a", b"2")])


def test_the_real_cpio_lists_what_was_packed() -> None:
    archive = cpio.archive([cpio.file("etc/motd", b"hello\n"), cpio.folder("tmp")])
    listed = subprocess.run([tool("cpio"), "-it", "--quiet"], input=archive, capture_output=True, check=True)
    assert listed.stdout.decode().split() == ["etc", "etc/motd", "tmp"]
