"""Runs in the guest: what our objects say of one function, in the shape in which facts.c says it."""

from typing import Any

from harness.bindings import vfio
from harness.bindings.info_capability import InfoCapability
from harness.errors import KernelRefusal
from harness.model.pci import Bdf
from harness.vfio.container import Container
from harness.vfio.device import Device


def facts(name: str) -> dict[str, Any]:
    """Open a function that is bound to vfio-pci and describe it."""
    bdf = Bdf.parse(name)
    with Container() as container:
        device = container.attach(bdf).open(bdf)
        iommu = container.iommu_info()
        return {
            "iommu": {"page_sizes": iommu.page_sizes, "capabilities": _chain(iommu.capabilities)},
            "device": {"flags": device.info.flags, "regions": device.regions, "irqs": device.irqs},
            "regions": [_region(device, index) for index in range(device.regions)],
            "interrupts": [_interrupt(device, index) for index in range(device.irqs)],
            "hot_reset": _hot_reset(device),
            "config": bytes(
                byte
                for offset in range(0, device.config.size, 4)
                for byte in device.config.read(offset, 4).to_bytes(4, "little")
            ).hex(),
        }


def _region(device: Device, index: int) -> dict[str, Any]:
    try:
        region = device.region(index)
    except KernelRefusal as error:
        return {"errno": error.errno}
    return {
        "flags": region.flags,
        "size": region.size,
        "offset": region.offset,
        "capabilities": _chain(region.capabilities),
    }


def _interrupt(device: Device, index: int) -> dict[str, Any]:
    try:
        info = device.interrupt(vfio.Irq(index)).info
    except KernelRefusal as error:
        return {"errno": error.errno}
    return {"flags": int(info.flags), "count": info.count}


def _hot_reset(device: Device) -> dict[str, Any]:
    try:
        affected = device.hot_reset_info()
    except KernelRefusal as error:
        return {"errno": error.errno}
    return {"affected": [[one.group, str(one.bdf)] for one in affected]}


def _chain(capabilities: tuple[InfoCapability, ...]) -> list[list[int]]:
    return [[capability.id, capability.version] for capability in capabilities]
