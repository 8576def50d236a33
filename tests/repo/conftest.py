"""The Python of the package and its settings, to be spoiled."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.repo.tree import ROOT


@pytest.fixture(scope="session")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Whoever spoils it heals it."""
    folder = tmp_path_factory.mktemp("copy")
    for name in ("harness", "lab"):
        shutil.copytree(
            ROOT / name, folder / name, symlinks=True, ignore=lambda at, names: _no_python(Path(at), names)
        )
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def _no_python(at: Path, names: list[str]) -> list[str]:
    return [name for name in names if not (at / name).is_dir() and not name.endswith(".py")] + ["__pycache__"]
