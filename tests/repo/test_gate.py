"""`./lab/test`: what stops it, what it runs, and that what it declares is there.

The tools are real, and so are their settings; the tree is a small one.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.gate import groups
from tests.gate.lints import LINTS, TREE, stop
from tests.gate.request import request
from tests.repo.tree import ROOT, tracked

PROGRAMS = Path(sys.executable).parent
CONTRACTS = "lint-imports"
HEALTHY = '''"""A small module."""

from __future__ import annotations


def double(number: int) -> int:
    """Say twice as much."""
    return 2 * number
'''
OF_TESTS = "tests/unit/test_x.py"
SMALL_CONTRACT = """\
[tool.importlinter]
root_packages = ["harness", "lab"]

[[tool.importlinter.contracts]]
name = "Two packages"
type = "independence"
modules = ["harness", "lab"]
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A small tree in which nothing is wrong; it has no contracts, because these want all of ours."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    packages = ("harness/__init__.py", "lab/__init__.py", "cdefs/generate.py", "docs/examples/x.py")
    for name in (*packages, "setup.py", "conftest.py", "harness/x.py", OF_TESTS):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(HEALTHY)
    return tmp_path


def spoil(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))


def stopped(tree: Path, *, contracts: bool = False) -> str:
    """What the last line of the gate is, and what was printed above it; nothing when all was run."""
    why = stop(tree, PROGRAMS, [lint for lint in LINTS if (CONTRACTS in lint.command) is contracts])
    return "" if why is None else f"{why.line}\n{why.said}"


def test_a_healthy_tree_goes_through(tree: Path) -> None:
    (tree / "of_my_own.py").write_text("import os\nx=  1\n")  # beside the tree, and nobody's business
    assert stopped(tree) == ""


@pytest.mark.parametrize(
    ("file", "change", "line", "said"),
    [
        ("harness/x.py", ("return 2", "return str"), "types: mypy is red", "Returning Any|operator"),
        (
            OF_TESTS,
            ("return 2 * number", "return str(number)"),
            "types: mypy is red",
            "Incompatible return value",
        ),
        (OF_TESTS, ("double(number: int) -> int", "double(number)"), "lint: ruff is red", "ANN001|ANN201"),
        (OF_TESTS, ("\n\n\ndef", "\nimport os\n\n\ndef"), "lint: ruff is red", "F401"),
        (
            "lab/__init__.py",
            ("2 * number", "2*number"),
            "format: ruff is red",
            "lab/__init__.py:8",
        ),
        (
            "pyproject.toml",
            ("strict = true", "strict = true\nsurprise = 1"),
            "types: mypy is red",
            "surprise",
        ),
        ("pyproject.toml", ("line-length", "surprise = 1\nline-length"), "lint: ruff is red", "surprise"),
    ],
    ids=["type", "type in a test", "no type in a test", "import", "format", "key of mypy", "key of ruff"],
)
def test_what_is_wrong_stops_it(tree: Path, file: str, change: tuple[str, str], line: str, said: str) -> None:
    spoil(tree / file, *change)
    found = stopped(tree)
    assert found.startswith(line)
    assert re.search(said, found), found


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        ("harness/model/units.py", "\nfrom typing", "\nimport time\nfrom typing", "BROKEN"),
        ("pyproject.toml", "[tool.importlinter]", "[tool.another]", "root_package"),
        ("pyproject.toml", "exhaustive = true", "exhaustive = true\nsurprise = 1", "surprise"),
    ],
    ids=["import", "no contract", "key of a contract"],
)
def test_a_broken_or_missing_import_contract_stops_it(
    copy: Path, file: str, old: str, new: str, said: str
) -> None:
    assert stopped(copy, contracts=True) == ""
    healthy = (copy / file).read_text()
    spoil(copy / file, old, new)
    found = stopped(copy, contracts=True)
    (copy / file).write_text(healthy)
    assert found.startswith("import contracts: lint-imports is red")
    assert said in found


@pytest.mark.parametrize("missing", sorted({lint.command[0] for lint in LINTS}))
def test_a_missing_lint_stops_it_and_says_what_to_do(tree: Path, tmp_path: Path, missing: str) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in {lint.command[0] for lint in LINTS} - {missing}:
        (programs / name).symlink_to("/bin/true")
    why = stop(tree, programs)
    assert why is not None
    assert why.missing
    assert f"cannot start {programs / missing}: No such file" in why.line
    assert why.line.endswith("Type: rm -r .venv, and run this again")


def gate(tree: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.gate", *arguments]
    environment = {**os.environ, **variables}
    return subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, check=False)


def test_where_no_guest_can_be_had_only_quick_tests_run(tree: Path) -> None:
    shutil.copytree(ROOT / "tests" / "gate", tree / "tests" / "gate")
    settings = tree / "pyproject.toml"
    ours = re.search(r"\[tool\.importlinter\].*?(?=\n\[tool\.poe)", settings.read_text(), re.DOTALL)
    assert ours
    spoil(settings, ours[0], SMALL_CONTRACT)
    nowhere = {"VFIO_HARNESS_CACHE": str(settings)}
    done = gate(tree, OF_TESTS, **nowhere)
    assert (done.returncode, done.stdout) == (125, ""), done.stderr
    assert "green in" in done.stderr
    assert str(settings) in done.stderr.splitlines()[-1]
    quick = gate(tree, "--quick", "-n", "0", **nowhere)
    assert "test session starts" in quick.stdout


def test_the_command_ends_with_that_line_and_runs_no_test(tree: Path) -> None:
    shutil.copytree(ROOT / "tests" / "gate", tree / "tests" / "gate")
    spoil(tree / OF_TESTS, "double(number: int) -> int", "double(number)")
    done = gate(tree, OF_TESTS)
    assert (done.returncode, done.stdout) == (1, "")
    *above, last = done.stderr.splitlines()
    assert last == "lab/test stops, no test was run: lint: ruff is red (ruff check --fix mends some)"
    assert any(OF_TESTS in line for line in above)


def test_all_python_that_is_tracked_is_looked_at_by_all() -> None:
    inside = {path.relative_to(ROOT).parts[0] for path in tracked() if path.suffix == ".py"}
    assert inside == set(TREE)
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mypy"]
    assert settings["files"] == [name for name in TREE if name != "lab"]  # it is in harness, by a link
    assert settings["strict"] is True


# --- what is run ------------------------------------------------------------------------------------------


def test_without_arguments_all_that_is_in_no_group_runs_within_its_budget() -> None:
    asked = request([], ROOT)
    assert asked.guests
    assert asked.pytest[-2:] == ("--budget", "900")
    assert "-m" not in asked.pytest


def test_other_arguments_go_to_pytest_as_they_are() -> None:
    part = ("tests/unit/model/test_units.py::test_x", "-n", "0", "-k", "not slow")
    asked = request(part, ROOT)
    assert asked.pytest[-len(part) :] == part
    assert "--budget" not in asked.pytest  # of a part nobody says how long it takes
    assert "--reruns" in asked.pytest
    assert "--reruns" not in request((*part, "--pdb"), ROOT).pytest


def test_groups_are_asked_for_by_name() -> None:
    asked = request(["--group", "kills,soak", "-x"], ROOT)
    assert "kills or soak" in asked.pytest
    assert asked.pytest[-2:] == ("tests/guest", "-x")
    assert asked.guests
    assert not request(["--group=setup"], ROOT).guests


def test_quick_boots_no_guest_and_starts_no_pytest() -> None:
    asked = request(["--quick"], ROOT)
    assert not asked.guests
    folders = [word for word in asked.pytest if word.startswith("tests/")]
    assert not {"tests/guest", "tests/plugin", "tests/setup"} & set(folders)
    assert {"tests/unit", "tests/property", "tests/golden", "tests/repo"} <= set(folders)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--group", "kils"], "there is no group 'kils', there are adapter, kernels, kills, setup, soak"),
        (["--group"], "expected one argument"),
        (["--quick", "--group", "kills"], "not allowed with argument"),
        (["--quick", "tests/guest"], "--quick and --group choose the tests, and so does tests/guest"),
        (["--group", "soak", "-m", "guest"], "--quick and --group choose the tests, and so does -m"),
    ],
)
def test_a_mistake_is_said_before_anything_runs(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        request(arguments, ROOT)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_help_names_every_group(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        request(["--help"], ROOT)
    said = capsys.readouterr().out
    assert all(f"  {group.name} " in said for group in groups.GROUPS)


# --- what is declared -------------------------------------------------------------------------------------


def test_every_group_has_tests_and_all_of_them_lie_where_it_looks() -> None:
    marked = {
        (name, path.relative_to(ROOT).as_posix())
        for path in sorted(ROOT.glob("tests/**/*.py"))
        if path.name not in (Path(__file__).name, "groups.py", "test_accounts.py")  # which speak of markers
        for name in re.findall(r"pytest\.mark\.(\w+)", path.read_text())
        if name in groups.BY_NAME
    }
    assert {name for name, _ in marked} == groups.BY_NAME.keys()
    assert all(file.startswith(groups.BY_NAME[name].under + "/") for name, file in marked)


def test_budgets_are_of_what_is_there_and_fit_into_a_run() -> None:
    tests = {"/".join(path.relative_to(ROOT).parts[:2]) for path in ROOT.glob("tests/*/**/test_*.py")}
    assert groups.FOLDERS.keys() == tests
    assert sum(groups.FOLDERS.values()) <= groups.WORKERS * groups.DEFAULT_S
    assert sum(groups.FOLDERS[folder] for folder in groups.QUICK) <= groups.QUICK_WORKERS * groups.QUICK_S
    assert all(group.budget_s <= groups.GROUP_S for group in groups.GROUPS)
