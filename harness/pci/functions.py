"""Facts on PCI functions, from pyudev's view of sysfs."""

from __future__ import annotations

from typing import Any

import pyudev

from harness.errors import KernelRefusal, TargetError
from harness.model.pci import Bdf
from harness.pci import sysfs


def facts(bdf: Bdf) -> dict[str, Any]:
    """What is known of a function: identity, driver, reset methods, IOMMU group.

    Returns:
        Plain values: `bdf`, `vendor`, `device`, `class` (integers), `driver`, `reset_methods` (list), `iommu_group`
        (text, empty without one).

    Raises:
        TargetError: there is no such function.
    """
    try:
        device = pyudev.Devices.from_name(pyudev.Context(), "pci", str(bdf))
    except pyudev.DeviceNotFoundError as error:
        raise TargetError(
            f"looking for function {bdf}", said="not there", hint="`lspci -D` lists what is."
        ) from error
    try:
        methods = sysfs.read_attribute(sysfs.path_of(bdf, "reset_method")).split()
    except KernelRefusal:
        methods = []  # a function that nothing can reset has no such file
    group = sysfs.path_of(bdf, "iommu_group")
    return {
        "bdf": str(bdf),
        "vendor": int(device.attributes.asstring("vendor"), 16),
        "device": int(device.attributes.asstring("device"), 16),
        "class": int(device.attributes.asstring("class"), 16),
        "driver": device.driver or "",
        "reset_methods": methods,
        "iommu_group": group.resolve().name if group.exists() else "",
    }


def everywhere() -> list[dict[str, Any]]:
    """Facts on every PCI function of this machine, in order of their addresses."""
    context = pyudev.Context()
    names = sorted(device.sys_name for device in context.list_devices(subsystem="pci"))
    return [facts(Bdf.parse(name)) for name in names]


def below(port: Bdf, function: int) -> Bdf | None:
    """The function with this number right below a root port, or None while nothing is plugged there."""
    names = sorted(path.name for path in (sysfs.DEVICES / str(port)).glob("????:??:??.?"))
    found = [Bdf.parse(name) for name in names]
    return next((bdf for bdf in found if bdf.function == function), None)
