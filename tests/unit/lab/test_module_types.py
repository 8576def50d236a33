"""Modules of one's own made ready: which are left as they are, what is said without types, what is kept."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from harness.lab.cache.store import Cache
from harness.lab.kernel import module_types
from harness.lab.kernel.find import Kernel
from harness.lab.kernel.module_types import made_ready
from harness.lab.kernel.own_modules import OwnModule
from tests.unit.lab.test_kernel import vmlinux
from tests.unit.lab.test_modules import elf


def own(content: bytes) -> OwnModule:
    return OwnModule(name="ipr", path=Path("/x/ipr.ko"), digest="0" * 12, content=content, made_for="6.12.0")


@pytest.fixture
def kernel(tmp_path: Path) -> Kernel:
    image = tmp_path / "vmlinux"
    image.write_bytes(vmlinux())
    return Kernel(image=image, modules=None, release="6.12.0", package="x", config={}, debug=False)


def test_a_signed_module_stays_as_it_is(
    kernel: Kernel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    signed = own(elf("depends=") + b"~Module signature appended~\n")
    with Cache(tmp_path / "cache") as cache:
        assert made_ready(cache, kernel, signed) is signed
        assert cache.entries() == []
    assert capsys.readouterr().err == ""


def test_without_debugging_information_there_are_no_types_and_that_is_said(
    kernel: Kernel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bare = own(elf("depends="))
    with Cache(tmp_path / "cache") as cache:
        assert made_ready(cache, kernel, bare) == bare
        assert cache.entries() == [], "what may be mended is not remembered"
    said = capsys.readouterr().err
    assert "adding type information to /x/ipr.ko: it has no debugging information" in said
    assert "may be UNKNOWN" in said


def test_a_kernel_that_keeps_no_types_of_modules_is_named(
    kernel: Kernel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    without = Kernel(
        image=kernel.image,
        modules=None,
        release="6.12.0",
        package="x",
        config={"CONFIG_DEBUG_INFO_BTF": "y"},
        debug=False,
    )
    with Cache(tmp_path / "cache") as cache:
        made_ready(cache, without, own(elf("depends=")))
    assert "CONFIG_DEBUG_INFO_BTF_MODULES" in capsys.readouterr().err


def test_what_was_made_ready_is_kept_for_this_module_and_this_kernel(
    kernel: Kernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs: list[Path] = []

    def add_types(_cache: Cache, _kernel: Kernel, _vmlinux: Path, file: Path, _names: frozenset[str]) -> str:
        runs.append(file)
        file.write_bytes(file.read_bytes() + b"types")
        return ""

    monkeypatch.setattr(module_types, "_add_types", add_types)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    one, other = own(elf("depends=")), own(elf("depends=vfio"))
    with Cache(tmp_path / "cache") as cache:
        ready = made_ready(cache, kernel, one)
        assert ready.content == one.content + b"types"
        assert str(ready) == str(one), "it is called by the user's file"
        assert made_ready(cache, kernel, one) == ready
        assert made_ready(cache, kernel, other).content == other.content + b"types"
    assert len(runs) == 2
