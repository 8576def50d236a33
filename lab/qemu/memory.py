"""A guest's physical memory, read from outside: nothing in the guest has to work for it.

Source: QEMU's QMP command pmemsave, which writes a file; where there is no memory it writes zeros or ones and says
nothing, so that is refused here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from harness.errors import GuestError

if TYPE_CHECKING:
    from pathlib import Path

    from harness.lab.qemu.qmp import Monitor

_ANSWERS_S: Final = 5.0


def read_physical(monitor: Monitor, path: Path, memory_bytes: int, address: int, size: int) -> bytes:
    """Read memory of a guest that runs, was paused or went down; 4 ms for a page.

    Args:
        monitor: of its QEMU.
        path: a file to use for it; it is removed.
        memory_bytes: how much memory the guest has.
        address: physical address in the guest.
        size: in bytes, at least 1.

    Raises:
        GuestError: there is no memory, or QEMU is gone.
    """
    what = f"read {size} bytes of guest memory at {address:#x}"
    if not any(first <= address and address + size <= end for first, end in _ranges(memory_bytes)):
        raise GuestError(what, said="there is no memory")
    monitor.run("pmemsave", {"val": address, "size": size, "filename": str(path)}, _ANSWERS_S)
    try:
        content = path.read_bytes()
        path.unlink()
    except OSError as error:
        raise GuestError(what, said=error.strerror or str(error)) from error
    if len(content) != size:
        raise GuestError(what, said=f"QEMU wrote {len(content)} bytes: is the disk full?")
    return content


def _ranges(size: int) -> list[tuple[int, int]]:
    """Where guest memory lies: the machine q35 moves what is beyond 2 GiB above 4 GiB once it nears 2.75 GiB."""
    below = size if size < 0xB000_0000 else 2 << 30
    return [(0, below), (4 << 30, (4 << 30) + size - below)]
