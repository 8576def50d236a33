"""What a plan sets is put back, whatever happened; who cannot put it back says so."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from harness.agent.settings import applied
from harness.errors import KernelRefusal, UsageError
from harness.model.pci import Bdf
from harness.model.plan import Setting


def a_while(attribute: Path | str, value: str) -> AbstractContextManager[None]:
    """An attribute by its absolute path stands for one in the folder of the function."""
    setting = Setting(function="igb0", attribute=str(attribute), value=value)
    return applied(setting, {"igb0": Bdf.parse("0000:ff:1f.7")})


def test_a_setting_is_put_back(tmp_path: Path) -> None:
    attribute = tmp_path / "reset_method"
    attribute.write_text("flr bus\n")
    with a_while(attribute, "flr"):
        assert attribute.read_text().startswith("flr")
    assert attribute.read_text().startswith("flr bus")


def test_a_setting_is_put_back_after_a_crash_too(tmp_path: Path) -> None:
    attribute = tmp_path / "enable"
    attribute.write_text("0")
    with pytest.raises(ZeroDivisionError), a_while(attribute, "1"):
        raise ZeroDivisionError
    assert attribute.read_text() == "0"


def test_a_setting_that_cannot_be_put_back_says_what_to_do(tmp_path: Path) -> None:
    attribute = tmp_path / "enable"
    attribute.write_text("0")
    with (
        pytest.raises(KernelRefusal, match=r"back to '0'.*ENOENT.*by hand"),
        a_while(attribute, "1"),
    ):
        attribute.unlink()


def test_a_function_that_is_gone_needs_nothing_put_back(tmp_path: Path) -> None:
    folder = tmp_path / "0000:ff:1f.7"
    folder.mkdir()
    attribute = folder / "enable"
    attribute.write_text("0")
    with a_while(attribute, "1"):
        attribute.unlink()
        folder.rmdir()


@pytest.mark.parametrize(
    ("attribute", "path"),
    [
        ("enable", "/sys/bus/pci/devices/0000:ff:1f.7/enable"),
        ("driver", "/sys/bus/pci/devices/0000:ff:1f.7/driver_override"),
        ("module/hil_absent/hold_ms", "/sys/module/hil_absent/parameters/hold_ms"),
    ],
)
def test_a_setting_is_an_attribute_a_driver_or_a_parameter(attribute: str, path: str) -> None:
    with pytest.raises(KernelRefusal, match=f"reading {path}.*ENOENT"), a_while(attribute, "1"):
        pass


def test_a_parameter_needs_a_module_and_a_name() -> None:
    with pytest.raises(UsageError, match="module/NAME/PARAMETER"), a_while("module/vfio_pci", "Y"):
        pass
