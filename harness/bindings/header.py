"""What the kernel header that a binding was compiled against has, of all that older headers lack."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.errors import TargetError


class Header:
    """One kernel header, as it was when the bindings were compiled.

    Attributes:
        name: `linux/vfio.h`.
        version: of the kernel whose headers those were: `6.1.187`.
        present: for each name that older headers lack: whether this one has it.
    """

    def __init__(self, name: str, version: str, table: Mapping[str, tuple[str, int]]) -> None:
        """Keep what the compiler saw.

        Args:
            name: of the header.
            version: of its kernel.
            table: by name, the first Linux that has it, and its value; a negative one means that it is lacking.
        """
        self.name, self.version = name, version
        self._table = table
        self.present: Mapping[str, bool] = {one: value >= 0 for one, (_, value) in table.items()}

    def value(self, wanted: str) -> int:
        """The value of a name: the number of an ioctl, of a feature, or a flag.

        Raises:
            TargetError: this header does not have it.
            KeyError: no header is known to have it.
        """
        since, value = self._table[wanted]
        if value < 0:
            raise TargetError(
                f"using {wanted}",
                said=f"<{self.name}> of Linux {self.version}, which the bindings were compiled against, lacks it",
                hint=f"It came with Linux {since}: install newer headers (linux-libc-dev), then install the "
                "harness again.",
            )
        return value


def read_table(ffi: Any, table: Any) -> dict[str, tuple[str, int]]:
    """Read an array of `struct hx_newer` (cdefs/vfio.cdef.txt): by name, since when, and the value."""
    return {ffi.string(row.name).decode(): (ffi.string(row.since).decode(), int(row.value)) for row in table}


def version_text(code: int) -> str:
    """LINUX_VERSION_CODE as people write it; the last part of it stops at 255.

    Source: include/generated/uapi/linux/version.h, KERNEL_VERSION().
    """
    return f"{code >> 16}.{code >> 8 & 0xFF}.{code & 0xFF}"
