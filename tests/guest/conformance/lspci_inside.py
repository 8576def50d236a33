"""`lspci` of Debian's pciutils, run in a guest with loader and libraries of its own."""

from __future__ import annotations

import io
import re
import subprocess
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from harness.lab.debian import archive

if TYPE_CHECKING:
    from harness.lab.cache.store import Cache
    from harness.lab.place import GuestTarget

PCIUTILS: Final = archive.Request(
    label="pciutils",
    packages=("pciutils",),
    suites=(archive.STABLE,),
    dependencies="lib.*|zlib1g",
    expected_bytes=6_200_000,
    unpacked_bytes=30_000_000,
    expected_s=5,
)
_LOADER: Final = "ld-linux-x86-64.so.2"
_CHUNK: Final = 1 << 18  # the port gives a few kilobytes at a time, and what has come is copied each time
_REMOTE: Final = f"""
import io, subprocess, tarfile
data = b"".join(iter(channel.receive, b""))
tarfile.open(fileobj=io.BytesIO(data)).extractall("/run/lspci")
loader = ["/run/lspci/{_LOADER}", "--inhibit-cache", "--library-path", "/run/lspci"]
said = {{}}
for bdf in channel.receive():
    # -n: names of vendors come from a list that grows.
    command = [*loader, "/run/lspci/lspci", "-n", "-vvv", "-s", bdf]
    done = subprocess.run(command, capture_output=True, text=True, env={{}})
    said[bdf] = [done.returncode, done.stdout, done.stderr]
channel.send(said)
"""


def said_of(target: GuestTarget, cache: Cache, functions: list[str]) -> dict[str, str]:
    """What `lspci -n -vvv` says of functions.

    Args:
        target: the guest.
        cache: where pciutils are kept.
        functions: addresses in the guest.

    Returns:
        by address, without what depends on the machine around the function: see :func:`without_places`.
    """
    data = _packed(archive.unpacked(cache, PCIUTILS).path / "usr")
    chunks = [data[at : at + _CHUNK] for at in range(0, len(data), _CHUNK)]
    said = target.agent.run_source(_REMOTE, *chunks, b"", functions)
    # Guests have no lists of modules, which it complains about.
    failed = {bdf: errors for bdf, (status, text, errors) in said.items() if status or not text}
    assert not failed, failed
    return {bdf: without_places(bdf, text) for bdf, (_, text, _) in said.items()}


def _packed(tree: Path) -> bytes:
    """The program, its loader, and the libraries that it is linked with, as a compressed archive."""
    libraries, loader = tree / "lib/x86_64-linux-gnu", tree / "lib64" / _LOADER
    command: list[str | Path] = [
        loader,
        "--inhibit-cache",
        "--library-path",
        libraries,
        "--list",
        tree / "bin/lspci",
    ]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    linked = [Path(path) for path in re.findall(r"=> (\S+/lib[^/ ]+)", listed)]
    assert linked, listed
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=4) as archived:
        for path in (tree / "bin/lspci", loader, *linked):
            archived.add(path.resolve(), arcname=path.name)
    return buffer.getvalue()


def without_places(bdf: str, text: str) -> str:
    """The text without bus addresses, numbers of interrupts, groups and slots, and where BARs were put."""
    text = text.replace(bdf, "BDF").replace(bdf.removeprefix("0000:"), "BDF")
    text = re.sub(r"(routed to IRQ|IOMMU group:|Physical Slot:) \d+", r"\1 N", text)
    return re.sub(r"(Memory at) [0-9a-f]+", r"\1 ADDRESS", text).rstrip() + "\n"
