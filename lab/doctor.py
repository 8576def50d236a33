"""Say what is there, what is missing, how much disk and memory is needed, and what to type.

Each check looks and changes nothing: no download, no build, no guest.  The network is tried only when
something would have to be fetched.

This module refuses to repair: `lab/run` does that.
"""

from __future__ import annotations

import enum
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from harness.errors import HarnessError
from harness.lab.cache.store import VARIABLE, Cache, Entry, allocated_bytes, default_root
from harness.lab.capacity import Room, look
from harness.lab.debian import apt, archive
from harness.lab.debian.mirror import host_mirror
from harness.lab.kernel import build_module as kmod
from harness.lab.kernel.choice import DEFAULT_BRANCH
from harness.lab.kernel.find import debian_request
from harness.lab.needs import apt_line
from harness.lab.progress import size_text
from harness.lab.qemu.emulator import MINIMUM, PROGRAM, QEMU, is_new_enough, version_of

if TYPE_CHECKING:
    from collections.abc import Iterable

KVM: Final = Path("/dev/kvm")
TEMPLATE_BYTES: Final = 450_000_000
"""Disk that one frozen guest takes: its root image, and the memory that it had touched."""
FIRST_BYTES: Final = 700_000_000
"""Memory to have available: the template's 512 MB while it boots, QEMU and the runner."""


class State(enum.Enum):
    """How a finding stands; the value is the word shown."""

    OK = "ok"
    WARN = "warn"
    MISSING = "missing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of the doctor's.

    Attributes:
        name: what was looked at, one or two words.
        what: what was seen.
        todo: what to type or do; empty when all is well.
    """

    name: str
    state: State
    what: str
    todo: str = ""


def examine(cache_root: Path | None = None) -> list[Finding]:
    """Look at everything that the lab needs here.

    Args:
        cache_root: the cache folder; the default one when None.
    """
    root = cache_root or default_root()
    try:
        with Cache(root) as cache:
            return _examine(root, cache)
    except HarnessError as error:
        what = f"{error.tried}: {error.said}"
        unusable = Finding(name="cache", state=State.MISSING, what=what, todo=error.hint)
        return [*_examine(root, None), unusable]


def _examine(root: Path, cache: Cache | None) -> list[Finding]:
    """Look at everything; without a usable cache as if it were empty."""
    entries = cache.entries() if cache else []
    parts = [emulator(cache), kernel(cache), template(entries), windows(root, entries)]
    fetching = [part for part in parts[:2] if part.state is State.WARN]
    findings = [python(), bindings(), compiler(), *parts]
    if cache:
        findings += [disk(root, parts), *filter(None, [programs(root), in_memory(root)])]
    findings += [memory(look()), kvm(entries), unpacking_tools(needed=bool(fetching))]
    return [*findings, network()] if fetching else findings


def render(findings: Iterable[Finding]) -> str:
    """Write the findings as a table of lines, what to do below each that needs it."""
    lines = []
    for finding in findings:
        lines.append(f"{finding.state.value:<8}{finding.name:<10}{finding.what}")
        if finding.todo:
            lines.append(f"{'':<18}-> {finding.todo}")
    return "\n".join(lines) + "\n"


# --- the host ---------------------------------------------------------------------------------------------


def python() -> Finding:
    """Name the interpreter, which also becomes the guest's; an older one could not even import this."""
    return Finding(
        name="python", state=State.OK, what=f"Python {platform.python_version()}, {sys.executable}"
    )


def bindings() -> Finding:
    """Check that the compiled bindings are installed for this interpreter."""
    absent = [
        name for name in ("_vfio", "_actor") if importlib.util.find_spec(f"harness.bindings.{name}") is None
    ]
    if absent:
        what = f"harness.bindings has no {' and no '.join(absent)}"
        return Finding(
            name="bindings", state=State.MISSING, what=what, todo="Type: lab/run (or: pip install .)"
        )
    return Finding(name="bindings", state=State.OK, what="compiled")


def compiler() -> Finding:
    """Check the C compiler and the static C library: the guest's init is linked statically."""
    command = os.environ.get("CC", "gcc").split()
    if not shutil.which(command[0]):
        return Finding(
            name="compiler", state=State.MISSING, what=f"no {command[0]}", todo=f"Type: {apt_line()}"
        )
    with tempfile.TemporaryDirectory() as folder:
        result = subprocess.run(
            [*command, "-static", "-x", "c", "-o", str(Path(folder, "init")), "-"],
            input="int main(void) { return 0; }\n", capture_output=True, text=True, check=False,
        )  # fmt: skip
    if result.returncode:
        said = (result.stderr.strip().splitlines() or ["it failed"])[0]
        what = f"{command[0]} cannot link statically: {said}"
        return Finding(name="compiler", state=State.MISSING, what=what, todo=f"Type: {apt_line()}")
    return Finding(name="compiler", state=State.OK, what=f"{command[0]}, and a static C library")


def unpacking_tools(*, needed: bool) -> Finding:
    """Check apt, dpkg-deb, setpriv and Debian's keys; without need of a download their absence only warns."""
    try:
        apt.require_tools()
        keys = apt.keyring()
    except HarnessError as error:
        state = State.MISSING if needed else State.WARN
        return Finding(name="packages", state=state, what=error.said, todo=error.hint)
    return Finding(name="packages", state=State.OK, what=f"apt-get, dpkg-deb, keys in {keys}")


def network() -> Finding:
    """Try to reach the mirror the way apt would."""
    mirror = host_mirror()
    said = apt.reach(mirror, archive.STABLE)
    if said:
        return Finding(
            name="network", state=State.MISSING, what=f"{mirror.debian}: {said}", todo=apt.OFFLINE_HINT
        )
    return Finding(name="network", state=State.OK, what=f"{mirror.debian} answers")


def memory(room: Room) -> Finding:
    """Check that a guest fits into the memory, and say how many fit at once.

    Args:
        room: what this process may use.
    """
    at_once = f"with {room.cores:g} cores -n auto runs {room.guests()} at once"
    what = f"{size_text(room.memory_bytes)} available, {size_text(FIRST_BYTES)} needed; {at_once}"
    if room.memory_bytes < FIRST_BYTES:
        return Finding(
            name="memory", state=State.WARN, what=what, todo="Close something: guests would be killed"
        )
    return Finding(name="memory", state=State.OK, what=what)


def programs(root: Path) -> Finding | None:
    """Check that programs in the cache may be started; None if they may."""
    if not os.statvfs(root).f_flag & os.ST_NOEXEC:
        return None
    return Finding(
        name="noexec",
        state=State.MISSING,
        what=f"{root} is mounted noexec: QEMU and the compiler's results cannot be started there",
        todo=f"Set {VARIABLE}=/another/folder, or mount it with exec",
    )


def in_memory(root: Path, mounts: str = "") -> Finding | None:
    """Say so if the cache lies in memory; None if it does not.

    Args:
        root: the cache folder.
        mounts: what the kernel says of mounts, by default here and now.  Source: proc(5), mountinfo.
    """
    device = root.stat().st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    for line in (mounts or Path("/proc/self/mountinfo").read_text()).splitlines():
        before, _, after = line.partition(" - ")
        if before.split()[2:3] == [number] and after.split()[:1] in (["tmpfs"], ["ramfs"]):
            what = f"{root} is a {after.split()[0]}: what it holds takes memory, and is gone after a reboot"
            return Finding(name="tmpfs", state=State.WARN, what=what, todo=f"Set {VARIABLE}=/another/folder")
    return None


def disk(root: Path, parts: Iterable[Finding]) -> Finding:
    """Check the space for what is still to be fetched and built.

    Args:
        root: the cache folder.
        parts: the findings on QEMU, kernel, template and module; each that is not ok takes space.
    """
    costs = {
        "qemu": QEMU.disk_bytes,
        "kernel": debian_request(DEFAULT_BRANCH).disk_bytes,
        "template": TEMPLATE_BYTES,
        "windows": kmod.HEADERS_BYTES,
    }
    needed_bytes = sum(costs[part.name] for part in parts if part.state is not State.OK)
    used_bytes = allocated_bytes(root)
    free_bytes = shutil.disk_usage(root).free
    to_come = f"{size_text(needed_bytes)} to come, {size_text(free_bytes)} free"
    what = f"{root}: {size_text(used_bytes)} used, {to_come}"
    if free_bytes < needed_bytes:
        todo = f"Free some space, or set {VARIABLE}=/another/folder"
        return Finding(name="cache", state=State.MISSING, what=what, todo=todo)
    return Finding(name="cache", state=State.OK, what=what)


# --- the parts of a guest -----------------------------------------------------------------------------------


def emulator(cache: Cache | None) -> Finding:
    """Look for a QEMU that is new enough, without starting a machine in it."""
    said = "none installed"
    if system := shutil.which(PROGRAM):
        try:
            version = version_of((system,), {})
        except HarnessError as error:
            said = error.said
        else:
            if is_new_enough(version):
                return Finding(name="qemu", state=State.OK, what=f"{system}, {version}")
            said = f"{system} is {version}, {'.'.join(map(str, MINIMUM))} is needed"
    return _fetched(cache, "qemu", QEMU, said)


def kernel(cache: Cache | None) -> Finding:
    """Look for the default kernel in the cache."""
    return _fetched(cache, "kernel", debian_request(DEFAULT_BRANCH), "none fetched yet")


def _fetched(cache: Cache | None, name: str, request: archive.Request, otherwise: str) -> Finding:
    path = cache.entry(archive.KIND, request.key()) if cache else None
    if path is None:
        sizes = f"{size_text(request.expected_bytes)}, {size_text(request.disk_bytes)} of disk meanwhile"
        todo = f"lab/run fetches Debian's: {sizes}"
        return Finding(name=name, state=State.WARN, what=otherwise, todo=todo)
    lock = archive.PackageLock.read(path)
    main = next(
        package for package in lock.packages if package.name.startswith(("qemu-system-x86", "linux-image-"))
    )
    return Finding(name=name, state=State.OK, what=f"{main}, unpacked {lock.made}")


def template(entries: Iterable[Entry]) -> Finding:
    """Look for frozen guests in the cache."""
    frozen = [entry for entry in entries if entry.kind == "template"]
    if frozen:
        return Finding(name="template", state=State.OK, what=f"{len(frozen)} frozen")
    return Finding(
        name="template", state=State.WARN, what="no frozen guest yet", todo="lab/run makes one, in 20 s"
    )


def windows(root: Path, entries: Iterable[Entry]) -> Finding:
    """Look for the module that holds locks on purpose: without it the scenarios that need it are skipped.

    Args:
        root: the cache folder.
        entries: what it holds.
    """
    if obstacle := kmod.obstacle_here(root):
        why, cure = obstacle
        what = f"no module for lock windows can be built: {why}"
        return Finding(name="windows", state=State.WARN, what=what, todo=cure[0].upper() + cure[1:])
    built = [entry for entry in entries if entry.kind == kmod.KIND]
    failed = [entry.path / kmod.WHY_NOT for entry in built if (entry.path / kmod.WHY_NOT).exists()]
    if failed:
        what = f"a module for lock windows could not be built: {failed[-1].read_text()}"
        return Finding(name="windows", state=State.WARN, what=what, todo=f"Look at {failed[-1].parent}")
    if built:
        return Finding(
            name="windows", state=State.OK, what=f"a module for lock windows, for {len(built)} kernels"
        )
    todo = f"lab/run builds it: {size_text(kmod.HEADERS_BYTES)} of disk meanwhile, for the kernel's headers"
    return Finding(name="windows", state=State.WARN, what="no module for lock windows yet", todo=todo)


def kvm(entries: Iterable[Entry]) -> Finding:
    """Look at what the last probe of KVM said; only a boot tells, and the doctor boots nothing."""
    answers = sorted(
        (entry.made_s, (entry.path / "answer").read_text())
        for entry in entries
        if entry.kind == "accelerator"
    )
    if not os.access(KVM, os.R_OK | os.W_OK):
        what = f"{KVM} is " + ("not open to you" if KVM.exists() else "absent") + ": guests run under TCG"
        return Finding(name="kvm", state=State.WARN, what=what)
    if answers and answers[-1][1] == "kvm":
        return Finding(name="kvm", state=State.OK, what=f"{KVM} boots our kernel")
    if answers:
        what = f"{KVM} is there, but boots no kernel: guests run under TCG, several times slower"
        return Finding(name="kvm", state=State.WARN, what=what)
    return Finding(name="kvm", state=State.OK, what=f"{KVM} is there; the next run tries it")
