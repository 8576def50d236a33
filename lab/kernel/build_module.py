"""Build our kernel modules (lab/kmod) for the very kernel that a guest boots: one holds locks, one breaks things.

For Debian's kernels the headers of exactly that version are fetched into the cache, beside the system; for a
kernel of the user's own the tree that it was built in serves.  Where the module cannot be built everything works that
does not need it; the reason is kept if sources and compiler gave it, which give it again.

Debian's build tools want the C library of their own release: they run with its loader and libraries, so
that any host will do.  Source: Linux Documentation/kbuild/modules.rst.

This module refuses to load anything; lab/image/initramfs.py packs the module, and the agent loads it when it is asked
to.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from harness.errors import SetupError, UsageError
from harness.lab.cache.store import VARIABLE, key_of
from harness.lab.debian import archive
from harness.lab.kernel.find import debian_request
from harness.lab.kernel.names import FAULTS, WINDOWS
from harness.lab.needs import apt_line
from harness.lab.progress import step

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from harness.lab.cache.store import Cache
    from harness.lab.kernel.find import Kernel

TOOLS: Final = ("gcc", "make")

KIND: Final = "kmod"
HEADERS_BYTES: Final = 200_000_000
"""Disk that the headers of one kernel and the libraries of their tools take, while they are being fetched."""

_FORMAT: Final = 2  # part of the key: raise it when modules are built differently from the same inputs
_FOLDER: Final = Path(__file__).parents[1] / "kmod"
_SOURCES: Final = ("hil_windows.c", "hil_faults.c", "Kbuild")
WHY_NOT: Final = "why-not"
"""The file that says, in the place of a module, why it could not be built."""

_LOG: Final = "make.log"
_TROUBLE: Final = (
    r"Permission denied|No space left|quota exceeded|Read-only file system|Cannot allocate memory|out of memory"
    r"|Input/output error|Too many open files|Killed|Terminated"
)
"""What the machine says that builds, whatever the sources are: by strerror(3), a shell, or a compiler."""
_BUILD_S: Final = 300.0

# What Debian's build tools are linked with.  The newest release's libraries serve the tools of older ones too.
_LIBRARIES: Final = archive.Request(
    label="kbuild-libraries",
    packages=("libc6", "libelf1t64"),
    dependencies="zlib1g|libzstd1",
    suites=(archive.STABLE, f"{archive.STABLE}-updates", f"{archive.STABLE}-security"),
    expected_bytes=4_000_000,
    unpacked_bytes=16_000_000,
    expected_s=2,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowsModule:
    """The module for one kernel, or why there is none.

    Attributes:
        path: the file of the module that holds locks, the other one lies beside it; None when there is none.
        why_not: why there is none, one line; empty when there is one.
    """

    path: Path | None = None
    why_not: str = ""


def windows_module(cache: Cache, kernel: Kernel) -> WindowsModule:
    """Provide the module for a kernel, from the cache when nothing changed.

    What the compiler said of the sources is remembered as well, until the kernel, the sources or the compiler change.
    What may pass (no network, a full disk, a build that was killed) is not.

    Args:
        cache: where it is kept, and the headers too.
        kernel: what it will be loaded into.
    """
    if obstacle := _obstacle(cache, kernel):
        return WindowsModule(why_not=obstacle)
    inputs = {
        "format": _FORMAT,
        "release": kernel.release,
        "kernel": kernel.package,
        "sources": [_digest(_FOLDER / name) for name in _SOURCES],
        "compiler": _first_line(["gcc", "--version"]),
        "tree": [_digest(kernel.build / name) for name in (".config", "Module.symvers")]
        if kernel.build
        else [],
    }
    key = f"{kernel.release}-{key_of(inputs)}"
    try:
        entry = cache.entry(KIND, key) or cache.publish(
            KIND, key, lambda folder: _build(cache, kernel, folder)
        )
    except SetupError as error:
        return WindowsModule(why_not=_one_line(str(error)))
    why_not = entry / WHY_NOT
    if why_not.exists():
        return WindowsModule(why_not=f"{why_not.read_text()} (see {entry / _LOG})")
    return WindowsModule(path=entry / f"{WINDOWS}.ko")


def obstacle_here(cache_root: Path) -> tuple[str, str] | None:
    """Why no module can be built on this machine, for whatever kernel, and what to do about it; None if one can.

    Args:
        cache_root: where the headers lie.
    """
    if re.search(r"[\s:]", str(cache_root)):
        # Linux Makefile: "source directory cannot contain spaces or colons"
        what = f"Linux is not built below a path with a space or a colon, as {cache_root}"
        return what, f"set {VARIABLE}=/another/folder"
    return _no_tools()


def _obstacle(cache: Cache, kernel: Kernel) -> str:
    """Why no module can be built for a kernel, one line; empty when nothing stands in the way."""
    if obstacle := obstacle_here(cache.root):
        return "{} ({})".format(*obstacle)
    if kernel.config and kernel.config.get("CONFIG_MODULES") != "y":
        return "this kernel loads no modules (CONFIG_MODULES)"
    if not kernel.branch and kernel.build is None:
        return "nothing to build it against: give the kernel's tree to --kernel"
    if kernel.build is not None and not (kernel.build / "Module.symvers").is_file():
        return f"no Module.symvers in {kernel.build} (type: make modules)"
    return ""


def _no_tools() -> tuple[str, str] | None:
    """What no module can be built without, and is not here, and what to do about it."""
    absent = [tool for tool in TOOLS if shutil.which(tool) is None]
    return (f"no {' and no '.join(absent)} here", f"type: {apt_line()}") if absent else None


def sources_of_own(folder: Path) -> Path:
    """Refuse what cannot be built for any kernel, before one is fetched.

    Args:
        folder: with a `Kbuild`, or a `Makefile` that kbuild understands.

    Returns:
        its absolute path.

    Raises:
        UsageError: there is no such file in it.
        SetupError: there is no compiler, or no make.
    """
    sources = folder.absolute()
    if not any((sources / name).is_file() for name in ("Kbuild", "Makefile")):
        raise UsageError(
            f"building modules in {folder}",
            said="neither a Kbuild nor a Makefile is there",
            hint="One line does for ipr.c: echo 'obj-m := ipr.o' > Kbuild",
        )
    if obstacle := _no_tools():
        raise SetupError(f"building modules in {folder}", said="{} ({})".format(*obstacle))
    return sources


def make_own(cache: Cache, kernel: Kernel, folder: Path) -> tuple[Path, ...]:
    """Build a user's modules, in the folder where their sources are.

    Args:
        cache: where Debian's headers are kept.
        kernel: that shall load them.
        folder: see :func:`sources_of_own`.

    Returns:
        the files of the modules.

    Raises:
        UsageError, SetupError: as :func:`sources_of_own`.
        SetupError: they cannot be built here, or do not compile; what make printed is its evidence.
    """
    sources = sources_of_own(folder)
    tried = f"building the modules in {folder} for {kernel.release}"
    if obstacle := _obstacle(cache, kernel):
        raise SetupError(tried, said=obstacle)
    with cache.workspace("make") as room, tempfile.TemporaryDirectory(dir=room) as name:
        log, what = Path(name) / _LOG, f"the modules in {folder}"
        said = make_modules(cache, kernel, sources, log, what=what, scratch=Path(name))
        printed = log.read_text(errors="replace")
    built = tuple(sorted(sources.glob("*.ko")))
    if said:
        raise SetupError(tried, said=said, evidence=printed)
    if not built:
        hint = "Its Kbuild names each module in a line: obj-m := ipr.o"
        raise SetupError(tried, said="make succeeded and left no module", hint=hint, evidence=printed)
    return built


def headers_request(kernel: Kernel) -> archive.Request:
    """Describe the download of what is needed to build modules for one of Debian's kernels."""
    version = kernel.release.removesuffix("-amd64")
    return archive.Request(
        label=f"linux-headers-{kernel.branch}",
        newest=rf"linux-headers-({re.escape(version)})-amd64",
        # The tools are packaged once for each version; up to 6.1 once for each branch.
        companions=("linux-headers-{}-common", "linux-kbuild-{}", f"linux-kbuild-{kernel.branch}"),
        suites=debian_request(kernel.branch).suites,
        expected_bytes=18_000_000,
        unpacked_bytes=100_000_000,
        expected_s=5,
    )


def _build(cache: Cache, kernel: Kernel, entry: Path) -> None:
    """Fill a cache entry with the module, or with what the compiler has against its sources.

    Raises:
        SetupError: the headers could not be had, or the build failed for another reason.
    """
    what = "the module for lock windows"
    with tempfile.TemporaryDirectory(dir=entry) as scratch:
        sources = Path(scratch) / "module"
        sources.mkdir()
        for source in _SOURCES:
            shutil.copy(_FOLDER / source, sources)
        said = make_modules(cache, kernel, sources, entry / _LOG, what=what, scratch=Path(scratch))
        built = [sources / f"{name}.ko" for name in (WINDOWS, FAULTS)]
        if not said and all(module.is_file() for module in built):
            for module in built:
                shutil.copy(module, entry)
        elif is_of_the_sources(said):
            (entry / WHY_NOT).write_text(said)
        else:
            raise SetupError(
                f"building {what} for {kernel.release}",
                said=said or "make succeeded and left no module",
                evidence=(entry / _LOG).read_text(errors="replace"),
            )


def make_modules(cache: Cache, kernel: Kernel, sources: Path, log: Path, *, what: str, scratch: Path) -> str:
    """Build the modules of a folder for a kernel, in that folder.

    Args:
        cache: where Debian's headers are kept.
        kernel: one of Debian's, or one with a tree to build against.
        sources: the folder, with a `Kbuild` in it; an absolute path.
        log: where everything is written that make prints.
        what: is being built, in a few words.
        scratch: a folder for everything that is in nobody's way afterwards.  Not where temporary files usually lie:
            that may be full, or forbid programs (noexec).

    Returns:
        the first thing that make called an error; empty when it succeeded.

    Raises:
        SetupError: the headers could not be had.
    """
    with tempfile.TemporaryDirectory(prefix="kbuild-", dir=scratch) as name:
        if kernel.branch:
            headers = archive.unpacked(cache, headers_request(kernel)).path
            libraries = archive.unpacked(cache, _LIBRARIES).path
            tree = Path(name) / "tree"
            _make_tree(tree, headers, libraries)
            where = _debian_arguments(headers, tree)
        else:
            where = _own_arguments(kernel)
        # Types of modules for BPF would need pahole, and the whole vmlinux: lab/kernel/module_types.py adds them.
        arguments = [*where, f"M={sources}", "CONFIG_DEBUG_INFO_BTF_MODULES=", "modules"]
        with step(f"building {what} for {kernel.release}", expected_s=10.0):
            return _make(arguments, log, Path(name))


def _make(arguments: list[str], log: Path, temporary: Path) -> str:
    """Run make; return "" or the first thing that it called an error."""
    environment = {
        name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "ARCH", "CC")
    }
    # setpriv: make must not outlive us and go on writing into a folder that is being removed.
    command = ["setpriv", "--pdeathsig", "TERM", "make", *arguments]
    with log.open("w+") as output:
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**environment, "LC_ALL": "C.UTF-8", "TMPDIR": str(temporary)},
                timeout=_BUILD_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return f"make did not end in {_BUILD_S:.0f} s"
        output.seek(0)
        return first_error(output.read()) if done.returncode else ""


def is_of_the_sources(said: str) -> bool:
    """Whether a build's error is about the sources, by compiler or linker, and will come again as it is."""
    about = re.search(r"\.[ch]:\d+(:\d+)?: (fatal )?error: |ERROR: modpost: ", said)
    return about is not None and re.search(_TROUBLE, said) is None


def first_error(text: str) -> str:
    """Return the line of a build's output that says best why it failed."""
    lines = text.strip().splitlines() or ["no output"]
    for pattern in (
        _TROUBLE,
        r"(?:fatal )?error: ",
        r"ERROR: ",
        r"not found|No such file|cannot ",
        r"\*\*\*",
    ):
        if found := next((line for line in lines if re.search(pattern, line)), ""):
            return found.strip()
    return lines[-1].strip()


# --- Debian's headers ---------------------------------------------------------------------------------------


def _debian_arguments(headers: Path, tree: Path) -> list[str]:
    common = _only(headers.glob("usr/src/linux-headers-*-common"), headers)
    return [
        "-C",
        str(tree),
        # The tree's own Makefile includes the common one by its installed path.
        "-f",
        str(common / "Makefile"),
        f"KBUILD_OUTPUT={tree}",
        # Not the versioned compiler that Debian built the kernel with: any will do.
        "CC=gcc",
        "HOSTCC=gcc",
        # An option that only gcc 14 has; without it the older one with the same effect is used.
        "CONFIG_CC_HAS_MIN_FUNCTION_ALIGNMENT=",
    ]


def _make_tree(tree: Path, headers: Path, libraries: Path) -> None:
    """Lay out a build tree: links to the unpacked headers, and the build tools with their own loader."""
    real = _only(headers.glob("usr/src/linux-headers-*-amd64"), headers)
    tree.mkdir()
    for name in (".config", ".kernelvariables", "Module.symvers", "arch", "include"):
        (tree / name).symlink_to(real / name)
    for name in ("scripts", "tools"):
        _mirror((real / name).resolve(), tree / name, _loader(libraries))


def _mirror(real: Path, copy: Path, loader: str) -> None:
    """Link to everything in a folder; in the place of each program put a script that runs it."""
    copy.mkdir()
    for path in sorted(real.iterdir()):
        there = copy / path.name
        if path.is_dir():
            _mirror(path, there, loader)
        elif _is_program(path):
            there.write_text(f'#!/bin/sh\nexec {loader} --argv0 "$0" "{path}" "$@"\n')
            there.chmod(0o755)
        else:
            there.symlink_to(path)


def _is_program(path: Path) -> bool:
    if not path.is_file() or not os.access(path, os.X_OK):
        return False
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"


def _loader(libraries: Path) -> str:
    # Taken from the place where it lies, not by its link: absolute links would lead out of the tree.
    folder = libraries / "usr/lib/x86_64-linux-gnu"
    return f'"{folder}/ld-linux-x86-64.so.2" --inhibit-cache --library-path "{folder}"'


def _only(found: Iterator[Path], tree: Path) -> Path:
    folders = list(found)
    if len(folders) != 1:
        raise SetupError(f"looking for kernel headers in {tree}", said=f"{len(folders)} of them, not one")
    return folders[0]


# --- a tree of the user's own -------------------------------------------------------------------------------


def _own_arguments(kernel: Kernel) -> list[str]:
    compiler = ["LLVM=1"] if kernel.config.get("CONFIG_CC_IS_CLANG") == "y" else []
    return ["-C", str(kernel.build), *compiler]


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else ""


def _first_line(command: Iterable[str]) -> str:
    done = subprocess.run([*command], capture_output=True, text=True, check=False)
    return (done.stdout.splitlines() or [""])[0]


def _one_line(text: str) -> str:
    return " ".join(text.split())
