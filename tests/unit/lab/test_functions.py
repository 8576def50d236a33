"""`harness functions`: what can be tested, listed without a guest and without a lab."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness import cli
from harness.lab.functions import ABILITIES, listed
from harness.lab.qemu.machine import Machine

MODEL = """
from harness.lab.models.endpoint import endpoint as mine
"""


def said(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert cli.main(["functions", *words]) == 0
    return capsys.readouterr().out


def test_every_function_of_the_machine_is_listed() -> None:
    assert tuple(one.alias for one in listed(Machine())) == Machine().aliases == tuple(ABILITIES)


def test_they_are_listed_for_people_and_nothing_is_made(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VFIO_HARNESS_CACHE", str(tmp_path / "cache"))
    lines = {line.split()[0]: line for line in said(capsys).splitlines() if line.strip()}
    for words in ("igb", "flr pm bus", "intx msi msix", "QEMU's igb", "network adapter"):
        assert words in lines["igb0"]
    assert "our model ipr" in lines["ipr0"]
    assert "hot-plugged" in lines["ipr0"]
    assert "beside pair1" in lines["pair0"]
    assert "hot-plugged" not in lines["igb0"]
    assert not (tmp_path / "cache").exists()


def test_they_are_listed_for_programs_with_models_of_ones_own(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "mine.py").write_text(MODEL)
    found = json.loads(said(capsys, "--json", "--model", f"mine0={tmp_path}/mine.py:mine"))
    by_alias = {one["alias"]: one for one in found}
    assert by_alias["nvme0"]["ability"]["driver"] == "nvme"
    assert by_alias["mine0"]["ability"] is None
    assert by_alias["mine0"]["served"] == f"{tmp_path}/mine.py:mine"
