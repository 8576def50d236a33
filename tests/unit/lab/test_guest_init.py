"""The compiler is asked for first: whoever has none learns it before anything is fetched."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import cli
from harness.errors import SetupError
from harness.lab.cache.store import Cache
from harness.lab.image.init_program import compiled_init
from harness.lab.place import prepare
from harness.model.exit_status import ExitStatus


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without any program, and its cache."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("VFIO_HARNESS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_guest_is_not_begun_without_a_compiler(bare: Path) -> None:
    with (
        Cache() as cache,
        pytest.raises(SetupError, match=r"no gcc here\. +Type: .*apt-get install gcc"),
    ):
        prepare(cache)
    assert {path.name for path in bare.iterdir()} == {"CACHEDIR.TAG", "building", "locks", "work"}


def test_nor_is_a_module_of_ones_own(bare: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "Kbuild").write_text("obj-m := ipr.o\n")
    assert cli.main(["make", str(tmp_path)]) == ExitStatus.NOTHING_SAID
    assert "no gcc and no make here (type: " in capsys.readouterr().err
    assert not bare.exists()


def test_a_folder_that_is_none_of_a_module_costs_no_kernel(
    bare: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["make", str(tmp_path)]) == ExitStatus.USAGE
    assert "neither a Kbuild nor a Makefile is there" in capsys.readouterr().err
    assert not bare.exists()


def test_a_program_that_was_compiled_once_needs_no_compiler_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Cache(tmp_path / "cache") as cache:
        made = compiled_init(cache)
        monkeypatch.setenv("PATH", str(tmp_path))
        assert compiled_init(cache) == made
