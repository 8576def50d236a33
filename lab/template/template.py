"""Guests for tests: clones of a frozen one, or cold boots, behind the same interface.

A recipe is everything a guest is made from; a template is a guest of that recipe, booted once and frozen
(lab/template/freeze.py), kept in the cache under a hash of all that went in; a clone is a copy-on-write child of it
that answers in a fraction of a second. A guest handed out here is connected, knows the time of day, and its
clock was compared with the host's. It refuses to hand out a guest whose clock runs wild, and never changes
a template that exists.
"""

from __future__ import annotations

import hashlib
import platform
import re
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from harness.lab.cache.budget import collect
from harness.lab.cache.store import key_of
from harness.lab.guest.guest import Guest, Start
from harness.lab.guest.post_mortem import examined
from harness.lab.image.initramfs import build_root
from harness.lab.kernel.added import NOTHING, Added
from harness.lab.kernel.find import pvh_image
from harness.lab.progress import note, step
from harness.lab.qemu.command_line import Boot, Memory, Wiring, arguments
from harness.lab.qemu.machine import Machine
from harness.lab.template import freeze
from harness.model.policy import WILD_CLOCK
from harness.target.attempts import attempting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from harness.lab.cache.store import Cache
    from harness.lab.kernel.find import Kernel
    from harness.lab.qemu.emulator import Emulator

_T = TypeVar("_T")

KIND: Final = "template"
_FORMAT: Final = 1  # part of the key: raise it when templates are made differently from the same inputs

BOOT_S: Final = 120.0
"""How long a boot may take; a debug kernel gets five times as much."""
CLONE_S: Final = 30.0
"""How long a clone may take to answer: 0.2 s are usual, a loaded host may need a hundred times that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Everything that a guest is made from.

    Attributes:
        emulator: the QEMU to run.
        kernel: what boots in it.
        added: modules that it gets beside its own.
        machine: what it runs on.
        boot: the files that the machine boots.
    """

    emulator: Emulator
    kernel: Kernel
    added: Added
    machine: Machine
    boot: Boot

    def start(self) -> Start:
        """Describe a cold start."""
        return Start(emulator=self.emulator, machine=self.machine, boot=self.boot)

    @property
    def boot_timeout_s(self) -> float:
        """How long it may take to boot."""
        return BOOT_S * (5 if self.kernel.debug else 1)

    def inputs(self) -> dict[str, Any]:
        """Return everything that decides what a template of this recipe contains."""
        wiring = Wiring(console=Path("console"), qmp_descriptor=0, rpc_descriptor=0, ram=Path("ram"))
        boot = Boot(kernel=Path("kernel"), root=Path("root"), pvh=self.boot.pvh)
        return {
            "format": _FORMAT,
            "qemu": [self.emulator.version, list(self.emulator.argv)],
            "kernel": _sha256(self.boot.kernel),
            "root": _sha256(self.boot.root),
            "machine": arguments(self.machine, boot, wiring, Memory.SHARED_FILE),
            # The guest measured the speed of this host's TSC when it booted: elsewhere its clock would run
            # wild.
            "host": _host_identity(),
        }


def recipe(
    cache: Cache,
    emulator: Emulator,
    kernel: Kernel,
    machine: Machine | None = None,
    added: Added = NOTHING,
) -> Recipe:
    """Bring together what a guest is made from, building the guest's root when needed.

    Raises:
        SetupError: the root could not be built.
    """
    root = build_root(cache, kernel, added)
    image = pvh_image(kernel, cache)
    with image.open("rb") as file:
        pvh = file.read(4) == b"\x7fELF"
    boot = Boot(kernel=image, root=root, pvh=pvh)
    return Recipe(emulator=emulator, kernel=kernel, added=added, machine=machine or Machine(), boot=boot)


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """A frozen guest that clones are made of.

    Attributes:
        recipe: what it was made from.
        path: its folder.
        lock: descriptor that keeps it in the cache: every clone inherits it, for its memory is mapped from there.
    """

    recipe: Recipe
    path: Path
    lock: int

    def start(self) -> Start:
        """Describe the start of a clone."""
        return replace(freeze.clone_of(self.recipe.start(), self.path), inherits=(self.lock,))


def template(cache: Cache, made_from: Recipe) -> Template:
    """Provide the template of a recipe, making it when there is none or the one there is damaged.

    Args:
        cache: where it is kept.
        made_from: everything that goes in.

    Raises:
        GuestError: the guest did not boot, or has a function that cannot live in a template.
        ClockError: the guest's clock ran wild, twice.
        SetupError: the disk is full, or a damaged template is in use by another run.
    """
    key = key_of(made_from.inputs())

    def build(folder: Path) -> None:
        with step("freezing a booted guest", expected_s=20.0):
            # A TSC calibrated wrongly on a busy host stays wrong in every clone: boot again.
            with_a_sane_clock(lambda: freeze.make(folder, made_from.start(), made_from.boot_timeout_s))

    need_bytes = made_from.machine.memory_mib << 20
    path = cache.entry(KIND, key)
    if path is None:
        path = cache.publish(KIND, key, build, need_bytes=need_bytes)
        collect(cache)  # every change of kernel, QEMU or harness leaves a template and a root image behind
    if what := freeze.damage(path):
        note(f"template {key} is damaged ({what}): making it again")
        path = cache.publish(KIND, key, build, need_bytes=need_bytes, replace=True)
    return Template(recipe=made_from, path=path, lock=cache.lock_of(KIND, key))


@contextmanager
def clone(
    of: Template, *, console: Path | None = None, gdb: str | None = None, name: str = "clone"
) -> Iterator[Guest]:
    """Run a clone of a template.

    Args:
        of: the template.
        console: where to record its console.
        gdb: address for gdb, as QEMU's `-gdb` takes it.
        name: what to call it in messages.

    Yields:
        the guest, connected; it is killed at the end of the block.

    Raises:
        GuestError: it did not come up.
        ClockError: its clock ran wild, and that of a second clone too.
    """
    start = replace(of.start(), console=console, gdb=gdb)
    guest = with_a_sane_clock(lambda: _awake(start, name, CLONE_S))
    try:
        yield guest
    finally:
        guest.kill()


@contextmanager
def cold(
    made_from: Recipe, *, console: Path | None = None, gdb: str | None = None, name: str = "cold guest"
) -> Iterator[Guest]:
    """Boot a guest instead of cloning one: the same interface, some 10 s later.

    Raises:
        GuestError: it did not come up.
        ClockError: its clock ran wild, and that of a second boot too.
    """
    start = replace(made_from.start(), console=console, gdb=gdb)
    guest = with_a_sane_clock(lambda: _awake(start, name, made_from.boot_timeout_s))
    try:
        yield guest
    finally:
        guest.kill()


def _awake(start: Start, name: str, timeout_s: float) -> Guest:
    guest = Guest(start, name=name)
    try:
        with examined(guest):
            guest.start()
            guest.awaken(timeout_s)
    except BaseException:
        guest.kill()
        raise
    return guest


def with_a_sane_clock(make: Callable[[], _T]) -> _T:
    """Try once more when the guest's clock ran wild; a second time is an error."""
    return attempting(WILD_CLOCK)(make)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _host_identity() -> list[str]:
    """Name this machine and its processor."""
    processor = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    machine_id = Path("/etc/machine-id")
    return [
        processor[1] if processor else platform.processor(),
        machine_id.read_text().strip() if machine_id.exists() else "",
    ]
