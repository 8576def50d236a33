"""Facts on functions, from a tree like /sys: links lead away from where they lie, as the kernel makes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import TargetError
from harness.model.pci import Bdf
from harness.pci import driver, functions, sysfs

PORT = "0000:00:06.0"
BELOW = "0000:02:00.1"


@pytest.fixture(autouse=True)
def sys_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    listed = tmp_path / "bus/pci/devices"
    listed.mkdir(parents=True)
    monkeypatch.setattr(sysfs, "DEVICES", listed)
    for name, place in ((PORT, PORT), (BELOW, f"{PORT}/{BELOW}")):
        folder = tmp_path / "devices/pci0000:00" / place
        folder.mkdir(parents=True)
        (folder / "vendor").write_text("0x8086\n")
        (folder / "device").write_text("0x10c9\n")
        (folder / "class").write_text("0x020000\n")
        (listed / name).symlink_to(Path("../../../devices/pci0000:00", place))
    (listed / PORT / f"{PORT}:pcie001").mkdir()
    (listed / PORT / "reset_method").write_text("pm\n")
    for role, target in (("driver", "bus/pci/drivers/vfio-pci"), ("iommu_group", "kernel/iommu_groups/17")):
        (tmp_path / target).mkdir(parents=True)
        (listed / BELOW / role).symlink_to(tmp_path / target)
    return tmp_path


def test_a_function_with_everything() -> None:
    facts = functions.facts(Bdf.parse(BELOW))
    assert (facts.vendor, facts.device, facts.class_code) == (0x8086, 0x10C9, 0x020000)
    assert (facts.driver, facts.iommu_group, facts.port) == ("vfio-pci", "17", Bdf.parse(PORT))
    assert facts.reset_methods == ()


def test_a_function_on_the_root_bus_with_nothing() -> None:
    facts = functions.facts(Bdf.parse(PORT))
    assert (facts.driver, facts.iommu_group, facts.port) == ("", "", None)
    assert facts.reset_methods == ("pm",)


def test_one_that_is_not_there() -> None:
    with pytest.raises(TargetError, match="not there"):
        functions.facts(Bdf.parse("0000:02:00.0"))


def test_what_is_below_a_port() -> None:
    port = Bdf.parse(PORT)
    assert functions.below(port, 1) == Bdf.parse(BELOW)
    assert functions.below(port, 0) is None, "0000:00:06.0:pcie001 is a service of the port"
    assert functions.below(Bdf.parse("0000:00:07.0"), 0) is None


def test_all_of_them(sys_folder: Path) -> None:
    assert [str(one.bdf) for one in functions.everywhere()] == [PORT, BELOW]
    (sys_folder / "bus").rename(sys_folder / "elsewhere")
    assert functions.everywhere() == ()


def test_a_driver_is_there_as_long_as_its_link(sys_folder: Path) -> None:
    assert driver.bound_driver(Bdf.parse(BELOW)) == "vfio-pci"
    (sys_folder / "bus/pci/devices" / BELOW / "driver").unlink()
    assert driver.bound_driver(Bdf.parse(BELOW)) == ""
