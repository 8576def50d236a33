"""What a storage driver made of a function: its SCSI host, and the first disk behind it.

A driver shows its disks some time after it was bound: whoever asks for one waits for that.

Source: Linux drivers/scsi/hosts.c, `scsi_add_host_with_dma()`; drivers/scsi/sd.c, `sd_probe()`;
drivers/nvme/host/core.c, `nvme_alloc_ns()`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from harness.errors import TargetError
from harness.pci.polling import seen_within

HOST: Final = "scsi-host"
DISK: Final = "disk"
ROLES: Final = (HOST, DISK)
_NODES: Final = Path("/dev")
_BLOCK: Final = ("host*/target*/*/block/*", "nvme/nvme*/nvme*n*")
_PATIENCE_S: Final = 30.0


def path_of(device: Path, role: str) -> Path:
    """Where a file is.

    Args:
        device: folder of the function in sysfs.
        role: `scsi-host/NAME`, an attribute of its SCSI host; `disk`, the node of its first disk; `disk/NAME`, an
            attribute of that disk's device.

    Raises:
        TargetError: no disk came within 30 s, or there is no SCSI host.
    """
    what, _, name = role.partition("/")
    disk = _disk(device)
    if what == DISK:
        return disk / "device" / name if name else _NODES / disk.name
    host = next(device.glob("host*/scsi_host/host*"), None)
    if host is None:
        raise TargetError(
            f"SCSI host of {device.name}",
            said="there is none",
            hint="Its driver shows a disk and no SCSI host, as nvme does.",
        )
    return host / name


def _disk(device: Path) -> Path:
    """The first disk, which says too that the driver has brought the adapter up."""

    def first() -> Path | None:
        found = sorted(path for pattern in _BLOCK for path in device.glob(pattern))
        return found[0] if found and (_NODES / found[0].name).exists() else None

    if (disk := seen_within(_PATIENCE_S, first, every_s=0.02)) is None:
        raise TargetError(
            f"disk of {device.name}",
            said=f"none after {_PATIENCE_S:.0f} s",
            hint="Is a storage driver bound to it? The kernel log of the target says how far that came.",
        )
    return disk
