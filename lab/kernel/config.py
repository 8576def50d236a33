"""What the lab asks of a kernel's configuration, and what each option is for.

This module refuses to find configurations: lab/kernel/find.py does that.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

NEEDED: Final[Mapping[str, str]] = {
    "BLK_DEV_INITRD": "the guest's root is an initramfs",
    "DEVTMPFS": "device files in the guest without udev",
    "PROC_FS": "the agent reads /proc",
    "SYSFS": "functions, drivers and resets are reached through sysfs",
    "TMPFS": "the guest's writable folders",
    "UNIX": "pyudev and the actors talk over sockets",
    "NET": "uevents arrive over netlink",
    "PRINTK": "the kernel log is evidence",
    "SERIAL_8250_CONSOLE": "the console is recorded over a serial port",
    "PCIEPORTBUS": "every function sits behind a root port",
    "HOTPLUG_PCI_PCIE": "functions are plugged into a running clone (pciehp)",
    "PCI_IOV": "virtual functions of igb and NVMe",
    "INTEL_IOMMU": "the guest's virtual IOMMU",
    "IRQ_REMAP": "VFIO refuses a group without interrupt remapping",
    "VFIO": "user access to functions",
    "VFIO_PCI": "user access to PCI functions",
    "VFIO_IOMMU_TYPE1": "the VFIO container",
    "VIRTIO_PCI": "the way between host and guest is a virtio port",
    "VIRTIO_CONSOLE": "the way between host and guest is a virtio port",
    "FTRACE": "windows are seen by tracing",
    "DYNAMIC_FTRACE": "tracing of single functions",
    "FUNCTION_TRACER": "tracing of functions",
    "KPROBES": "probes on the config lock",
    "KPROBE_EVENTS": "probes on the config lock, through tracefs",
    "KALLSYMS": "probes are placed by name",
}
"""Options (without `CONFIG_`) that the lab cannot do without, and what each is for."""

WANTED: Final[Mapping[str, str]] = {
    "PVPANIC_PCI": "a panic is reported to the host at once",
    "PVH": "boots 2 s sooner, without a decompressor",
    "BLK_DEV_NVME": "a driver for the NVMe function",
    "IGB": "a driver for the igb function",
    "E1000E": "a driver for the e1000e function",
    "HW_RANDOM_VIRTIO": "a driver for the virtio-rng function",
}
"""Options whose absence costs scenarios or time, but no verdicts of the others."""

_SLOW: Final = (
    "KASAN",
    "KCSAN",
    "LOCKDEP",
    "PROVE_LOCKING",
    "DEBUG_KMEMLEAK",
    "DEBUG_PAGEALLOC",
)


def parse_config(text: str) -> dict[str, str]:
    """Parse a kernel configuration: `CONFIG_X=y` lines; unset options are absent, quotes are removed."""
    return {name: value.strip('"') for name, value in re.findall(r"(?m)^(CONFIG_\w+)=(.*)$", text)}


def lacking(config: Mapping[str, str], modules: Path | None, options: Mapping[str, str]) -> list[str]:
    """List the options that a configuration lacks, each with what it is for.

    Args:
        config: `CONFIG_X` to value; nothing is listed when it is empty, because then it is unknown.
        modules: the folder of the kernel's modules; without one an option built as a module is lacking too.
        options: names without `CONFIG_`, and what each is for.
    """
    lines = []
    for name, purpose in options.items() if config else ():
        match config.get(f"CONFIG_{name}", "n"):
            case "y":
                continue
            case "m" if modules is not None:
                continue
            case "m":
                lines.append(f"the modules of CONFIG_{name}=m (give --modules): {purpose}")
            case _:
                lines.append(f"CONFIG_{name}: {purpose}")
    return lines


def checks_itself(config: Mapping[str, str]) -> bool:
    """Say whether a kernel was built with checks that make it boot several times slower."""
    return any(config.get(f"CONFIG_{name}") == "y" for name in _SLOW)
