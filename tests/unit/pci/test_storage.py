"""Where the disk and the SCSI host of a function are, on trees that look like sysfs."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from harness.errors import TargetError
from harness.pci import storage

SCSI = ("host0/target0:0:3/0:0:3:0/block", "sda")
NVME = ("nvme/nvme0", "nvme0n1")


@pytest.fixture
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a function in sysfs, and a /dev that is empty, for those who wait no longer than a moment."""
    function, nodes = tmp_path / "0000:06:00.0", tmp_path / "dev"
    function.mkdir()
    nodes.mkdir()
    monkeypatch.setattr(storage, "_NODES", nodes)
    monkeypatch.setattr(storage, "_PATIENCE_S", 0.05)
    return function


def shown(device: Path, below: tuple[str, str], *, node: bool = True) -> Path:
    """Let a driver show a disk; returns its node."""
    folder, name = below
    (device / folder / name).mkdir(parents=True)
    path = device.parent / "dev" / name
    if node:
        path.touch()
    return path


@pytest.mark.parametrize("below", [SCSI, NVME])
def test_the_node_of_a_disk(device: Path, below: tuple[str, str]) -> None:
    node = shown(device, below)
    assert storage.path_of(device, "disk") == node
    attribute = storage.path_of(device, "disk/timeout")
    assert attribute == device / below[0] / below[1] / "device" / "timeout"


def test_the_first_of_several(device: Path) -> None:
    shown(device, ("host0/target0:0:4/0:0:4:0/block", "sdb"))
    node = shown(device, SCSI)
    assert storage.path_of(device, "disk") == node


def test_an_attribute_of_the_host_once_it_has_a_disk(device: Path) -> None:
    host = device / "host0/scsi_host/host0"
    host.mkdir(parents=True)
    with pytest.raises(TargetError, match="disk of"):
        storage.path_of(device, "scsi-host/reset_host")
    shown(device, SCSI)
    assert storage.path_of(device, "scsi-host/reset_host") == host / "reset_host"


def test_whoever_comes_too_early_waits(device: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "_PATIENCE_S", 20.0)
    timer = threading.Timer(0.1, shown, (device, SCSI))
    timer.start()
    assert storage.path_of(device, "disk") == device.parent / "dev" / "sda"
    timer.join()


@pytest.mark.parametrize("below", [None, SCSI])
def test_a_disk_that_does_not_come_is_an_error_with_a_hint(
    device: Path, below: tuple[str, str] | None
) -> None:
    if below is not None:
        shown(device, below, node=False)
    with pytest.raises(TargetError, match=r"disk of 0000:06:00\.0") as raised:
        storage.path_of(device, "disk")
    assert "none after" in str(raised.value)
    assert "storage driver" in str(raised.value)


def test_a_driver_without_a_scsi_host_is_an_error_with_a_hint(device: Path) -> None:
    shown(device, NVME)
    with pytest.raises(TargetError, match=r"SCSI host of 0000:06:00\.0"):
        storage.path_of(device, "scsi-host/reset_host")
