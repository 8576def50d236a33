"""Files of a function by their role."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.model.pci import Bdf
from harness.pci import sysfs

BDF = Bdf.parse("0001:02:03.4")


@pytest.mark.parametrize(
    ("role", "path"),
    [
        ("config", "/sys/bus/pci/devices/0001:02:03.4/config"),
        ("proc", "/proc/bus/pci/0001:02/03.4"),
    ],
)
def test_where_a_file_is(role: str, path: str) -> None:
    assert sysfs.path_of(BDF, role) == Path(path)


def test_the_node_of_its_uio_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sysfs, "DEVICES", tmp_path)
    (tmp_path / str(BDF) / "uio" / "uio7").mkdir(parents=True)
    assert sysfs.path_of(BDF, "uio") == Path("/dev/uio7")
