"""Binding drivers to functions by `driver_override`, and undoing it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from harness.errors import TargetError
from harness.model.pci import Bdf
from harness.pci import sysfs
from harness.pci.polling import seen_within

NO_OVERRIDE: Final = "(null)"
"""How `driver_override` reads when there is none; written back it would be a name."""
_ATTACHED_S: Final = 2.0


def bound_driver(bdf: Bdf) -> str:
    """Name of the driver that owns a function now; empty when none does."""
    return sysfs.leads_to(sysfs.path_of(bdf, "driver")).name


def unbind(bdf: Bdf) -> None:
    """Take a function away from its driver, if it has one.

    Waits, uninterruptibly, for a VFIO user to close it (Linux drivers/base/dd.c, `device_driver_detach()`).

    Raises:
        KernelRefusal: with the errno.
    """
    driver = bound_driver(bdf)
    if driver:
        sysfs.write_attribute(sysfs.DRIVERS / driver / "unbind", str(bdf))


def bind(bdf: Bdf, driver: str) -> None:
    """Give a function to one driver and no other.

    Raises:
        KernelRefusal: with the errno.
        TargetError: the kernel accepted every write, and yet the driver did not take the function.
    """
    unbind(bdf)
    sysfs.write_attribute(sysfs.path_of(bdf, "driver_override"), driver)
    sysfs.write_attribute(sysfs.DEVICES.parent / "drivers_probe", str(bdf))
    # A function that was plugged just now was seen bound only a moment after this write had returned.
    if seen_within(_ATTACHED_S, lambda: bound_driver(bdf) == driver or None, every_s=0.001) is None:
        raise TargetError(
            f"binding {driver} to {bdf}",
            said=f"it is bound to {bound_driver(bdf) or 'nothing'} afterwards",
            hint="The kernel log of the target says why the driver refused.",
        )


@contextmanager
def borrowed(bdf: Bdf, driver: str) -> Iterator[None]:
    """Bind a driver for a while, or none when it is empty; afterwards all is as it was before, whatever happened.

    A function that was unplugged meanwhile took its driver with it.
    """
    before = bound_driver(bdf)
    override = sysfs.read_attribute(sysfs.path_of(bdf, "driver_override"))
    try:
        if driver:
            bind(bdf, driver)
        else:
            unbind(bdf)
        yield
    finally:
        if sysfs.is_there(sysfs.DEVICES / str(bdf)):
            unbind(bdf)
            sysfs.write_attribute(
                sysfs.path_of(bdf, "driver_override"), "" if override == NO_OVERRIDE else override
            )
            if before:
                sysfs.write_attribute(sysfs.DRIVERS / before / "bind", str(bdf))
