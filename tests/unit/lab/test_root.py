"""The guest's root: what is in it, and that the same inputs give the same bytes."""

from __future__ import annotations

import json
import marshal
import stat
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from harness.errors import SetupError
from harness.lab.cache.store import Cache
from harness.lab.image import bytecode
from harness.lab.image import initramfs as root
from harness.lab.kernel.added import Added
from harness.lab.kernel.find import Kernel
from harness.lab.kernel.own_modules import OwnModule
from tests.unit.lab.test_cpio import unpack
from tests.unit.lab.test_modules import elf

Contents = dict[str, tuple[int, bytes, tuple[int, int]]]


def kernel(folder: Path, **modules: str) -> Kernel:
    """Describe a kernel whose modules need what `modules` says (by `name="depends"`)."""
    folder.mkdir()
    for name, depends in modules.items():
        (folder / f"{name}.ko").write_bytes(elf(f"depends={depends}"))
    return Kernel(image=Path("bzImage"), modules=folder, release="6.12.0", package="", config={}, debug=False)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Contents:
    folder = tmp_path_factory.mktemp("root")
    depends = {"vfio": "", "vfio_iommu_type1": "vfio", "vfio_pci": "vfio", "virtio_pci": ""}
    depends |= {"igb": "i2c_algo_bit", "i2c_algo_bit": ""}
    found = kernel(folder / "modules", **depends)
    with Cache(folder / "cache") as cache:
        first = root.build_root(cache, found)
        assert root.build_root(cache, found) == first
        return unpack(first.read_bytes())


def test_init_is_a_static_program_and_the_kernel_finds_a_console_for_it(built: Contents) -> None:
    mode, content, _ = built["init"]
    assert mode & 0o111
    assert content[:4] == b"\x7fELF"
    assert b"/lib64/ld-linux" not in content, "init must not need a loader"
    assert stat.S_ISCHR(built["dev/console"][0])
    assert built["dev/console"][2] == (5, 1)


def test_the_interpreter_comes_with_its_loader_and_every_library_it_names(built: Contents) -> None:
    assert built["python/bin/python3"][1][:4] == b"\x7fELF"
    assert "lib64/ld-linux-x86-64.so.2" in built
    assert "lib/libc.so.6" in built


def test_the_agent_is_there_with_sources_and_what_it_must_not_need_is_not(built: Contents) -> None:
    site = {path.removeprefix("python/site/") for path in built if path.startswith("python/site/")}
    assert "harness/agent/worker.py" in site
    assert any(path.startswith("harness/bindings/_actor") for path in site)
    for absent in ("judge", "report", "plugin", "scenarios", "contract"):
        assert not any(path.startswith(f"harness/{absent}/") for path in site)
    for package in ("execnet", "tenacity"):
        assert f"{package}/__init__.pyc" in site
    assert not any("numpy" in path or "pytest" in path for path in site)


def test_byte_code_is_never_checked_against_its_source(built: Contents) -> None:
    codes = [content for path, (_, content, _) in built.items() if path.endswith(".pyc")]
    assert len(codes) > 300
    assert {struct.unpack_from("<I", code, 4)[0] for code in codes} == {1}
    assert not any(path.endswith("/os.py") for path in built), "the standard library ships without sources"


def test_modules_are_listed_in_an_order_in_which_they_load(built: Contents) -> None:
    order = built["etc/modules.order"][1].decode().split()
    assert order == [
        f"/lib/modules/{name}.ko" for name in ("virtio_pci", "vfio", "vfio_iommu_type1", "vfio_pci")
    ]
    index = json.loads(built["etc/modules.index"][1])
    assert index["igb"] == ["/lib/modules/i2c_algo_bit.ko", "/lib/modules/igb.ko"]
    assert "nvme" not in index, "this kernel has none, and that is no error"
    for paths in index.values():
        assert all(path.lstrip("/") in built for path in paths)


def test_the_module_for_windows_is_there_and_not_loaded_at_boot(tmp_path: Path) -> None:
    found = kernel(tmp_path / "modules", vfio="", vfio_iommu_type1="", vfio_pci="")
    windows = tmp_path / "hil_windows.ko"
    windows.write_bytes(elf("depends="))
    with Cache(tmp_path / "cache") as cache:
        without = root.build_root(cache, found)
        path = root.build_root(cache, found, Added(windows=windows))
        assert path != without
        contents = unpack(path.read_bytes())
        assert "hil_windows" not in json.loads(unpack(without.read_bytes())["etc/modules.index"][1])
    (file,) = json.loads(contents["etc/modules.index"][1])["hil_windows"]
    assert contents[file.lstrip("/")][1][:4] == b"\x7fELF"
    assert "hil_windows" not in contents["etc/modules.order"][1].decode(), "it taints the kernel"


def test_what_is_built_in_may_be_asked_for(tmp_path: Path) -> None:
    found = kernel(tmp_path / "modules", vfio="", vfio_iommu_type1="", vfio_pci="")
    (tmp_path / "modules/modules.builtin").write_text("kernel/drivers/pci/pci-stub.ko\nkernel/fs/ext4.ko\n")
    with Cache(tmp_path / "cache") as cache:
        index = json.loads(unpack(root.build_root(cache, found).read_bytes())["etc/modules.index"][1])
    assert index["pci_stub"] == []
    assert "pci_pf_stub" not in index
    assert "ext4" not in index, "nobody asks for it"


def test_a_kernel_without_vfio_is_refused_by_name(tmp_path: Path) -> None:
    with Cache(tmp_path / "cache") as cache, pytest.raises(SetupError, match="module vfio_iommu_type1"):
        root.build_root(cache, kernel(tmp_path / "modules", igb=""))


def test_a_machine_without_a_compiler_is_told_what_to_type(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    found = kernel(tmp_path / "modules", vfio="", vfio_iommu_type1="", vfio_pci="")
    with (
        Cache(tmp_path / "cache") as cache,
        pytest.raises(SetupError, match=r"no gcc here\. +Type: .*apt-get install gcc"),
    ):
        root.build_root(cache, found)


def test_a_changed_module_makes_another_root(tmp_path: Path) -> None:
    found = kernel(tmp_path / "modules", vfio="")
    before = root.fingerprint(tmp_path / "modules")
    (tmp_path / "modules" / "vfio.ko").write_bytes(elf("depends= alias=new"))
    assert found.modules is not None
    assert root.fingerprint(found.modules) != before


def test_byte_code_is_the_same_every_time_and_names_the_guests_file() -> None:
    source = b"def f():\n    return {'a', 'b', 'c'}, 'a', frozenset('xyz')\n"
    first = bytecode.compiled(source, "/python/site/x.py")
    assert marshal.loads(first[16:]).co_filename == "/python/site/x.py"  # noqa: S302 - ours
    assert bytecode.compiled(source, "/python/site/x.py") == first
    assert bytecode.compiled(b"def :", "x.py") == b""


def test_the_compiler_program_answers_for_every_file(tmp_path: Path) -> None:
    (tmp_path / "good.py").write_text("x = 1\n")
    (tmp_path / "bad.py").write_text("def :\n")
    wanted = json.dumps([[str(tmp_path / name), f"/{name}"] for name in ("good.py", "bad.py", "good.py")])
    out = subprocess.run(
        [sys.executable, "-S", bytecode.__file__], input=wanted.encode(), capture_output=True, check=True
    ).stdout
    (size,) = struct.unpack_from(">I", out)
    good = out[4 : 4 + size]
    assert out[4 + size :] == bytes(4) + struct.pack(">I", size) + good


def own(name: str, depends: str = "") -> OwnModule:
    return OwnModule(
        name=name,
        path=Path(f"/x/{name}.ko"),
        digest="0" * 12,
        content=elf(f"depends={depends} mine=y"),
        made_for="6.12.0",
    )


def test_a_module_of_the_users_own_takes_the_place_of_the_kernels_or_comes_beside(tmp_path: Path) -> None:
    depends = {"vfio_iommu_type1": "", "vfio_pci": "vfio", "vfio": "", "ipr": "scsi_mod", "scsi_mod": ""}
    found = kernel(tmp_path / "modules", **depends)
    mine = (own("ipr", "scsi_mod"), own("vfio"))
    with Cache(tmp_path / "cache") as cache:
        path = root.build_root(cache, found, Added(own=(*mine, own("new", "ipr"))))
        other = root.build_root(cache, found, Added(own=(*mine, own("new"))))
        contents = unpack(path.read_bytes())
    assert path != other, "another module is another root"
    for module in mine:
        assert contents[f"lib/modules/{module.name}.ko"][1] == module.content
    index = json.loads(contents["etc/modules.index"][1])
    assert index["ipr"] == ["/lib/modules/scsi_mod.ko", "/lib/modules/ipr.ko"]
    assert index["new"] == [*index["ipr"], "/lib/modules/new.ko"]
    at_boot = contents["etc/modules.order"][1].decode().split()
    assert "/lib/modules/vfio.ko" in at_boot, "as the kernel's own"
    assert "/lib/modules/ipr.ko" not in at_boot


def test_a_kernel_without_modules_takes_those_of_the_user(tmp_path: Path) -> None:
    bare = replace(kernel(tmp_path / "modules"), modules=None)
    with Cache(tmp_path / "cache") as cache:
        contents = unpack(root.build_root(cache, bare, Added(own=(own("ipr"),))).read_bytes())
    assert json.loads(contents["etc/modules.index"][1]) == {"ipr": ["/lib/modules/ipr.ko"]}
