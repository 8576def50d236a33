"""QEMU's command line, from a machine and the files and sockets of one run.

Pure: values in, argv out; nothing is started, no file is looked at.  A template and its clones get the same
line but for how memory is backed; any other difference would break the restore.
It refuses paths that QEMU's comma syntax cannot name.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, assert_never

from harness.errors import UsageError
from harness.lab.qemu.machine import Accelerator, Machine

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class Memory(Enum):
    """How guest memory is backed."""

    ANONYMOUS = "anonymous"
    """Of its own: a cold boot that is thrown away."""
    SHARED_FILE = "shared-file"
    """Written through to a file: a template in the making."""
    COPY_ON_WRITE = "copy-on-write"
    """A private view of a template's file: a clone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Boot:
    """What a machine boots: files on the host.

    Attributes:
        kernel: a bzImage, or an uncompressed vmlinux for the PVH entry.
        root: the initramfs.
        pvh: whether the kernel is entered through PVH; then the small firmware qboot suffices.
    """

    kernel: Path
    root: Path
    pvh: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Wiring:
    """What connects one QEMU process to its runner.

    Attributes:
        console: file that everything on the serial console is written to; /dev/fd/N for an inherited pipe.
        qmp_descriptor: listening socket for QMP, inherited by QEMU.
        rpc_descriptor: listening socket for the agent, inherited by QEMU.
        ram: file that backs guest memory, for `Memory.SHARED_FILE` and `COPY_ON_WRITE`.
        state: file with the frozen device state, for `COPY_ON_WRITE`.
        gdb: where to listen for gdb, as QEMU's `-gdb` takes it, or None.
    """

    console: Path
    qmp_descriptor: int
    rpc_descriptor: int
    ram: Path | None = None
    state: Path | None = None
    gdb: str | None = None


def arguments(machine: Machine, boot: Boot, wiring: Wiring, memory: Memory) -> list[str]:
    """Write QEMU's arguments, without the program itself.

    Returns:
        an argv tail that, descriptors aside, can be typed by hand.

    Raises:
        UsageError: a path cannot be passed, because it contains a comma.
    """
    for path in (wiring.console, wiring.ram, wiring.state):
        if path is not None and "," in str(path):
            raise UsageError(f"use the file {path} for a guest", said="QEMU cannot take a comma in a path")
    drives = sorted({drive for one in machine.functions for drive in one.drives})
    tail = [
        *("-no-user-config", "-nodefaults", "-display", "none"),
        *("-object", json.dumps(_memory_backend(machine, wiring, memory))),
        *_accelerator(machine),
        *("-m", f"{machine.memory_mib}M", "-smp", str(machine.vcpus)),
        *("-global", "ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off"),
        # The kernel finishes writing about its panic, then asks for a reboot, and only then the guest stands
        # still: its registers and its memory can be read.
        *("-action", "panic=none,reboot=shutdown,shutdown=pause"),
        *("-kernel", str(boot.kernel), "-initrd", str(boot.root), "-append", " ".join(machine.parameters)),
        *(("-bios", "qboot.rom") if boot.pvh else ()),
        *("-chardev", f"socket,id=qmp,fd={wiring.qmp_descriptor},server=on,wait=off"),
        *("-qmp", "chardev:qmp"),
        *("-chardev", f"file,id=console,path={wiring.console}", "-serial", "chardev:console"),
        *("-chardev", f"socket,id=rpc,fd={wiring.rpc_descriptor},server=on,wait=off"),
    ]
    for drive in drives:
        tail += ["-blockdev", json.dumps(_null_drive(drive))]
    for device in machine.devices():
        tail += ["-device", json.dumps(device)]
    if wiring.gdb:
        tail += ["-gdb", wiring.gdb]
    if memory is Memory.COPY_ON_WRITE:
        # Its name says that the property is experimental: the template's self-test pins what it must do.
        tail += ["-global", "migration.x-ignore-shared=on", "-incoming", f"file:{wiring.state}"]
    return tail


def by_hand(argv: Sequence[str], run: Path) -> list[str]:
    """An argv as one types it in a folder of one's own: files and sockets of the run folder go to the current one."""
    return [
        re.sub(r"^(socket,id=(\w+)),fd=\d+", r"\1,path=\2", word)
        .replace(f"{run}/", "")
        .replace("path=/dev/fd/", "path=console.")
        for word in argv
    ]


def _accelerator(machine: Machine) -> tuple[str, ...]:
    match machine.accelerator:
        case Accelerator.TCG:
            # multi: one host thread for each vCPU; with a single one the races under test would not happen
            return ("-M", "q35,memory-backend=ram0", "-accel", "tcg,thread=multi", "-cpu", "max")
        case Accelerator.KVM:
            # interrupt remapping needs an interrupt controller in user space
            return ("-M", "q35,memory-backend=ram0,kernel-irqchip=split", "-accel", "kvm", "-cpu", "host")
        case never:
            assert_never(never)


def _memory_backend(machine: Machine, wiring: Wiring, memory: Memory) -> dict[str, Any]:
    common = {"id": "ram0", "size": machine.memory_mib << 20}
    backed = {"qom-type": "memory-backend-file", "mem-path": str(wiring.ram), **common}
    match memory:
        case Memory.ANONYMOUS:
            return {"qom-type": "memory-backend-ram", **common}
        case Memory.SHARED_FILE:
            return {**backed, "share": True}
        case Memory.COPY_ON_WRITE:
            return {**backed, "share": False, "readonly": True, "rom": "off"}
        case never:
            assert_never(never)


def _null_drive(name: str) -> dict[str, Any]:
    return {"driver": "null-co", "node-name": name, "size": 64 << 20, "read-zeroes": True}
