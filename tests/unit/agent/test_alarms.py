"""Alarms are made ready, and put back as they were."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.agent.alarms import armed
from harness.model.units import SECOND, Ns

STOCK = {
    "hung_task_warnings": "7",
    "hung_task_timeout_secs": "120",
    "printk_ratelimit": "5",
    "printk_devkmsg": "ratelimit",
}


def machine(root: Path, **settings: str) -> Path:
    """A machine with these settings, as files."""
    for name, value in settings.items():
        path = root / "proc/sys/kernel" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{value}\n")
    (root / "sys/kernel/debug").mkdir(parents=True)
    (root / "sys/kernel/debug/clear_warn_once").write_text("")
    return root


def settings(root: Path) -> dict[str, str]:
    return {path.name: path.read_text().strip() for path in (root / "proc/sys/kernel").iterdir()}


def test_every_alarm_rings_and_is_put_back(tmp_path: Path) -> None:
    root = machine(tmp_path, **STOCK)
    with armed(Ns(SECOND), root=root):
        assert settings(root) == {**STOCK, "hung_task_warnings": "-1", "printk_ratelimit": "0"}
        assert (root / "sys/kernel/debug/clear_warn_once").read_text() == "1\n"
    assert settings(root) == STOCK


@pytest.mark.parametrize(
    ("patience_s", "before", "meanwhile"),
    [(0.5, "120", "120"), (109.5, "120", "120"), (300, "120", "310"), (300, "0", "0")],
)
def test_a_hung_task_is_told_of_when_the_plan_gave_it_up(
    tmp_path: Path, patience_s: float, before: str, meanwhile: str
) -> None:
    root = machine(tmp_path, **{**STOCK, "hung_task_timeout_secs": before})
    with armed(Ns(int(patience_s * SECOND)), root=root):
        assert settings(root)["hung_task_timeout_secs"] == meanwhile
    assert settings(root)["hung_task_timeout_secs"] == before


def test_a_log_that_user_space_may_not_write_is_opened(tmp_path: Path) -> None:
    root = machine(tmp_path, **{**STOCK, "printk_devkmsg": "off"})
    with armed(Ns(SECOND), root=root):
        assert settings(root)["printk_devkmsg"] == "on"
    assert settings(root)["printk_devkmsg"] == "off"


def test_what_the_kernel_does_not_have_stays_away(tmp_path: Path) -> None:
    (tmp_path / "proc/sys/kernel").mkdir(parents=True)
    with armed(Ns(SECOND), root=tmp_path):
        assert settings(tmp_path) == {}
    assert not (tmp_path / "sys").exists()


def test_all_is_put_back_whatever_happens(tmp_path: Path) -> None:
    root = machine(tmp_path, **STOCK)
    with pytest.raises(ZeroDivisionError), armed(Ns(SECOND), root=root):
        raise ZeroDivisionError
    assert settings(root) == STOCK
