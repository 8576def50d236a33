"""Kernel modules of one's own: what is refused before anything boots, and what a run is called that has them."""

from __future__ import annotations

import gzip
import hashlib
import lzma
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.lab.kernel.find import Kernel
from harness.lab.kernel.own_modules import OwnModule, own_modules, refuse_several_kernels, refuse_unfit
from tests.unit.lab.test_modules import elf

RELEASE = "6.12.0-mine"
MAGIC = f"vermagic={RELEASE}+SMP+mod_unload+"
SIGNATURE = b"~Module signature appended~\n"


def module(folder: Path, file: str = "ipr.ko", info: str = f"name=ipr depends= {MAGIC}") -> Path:
    """A module in a file, packed as the file's name says."""
    path = folder / file
    pack: dict[str, Callable[[bytes], bytes]] = {".xz": lzma.compress, ".gz": gzip.compress}
    path.write_bytes(pack.get(path.suffix, bytes)(elf(info)))
    return path


def kernel(folder: Path, **config: str) -> Kernel:
    """A kernel with three modules, and one that is built in."""
    modules = folder / "modules"
    modules.mkdir(exist_ok=True)
    for name in ("ipr", "scsi_mod", "vfio"):
        (modules / f"{name}.ko").write_bytes(elf(f"depends= {MAGIC}"))
    (modules / "modules.builtin").write_text("kernel/drivers/base/regmap.ko\n")
    return Kernel(
        image=Path("bzImage"), modules=modules, release=RELEASE, package="x", config=config, debug=False
    )


@pytest.mark.parametrize("file", ["ipr.ko", "my-patched.ko", "ipr.ko.xz", "ipr.ko.gz"])
def test_a_module_is_called_as_it_calls_itself_with_the_digest_of_its_file(tmp_path: Path, file: str) -> None:
    path = module(tmp_path, file)
    (found,) = own_modules([path])
    assert str(found) == f"ipr-{hashlib.sha256(path.read_bytes()).hexdigest()[:12]}"
    assert found.content.startswith(b"\x7fELF")
    assert (found.made_for, found.path) == (f"{RELEASE} SMP mod_unload", path)
    refuse_unfit([found], kernel(tmp_path))


def test_one_that_does_not_say_its_name_is_called_as_its_file_is(tmp_path: Path) -> None:
    (found,) = own_modules([module(tmp_path, "vfio-pci-core.ko", f"depends= {MAGIC}")])
    assert found.name == "vfio_pci_core"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"#!/bin/sh\n", "not an ELF64 little-endian object"),
        (b"", "not an ELF64 little-endian object"),
        (elf("name=ipr")[:200], "cut short"),
        (elf("name=ipr depends="), "no vermagic"),  # ipr.o: modpost adds it
    ],
)
def test_what_is_no_module_is_refused_by_name(tmp_path: Path, data: bytes, said: str) -> None:
    (tmp_path / "ipr.ko").write_bytes(data)
    with pytest.raises(
        UsageError, match=rf"module .*/ipr\.ko: .*{said}.* Name the FILE\.ko that make has left"
    ):
        own_modules([tmp_path / "ipr.ko"])


def test_what_cannot_be_read_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"ipr\.ko: No such file or directory"):
        own_modules([tmp_path / "ipr.ko"])
    with pytest.raises(UsageError, match="Is a directory"):
        own_modules([tmp_path])
    (tmp_path / "ipr.ko.xz").write_bytes(b"\xfd7zXZ\0cut")
    with pytest.raises(UsageError, match=r"ipr\.ko\.xz: .*Is it a whole file\?"):
        own_modules([tmp_path / "ipr.ko.xz"])


def test_two_of_one_name_are_refused_with_both_files(tmp_path: Path) -> None:
    files = [module(tmp_path, "ipr.ko"), module(tmp_path, "other.ko")]
    with pytest.raises(UsageError, match=r"/ipr\.ko and .*/other\.ko: both are ipr"):
        own_modules(files)


@pytest.mark.parametrize(
    ("info", "said", "hint"),
    [
        (
            "vermagic=6.12.1+SMP+mod_unload+",
            "it was built for '6.12.1 SMP mod_unload'",
            f"against the headers of {RELEASE}, or name the kernel",
        ),
        (
            f"vermagic={RELEASE}+SMP+preempt+mod_unload+",
            f"it was built for '{RELEASE} SMP preempt mod_unload', the kernel's own modules for '{RELEASE} SMP mod",
            "with its configuration",
        ),
        (f"name=regmap {MAGIC}", "regmap is built into this kernel", "as a module"),
        (f"name=hil_windows {MAGIC}", "the lab has a module of that name", "another one"),
        (f"depends=scsi_mod,libata {MAGIC}", "it needs libata", "Give it as well: --module libata.ko"),
    ],
)
def test_one_that_this_kernel_would_not_load_is_refused_with_what_to_do(
    tmp_path: Path, info: str, said: str, hint: str
) -> None:
    own = own_modules([module(tmp_path, info=info)])
    with pytest.raises(UsageError) as refused:
        refuse_unfit(own, kernel(tmp_path))
    assert f"ipr.ko in kernel {RELEASE}" in refused.value.tried
    assert said in refused.value.said
    assert hint in refused.value.hint


def test_modules_of_ones_own_may_need_each_other_and_what_is_built_in(tmp_path: Path) -> None:
    own = own_modules(
        [
            module(tmp_path, info=f"depends=libata,regmap {MAGIC}"),
            module(tmp_path, "libata.ko", info=f"depends= {MAGIC}"),
        ]
    )
    refuse_unfit(own, kernel(tmp_path))


def test_a_kernel_that_takes_no_modules_or_signed_ones_only_says_so(tmp_path: Path) -> None:
    (own,) = own_modules([module(tmp_path)])
    with pytest.raises(UsageError, match="this kernel loads no modules"):
        refuse_unfit([own], kernel(tmp_path, CONFIG_PCI="y"))
    forced = kernel(tmp_path, CONFIG_MODULES="y", CONFIG_MODULE_SIG_FORCE="y")
    with pytest.raises(UsageError, match="signed modules only"):
        refuse_unfit([own], forced)
    refuse_unfit([replace(own, content=own.content + SIGNATURE)], forced)


def test_a_kernel_whose_modules_nobody_knows_is_held_to_its_release(tmp_path: Path) -> None:
    bare = replace(kernel(tmp_path), modules=None)
    refuse_unfit(own_modules([module(tmp_path)]), bare)
    with pytest.raises(UsageError, match=r"6\.12\.1"):
        refuse_unfit(own_modules([module(tmp_path, info="vermagic=6.12.1+SMP+")]), bare)


def test_several_kernels_and_a_module_do_not_go_together() -> None:
    refuse_several_kernels([], ["6.1", "7.x"])
    refuse_several_kernels(["ipr.ko"], ["6.12"])
    with pytest.raises(UsageError, match=r"--module ipr\.ko with the kernels 6\.1, 7\.x: .* for one of them"):
        refuse_several_kernels(["ipr.ko"], ["6.1", "7.x"])


def test_nothing_is_asked_of_a_kernel_for_whom_there_is_no_module(tmp_path: Path) -> None:
    none: tuple[OwnModule, ...] = ()
    refuse_unfit(none, kernel(tmp_path, CONFIG_MODULES="n"))
