"""What is built is what was meant: a wheel that works alone on every Python, and an sdist that is the whole repository.

All of it is done on a copy of what git tracks, in which earlier builds and the user have left something.
"""

from __future__ import annotations

import functools
import re
import shutil
import tarfile
import tomllib
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest
from packaging.requirements import Requirement

from harness.model.exit_status import ExitStatus
from tests.repo.tree import LINKS, ROOT, tracked
from tests.setup.environments import environment, install, pythons, run

pytestmark = pytest.mark.setup

CHECKERS: Final = ("build", "twine", "check-wheel-contents", "abi3audit")
LEFT: Final = {
    "build/lib/harness/dead.py": "raise SystemExit\n",
    "build/lib.linux-x86_64-cpython-311/harness/dead.py": "raise SystemExit\n",
    "build/thesis.txt": "mine\n",
    "vfio_harness.egg-info/SOURCES.txt": "harness/dead.py\n",
    "harness/bindings/_vfio.abi3.so": "of another Python\n",
    "harness/__pycache__/dead.cpython-311.pyc": "",
}
"""What earlier builds have left, and what a user keeps beside it."""
SCRIPTS: Final = {"lab/bench", "lab/run", "lab/setup.sh", "lab/shell", "lab/test"}
"""They make a checkout ready; in a wheel there is nothing that they could do."""
QUICK: Final = (
    *("tests/unit/judge", "tests/unit/report", "tests/unit/target", "tests/unit/bindings"),
    *("tests/plugin/test_reporting.py", "tests/repo/test_documents.py", "tests/repo/test_imports.py"),
)
COMPILERS: Final = re.compile(r"(.+-)?(gcc|cc|c89|c99|clang|tcc)(-[\d.]+)?")
SCENARIO: Final = """\
import pytest


@pytest.mark.dut("igb0")
def test_readers_sleep_through_a_reset(dut, stage):
    stage(dut.reads("sysfs", at=0x04), dut.resets("flr", at="50ms"), lasting="300ms", meets=1)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """A tree that was built, what came of it, and what pip and the compiler said."""

    tree: Path
    wheel: Path
    sdist: Path
    said: str

    def in_wheel(self) -> set[str]:
        """Names of the wheel's files."""
        return set(zipfile.ZipFile(self.wheel).namelist())

    def in_sdist(self) -> dict[str, tarfile.TarInfo]:
        """The sdist's files by their names in the repository."""
        with tarfile.open(self.sdist) as packed:
            return {one.name.partition("/")[2]: one for one in packed if one.isfile()}


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs that build and those that check."""
    programs = environment(tmp_path_factory.mktemp("tools") / "venv", pythons()[0])
    requires = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    install(programs, *requires, *CHECKERS)
    return programs


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, tools: Path) -> Built:
    folder = tmp_path_factory.mktemp("built")
    tree, out = folder / "vfio-harness", folder / "out"
    for path in tracked():
        copy = tree / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, copy)
    for link in LINKS:
        (tree / link.relative_to(ROOT)).symlink_to(link.readlink())
    for name, content in LEFT.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(content)
    wheel = run(
        *(tools / "pip", "wheel", "-v", "--no-deps", "--no-build-isolation", "--wheel-dir", out, "."),
        at=tree,
    )
    assert wheel.returncode == 0, wheel.stdout
    sdist = run(tools / "python", "-m", "build", "--no-isolation", "--sdist", "--outdir", out, at=tree)
    assert sdist.returncode == 0, sdist.stdout
    (wheel_path,), (sdist_path,) = out.glob("*.whl"), out.glob("*.tar.gz")
    return Built(tree=tree, wheel=wheel_path, sdist=sdist_path, said=wheel.stdout + sdist.stdout)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, built: Built) -> Callable[[Path], Path]:
    """Gives the programs of an environment that holds the wheel alone, for a Python."""

    @functools.cache
    def programs_of(python: Path) -> Path:
        programs = environment(tmp_path_factory.mktemp("alone") / "venv", python)
        install(programs, built.wheel)
        return programs

    return programs_of


@pytest.fixture
def harness(alone: Callable[[Path], Path]) -> Path:
    """The program of the wheel, in the environment of the first Python."""
    return alone(pythons()[0]) / "harness"


def test_a_build_is_quiet(built: Built) -> None:
    told = [line for line in built.said.splitlines() if not line.strip().startswith(("adding ", "copying "))]
    assert [line for line in told if re.search("warning|experimental|deprecat", line, re.IGNORECASE)] == []


def test_a_build_leaves_the_tree_as_it_was(built: Built) -> None:
    names = {str(path.relative_to(built.tree)) for path in built.tree.rglob("*") if path.is_file()}
    assert names == {str(path.relative_to(ROOT)) for path in tracked()} | set(LEFT)
    assert all((built.tree / name).read_text() == content for name, content in LEFT.items())


def test_a_folder_that_has_the_name_of_what_is_packed_is_left(built: Built, tools: Path) -> None:
    """Setuptools gathers the files in a folder of that name and deletes it."""
    thesis = built.tree / built.sdist.name.removesuffix(".tar.gz") / "thesis.txt"
    thesis.parent.mkdir()
    thesis.write_text("mine\n")
    build = (tools / "python", "-m", "build", "--no-isolation", "--sdist", "--outdir", built.tree.parent)
    done = run(*build, at=built.tree)
    kept = thesis.exists()
    shutil.rmtree(thesis.parent, ignore_errors=True)
    assert kept
    assert (done.returncode, "is in the way" in done.stdout) == (1, True)


def test_the_wheel_holds_the_packages_as_git_tracks_them(built: Built) -> None:
    files = {str(path.relative_to(ROOT)) for path in tracked()}
    of_the_lab = {f"harness/{name}" for name in files - SCRIPTS if name.startswith("lab/")}
    packages = {name for name in files if name.startswith("harness/")} | of_the_lab
    bindings = {
        f"harness/bindings/{Path(name).stem}.abi3.so"
        for name in files
        if re.fullmatch(r"cdefs/_\w+\.c", name)
    }
    assert len(bindings) == 3
    assert {name for name in built.in_wheel() if ".dist-info/" not in name} == packages | bindings


def test_the_wheel_is_for_every_python_from_the_oldest_on(built: Built) -> None:
    assert built.wheel.name.endswith("-cp311-abi3-linux_x86_64.whl")


def test_the_sdist_is_what_git_tracks(built: Built) -> None:
    modes = {str(path.relative_to(ROOT)): path.stat().st_mode & 0o111 for path in tracked()}
    packed = {name: one.mode & 0o111 for name, one in built.in_sdist().items()}
    written = {"PKG-INFO", "setup.cfg"}
    assert {name: mode for name, mode in packed.items() if name not in written} == modes
    assert packed["lab/run"]


def test_both_licences_come_with_both(built: Built) -> None:
    texts = {"LICENSE", "LICENSES/GPL-2.0-only.txt"}
    with zipfile.ZipFile(built.wheel) as wheel:
        (metadata,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
        said = wheel.read(metadata).decode()
        folder = metadata.removesuffix("METADATA") + "licenses/"
        assert all(wheel.read(folder + name) == (ROOT / name).read_bytes() for name in texts)
    assert "\nLicense-Expression: Apache-2.0 AND GPL-2.0-only\n" in said
    assert texts <= set(built.in_sdist())


@pytest.mark.parametrize(
    "command", [("twine", "check", "--strict"), ("check-wheel-contents",), ("abi3audit", "--strict")]
)
def test_checkers_find_nothing(built: Built, tools: Path, command: tuple[str, ...]) -> None:
    both = [built.wheel, *([built.sdist] if command[0] == "twine" else [])]
    done = run(tools / command[0], *command[1:], *both, at=built.tree)  # the tree says what is meant
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("python", pythons(), ids=str)
def test_it_runs_alone_on_every_python(
    built: Built, alone: Callable[[Path], Path], python: Path, tmp_path: Path
) -> None:
    programs = alone(python)
    modules = [
        name.removesuffix(".abi3.so").replace("/", ".")
        for name in built.in_wheel()
        if name.endswith(".abi3.so")
    ]
    imported = run(programs / "python", "-W", "error", "-c", f"import {', '.join(modules)}", at=tmp_path)
    assert (imported.returncode, imported.stdout) == (0, "")
    helped = run(programs / "harness", "--help", at=tmp_path)
    assert (helped.returncode, helped.stdout[:6]) == (0, "usage:")
    history = ROOT / "tests" / "golden" / "history" / "v4.history.zip"
    judged = run(programs / "harness", "judge", history, at=tmp_path)
    assert (judged.returncode, judged.stdout[:5]) == (0, "PASS "), judged.stdout


def test_a_compiler_is_asked_for_before_anything_is_fetched(harness: Path, tmp_path: Path) -> None:
    bare, cache = tmp_path / "bin", tmp_path / "cache"
    bare.mkdir()
    for folder in ("/usr/bin", "/usr/sbin", "/bin", "/sbin"):
        for path in Path(folder).iterdir():
            if not COMPILERS.fullmatch(path.name) and not (bare / path.name).exists():
                (bare / path.name).symlink_to(path)
    done = run(harness, "run", at=tmp_path, PATH=str(bare), VFIO_HARNESS_CACHE=str(cache))
    assert done.returncode == ExitStatus.NOTHING_SAID
    assert re.fullmatch(
        r"harness: compiling the guest's init: no gcc here\. .*apt-get install gcc.*\n", done.stdout
    )
    assert {path.name for path in cache.iterdir()} <= {"CACHEDIR.TAG", "building", "locks", "work"}


@pytest.mark.guest
def test_a_scenario_is_staged_by_the_wheel_alone(harness: Path, tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text(SCENARIO)
    done = run(harness, "run", "test_mine.py", at=tmp_path)
    assert done.returncode == ExitStatus.GOOD, done.stdout
    assert "1 ok in" in done.stdout


def lower_bounds() -> list[str]:
    """The oldest release that pyproject.toml allows, of whatever it builds with, runs with and is tested with."""
    told = tomllib.loads((ROOT / "pyproject.toml").read_text())
    asked = [*told["build-system"]["requires"], *told["project"]["dependencies"]]
    asked += told["project"]["optional-dependencies"]["dev"]
    bounds = {
        requirement.name: [(one.operator, one.version) for one in requirement.specifier]
        for requirement in map(Requirement, asked)
    }
    assert all([operator for operator, _ in bound] == [">="] for bound in bounds.values()), bounds
    return [f"{name}=={bound[0][1]}" for name, bound in bounds.items()]


def test_the_sdist_builds_and_works_with_the_oldest_of_everything(built: Built, tmp_path: Path) -> None:
    oldest = [python for python in pythons() if python.name == "python3.11"]
    if not oldest:
        pytest.skip("needs the oldest Python that is promised: apt-get install python3.11-venv")
    programs = environment(tmp_path / "venv", oldest[0])
    assert "yanked" not in install(programs, *lower_bounds())
    assert run("tar", "-xf", built.sdist, at=tmp_path).returncode == 0
    (tree,) = tmp_path.glob("vfio_harness-*")
    offline = ("--no-deps", "--no-build-isolation")
    wheel = run(programs / "pip", "wheel", *offline, "--wheel-dir", tmp_path, ".", at=tree)
    assert wheel.returncode == 0, wheel.stdout
    (built_wheel,) = tmp_path.glob("*.whl")
    assert set(zipfile.ZipFile(built_wheel).namelist()) == built.in_wheel()
    install(programs, *offline, "--editable", tree)
    done = run(programs / "python", "-m", "pytest", "-q", "-n", "0", *QUICK, at=tree)
    assert done.returncode == 0, done.stdout[-4000:]
