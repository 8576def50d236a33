"""Make a module of the user's own ready for the guest: with type information, without debugging symbols.

Probes on a driver's functions follow pointers through its own structures, and the kernel knows their layout only by the
module's type information (BTF).  A build against headers alone has none: it takes the whole kernel to make it.  What
such a build does have is debugging information, so it is made here, with Debian's pahole and the vmlinux that boots.

A signed module stays as it is: any change would break its signature.

Source: Linux scripts/Makefile.modfinal; Documentation/bpf/btf.rst.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from harness.errors import SetupError
from harness.lab.cache.store import key_of
from harness.lab.debian import archive
from harness.lab.kernel import boot_image, modules
from harness.lab.kernel.find import pvh_image
from harness.lab.progress import note

if TYPE_CHECKING:
    from pathlib import Path

    from harness.lab.cache.store import Cache
    from harness.lab.kernel.find import Kernel
    from harness.lab.kernel.own_modules import OwnModule

KIND: Final = "module"
_FORMAT: Final = 1  # part of the key: raise it when modules are made ready differently
_TYPES: Final = ".BTF"
_TYPING_S: Final = 120.0

_PAHOLE: Final = archive.Request(
    label="pahole",
    packages=("pahole",),
    dependencies="libdw1t64|libelf1t64|libbpf1|zlib1g|libzstd1|libc6|liblzma5|libbz2-1.0",
    suites=(archive.STABLE, f"{archive.STABLE}-updates", f"{archive.STABLE}-security"),
    expected_bytes=5_000_000,
    unpacked_bytes=18_000_000,
    expected_s=2,
)


def made_ready(cache: Cache, kernel: Kernel, module: OwnModule) -> OwnModule:
    """Give a module type information where the kernel takes it, and take its debugging symbols away.

    Without type information it works nevertheless, and that is said: what needs probes on it may stay unknown.

    Args:
        cache: where the outcome is kept, and pahole.
        kernel: that shall load it.
        module: of the user's own; unsigned, or it is returned as it is.
    """
    names = modules.section_names(module.content)
    if module.signed or (_TYPES in names and ".debug_info" not in names):
        return module
    vmlinux = pvh_image(kernel, cache)
    key = key_of(
        {
            "format": _FORMAT,
            "module": hashlib.sha256(module.content).hexdigest(),
            "kernel": boot_image.fingerprint(vmlinux),
        }
    )

    def build(folder: Path) -> None:
        file = folder / f"{module.name}.ko"
        file.write_bytes(module.content)
        if why_not := "" if _TYPES in names else _add_types(cache, kernel, vmlinux, file, names):
            raise SetupError(f"adding type information to {module.path}", said=why_not)
        _strip(file)

    try:
        entry = cache.entry(KIND, key) or cache.publish(KIND, key, build)
    except SetupError as error:
        note(f"{error}; a verdict that needs probes on {module.name} may be UNKNOWN")
        return module
    return replace(module, content=(entry / f"{module.name}.ko").read_bytes())


def _add_types(cache: Cache, kernel: Kernel, vmlinux: Path, file: Path, names: frozenset[str]) -> str:
    """Add the section; returns why it could not be.

    Raises:
        SetupError: pahole could not be had.
    """
    if kernel.config and kernel.config.get("CONFIG_DEBUG_INFO_BTF_MODULES") != "y":
        return "this kernel keeps none for modules (CONFIG_DEBUG_INFO_BTF_MODULES)"
    if ".debug_info" not in names:
        return "it has no debugging information to make it from (build it with CONFIG_DEBUG_INFO, do not strip it)"
    image = vmlinux.read_bytes()
    if not image.startswith(b"\x7fELF") or _TYPES not in modules.section_names(image):
        return f"{vmlinux} is no vmlinux with that of the kernel"
    tree = archive.unpacked(cache, _PAHOLE).path
    libraries = tree / "usr/lib/x86_64-linux-gnu"
    # With its own loader and libraries: those of this machine may be older.
    command: list[str | Path] = [libraries / "ld-linux-x86-64.so.2", "--inhibit-cache"]
    command += ["--library-path", libraries, tree / "usr/bin/pahole", "-J", "--btf_base", vmlinux, file]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_TYPING_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"pahole did not end in {_TYPING_S:.0f} s"
    if done.returncode or _TYPES not in modules.section_names(file.read_bytes()):
        return (done.stderr.strip().splitlines() or [f"pahole ended with {done.returncode}"])[0]
    return ""


def _strip(file: Path) -> None:
    """Take debugging symbols away: ten times the size of the rest, and in the memory of every guest."""
    if shutil.which("strip"):
        subprocess.run(["strip", "--strip-debug", file], capture_output=True, check=False)
