"""The condition of functions: what must still be so when a test is over, and putting back what a test changed.

A function whose lock is held for ever puts whoever reads it into state D, so each is looked at in a thread of its own.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

from harness.bindings.actor import now
from harness.errors import KernelRefusal, TargetError
from harness.model.observation import BARS_AT, Condition, Conditions
from harness.model.pci import Bdf
from harness.model.units import Ns, as_text
from harness.pci import driver, sysfs
from harness.pci.aside import Aside

_HEADER_BYTES: Final = 64
_TAINTED: Final = Path("/proc/sys/kernel/tainted")


def conditions(bdfs: Sequence[Bdf], patience: Ns) -> Conditions:
    """Look at functions.

    Args:
        bdfs: which.
        patience: how long all of them together may take.

    Raises:
        KernelRefusal: the kernel does not tell its taint flags.
        Exception: what looking at one of them raised; nobody expects any.
    """
    looks = {bdf: Aside(partial(condition, bdf)) for bdf in bdfs}
    until = Ns(now() + patience)
    functions = {bdf: next(iter(look.results(until)), None) for bdf, look in looks.items()}
    return Conditions(taint=taint(), functions=functions)


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


def condition(bdf: Bdf) -> Condition:
    """Look at one function; one that is not there, or leaves while it is looked at, is not `present`."""
    try:
        return Condition(
            present=True,
            vendor=int(_attribute(bdf, "vendor"), 16),
            device=int(_attribute(bdf, "device"), 16),
            virtual=sysfs.is_there(sysfs.path_of(bdf, "physfn")),
            driver=driver.bound_driver(bdf),
            override=_override(bdf),
            resources=_attribute(bdf, "resource"),
            header=sysfs.read_config(bdf)[:_HEADER_BYTES],
        )
    except KernelRefusal:
        return Condition()


def put_back(bdf: Bdf, before: Condition, patience: Ns) -> None:
    """Give a function back to the driver that it had before, with its base address registers as they were.

    Waits, uninterruptibly, for a VFIO user that still has it open.

    Args:
        bdf: the function.
        before: as it was; driver, override and base address registers count.
        patience: how long it may take.

    Raises:
        KernelRefusal: with the errno.
        TargetError: it took longer.
    """
    if not Aside(partial(_give_back, bdf, before)).results(Ns(now() + patience)):
        raise TargetError(f"putting {bdf} back", said=f"no end after {as_text(patience)}")


def _give_back(bdf: Bdf, before: Condition) -> None:
    driver.unbind(bdf)
    if sysfs.read_config(bdf)[BARS_AT:][: len(before.bars)] != before.bars:
        _write_config(bdf, BARS_AT, before.bars)
    sysfs.write_attribute(sysfs.path_of(bdf, "driver_override"), before.override)
    if before.driver:
        sysfs.write_attribute(sysfs.DRIVERS / before.driver / "bind", str(bdf))


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
