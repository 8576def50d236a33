"""Which functions are around some, in a tree like that of /sys/devices."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.pci.neighbours import folders_around

TREE = (
    "pci0000:00/0000:00:02.0/0000:01:00.0",
    "pci0000:00/0000:00:02.0/0000:01:00.1",
    "pci0000:00/0000:00:02.0/0000:01:00.1/0000:02:00.0",
    "pci0000:00/0000:00:02.0/0000:01:10.0/physfn",
    "pci0000:00/0000:00:02.0/0000:00:02.0:pcie001",
    "pci0000:00/0000:00:02.0/power",
    "pci0000:00/0000:00:03.0/0000:03:00.0",
    "pci0000:00/0000:00:1f.0",
    "pci0000:00/0000:00:1f.2",
)


@pytest.mark.parametrize(
    ("of", "wanted"),
    [
        ("0000:00:02.0/0000:01:00.0", {"0000:00:02.0", "0000:01:00.0", "0000:01:00.1", "0000:02:00.0"}),
        (
            "0000:00:02.0/0000:01:00.1/0000:02:00.0",
            {"0000:00:02.0", "0000:01:00.1", "0000:02:00.0"},
        ),
        ("0000:00:03.0", {"0000:00:03.0", "0000:03:00.0"}),
        ("0000:00:1f.2", {"0000:00:1f.0", "0000:00:1f.2"}),
        ("0000:00:1e.0", set()),
    ],
)
def test_the_bus_what_is_below_and_the_ports_above(tmp_path: Path, of: str, wanted: set[str]) -> None:
    for folder in TREE:
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    found = folders_around([tmp_path / "pci0000:00" / of])
    assert {folder.name for folder in found} == wanted
