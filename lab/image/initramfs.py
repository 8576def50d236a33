"""Build the guest's root: an initramfs made of the very interpreter and packages that run here.

No second Python, no ABI mismatch, nothing to install in the guest: a static init (init.c), the interpreter
with its standard library as byte code, the shared libraries it loads, the packages the agent needs, and
kernel modules already decompressed and ordered. The same inputs give the same bytes. It refuses to leave
out silently what the agent needs; it never starts QEMU.

In the guest: `/init`, `/python` (PYTHONHOME; `/python/site` holds the packages), `/lib` (libraries and
modules), `/etc/modules.order` (paths, loaded at boot), `/etc/modules.index` (JSON: name to the ordered list
of paths to load; an empty one for what is built in).
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import sysconfig
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from harness.errors import SetupError
from harness.lab.cache.store import key_of
from harness.lab.image import cpio
from harness.lab.image.init_program import compiled_init
from harness.lab.kernel import modules
from harness.lab.kernel.added import NOTHING, Added
from harness.lab.kernel.names import FAULTS, WINDOWS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from harness.lab.cache.store import Cache
    from harness.lab.kernel.find import Kernel

_FORMAT: Final = 1  # part of the key: raise it when the contents change for another reason than their inputs

IMAGE: Final = "guest.cpio"

TRANSPORT: Final = ("virtio_pci", "virtio_console")
"""The way to the host.  Built into most kernels, but modules in Debian's 6.1."""
NEEDED: Final = ("vfio_iommu_type1", "vfio_pci")
LOADED_AT_BOOT: Final = (*TRANSPORT, *NEEDED, "pvpanic_pci")
SHIPPED: Final = (
    *("virtio_rng", "igb", "igbvf", "e1000e", "nvme"),
    *("pci_stub", "pci_pf_stub", "uio_pci_generic"),  # drivers that own a function and leave it alone
    *("ipr", "sd_mod"),  # an adapter, and the disks behind it
)
"""Loaded on request.  A kernel may lack any of these, and may lack pvpanic."""

# What runs in the guest, by the direction of imports (harness/agent and everything below it).  A change to
# the judge or to a report must not make a new template necessary.
_AGENT_PARTS: Final = ("__init__.py", "visible.py", "errors.py", "model", "bindings", "pci", "vfio", "agent")
_PACKAGES: Final = ("cffi", "_cffi_backend", "execnet", "tenacity")

_LEFT_OUT: Final = frozenset(
    {"__pycache__", "test", "tests", "idlelib", "tkinter", "turtledemo", "ensurepip", "lib2to3", "distutils"}
    | {"pydoc_data", "venv", "site-packages", "dist-packages", "sqlite3", "curses"}
)
# Extension modules that would only drag in large libraries.
_LEFT_OUT_EXTENSIONS: Final = re.compile(
    r"(_ssl|_hashlib|_sqlite3|_tkinter|_curses\w*|_dbm|_gdbm|_test\w*|xx\w+|nis|_xx\w+|_ctypes_test|ossaudiodev)\."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Source:
    """One host file and its place in the guest."""

    host: Path
    guest: str

    @property
    def is_python(self) -> bool:
        return self.host.suffix == ".py"

    @property
    def is_elf(self) -> bool:
        return self.host.suffix == ".so" or ".so." in self.host.name or self.guest == "python/bin/python3"


def build_root(cache: Cache, kernel: Kernel, added: Added = NOTHING) -> Path:
    """Provide the initramfs for one kernel, from the cache when nothing changed.

    Args:
        cache: where it is kept.
        kernel: whose modules go in; without `modules` everything needed is taken to be built in.
        added: modules that go in beside them, or instead.

    Returns:
        the path of the archive.

    Raises:
        SetupError: no C compiler, a package or library is missing, or the kernel lacks a needed module.
    """
    init = compiled_init(cache)
    sources = [*_interpreter(), *_packages()]
    inputs = {
        "format": _FORMAT,
        "files": {source.guest: _digest(source.host) for source in sources},
        "init": _digest(init),
        "kernel": [kernel.release, fingerprint(kernel.modules) if kernel.modules else None],
        "modules": [LOADED_AT_BOOT, SHIPPED],
        "ours": {path.name: _digest(path) for path in _ours(added)},
        "own": {module.name: hashlib.sha256(module.content).hexdigest() for module in added.own},
        # stands for all shared libraries of this machine: rewritten whenever one is installed
        "libraries": _digest(Path("/etc/ld.so.cache")),
        "python": sys.version,
    }

    def build(folder: Path) -> None:
        drivers = [
            *_modules(kernel, added)
        ]  # first: a kernel that lacks one is refused before anything is compiled
        (folder / IMAGE).write_bytes(
            cpio.archive([*_skeleton(init), *_binaries(sources), *_code(sources), *drivers])
        )

    return cache.publish("root", key_of(inputs), build, need_bytes=80 << 20) / IMAGE


# --- what goes in -----------------------------------------------------------------------------------------

_BYTECODE_PROGRAM: Final = Path(__file__).with_name("bytecode.py")


def _interpreter() -> Iterator[_Source]:
    base = Path(getattr(sys, "_base_executable", sys.executable)).resolve()
    library = Path(sysconfig.get_path("stdlib"))
    home = f"python/{sys.platlibdir}/python{sys.version_info.major}.{sys.version_info.minor}"
    yield _Source(host=base, guest="python/bin/python3")
    for path in _files(library):
        inside = path.relative_to(library)
        if inside.parts[0].startswith("config-"):
            continue
        wanted = path.suffix == ".py" or (path.suffix == ".so" and not _LEFT_OUT_EXTENSIONS.match(path.name))
        if wanted and path.is_file():
            yield _Source(host=path, guest=f"{home}/{inside}")


def _packages() -> Iterator[_Source]:
    for name in _PACKAGES:
        yield from _package(name, only=None)
    yield from _package("harness", only=_AGENT_PARTS)


def _package(name: str, *, only: tuple[str, ...] | None) -> Iterator[_Source]:
    """List a top-level package or extension module, wherever it is imported from."""
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise SetupError(
            f"find the Python package {name} for the guest", hint="pip install vfio-harness again."
        )
    origin = Path(spec.origin)
    if spec.submodule_search_locations is None:
        yield _Source(host=origin, guest=f"python/site/{origin.name}")
        return
    for path in _files(origin.parent):
        inside = path.relative_to(origin.parent)
        if path.suffix not in {".py", ".so"}:
            continue
        if only is None or inside.parts[0] in only:
            yield _Source(host=path, guest=f"python/site/{name}/{inside}")


def _files(folder: Path) -> list[Path]:
    """What is below a folder, in order, but for what is left out: packages by the thousand may lie beside a library."""
    found: list[Path] = []
    for where, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name not in _LEFT_OUT]
        found += [Path(where, name) for name in names]
    return sorted(found)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else ""


def fingerprint(folder: Path) -> str:
    """Identify a folder of modules by names, sizes and times: hashing them all would take too long."""
    files = modules.scan(folder).files
    states = [(name, path.stat().st_size, path.stat().st_mtime_ns) for name, path in files.items()]
    return hashlib.sha256(repr(states).encode()).hexdigest()


# --- how it is made ---------------------------------------------------------------------------------------


def _skeleton(init: Path) -> Iterator[cpio.Entry]:
    yield cpio.file("init", init.read_bytes(), 0o755)
    # The kernel opens it for init's standard descriptors before anything is mounted.
    yield cpio.character_device("dev/console", 5, 1)
    for name in ("proc", "sys", "tmp", "run", "root"):
        yield cpio.folder(name)
    yield cpio.file("etc/ld.so.conf", b"/lib\n")
    yield cpio.file("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n")
    # init lets it list the libraries, which then no program has to look for.
    yield cpio.file("sbin/ldconfig", _static_ldconfig().read_bytes(), 0o755)


def _static_ldconfig() -> Path:
    # Ubuntu's /sbin/ldconfig is a shell wrapper around the real one.
    for name in ("/sbin/ldconfig.real", "/sbin/ldconfig"):
        if Path(name).is_file() and Path(name).read_bytes()[:4] == b"\x7fELF":
            return Path(name)
    raise SetupError("find ldconfig for the guest", said="no /sbin/ldconfig here", hint="Install libc-bin.")


def _binaries(sources: Iterable[_Source]) -> Iterator[cpio.Entry]:
    """Ship ELF files, stripped, with every shared library that they load."""
    files = [source for source in sources if not source.is_python]
    for source in files:
        yield cpio.file(source.guest, _stripped(source.host), 0o755)
    roots = [source.host for source in files if source.is_elf]
    for guest, host in sorted(_libraries(roots).items()):
        yield cpio.file(guest, _stripped(host), 0o755)


def _libraries(roots: list[Path]) -> dict[str, Path]:
    """Ask the dynamic loader for everything that some ELF files need.

    Returns:
        host path by guest path: libraries lie flat in lib/, the loader where binaries expect it.
    """
    listed = subprocess.run(["ldd", *roots], capture_output=True, text=True, check=False).stdout
    if missing := re.findall(r"^\s*(\S+) => not found", listed, re.MULTILINE):
        raise SetupError("collect shared libraries for the guest", said=f"{missing[0]} not found here")
    found = {
        f"lib/{name}": Path(path)
        for name, path in re.findall(r"^\s*(\S+) => (/\S+) \(", listed, re.MULTILINE)
    }
    for loader in re.findall(r"^\s*(/\S+) \(0x", listed, re.MULTILINE):
        found[loader.lstrip("/")] = Path(loader)
    for root in roots:
        if ".so." in root.name:
            found[f"lib/{root.name}"] = root
    return found


def _stripped(path: Path) -> bytes:
    """Read an ELF file without debugging symbols: those of libpython alone take 20 MB of guest memory."""
    if shutil.which("strip") is None:
        return path.read_bytes()
    with tempfile.TemporaryDirectory(prefix="hil-strip-") as folder:
        out = Path(folder) / "stripped"  # removed by strip itself when it fails
        done = subprocess.run(["strip", "--strip-debug", "-o", out, path], capture_output=True, check=False)
        return path.read_bytes() if done.returncode else out.read_bytes()


def _code(sources: Iterable[_Source]) -> Iterator[cpio.Entry]:
    """Ship Python as byte code; our own package with its sources, for tracebacks that people will read."""
    files = [source for source in sources if source.is_python]
    wanted = json.dumps([[str(source.host), f"/{source.guest}"] for source in files])
    # Standard input may not name files of this folder as modules: -S and an empty environment keep it bare.
    done = subprocess.run(
        [getattr(sys, "_base_executable", sys.executable), "-S", _BYTECODE_PROGRAM],
        input=wanted.encode(),
        capture_output=True,
        env={"PYTHONHASHSEED": "0"},
        check=False,
    )
    if done.returncode:
        raise SetupError(
            "compile Python sources for the guest", said=done.stderr.decode(errors="replace")[-300:]
        )
    offset = 0
    for source in files:
        (length,) = struct.unpack_from(">I", done.stdout, offset)
        code = done.stdout[offset + 4 : offset + 4 + length]
        offset += 4 + length
        if not code:
            continue
        if source.guest.startswith("python/site/harness/"):
            parent, name = source.guest.rsplit("/", 1)
            cached = f"{parent}/__pycache__/{name.removesuffix('.py')}.{sys.implementation.cache_tag}.pyc"
            yield cpio.file(source.guest, source.host.read_bytes())
            yield cpio.file(cached, code)
        else:
            yield cpio.file(source.guest + "c", code)


def _modules(kernel: Kernel, added: Added) -> Iterator[cpio.Entry]:
    at_boot: list[str] = []
    index: dict[str, list[str]] = {}
    if kernel.modules or added.own:
        own = {module.name: module.content for module in added.own}
        tree = modules.scan(kernel.modules) if kernel.modules else modules.ModuleTree()
        tree = replace(tree, own=own)
        available = [name for name in (*LOADED_AT_BOOT, *SHIPPED) if tree.has(name)]
        needed = NEEDED if kernel.modules else ()
        closure = modules.closure(tree, dict.fromkeys((*needed, *available, *own)))
        where = {module.name: f"/lib/modules/{module.name}.ko" for module in closure}
        for module in closure:
            yield cpio.file(where[module.name].lstrip("/"), module.content)
            index[module.name] = [where[name] for name in modules.load_order(closure, module.name)]
        # What is part of the kernel need not be loaded, and asking for it is no mistake.
        index.update({name: [] for name in (*LOADED_AT_BOOT, *SHIPPED) if name in tree.built_in})
        at_boot = list(dict.fromkeys(path for name in LOADED_AT_BOOT for path in index.get(name, ())))
    for path in _ours(added):  # never loaded at boot: they taint the kernel
        index[path.stem] = [f"/lib/modules/{path.name}"]
        yield cpio.file(index[path.stem][0].lstrip("/"), _stripped(path))
    yield cpio.file("etc/modules.order", "".join(f"{path}\n" for path in at_boot).encode())
    yield cpio.file("etc/modules.index", json.dumps(index, indent=1, sort_keys=True).encode())


def _ours(added: Added) -> list[Path]:
    """The modules of lab/kmod that were built for a kernel."""
    if added.windows is None:
        return []
    beside = (added.windows.with_name(f"{name}.ko") for name in (WINDOWS, FAULTS))
    return [path for path in beside if path.exists()]
