"""`lspci` of pciutils as a second opinion on a config space: it reads a dump of it on the host."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.tools import tool


@dataclass(frozen=True)
class Decoded:
    """What lspci made of a config space.

    Attributes:
        bars: numbers of the BARs that it shows.
        capabilities: offsets of capabilities, in bytes, and whether they are extended, in its order.
        msi: how many MSI vectors; 0 without the capability.
        msix: how many MSI-X vectors; 0 without the capability.
    """

    bars: tuple[int, ...]
    capabilities: tuple[tuple[int, bool], ...]
    msi: int
    msix: int


def decode(config: bytes, folder: Path) -> Decoded:
    """Let lspci decode a config space."""
    program = tool("lspci", package="pciutils")
    lines = [f"{at:02x}: {config[at : at + 16].hex(' ')}" for at in range(0, len(config), 16)]
    dump = folder / "config.txt"
    dump.write_text("\n".join(["00:00.0 function", *lines, ""]))
    command = [program, "-F", str(dump), "-vvv"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = [
        (int(at, 16), version != "")
        for at, version in re.findall(r"Capabilities: \[(\w+)((?: v\d+)?)\]", said)
    ]
    msi = re.search(r"MSI: Enable[+-] Count=\d+/(\d+)", said)
    msix = re.search(r"MSI-X: Enable[+-] Count=(\d+)", said)
    return Decoded(
        # It calls the upper half of a 64-bit BAR unassigned, and indents the BARs of virtual functions once more.
        bars=tuple(int(number) for number in re.findall(r"(?m)^\tRegion (\d): (?!.*<unassigned>)", said)),
        capabilities=tuple(found),
        msi=int(msi[1]) if msi else 0,
        msix=int(msix[1]) if msix else 0,
    )
