"""The condition of functions: what must still be so when a test is over, and putting back what a test changed.

A function whose lock is held for ever puts whoever reads it into state D, so each is looked at in a thread of its own.
"""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Any, Final

from harness.errors import KernelRefusal
from harness.model.pci import Bdf
from harness.pci import driver, sysfs

_HEADER_BYTES: Final = 64
_BARS_AT: Final = 0x10  # PCIe r6.0 §7.5.1.2.1
_TAINTED: Final = Path("/proc/sys/kernel/tainted")


def conditions(bdfs: list[str], patience_s: float) -> dict[str, Any]:
    """Look at functions.

    Args:
        bdfs: which.
        patience_s: how long all of them together may take.

    Returns:
        Plain values: `taint`, and `functions`, which has for each address a dictionary for
        :class:`harness.plugin.lab.quarantine.Condition`, or None when it did not answer in time.

    Raises:
        KernelRefusal: the kernel does not tell its taint flags.
        Exception: what looking at one of them raised; nobody expects any.
    """
    seen: dict[str, Any] = {}
    raised: list[Exception] = []

    def look(bdf: str) -> None:
        try:
            seen[bdf] = condition(Bdf.parse(bdf))
        except Exception as error:  # noqa: BLE001 - raised below, where somebody hears it
            raised.append(error)

    threads = [threading.Thread(target=look, args=(bdf,), daemon=True) for bdf in bdfs]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + patience_s
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    for error in raised:
        raise error
    return {"taint": taint(), "functions": {bdf: seen.get(bdf) for bdf in bdfs}}


def taint() -> int:
    """The kernel's taint flags.

    Raises:
        KernelRefusal: it does not tell them.
    """
    try:
        return int(_TAINTED.read_text())
    except OSError as error:
        raise KernelRefusal(
            f"reading {_TAINTED}",
            errno=error.errno or 0,
            hint="Without it nobody knows what a stage did to the kernel: it needs CONFIG_PROC_SYSCTL.",
        ) from error


def condition(bdf: Bdf) -> dict[str, Any]:
    """Look at one function; one that is not there, or leaves while it is looked at, is not `present`."""
    try:
        return {
            "present": True,
            "vendor": int(_attribute(bdf, "vendor"), 16),
            "device": int(_attribute(bdf, "device"), 16),
            "virtual": sysfs.is_there(sysfs.path_of(bdf, "physfn")),
            "driver": driver.bound_driver(bdf),
            "override": _override(bdf),
            "resources": _attribute(bdf, "resource"),
            "header": sysfs.read_config(bdf)[:_HEADER_BYTES],
        }
    except KernelRefusal:
        return {"present": False}


def put_back(bdf: Bdf, *, driver_name: str, override: str, bars: bytes) -> None:
    """Give a function back to the driver that it had before, with its base address registers as they were.

    Waits, uninterruptibly, for a VFIO user that still has it open.

    Args:
        bdf: the function.
        driver_name: the driver that had it; empty for none.
        override: its `driver_override`; empty for none.
        bars: its base address registers.

    Raises:
        KernelRefusal: with the errno.
    """
    driver.unbind(bdf)
    if sysfs.read_config(bdf)[_BARS_AT:][: len(bars)] != bars:
        _write_config(bdf, _BARS_AT, bars)
    sysfs.write_attribute(sysfs.path_of(bdf, "driver_override"), override)
    if driver_name:
        sysfs.write_attribute(sysfs.DRIVERS / driver_name / "bind", str(bdf))


def _override(bdf: Bdf) -> str:
    return _attribute(bdf, "driver_override").replace(driver.NO_OVERRIDE, "")


def _attribute(bdf: Bdf, name: str) -> str:
    return sysfs.read_attribute(sysfs.path_of(bdf, name))


def _write_config(bdf: Bdf, offset: int, data: bytes) -> None:
    path = sysfs.path_of(bdf, "config")
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.pwrite(fd, data, offset)
        finally:
            os.close(fd)
    except OSError as error:
        raise KernelRefusal(f"writing {path}", errno=error.errno or 0) from error
