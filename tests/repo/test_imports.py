"""Who may import whom: the contracts of pyproject.toml, and that they have teeth."""

from __future__ import annotations

import ast
import os
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import harness
from tests.repo.tree import ROOT


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_imports_point_down() -> None:
    done = lint_imports(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("module", "spoils", "contract"),
    [
        ("harness/model/units.py", "import time", "The model knows nothing of the world"),
        ("harness/judge/questions/finished.py", "import subprocess", "does not touch the world"),
        ("harness/judge/questions/finished.py", "import harness.contract", "Imports point down"),
        ("harness/judge/evidence/calls.py", "import harness.judge.questions", "Questions stand on evidence"),
        ("harness/report/timeline/layout.py", "import harness.report.svg", "Renderers draw what is laid out"),
        ("harness/statistics/tally.py", "import pathlib", "Statistics are values"),
        ("harness/statistics/tally.py", "import time", "does not touch the world"),
        ("harness/report/junit.py", "import harness.target.agent", "does not reach the bindings"),
        ("harness/plugin/reporting/notes.py", "import harness.plugin.staging", "Plugins report"),
        ("harness/plugin/lab/plugin.py", "import harness.plugin.parallel", "Plugins report"),
        ("harness/plugin/lab/quarantine.py", "import pytest", "does not touch the world"),
        ("harness/agent/stage.py", "import harness.history.columns", "neither numpy nor pytest"),
        ("harness/agent/stage.py", "import harness.staging.part", "Imports point down"),
        ("lab/place.py", "import pytest", "The lab makes places"),
        ("lab/cache/store.py", "import harness.lab.debian.apt", "The rooms of the lab"),
        ("lab/kernel/find.py", "import harness.lab.qemu.machine", "The rooms of the lab"),
        ("lab/guest/watch.py", "import harness.lab.template.freeze", "The rooms of the lab"),
        ("lab/models/wire.py", "import harness.lab.guest.slots", "The rooms of the lab"),
        ("harness/staging/conduct.py", "import harness.lab.place", "Only those who compose know the lab"),
    ],
)
def test_each_contract_is_broken_by_what_it_forbids(
    copy: Path, module: str, spoils: str, contract: str
) -> None:
    path = copy / module
    healthy = path.read_text()
    path.write_text(healthy + f"\n{spoils}\n")
    done = lint_imports(copy)
    path.write_text(healthy)
    assert done.returncode == 1
    broken = [line for line in done.stdout.splitlines() if " BROKEN" in line]
    assert any(contract in line for line in broken), done.stdout


def test_a_new_folder_must_choose_its_layer(copy: Path) -> None:
    (copy / "harness" / "utils.py").write_text('"""Nobody knows what for."""\n')
    done = lint_imports(copy)
    (copy / "harness" / "utils.py").unlink()
    assert done.returncode == 1
    assert "utils" in done.stdout


def test_only_the_typed_face_knows_the_compiled_modules() -> None:
    for path in [*ROOT.glob("harness/**/*.py"), *ROOT.glob("lab/**/*.py")]:
        if path.parent.name == "bindings":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            names = (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [str(node.module), *(alias.name for alias in node.names)]
                if isinstance(node, ast.ImportFrom)
                else []
            )
            spoilt = [
                name for name in names if name.split(".")[-1] in ("_actor", "_vfio", "cffi", "_cffi_backend")
            ]
            assert not spoilt, f"{path}:{getattr(node, 'lineno', 0)} imports {spoilt}"


def test_every_module_imports_without_a_warning() -> None:
    """All in one process of its own; `__main__` modules do something when they are imported."""
    names = [
        module.name
        for module in pkgutil.walk_packages(harness.__path__, "harness.")
        if not module.name.endswith("__main__")
    ]
    assert len(names) > 100
    program = "import importlib, sys\nfor name in sys.argv[1:]: importlib.import_module(name)\n"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, *names],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""


def test_judging_needs_neither_pytest_nor_a_lab() -> None:
    """`harness judge` starts quickly, and on machines that have nothing but Python and numpy."""
    program = (
        "import sys, harness.cli, harness.contract, harness.judge, harness.history.container\n"
        "loaded = {name.partition('.')[0] for name in sys.modules}\n"
        "print(*sorted(loaded & {'pytest', 'lab', 'execnet', 'qemu', 'tenacity'}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ""
