"""`lab/setup.sh` on a small repository of its own: real virtual environments, real pip, no network.

The small repository has this one's scripts, and a build backend of its own in place of setuptools.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

LAB = Path(__file__).resolve().parents[2] / "lab"
SCRIPTS = ("run", "test", "shell", "bench", "setup.sh")
DEADLINE_S = 600
MARK = "made by vfio-harness, a Python environment: remove it whenever you like\n"

PYPROJECT = """\
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
[project]
name = "small"
version = "1"
[project.optional-dependencies]
dev = []
bench = []
"""

# An editable wheel (PEP 660) is a zip with a .pth file; while a file `wait` is there, the build does not end.
BACKEND = """\
import os, pathlib, time, zipfile

def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    root = pathlib.Path(__file__).resolve().parent
    (root / "builds").open("a").write("built\\n")
    while (root / "wait").exists():
        time.sleep(0.02)
    name = "small-1-py3-none-any.whl"
    with zipfile.ZipFile(pathlib.Path(wheel_directory, name), "w") as wheel:
        wheel.writestr("small.pth", str(root))
        metadata = "Metadata-Version: 2.1\\nName: small\\nVersion: 1\\n"
        metadata += "Provides-Extra: dev\\nProvides-Extra: bench\\n"
        wheel.writestr("small-1.dist-info/METADATA", metadata)
        wheel.writestr("small-1.dist-info/WHEEL", "Wheel-Version: 1.0\\nTag: py3-none-any\\n")
        wheel.writestr("small-1.dist-info/RECORD", "")
    return name
"""

PROGRAM = """\
import os, sys
print(os.path.basename(__file__), *sys.argv[1:], "in", sys.prefix, flush=True)
if "--fd" in sys.argv:
    sys.stdin.readline()
sys.exit(int(os.environ.get("EXIT_" + sys.argv[-1].upper(), 0)) if sys.argv[1:] else 0)
"""


class Repository:
    """A small repository, and a way to call its scripts."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for folder in ("lab", "harness", "cdefs"):
            (root / folder).mkdir(parents=True)
        for script in SCRIPTS:
            shutil.copy(LAB / script, root / "lab" / script)
        (root / "pyproject.toml").write_text(PYPROJECT)
        (root / "backend.py").write_text(BACKEND)
        (root / "cdefs" / "x.c").write_text("int x;\n")
        for module in ("harness/cli.py", "lab/figures.py", "pytest.py"):
            (root / module).write_text(PROGRAM)
        self.stamp = root / ".venv" / ".harness-stamp"

    def start(self, script: str, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PIP_"))}
        return subprocess.Popen(
            [self.root / "lab" / script, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**clean, "PIP_NO_INDEX": "1", "PYTHON": sys.executable, **environment},
        )

    def call(self, script: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        process = self.start(script, *arguments, **environment)
        output, errors = process.communicate(timeout=DEADLINE_S)
        return subprocess.CompletedProcess(arguments, process.returncode, output, errors)

    def builds(self) -> int:
        return (self.root / "builds").read_text().count("built") if (self.root / "builds").exists() else 0

    def wait_for_build(self, number: int) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while self.builds() < number:
            assert time.monotonic() < deadline, "no build was started"
            time.sleep(0.02)


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    repository = Repository(tmp_path_factory.mktemp("ready"))
    result = repository.call("run")
    assert result.returncode == 0, result.stderr
    return repository


@pytest.fixture
def fresh(tmp_path: Path) -> Repository:
    return Repository(tmp_path)


def test_the_second_run_changes_nothing_and_is_quick(ready: Repository) -> None:
    """How quick it can be is what the quickest of some tells: a busy machine makes any of them slow."""
    stamp, builds = ready.stamp.stat().st_mtime_ns, ready.builds()
    took: list[float] = []
    while not took or (min(took) >= 1.0 and len(took) < 20):
        started = time.monotonic()
        result = ready.call("run", "a", "b c")
        took.append(time.monotonic() - started)
        assert (result.stdout, result.stderr) == (f"cli.py run a b c in {ready.root}/.venv\n", "")
        assert (ready.stamp.stat().st_mtime_ns, ready.builds()) == (stamp, builds)
    assert min(took) < 1.0


@pytest.mark.parametrize(
    ("script", "line"), [("run", "cli.py run x"), ("shell", "cli.py shell x"), ("bench", "figures.py x")]
)
def test_each_script_calls_its_program(ready: Repository, script: str, line: str) -> None:
    assert ready.call(script, "x").stdout.startswith(line)


def test_the_exit_status_is_the_programs(ready: Repository) -> None:
    assert ready.call("run", EXIT_RUN="7").returncode == 7
    assert ready.call("shell", EXIT_SHELL="125").returncode == 125


@pytest.mark.parametrize("script", [name for name in SCRIPTS if name != "setup.sh"])
@pytest.mark.parametrize("word", ["-h", "--help"])
def test_help_makes_nothing(fresh: Repository, script: str, word: str) -> None:
    before = sorted(fresh.root.rglob("*"))
    result = fresh.call(script, "x", word, CC="no-such-cc")
    assert (result.returncode, result.stderr) == (0, "")
    head, *options = result.stdout.splitlines()
    assert f"lab/{script}" in head
    command = [f"cli.py {script} --help"] if script in ("run", "shell") else []
    assert [line.partition(" in ")[0] for line in options if line.startswith("cli.py")] == command
    assert sorted(fresh.root.rglob("*")) == before


def test_a_checkout_in_a_path_with_a_colon_is_one_line(tmp_path: Path) -> None:
    result = Repository(tmp_path / "a:b $c").call("run")
    assert (result.returncode, result.stdout) == (125, "")
    (line,) = result.stderr.splitlines()
    assert "no virtual environment in a path with a colon" in line
    assert "move the repository" in line


def test_a_link_to_the_script_works_from_anywhere(
    ready: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "link").symlink_to(ready.root / "lab" / "run")
    monkeypatch.chdir(tmp_path)
    command = [tmp_path / "link", "x"]
    assert subprocess.check_output(command, text=True) == f"cli.py run x in {ready.root}/.venv\n"


def test_changed_c_sources_are_built_again_in_place(ready: Repository) -> None:
    keep, builds = ready.root / ".venv" / "keep", ready.builds()
    keep.touch()
    (ready.root / "cdefs" / "x.c").write_text("int y;\n")
    result = ready.call("run")
    assert result.returncode == 0
    assert "compiling the bindings again" in result.stderr
    assert keep.exists()
    assert ready.builds() == builds + 1
    assert ready.call("run").stderr == ""


def test_tests_add_their_extras_and_return_the_status_of_pytest(ready: Repository) -> None:
    result = ready.call("test", "units", EXIT_UNITS="4")
    assert result.returncode == 4, result.stderr
    dealt, again = "-n 2 --dist=loadfile --no-loadscope-reorder", "--reruns 1 --max-suite-reruns 5"
    assert [line.partition(" in ")[0] for line in result.stdout.splitlines()] == [
        "cli.py setup",
        f"pytest.py {dealt} {again} --rerun-show-tracebacks units",
    ]
    assert "the extra 'dev'" in result.stderr
    debugged = ready.call("test", "-n", "0", "--pdb")
    assert debugged.stdout.splitlines()[-1].startswith(f"pytest.py {dealt} -n 0 --pdb in ")
    assert ready.call("bench").returncode == 0
    assert set(ready.stamp.read_text().splitlines()[-1].split()) == {"none", "dev", "bench"}
    # Neither takes away what the other asked for.
    for again in ("run", "test", "bench"):
        assert ready.call(again).stderr == ""


def test_without_a_lab_there_are_no_tests(ready: Repository) -> None:
    result = ready.call("test", EXIT_SETUP="125")
    assert result.returncode == 125
    assert "pytest.py" not in result.stdout


STRANGERS = (
    "made by hand",
    "of an earlier version",
    "a link",
    "another mode",
    "a marker of its own",
    "egg-info",
)


@pytest.mark.parametrize("stranger", STRANGERS)
def test_what_this_script_did_not_make_is_named_and_left(
    fresh: Repository, tmp_path_factory: pytest.TempPathFactory, stranger: str
) -> None:
    venv, marker = fresh.root / ".venv", fresh.root / ".venv" / ".made-by-vfio-harness"
    venv.mkdir()
    if stranger == "a link":
        venv.rmdir()
        venv.symlink_to(tmp_path_factory.mktemp("elsewhere"))
    if stranger in ("a link", "another mode"):
        marker.write_text(MARK)
        marker.chmod(0o444)
    match stranger:
        case "of an earlier version":
            fresh.stamp.write_text("of\nanother\nday\nnone\n")
        case "another mode":
            venv.chmod(0o700)
        case "a marker of its own":
            marker.write_text("mine\n")
            marker.chmod(0o444)
        case "egg-info":
            venv.rmdir()
            venv = fresh.root / "vfio_harness.egg-info"
            venv.mkdir()
    (venv / "mine").write_text("mine")
    result = fresh.call("run", "x")
    assert (result.returncode, result.stdout) == (125, ""), result.stderr
    assert f"Type: rm -r {venv}" in result.stderr.replace("type:", "Type:")
    assert (venv / "mine").read_text() == "mine"
    assert not fresh.builds()


def test_a_half_made_environment_of_ours_is_made_again(fresh: Repository) -> None:
    venv = fresh.root / ".venv"
    (venv / "bin").mkdir(parents=True)
    (venv / "bin" / "python").write_text("half-made")
    (venv / ".made-by-vfio-harness").write_text(MARK)
    (venv / ".made-by-vfio-harness").chmod(0o444)
    venv.chmod(0o755)
    result = fresh.call("run", "x")
    assert (result.returncode, result.stdout) == (0, f"cli.py run x in {fresh.root}/.venv\n"), result.stderr
    assert "making the Python environment" in result.stderr
    assert fresh.call("run").stderr == ""
    assert (venv / ".made-by-vfio-harness").read_text() == MARK


@pytest.mark.parametrize("changed", ["dependencies", "another python", "python upgraded", "half a stamp"])
def test_what_asks_for_a_new_environment(ready: Repository, tmp_path: Path, changed: str) -> None:
    stamp, project = ready.stamp.read_text(), ready.root / "pyproject.toml"
    environment = {}
    match changed:
        case "dependencies":
            project.write_text(PYPROJECT + "# new\n")
        case "another python":
            other = tmp_path / "python"
            other.write_text(f"#!/bin/sh\necho 3.99.0 of {other}\n")
            other.chmod(0o755)
            environment["PYTHON"] = str(other)
        case "python upgraded":
            ready.stamp.write_text(stamp.replace("\n3.", "\n2.", 1))
        case _:
            ready.stamp.write_text(stamp.rpartition("none")[0])
    # Whatever must be made needs a compiler, so without one it is seen that something would be made.
    result = ready.call("run", CC="no-such-cc", **environment)
    assert result.returncode == 125, result.stdout
    assert "no C compiler" in result.stderr
    project.write_text(PYPROJECT)
    ready.stamp.write_text(stamp)
    assert ready.call("run", CC="no-such-cc").returncode == 0


def test_killed_in_the_middle_it_starts_again_once_pip_has_ended(fresh: Repository) -> None:
    (fresh.root / "wait").touch()
    first = fresh.start("run")
    fresh.wait_for_build(1)
    assert not fresh.stamp.exists()
    first.send_signal(signal.SIGKILL)
    first.communicate(timeout=DEADLINE_S)
    assert first.returncode == -signal.SIGKILL
    second = fresh.start("run", "x")
    assert second.stderr is not None
    assert "waiting for" in second.stderr.readline()  # the first one's pip still writes
    (fresh.root / "wait").unlink()
    output, errors = second.communicate(timeout=DEADLINE_S)
    assert second.returncode == 0, errors
    assert "making the Python environment" in errors
    assert output.startswith("cli.py run x")
    assert fresh.builds() == 2


def test_two_at_once_make_it_once(fresh: Repository) -> None:
    (fresh.root / "wait").touch()
    both = [fresh.start("run", "x"), fresh.start("run", "x")]
    fresh.wait_for_build(1)
    (fresh.root / "wait").unlink()
    results = [process.communicate(timeout=DEADLINE_S) for process in both]
    assert [process.returncode for process in both] == [0, 0], results
    assert [output for output, _ in results] == [f"cli.py run x in {fresh.root}/.venv\n"] * 2
    assert sum("making the Python environment" in errors for _, errors in results) == 1
    assert fresh.builds() == 1


def test_a_change_waits_for_those_who_run(ready: Repository) -> None:
    runner = ready.start("run", "--fd")
    assert runner.stdout is not None
    runner.stdout.readline()
    (ready.root / "cdefs" / "x.c").write_text("int waits;\n")
    changer = ready.start("run")
    assert changer.stderr is not None
    assert "waiting for other lab commands to end" in changer.stderr.readline()
    assert changer.poll() is None
    runner.communicate("\n", timeout=DEADLINE_S)
    assert "compiling the bindings again" in changer.communicate(timeout=DEADLINE_S)[1]
    assert changer.returncode == 0


def test_pip_without_network_is_one_line_and_leaves_nothing_half_made(fresh: Repository) -> None:
    (fresh.root / "pyproject.toml").write_text(
        PYPROJECT.replace("requires = []", 'requires = ["no-such-part"]')
    )
    result = fresh.call("run")
    assert result.returncode == 125
    assert "no-such-part" in result.stderr
    assert "PIP_INDEX_URL" in result.stderr.splitlines()[-1]
    assert result.stdout == ""
    assert not fresh.stamp.exists()


def wrapper(path: Path, refuse: str) -> str:
    """Write an interpreter that refuses one question and is the real one otherwise."""
    path.write_text(f'#!/bin/sh\ncase "$*" in *{refuse}*) exit 1 ;; esac\nexec {sys.executable} "$@"\n')
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    ("refuse", "said"),
    [("ensurepip", "has no venv module"), ("version_info", "3.11 or newer is needed"), ("absent", "")],
)
def test_an_unfit_python_is_one_line(fresh: Repository, refuse: str, said: str) -> None:
    python = wrapper(fresh.root / "python", refuse) if said else "no-such-python"
    result = fresh.call("run", PYTHON=python)
    assert (result.returncode, result.stdout) == (125, "")
    assert len(result.stderr.splitlines()) == 1
    assert said in result.stderr
    assert "apt-get install gcc libc6-dev" in result.stderr or "Set PYTHON=" in result.stderr
    assert not (fresh.root / ".venv").exists()


@pytest.mark.parametrize("missing", ["compiler", "header", "static"])
def test_a_missing_compiler_header_or_library_is_one_line(fresh: Repository, missing: str) -> None:
    compiler = "no-such-cc"
    if missing != "compiler":
        refuse = {"header": "*-fsyntax-only*", "static": "*-static*"}[missing]
        fake = fresh.root / "cc"
        fake.write_text(
            f'#!/bin/sh\ncase "$*" in {refuse}) echo "cannot find -lc" >&2; exit 1 ;; esac\nexec gcc "$@"\n'
        )
        fake.chmod(0o755)
        compiler = str(fake)
    result = fresh.call("run", CC=compiler)
    assert (result.returncode, result.stdout) == (125, "")
    assert len(result.stderr.splitlines()) == 1
    assert "apt-get install gcc libc6-dev linux-libc-dev python3" in result.stderr
    assert not (fresh.root / ".venv").exists()


def test_the_same_python_by_another_name_is_no_change(ready: Repository, tmp_path: Path) -> None:
    other = wrapper(tmp_path / "python", "no-question-is-refused")
    assert ready.call("run", PYTHON=other).stderr == ""
