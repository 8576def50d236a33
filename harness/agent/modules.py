"""Kernel modules: which are there, and loading others from files, as a guest without modprobe does.

Source: finit_module(2).
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import Final

from harness.errors import KernelRefusal
from harness.pci import sysfs

_SYS_FINIT_MODULE: Final = 313  # x86-64; glibc has no wrapper


def loaded() -> frozenset[str]:
    """Names of the modules in the kernel; none of a kernel that loads none."""
    try:
        return frozenset(line.split(maxsplit=1)[0] for line in Path("/proc/modules").read_text().splitlines())
    except FileNotFoundError:
        return frozenset()


def load(path: Path) -> None:
    """Load the module in a file, unless a module of that name is there already.

    Raises:
        KernelRefusal: with the errno.
    """
    if sysfs.is_there(Path("/sys/module", path.name.partition(".")[0].replace("-", "_"))):
        return
    libc = ctypes.CDLL(None, use_errno=True)
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if libc.syscall(_SYS_FINIT_MODULE, fd, b"", 0) != 0:
            raise KernelRefusal(f"loading {path}", errno=ctypes.get_errno())
    finally:
        os.close(fd)
