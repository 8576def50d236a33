"""What a user may call a scenario, and the mistakes that `harness soak` answers with one line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness import cli
from harness.errors import UsageError
from harness.model.exit_status import ExitStatus
from harness.scenarios.named import named

SHIPPED = Path(__file__).parents[3] / "harness" / "scenarios"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "test_mine.py").touch()
    return tmp_path


def test_files_and_node_ids_of_ones_own_are_taken_as_they_are() -> None:
    assert named(["test_mine.py", "test_mine.py::test_a[b]"]) == ["test_mine.py", "test_mine.py::test_a[b]"]


@pytest.mark.parametrize(
    ("word", "ends"),
    [
        ("test_serialise", "test_serialise.py"),
        ("test_serialise.py", "test_serialise.py"),
        ("test_serialise::test_two[rng0]", "test_serialise.py::test_two[rng0]"),
    ],
)
def test_shipped_files_need_no_path(word: str, ends: str) -> None:
    root, path = named([word])
    assert root == f"--rootdir={SHIPPED.parents[1]}"
    assert path == f"{SHIPPED}/{ends}"


def test_parts_of_names_select_among_the_shipped() -> None:
    arguments = named(["endless_resetters", "igb0"])
    assert arguments[-4:] == ["--pyargs", "harness.scenarios", "-k", "endless_resetters or igb0"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "no scenario is named"),
        (["test_absent.py"], "scenario test_absent.py: there is no such file"),
        (["absent/test_x"], "there is no such file"),
        (["absent::test_x"], "there is no such file"),
        (["test_mine.py", "endless"], "Name files only, or parts of names only"),
    ],
)
def test_what_is_no_scenario(words: list[str], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        named(words)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--for", "2h"], "no scenario is named"),
        (["--for", "2h", "-n", "2"], "no scenario is named"),
        (["test_absent.py", "--for", "2h"], "there is no such file"),
        (["endless", "--for", "2h", "-k", "igb0"], "endless selects already"),
    ],
)
def test_mistakes_are_one_line_before_the_lab_is_prepared(
    arguments: list[str], says: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["soak", *arguments]) == ExitStatus.USAGE
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("harness: ")
    assert says in line
    assert os.listdir(folder) == ["test_mine.py"]  # noqa: PTH208 - names are enough


def test_a_soak_without_a_time_is_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main(["soak", "test_mine.py"])
    assert end.value.code == ExitStatus.USAGE
    assert "required: --for" in capsys.readouterr().err
