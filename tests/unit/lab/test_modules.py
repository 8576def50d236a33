"""Kernel modules: read from ELF, closed over what they need, ordered so that each can be loaded."""

from __future__ import annotations

import gzip
import lzma
import struct
import subprocess
from pathlib import Path

import pytest

from harness.errors import SetupError, UsageError
from harness.lab.kernel import modules
from harness.model.limits import MODULE, MODULE_FILE
from tests.tools import tool


def elf(info: str) -> bytes:
    """Make the smallest ELF64 object with a .modinfo section; fields of `info` are separated by blanks."""
    names = b"\0.modinfo\0.shstrtab\0"
    content = info.replace(" ", "\0").replace("+", " ").encode() + b"\0"
    header = b"\x7fELF\x02\x01\x01" + bytes(9)
    sections_at = 64 + len(content) + len(names)
    header += struct.pack("<HHIQQQIHHHHHH", 1, 62, 1, 0, 0, sections_at, 0, 64, 0, 0, 64, 3, 2)

    def section(name: int, offset: int, size: int) -> bytes:
        return struct.pack("<IIQQQQIIQQ", name, 1, 0, 0, offset, size, 0, 0, 0, 0)

    return (
        header
        + content
        + names
        + section(0, 0, 0)
        + section(1, 64, len(content))
        + section(10, 64 + len(content), len(names))
    )


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A module folder: vfio-pci needs vfio-pci-core needs vfio; erofs wants crc32c first."""
    (tmp_path / "kernel/vfio").mkdir(parents=True)
    (tmp_path / "kernel/vfio/vfio.ko").write_bytes(elf("name=vfio depends="))
    (tmp_path / "kernel/vfio/vfio-pci-core.ko.xz").write_bytes(lzma.compress(elf("depends=vfio,irqbypass")))
    (tmp_path / "kernel/vfio/vfio-pci.ko.gz").write_bytes(gzip.compress(elf("depends=vfio-pci-core,vfio")))
    (tmp_path / "kernel/erofs.ko").write_bytes(elf("depends= softdep=pre:+crc32c_generic+nowhere"))
    (tmp_path / "kernel/crc32c_generic.ko").write_bytes(elf("depends="))
    (tmp_path / "modules.builtin").write_text("kernel/virt/lib/irqbypass.ko\nkernel/drivers/pvpanic-pci.ko\n")
    return tmp_path


def test_modinfo_keeps_every_value_of_a_key() -> None:
    assert modules.modinfo(elf("alias=a alias=b depends=x,y")) == {"alias": ["a", "b"], "depends": ["x,y"]}


def test_modinfo_refuses_what_is_no_module() -> None:
    with pytest.raises(ValueError, match="ELF64"):
        modules.modinfo(b"\xfd7zXZ\0 not decompressed")


def test_names_are_the_kernels_whatever_the_file_is_called() -> None:
    assert modules.canonical("kernel/drivers/vfio/pci/vfio-pci-core.ko.zst") == "vfio_pci_core"


def test_softdep_takes_what_must_come_before_and_not_what_comes_after() -> None:
    hard, soft = modules.requirements({"depends": ["a-b,c"], "softdep": ["pre: d e post: f"]})
    assert (hard, soft) == (["a_b", "c"], ["d", "e"])


def test_closure_puts_everything_after_what_it_needs_and_skips_what_is_built_in(tree: Path) -> None:
    found = modules.closure(modules.scan(tree), ["vfio-pci", "pvpanic_pci"])
    assert [one.name for one in found] == ["vfio", "vfio_pci_core", "vfio_pci"]
    assert all(one.content.startswith(b"\x7fELF") for one in found)


def test_a_soft_dependency_is_loaded_first_and_may_be_missing(tree: Path) -> None:
    assert [one.name for one in modules.closure(modules.scan(tree), ["erofs"])] == ["crc32c_generic", "erofs"]


def test_load_order_names_only_what_one_module_needs(tree: Path) -> None:
    found = modules.closure(modules.scan(tree), ["erofs", "vfio-pci"])
    assert modules.load_order(found, "vfio-pci-core") == ["vfio", "vfio_pci_core"]


def test_a_missing_module_is_named_together_with_who_wants_it(tree: Path) -> None:
    (tree / "kernel/vfio/vfio.ko").unlink()
    with pytest.raises(SetupError, match=r"module vfio \(wanted by vfio_pci_core\).*neither among"):
        modules.closure(modules.scan(tree), ["vfio-pci"])


def test_modules_that_need_each_other_end_the_search(tmp_path: Path) -> None:
    (tmp_path / "a.ko").write_bytes(elf("depends=b"))
    (tmp_path / "b.ko").write_bytes(elf("depends=a"))
    assert {one.name for one in modules.closure(modules.scan(tmp_path), ["a"])} == {"a", "b"}


def test_a_damaged_module_file_is_named(tree: Path) -> None:
    (tree / "kernel/vfio/vfio-pci-core.ko.xz").write_bytes(b"\xfd7zXZ\0cut")
    with pytest.raises(SetupError, match=r"vfio-pci-core\.ko\.xz"):
        modules.closure(modules.scan(tree), ["vfio-pci"])


@pytest.mark.parametrize("suffix", ["xz", "gz", "zst", "ko"])
def test_a_module_that_never_ends_is_refused(suffix: str, tmp_path: Path) -> None:
    """A few kilobytes unpack to gigabytes; they were all unpacked."""
    path = tmp_path / f"bomb.ko.{suffix}"
    if suffix == "ko":
        path = tmp_path / "bomb.ko"
        with path.open("wb") as file:
            file.truncate(MODULE_FILE.most + 1)
    elif suffix == "zst":
        tool("zstd")
        with path.open("wb") as file:
            subprocess.run(
                ["zstd", "-qc", "--single-thread"], input=bytes(MODULE.most + 1), stdout=file, check=True
            )
    else:
        with (lzma.LZMAFile if suffix == "xz" else gzip.GzipFile)(path, "wb") as packed:
            for _ in range((MODULE.most >> 20) + 1):
                packed.write(bytes(1 << 20))
    most = (MODULE_FILE if suffix == "ko" else MODULE).most
    with pytest.raises((SetupError, UsageError), match=f"at most {most:,} are taken of a kernel module"):
        modules.decompressed(path)


def test_a_module_that_is_cut_short_is_refused(tmp_path: Path) -> None:
    for suffix, packed in (("xz", lzma.compress(bytes(5000))), ("gz", gzip.compress(bytes(5000)))):
        path = tmp_path / f"cut.ko.{suffix}"
        path.write_bytes(packed[:-20])
        with pytest.raises(SetupError, match="decompress"):
            modules.decompressed(path)
