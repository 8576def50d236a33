"""Attributes of a function in sysfs, by what a read of them does.

Most come from memory, and no lock holds them up.  Some ask config space by the kernel's own accessors, which mind no
lock: what they show while the function is being reset is anybody's guess.  Of others nobody promises what a read does,
for they wait for locks of their own, or for some on some kernels.

Source: Linux drivers/pci/pci-sysfs.c, drivers/pci/iov.c, drivers/pci/pcie/aer.c, drivers/pci/vpd.c,
drivers/base/power/sysfs.c, drivers/base/core.c.
"""

from __future__ import annotations

from typing import Final

from harness.errors import UsageError
from harness.model.operation import ATTRIBUTE_CONFIG_READ, ATTRIBUTE_READ, Operation

FROM_MEMORY: Final = frozenset(
    {
        *("vendor", "device", "subsystem_vendor", "subsystem_device", "revision", "class", "modalias"),
        *("irq", "resource", "enable", "local_cpus", "local_cpulist", "numa_node", "boot_vga", "msi_bus"),
        *("dma_mask_bits", "consistent_dma_mask_bits", "broken_parity_status", "ari_enabled"),
        *("power_state", "d3cold_allowed", "power/control", "power/runtime_status", "reset_method"),
        *("sriov_totalvfs", "sriov_offset", "sriov_stride", "sriov_vf_device", "sriov_drivers_autoprobe"),
        *("aer_dev_correctable", "aer_dev_fatal", "aer_dev_nonfatal"),
    }
)
FROM_CONFIG_SPACE: Final = frozenset(
    {
        *("current_link_speed", "current_link_width", "max_link_speed", "max_link_width"),
        *("secondary_bus_number", "subordinate_bus_number"),
    }
)
_ELSEWHERE: Final = {
    "config": "it is config space itself: use reads()",
    "vpd": "it is read from config space dword by dword, each waits for the config lock, and then up to 125 ms",
    "rom": "it is the memory of the expansion ROM, which must be enabled first",
    "sriov_numvfs": "it waits for device_lock",
    "driver_override": "it waits for device_lock, on some kernels",
    "uevent": "it waits for device_lock, on some kernels",
    **{f"resource{bar}": "it is a BAR: use loads_register()" for bar in range(6)},
}
"""Attributes that people may want, and why they are none of these."""


def reading(attribute: str, alias: str) -> Operation:
    """What a read of an attribute is, in the contract's words.

    Raises:
        UsageError: nobody promises what a read of it does.
    """
    if attribute in FROM_MEMORY:
        return ATTRIBUTE_READ
    if attribute in FROM_CONFIG_SPACE:
        return ATTRIBUTE_CONFIG_READ
    raise UsageError(
        f"reading the attribute {attribute!r} of {alias}",
        said=_ELSEWHERE.get(attribute, "nobody promises what a read of it does"),
        hint=f"From memory: {', '.join(sorted(FROM_MEMORY))}; "
        f"from config space, by the kernel itself: {', '.join(sorted(FROM_CONFIG_SPACE))}.",
    )
