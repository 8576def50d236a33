"""The other side of VFIO as files: containers, groups and devices that open and close, with bytes in their regions.

Regions lie where vfio-pci puts them.  Source: Linux include/linux/vfio_pci_core.h, VFIO_PCI_OFFSET_SHIFT.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Self

from harness.model.pci import Bdf

SHIFT: Final = 40
CONFIG: Final = 7
PAGE: Final = 4096
CONTENT: Final = {0: b"\xb0\xba" * (PAGE // 2), CONFIG: b"\x86\x80\xc9\x10" * 64}
"""Bytes of BAR 0 and of config space."""


@dataclass(frozen=True)
class Region:
    """Where a region is."""

    offset: int
    size: int


@dataclass(frozen=True)
class Config:
    """Config space of an open function."""

    fd: int

    def write(self, offset: int, width: int, value: int) -> None:
        os.pwrite(self.fd, value.to_bytes(width, "little"), (CONFIG << SHIFT) + offset)


class Device:
    """An open function: a memory file."""

    def __init__(self, bdf: Bdf) -> None:
        self.bdf = bdf
        self.fd = os.memfd_create(f"device-{bdf}")
        for index, content in CONTENT.items():
            os.pwrite(self.fd, content, index << SHIFT)

    @property
    def config(self) -> Config:
        return Config(self.fd)

    def read_config(self, offset: int, width: int) -> int:
        return int.from_bytes(os.pread(self.fd, width, (CONFIG << SHIFT) + offset), "little")

    def region(self, index: int) -> Region:
        return Region(offset=index << SHIFT, size=len(CONTENT.get(index, b"")))

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
        self.fd = -1


class Group:
    """An open group; a device is opened any number of times."""

    def __init__(self) -> None:
        self.fd = os.memfd_create("group")
        self.devices: list[Device] = []

    def open(self, bdf: Bdf) -> Device:
        self.devices.append(Device(bdf))
        return self.devices[-1]

    def close(self) -> None:
        os.close(self.fd)
        for device in self.devices:
            device.close()


class Container:
    """A container; the functions of one device are a group."""

    def __init__(self, refuse: Callable[[Bdf], None] = lambda _: None) -> None:
        self._refuse = refuse
        self.groups: dict[tuple[int, int], Group] = {}

    def __enter__(self) -> Self:
        self.groups = {}
        return self

    def __exit__(self, *_: object) -> None:
        for group in self.groups.values():
            group.close()

    def attach(self, bdf: Bdf) -> Group:
        self._refuse(bdf)
        place = (bdf.bus, bdf.device)
        if place not in self.groups:
            self.groups[place] = Group()
        return self.groups[place]


def is_open(fd: int) -> bool:
    """Whether this process has a descriptor open."""
    with suppress(OSError):
        os.fstat(fd)
        return True
    return False
