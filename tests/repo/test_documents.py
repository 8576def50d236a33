"""What the repository says of itself is true."""

from __future__ import annotations

import argparse
import ast
import builtins
import os
import re
import subprocess
import sys
import tomllib
from typing import Final

import pytest

import harness
from harness import errors
from harness.cli import _parser
from harness.errors import HarnessError
from harness.lab.needs import PACKAGES, apt_line
from harness.staging.function import Function
from tests.gate.groups import BY_NAME
from tests.gate.request import parser as gate
from tests.repo.tree import ROOT, tracked

DOCUMENTS: Final = [
    ROOT / name
    for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "tests/README.md")
] + [*sorted((ROOT / "docs").glob("*.md"))]

OF_OTHERS: Final = {"--pdeathsig", "--check", "--cpu-list"}
"""Options of programs that are not ours."""

# in pieces, or this file would name what it forbids
FORBIDDEN: Final = tuple(
    "".join(pieces)
    for pieces in (
        ("/", "work/"),
        (".lib", "rary"),
        ("far", "m-"),
        ("..", "/shared"),
        ("@", "@RUN@"),
        ("/ro", "ot/"),
    )
)


def test_the_version_is_the_same_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == harness.__version__
    assert re.search(
        rf"^## {re.escape(harness.__version__)}\b", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE
    )


def test_the_generated_c_is_current() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "cdefs" / "generate.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_one_line_installs_what_a_machine_lacks() -> None:
    """README, set-up, the doctor and every message name the same packages, and README gets the lists first."""
    (typed,) = re.findall(
        r"```sh\nsudo apt-get update\nsudo apt-get install ([^\n#]+)\n```", (ROOT / "README.md").read_text()
    )
    (said,) = re.findall(r"\n +'(gcc [^']+)'\n", (ROOT / "lab" / "setup.sh").read_text())
    assert typed == said == " ".join(PACKAGES)
    assert apt_line().removeprefix("sudo ") == f"apt-get install {said}"
    others = {
        f"{path.name}: {line.strip()}"
        for folder in ("lab", "harness")
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and path.suffix in ("", ".py", ".sh") and path.name != "needs.py"
        for line in path.read_text().splitlines()
        if re.search(r"apt(-get)? install", line)
    }
    assert others == {
        'fresh_guest.py: note("fresh_guest: vng needs depmod: apt-get install kmod")',
        "setup.sh: printf '%sapt-get install %s' \"$sudo\" \\",
    }


def _drawn(docstring: str) -> dict[str, str]:
    """Class to parent, as the tree in a docstring draws it."""
    above: dict[int, str] = {}
    parents: dict[str, str] = {}
    for line in docstring.splitlines():
        match = re.match(r"^(?P<indent>[ │├└─]*)(?P<name>[A-Z]\w+) {2,}", line)
        if match is None:
            continue
        depth = len(match["indent"]) // 4
        above[depth] = match["name"]
        parents[match["name"]] = above.get(depth - 1, "")
    return parents


def test_the_tree_of_errors_is_drawn_as_it_is() -> None:
    real = {
        kind.__name__: kind.__base__.__name__ if kind is not HarnessError and kind.__base__ else ""
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, HarnessError)
    }
    drawn = _drawn(errors.__doc__ or "")
    lowest = min(
        len(line) - len(line.lstrip()) for line in (errors.__doc__ or "").splitlines() if "root;" in line
    )
    assert lowest == 4
    assert drawn == {**real, "HarnessError": ""}


def test_every_kind_of_error_is_in_the_list_of_report_types() -> None:
    reports = (ROOT / "docs" / "reports.md").read_text()
    for kind in vars(errors).values():
        if isinstance(kind, type) and issubclass(kind, HarnessError):
            family, _, member = kind.kind.rpartition(".")
            assert f"`{kind.kind}`" in reports or (f"`{family}.*`" in reports and f"`{member}`" in reports), (
                kind.kind
            )


@pytest.mark.parametrize("word", FORBIDDEN)
def test_no_file_names_the_machine_it_was_written_on(word: str) -> None:
    found = [str(path.relative_to(ROOT)) for path in tracked() if word.encode() in path.read_bytes()]
    assert found == []


def test_links_between_documents_lead_somewhere() -> None:
    for document in DOCUMENTS:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"


def test_folders_and_files_that_documents_name_exist() -> None:
    named = re.compile(r"`((?:harness|lab|tests|docs|cdefs)/[\w./-]+)`")
    missing = [
        f"{document.name}: {name}"
        for document in DOCUMENTS
        for name in named.findall(document.read_text())
        if not any(ROOT.glob(name.rstrip("/"))) and not re.search(r"\b[A-Z]{4,}\b", name)
    ]
    assert missing == []


def test_commands_that_documents_name_exist() -> None:
    (commands,) = [a for a in _parser()._actions if isinstance(a, argparse._SubParsersAction)]
    for document in DOCUMENTS:
        text = document.read_text()
        for script in set(re.findall(r"(?<![\w/])\./(lab/\w+)", text)):
            assert os.access(ROOT / script, os.X_OK), f"{document.name} names {script}"
        for command in set(re.findall(r"(?:`|bin/|^)harness ([a-z]+)\b", text, re.MULTILINE)):
            assert command in commands.choices, f"{document.name} names harness {command}"


def test_commands_that_messages_name_can_be_typed() -> None:
    """A hint that is typed and refused is worse than none: `cache clean` was one."""
    (commands,) = [a for a in _parser()._actions if isinstance(a, argparse._SubParsersAction)]
    for path in [*ROOT.glob("harness/**/*.py"), *ROOT.glob("lab/**/*.py")]:
        for typed in re.findall(r"`harness ([^`]+)`", path.read_text()):
            command, *words = typed.split()
            assert command in commands.choices, f"{path.name} names harness {typed}"
            known = commands.choices[command]._option_string_actions
            takes_words = any(not one.option_strings for one in commands.choices[command]._actions)
            unknown = [word for word in words if word.startswith("--") and word not in known]
            unknown += [word for word in words if not word.startswith("-") and not takes_words]
            assert not unknown or command in ("run", "replay", "soak", "fuzz"), (
                f"{path.name} names harness {typed}"
            )


def test_options_that_documents_name_exist() -> None:
    (commands,) = [a for a in _parser()._actions if isinstance(a, argparse._SubParsersAction)]
    known = {option for one in commands.choices.values() for option in one._option_string_actions}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    known |= set(re.findall(r"--[a-z][a-z-]+", done.stdout)) | set(gate()._option_string_actions)
    for document in DOCUMENTS:
        for code in re.findall(r"`[^`]+`|```.*?```", document.read_text(), re.DOTALL):
            if re.search(r"\b(harness|lab/run|lab/shell|lab/test|pytest|replay)\b|^`--", code):
                unknown = set(re.findall(r"(?<![\w-])(--[a-z][a-z-]+)", code)) - known - OF_OTHERS
                assert not unknown, f"{document.name}: {unknown} in {code}"


def test_groups_that_documents_name_exist() -> None:
    (table,) = re.findall(r"\n\| group .*\n((?:\|.*\n)+)", (ROOT / "CONTRIBUTING.md").read_text())
    assert set(re.findall(r"^\| `(\w+)`", table, re.MULTILINE)) == BY_NAME.keys()
    for document in DOCUMENTS:
        for names in re.findall(r"--group ([a-z,]+)", document.read_text()):
            assert set(names.split(",")) <= BY_NAME.keys(), f"{document.name} names --group {names}"


def test_the_first_scenario_of_the_readme_uses_verbs_that_exist() -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert blocks
    verbs = {
        node.attr
        for block in blocks
        for node in ast.walk(ast.parse(block))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "dut"
    }
    assert verbs
    assert verbs <= set(dir(Function))


def test_scenarios_in_documents_can_be_copied_whole() -> None:
    """What a block with a test in it uses, it imports or defines: nobody should have to guess the first line."""
    known = set(dir(builtins))
    blocks = 0
    for document in DOCUMENTS:
        for block in re.findall(r"```python\n(.*?)```", document.read_text(), re.DOTALL):
            tree = ast.parse(block)
            if not any(isinstance(n, ast.FunctionDef) and n.name.startswith("test_") for n in tree.body):
                continue
            blocks += 1
            given = {alias.asname or alias.name for n in ast.walk(tree) for alias in getattr(n, "names", ())}
            given |= {n.arg for n in ast.walk(tree) if isinstance(n, ast.arg)}
            names = [n for n in ast.walk(tree) if isinstance(n, ast.Name)]
            given |= {n.id for n in names if isinstance(n.ctx, ast.Store)}
            missing = {n.id for n in names} - given - known
            assert not missing, f"{document.name}: {missing} in\n{block}"
    assert blocks > 3


def test_verbs_that_the_readme_lists_exist() -> None:
    verbs = set(re.findall(r"`dut\.(\w+)", (ROOT / "README.md").read_text()))
    assert {"reads", "resets"} <= verbs <= set(dir(Function))


def test_public_names_are_documented() -> None:
    """Modules, classes and functions; a dataclass's fields stand in its docstring."""
    silent = []
    for path in [*ROOT.glob("harness/**/*.py"), *ROOT.glob("lab/**/*.py")]:
        tree = ast.parse(path.read_text())
        silent += [
            f"{path}: {getattr(what, 'name', '')}" for what in _public(tree) if not ast.get_docstring(what)
        ]
    assert silent == []


Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def _public(tree: ast.Module) -> list[Documented]:
    """The module, its public classes and functions, and the public methods of those classes."""
    classes = [one for one in tree.body if isinstance(one, ast.ClassDef) and not one.name.startswith("_")]
    members = [*tree.body, *(member for one in classes for member in one.body)]
    return [
        tree,
        *(
            one
            for one in members
            if isinstance(one, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            and not one.name.startswith("_")
        ),
    ]
