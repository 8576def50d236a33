"""Debian's static busybox: a shell and small programs for guests, which have none; brought on request alone."""

from __future__ import annotations

from typing import Final

from harness.lab.cache.store import Cache
from harness.lab.debian import archive

BUSYBOX: Final = archive.Request(
    label="busybox",
    packages=("busybox-static",),
    suites=(archive.STABLE, f"{archive.STABLE}-security"),
    dependencies="^$",
    expected_bytes=1_000_000,
    unpacked_bytes=3_000_000,
    expected_s=3,
)


def busybox(cache: Cache) -> bytes:
    """Its ELF file.

    Raises:
        SetupError: it is not in the cache, and could not be fetched.
    """
    return (archive.unpacked(cache, BUSYBOX).path / "usr/bin/busybox").read_bytes()
