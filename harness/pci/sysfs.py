"""Attributes of PCI functions in sysfs: where they are, and reads and writes that say what the kernel said."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from harness.errors import KernelRefusal, TargetError
from harness.model.pci import EXTENDED_CONFIG_SPACE_BYTES, Bdf
from harness.pci import storage

DEVICES: Final = Path("/sys/bus/pci/devices")
DRIVERS: Final = Path("/sys/bus/pci/drivers")


def path_of(bdf: Bdf, role: str) -> Path:
    """The file that plays `role` for a function.

    Args:
        bdf: the function.
        role: a sysfs attribute (`config`, `reset`, `vendor`, `resource0` …), `proc` for its file in `/proc/bus/pci`,
            `uio` for the node of its UIO driver, or what :mod:`harness.pci.storage` finds: `scsi-host/NAME`, `disk`,
            `disk/NAME`.

    Raises:
        TargetError: its driver has shown no disk, or no UIO node.
    """
    if role.partition("/")[0] in storage.ROLES:
        return storage.path_of(DEVICES / str(bdf), role)
    if role == "proc":
        bus = f"{bdf.bus:02x}" if bdf.domain == 0 else f"{bdf.domain:04x}:{bdf.bus:02x}"
        return Path("/proc/bus/pci") / bus / f"{bdf.device:02x}.{bdf.function}"
    if role == "uio":
        if (node := next((DEVICES / str(bdf)).glob("uio/*"), None)) is None:
            raise TargetError(f"UIO node of {bdf}", said="there is none", hint="Is a UIO driver bound to it?")
        return Path("/dev") / node.name
    return DEVICES / str(bdf) / role


def is_there(path: Path) -> bool:
    """Whether this user sees a file of /sys or /proc; `Path.exists` raises for what is hidden before Python 3.14."""
    return os.access(path, os.F_OK)


def names_in(folder: Path) -> list[str]:
    """Names of what lies in a folder, in order; none of a folder that is not there."""
    return sorted(path.name for path in folder.iterdir()) if is_there(folder) else []


def leads_to(link: Path) -> Path:
    """What a link of /sys says, which may be relative; an empty path where there is none, or none for this user."""
    try:
        return link.readlink()
    except (FileNotFoundError, PermissionError):
        return Path()


def read_attribute(path: Path) -> str:
    """Read a text attribute without its line end.

    Raises:
        KernelRefusal: with the errno.
    """
    try:
        return path.read_text(errors="replace").rstrip("\n")
    except OSError as error:
        raise KernelRefusal(f"reading {path}", errno=error.errno or 0) from error


def write_attribute(path: Path, value: str) -> None:
    """Write a text attribute in one system call, without O_CREAT (which turns ENOENT into EACCES).

    Raises:
        KernelRefusal: with the errno.
    """
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, value.encode() or b"\n")  # sysfs drops a write of nothing before the handler sees it
        finally:
            os.close(fd)
    except OSError as error:
        raise KernelRefusal(f"writing {value!r} to {path}", errno=error.errno or 0) from error


def read_config(bdf: Bdf) -> bytes:
    """The whole config space of a function: 256 or 4096 bytes, 64 without CAP_SYS_ADMIN.

    Not atomic: each dword is read on its own.  Source: Linux drivers/pci/pci-sysfs.c, `pci_read_config()`.

    Raises:
        KernelRefusal: with the errno.
    """
    path = path_of(bdf, "config")
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.pread(fd, EXTENDED_CONFIG_SPACE_BYTES, 0)
        finally:
            os.close(fd)
    except OSError as error:
        raise KernelRefusal(f"reading {path}", errno=error.errno or 0) from error
