"""Facts on PCI functions, from pyudev's view of sysfs."""

from __future__ import annotations

from functools import cache

import pyudev

from harness.errors import KernelRefusal, TargetError
from harness.model.observation import FunctionFacts
from harness.model.pci import Bdf
from harness.pci import sysfs


@cache
def context() -> pyudev.Context:
    """Pyudev's way into sysfs; making one looks for libudev with a child process, so there is only one."""
    return pyudev.Context()


def facts(bdf: Bdf) -> FunctionFacts:
    """What is known of a function: identity, driver, reset methods, IOMMU group.

    Raises:
        TargetError: there is no such function.
    """
    try:
        device = pyudev.Devices.from_name(context(), "pci", str(bdf))
    except pyudev.DeviceNotFoundError as error:
        raise TargetError(
            f"looking for function {bdf}", said="not there", hint="`lspci -D` lists what is."
        ) from error
    try:
        methods = tuple(sysfs.read_attribute(sysfs.path_of(bdf, "reset_method")).split())
    except KernelRefusal:
        methods = ()  # a function that nothing can reset has no such file
    group = sysfs.path_of(bdf, "iommu_group")
    above = (sysfs.DEVICES / str(bdf)).resolve().parent
    return FunctionFacts(
        bdf=bdf,
        vendor=_number(bdf, "vendor"),
        device=_number(bdf, "device"),
        class_code=_number(bdf, "class"),
        driver=device.driver or "",
        reset_methods=methods,
        iommu_group=group.resolve().name if sysfs.is_there(group) else "",
        port=Bdf.parse(above.name) if sysfs.is_there(above / "vendor") else None,
    )


def everywhere() -> tuple[FunctionFacts, ...]:
    """Facts on every PCI function of this machine, in order of their addresses."""
    names = sorted(device.sys_name for device in context().list_devices(subsystem="pci"))
    return tuple(facts(Bdf.parse(name)) for name in names)


def below(port: Bdf, function: int) -> Bdf | None:
    """The function with this number right below a root port, or None while nothing is plugged there."""
    names = sorted(path.name for path in (sysfs.DEVICES / str(port)).glob("????:??:??.?"))
    found = [Bdf.parse(name) for name in names]
    return next((bdf for bdf in found if bdf.function == function), None)


def _number(bdf: Bdf, attribute: str) -> int:
    return int(sysfs.read_attribute(sysfs.path_of(bdf, attribute)), 16)
