"""`fresh_guest`: from nothing to a function that is bound to vfio-pci and answers.

A clone beside our own fastest cold boot to the same state, and beside `vng` running one command on the same kernel.
"""

from __future__ import annotations

import os
import shlex
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Final

from harness.lab.cache.store import Cache
from harness.lab.debian.busybox import busybox as busybox_of
from harness.lab.figures.row import Row, median
from harness.lab.place import GuestTarget, Place
from harness.lab.progress import note
from harness.model.request import Bind, OpenFunction

_CLONES: Final = 7
_BOOTS: Final = 3
_MANY: Final = 4
_VNG_S: Final = 180.0


def measure(place: Place, folder: Path) -> list[Row]:
    """Clones, cold boots, vng, and the memory of several clones at once."""
    clone = median([_seconds(place.clone, folder) for _ in range(_CLONES)])
    boot = median([_seconds(place.boot, folder) for _ in range(_BOOTS)])
    rows = [
        Row(name="fresh_guest", ours=clone, peer=boot, peer_name="own cold boot", better="low", unit="s"),
        Row(
            name="fresh_guest",
            ours=clone,
            peer=_vng(place),
            peer_name="vng, one command",
            better="low",
            unit="s",
        ),
    ]
    with ExitStack() as guests:
        running = [guests.enter_context(place.clone(folder / f"many-{n}.console.log")) for n in range(_MANY)]
        pss = [_pss_mib(one.guest.pid) for one in running]
    rows.append(
        Row(
            name="fresh_guest_memory",
            ours=sum(pss) / len(pss),
            peer=None,
            peer_name=f"Pss of each of {_MANY} clones",
            better="low",
            unit="MiB",
        )
    )
    return rows


def _seconds(make: Callable[[Path], AbstractContextManager[GuestTarget]], folder: Path) -> float:
    begin = time.monotonic()
    with make(folder / "fresh_guest.console.log") as target:
        bdf = target.address("igb0")
        target.agent.ask(Bind(bdf=bdf, driver="vfio-pci"))
        target.agent.ask(OpenFunction(bdf=bdf))
        return time.monotonic() - begin


def _vng(place: Place) -> float | None:
    """One command under virtme-ng, on the kernel that our guests boot; None, and why, when it cannot be had."""
    vng = Path(sys.executable).with_name("vng")
    if not vng.exists():
        note("fresh_guest: no vng beside the interpreter; install the extra `bench`")
        return None
    if shutil.which("depmod", path=f"{os.environ['PATH']}:/usr/sbin:/sbin") is None:
        note("fresh_guest: vng needs depmod: apt-get install kmod")
        return None
    emulator, kernel = place.recipe.emulator, place.recipe.kernel
    with tempfile.TemporaryDirectory(prefix="hil-vng-") as folder:
        wrapper = Path(folder, "qemu-system-x86_64")
        variables = " ".join(f"{name}={shlex.quote(value)}" for name, value in emulator.environment.items())
        wrapper.write_text(f'#!/bin/sh\nexec env {variables} {shlex.join(emulator.argv)} "$@"\n')
        wrapper.chmod(wrapper.stat().st_mode | stat.S_IXUSR)
        busybox = Path(folder, "busybox")
        with Cache() as cache:
            busybox.write_bytes(busybox_of(cache))
        busybox.chmod(0o755)
        tree = _tree_for_vng(Path(folder), kernel.image, kernel.modules, kernel.release)
        command = [str(vng), "--verbose", "--run", str(tree), "--qemu", str(wrapper)]
        command += [
            "--disable-microvm",
            "--disable-kvm",
            "--memory",
            "1G",
            "--cpus",
            "2",
            "--exec",
            "echo hil-answers",
        ]
        environment = {**os.environ, "PATH": f"{folder}:{vng.parent}:{os.environ['PATH']}:/usr/sbin:/sbin"}
        begin = time.monotonic()
        try:
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                timeout=_VNG_S,
                check=False,
                env=environment,
                stdin=subprocess.DEVNULL,
                cwd=folder,
            )
        except subprocess.TimeoutExpired:
            note(f"fresh_guest: vng gave no answer in {_VNG_S:.0f} s")
            return None
        seconds = time.monotonic() - begin
        # what the command prints can get lost on vng's console; that it ran is in the log of vng's init
        if "hil-answers" not in done.stdout and "script exited with code 0" not in done.stdout + done.stderr:
            said = " / ".join((done.stderr or done.stdout).strip().splitlines()[-3:])
            note(f"fresh_guest: vng failed: {said}")
            return None
        return seconds


def _tree_for_vng(folder: Path, image: Path, modules: Path | None, release: str) -> Path:
    """An installation as vng wants it: it writes modules.dep, so it gets a copy, of links where that does."""
    root = folder / "lib" / "modules" / release
    root.mkdir(parents=True)
    if modules is not None:
        shutil.copytree(modules, root, symlinks=True, dirs_exist_ok=True, copy_function=os.link)
    shutil.copy(image, root / "vmlinuz")
    subprocess.run(["/sbin/depmod", "-b", str(folder), release], check=False, capture_output=True)
    return root / "vmlinuz"


def _pss_mib(pid: int) -> float:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    return 0.0
