"""`lab/setup.sh` on a small repository of its own: real virtual environments, real pip, no network.

The small repository has this one's scripts, and a build backend of its own in place of setuptools.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import socketserver
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.tools import tool

LAB = Path(__file__).resolve().parents[2] / "lab"
SCRIPTS = ("run", "test", "shell", "bench", "setup.sh")
DEADLINE_S = 600
OTHER = "/var/tmp"  # noqa: S108 - what lab/test falls back to
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
import os, pathlib, sys, time, tomllib, zipfile

def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    root = pathlib.Path(__file__).resolve().parent
    if "broken" in (root / "cdefs" / "x.c").read_text():
        sys.exit("x.c: does not compile")
    (root / "builds").open("a").write("built\\n")
    while (root / "wait").exists():
        time.sleep(0.02)
    name = "small-1-py3-none-any.whl"
    with zipfile.ZipFile(pathlib.Path(wheel_directory, name), "w") as wheel:
        wheel.writestr("small.pth", str(root))
        metadata = "Metadata-Version: 2.1\\nName: small\\nVersion: 1\\n"
        project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
        for extra, parts in project["optional-dependencies"].items():
            metadata += f"Provides-Extra: {extra}\\n"
            metadata += "".join(f"Requires-Dist: {part}; extra == '{extra}'\\n" for part in parts)
        wheel.writestr("small-1.dist-info/METADATA", metadata)
        wheel.writestr("small-1.dist-info/WHEEL", "Wheel-Version: 1.0\\nTag: py3-none-any\\n")
        wheel.writestr("small-1.dist-info/RECORD", "")
    return name
"""

PROGRAM = """\
import os, sys
told = map(os.environ.get, os.environ.get("TELL", "").split())
print(os.path.basename(__file__), *told, *sys.argv[1:], "in", sys.prefix, flush=True)
if "--fd" in sys.argv:
    sys.stdin.readline()
sys.exit(int(os.environ.get("EXIT_" + sys.argv[-1].upper(), 0)) if sys.argv[1:] else 0)
"""


class Repository:
    """A small repository, and a way to call its scripts."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for folder in ("lab", "harness", "cdefs", "tests"):
            (root / folder).mkdir(parents=True)
        (root / "harness" / "lab").symlink_to("../lab")
        for script in SCRIPTS:
            shutil.copy(LAB / script, root / "lab" / script)
        (root / "pyproject.toml").write_text(PYPROJECT)
        (root / "backend.py").write_text(BACKEND)
        (root / "cdefs" / "x.c").write_text("int x;\n")
        for module in ("harness/cli.py", "lab/figures.py", "tests/gate.py"):
            (root / module).write_text(PROGRAM)
        self.stamp = root / ".venv" / ".harness-stamp"

    def start(
        self, script: str, *arguments: str, by: Sequence[str] = (), **environment: str
    ) -> subprocess.Popen[str]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PIP_"))}
        return subprocess.Popen(
            [*by, self.root / "lab" / script, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**clean, "PIP_NO_INDEX": "1", "PYTHON": sys.executable, **environment},
        )

    def call(
        self, script: str, *arguments: str, by: Sequence[str] = (), **environment: str
    ) -> subprocess.CompletedProcess[str]:
        process = self.start(script, *arguments, by=by, **environment)
        output, errors = process.communicate(timeout=DEADLINE_S)
        return subprocess.CompletedProcess(arguments, process.returncode, output, errors)

    def builds(self) -> int:
        return (self.root / "builds").read_text().count("built") if (self.root / "builds").exists() else 0

    def wait_for_build(self, number: int, by: subprocess.Popen[str] | None = None) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while self.builds() < number:
            assert by is None or by.poll() is None, "it ended before it built"
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
    program = {"run": ["cli.py run --help"], "shell": ["cli.py shell --help"], "test": ["gate.py --help"]}
    said = [line.partition(" in ")[0] for line in options if line.endswith(f" in {sys.prefix}")]
    assert said == program.get(script, [])
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
    command: list[str | Path] = [tmp_path / "link", "x"]
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


def test_tests_add_their_extras_and_return_the_status_of_the_gate(ready: Repository) -> None:
    result = ready.call("test", "units", EXIT_UNITS="4")
    assert result.returncode == 4, result.stderr
    assert result.stdout.startswith("gate.py units in ")
    assert "the extra 'dev'" in result.stderr
    assert ready.call("bench").returncode == 0
    assert set(ready.stamp.read_text().splitlines()[-1].split()) == {"none", "dev", "bench"}
    # Neither takes away what the other asked for.
    for again in ("run", "test", "bench"):
        assert ready.call(again).stderr == ""


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


ABSENT = "no-such-part"
NEEDING = PYPROJECT.replace("requires = []", f'requires = ["{ABSENT}"]')
NO_COMPILER = {"CC": "no-such-cc"}
"""Whatever must be made needs a compiler, so without one it is seen that something would be made."""


@pytest.mark.parametrize("added", ["# new\n", "[tool.ruff]\nline-length = 7\n"])
def test_what_decides_nothing_changes_nothing(ready: Repository, added: str) -> None:
    project = ready.root / "pyproject.toml"
    project.write_text(PYPROJECT + added)
    result = ready.call("run", **NO_COMPILER)
    project.write_text(PYPROJECT)
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.setup
@pytest.mark.parametrize(
    "changed", ["setup.py", "[tool.setuptools]", "[tool.distutils]", "[project.scripts]"]
)
def test_how_our_own_is_built_is_changed_in_place(ready: Repository, changed: str) -> None:
    """It needs no network: the parts that it is built with are in the environment."""
    project, script, builds = ready.root / "pyproject.toml", ready.root / "setup.py", ready.builds()
    if changed == "setup.py":
        script.write_text("setup()\n")
    else:
        project.write_text(f'{PYPROJECT}{changed}\nx = "y:z"\n')
    result = ready.call("run")
    assert (result.returncode, ready.builds()) == (0, builds + 1), result.stderr
    assert "compiling the bindings again" in result.stderr
    script.unlink(missing_ok=True)
    project.write_text(PYPROJECT)
    assert ready.call("run").returncode == 0


@pytest.mark.setup
@pytest.mark.parametrize("change", ["dependencies", "an extra", "sources"])
def test_a_change_that_cannot_be_made_leaves_what_was_there(ready: Repository, change: str) -> None:
    """Without network, say, after a `git pull`: who goes back to what it was has what was there."""
    project, source = ready.root / "pyproject.toml", ready.root / "cdefs" / "x.c"
    text, script = source.read_text(), "run"
    before = PYPROJECT.replace("bench = []", f'bench = ["{ABSENT}"]') if change == "an extra" else PYPROJECT
    project.write_text(before)
    assert ready.call("run").returncode == 0
    match change:
        case "dependencies":
            project.write_text(NEEDING)
        case "an extra":
            script = "bench"
        case _:
            source.write_text("broken\n")
    keep = ready.root / ".venv" / "keep"
    keep.touch()
    result = ready.call(script)
    assert (result.returncode, result.stdout) == (125, "")
    assert (ABSENT if change != "sources" else "does not compile") in result.stderr
    assert "pip could not install" in result.stderr.splitlines()[-1]
    project.write_text(before)
    source.write_text(text)
    assert ready.call("run", **NO_COMPILER).stderr == ""
    assert keep.exists()
    assert not [*ready.root.glob(".venv.[bc]*")]
    project.write_text(PYPROJECT)
    assert ready.call("run").returncode == 0


@pytest.mark.setup
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
@pytest.mark.parametrize("change", ["dependencies", "sources"])
def test_what_is_killed_in_a_change_leaves_what_was_there(
    ready: Repository, change: str, end: signal.Signals
) -> None:
    project, source, wait = ready.root / "pyproject.toml", ready.root / "cdefs" / "x.c", ready.root / "wait"
    text, keep, builds = source.read_text(), ready.root / ".venv" / "keep", ready.builds()
    keep.touch()
    if change == "dependencies":
        project.write_text(PYPROJECT.replace("bench = []", 'bench = []\nmore = ["x"]'))
    else:
        source.write_text(text + "int z;\n")
    wait.touch()
    first = ready.start("run")
    ready.wait_for_build(builds + 1, first)
    first.send_signal(end)
    if end is signal.SIGKILL:
        first.communicate(timeout=DEADLINE_S)
    wait.unlink()
    first.communicate(timeout=DEADLINE_S)
    assert first.returncode in (-signal.SIGKILL, 130)
    project.write_text(PYPROJECT)
    source.write_text(text)
    if end is signal.SIGINT:
        assert keep.exists()
    assert ready.call("run", "x", **NO_COMPILER).stdout == f"cli.py run x in {ready.root}/.venv\n"
    assert keep.exists()
    assert ready.builds() == builds + 1
    assert not [*ready.root.glob(".venv.[bc]*")]


def test_a_stranger_where_the_old_one_would_stand_aside_is_left(fresh: Repository) -> None:
    stranger = fresh.root / ".venv.before"
    stranger.mkdir()
    (stranger / "mine").write_text("mine")
    result = fresh.call("run", "x")
    assert (result.returncode, result.stdout) == (125, "")
    assert f"type: rm -r {stranger}" in result.stderr
    assert (stranger / "mine").read_text() == "mine"


def test_a_project_that_cannot_be_read_is_one_line_and_costs_nothing(ready: Repository) -> None:
    project = ready.root / "pyproject.toml"
    project.write_text(PYPROJECT + "<<<<<<< ours\n")
    result = ready.call("run")
    project.write_text(PYPROJECT)
    assert (result.returncode, len(result.stderr.splitlines())) == (125, 1)
    assert f"cannot read {project}" in result.stderr
    assert ready.call("run", **NO_COMPILER).stderr == ""


@pytest.mark.parametrize("changed", ["dependencies", "another python", "python upgraded", "half a stamp"])
def test_what_asks_for_a_new_environment(ready: Repository, tmp_path: Path, changed: str) -> None:
    stamp, project = ready.stamp.read_text(), ready.root / "pyproject.toml"
    environment = {}
    match changed:
        case "dependencies":
            project.write_text(NEEDING)
        case "another python":
            other = tmp_path / "python"
            other.write_text(f"#!/bin/sh\necho 3.99.0 of {other}\n")
            other.chmod(0o755)
            environment["PYTHON"] = str(other)
        case "python upgraded":
            ready.stamp.write_text(stamp.replace("\n3.", "\n2.", 1))
        case _:
            ready.stamp.write_text(stamp.rpartition("none")[0])
    result = ready.call("run", **NO_COMPILER, **environment)
    assert result.returncode == 125, result.stdout
    assert "no C compiler" in result.stderr
    project.write_text(PYPROJECT)
    ready.stamp.write_text(stamp)
    assert ready.call("run", CC="no-such-cc").returncode == 0


@pytest.mark.setup
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


@pytest.mark.setup
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


@pytest.mark.setup
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


@pytest.fixture
def server_of_tomorrow(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The address of a TLS server on this machine, and its certificate, which is not yet valid."""
    tool("openssl")
    key, request, certificate = (tmp_path / name for name in ("key.pem", "request.pem", "certificate.pem"))
    (tmp_path / "index").touch()
    (tmp_path / "ca.conf").write_text(
        f"[ca]\ndefault_ca=x\n[x]\ndatabase={tmp_path}/index\nnew_certs_dir={tmp_path}\nrand_serial=yes\n"
        "default_md=sha256\npolicy=p\nx509_extensions=e\n[p]\ncommonName=supplied\n"
        "[e]\nsubjectAltName=DNS:localhost\nbasicConstraints=CA:TRUE\n"
    )
    valid = "-startdate 20900101000000Z -enddate 20910101000000Z"
    files = f"-config {tmp_path}/ca.conf -keyfile {key} -in {request} -out {certificate}"
    for command in (
        f"req -newkey rsa:2048 -nodes -keyout {key} -out {request} -subj /CN=localhost",
        f"ca -batch -selfsign -notext {valid} {files}",
    ):
        subprocess.run(["openssl", *command.split()], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = socketserver.ThreadingTCPServer(("localhost", 0), HangsUp)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    with server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"https://localhost:{server.server_address[1]}/simple", certificate
        server.shutdown()
        thread.join()


class HangsUp(socketserver.BaseRequestHandler):
    """Nobody who refuses the certificate gets that far."""


@pytest.mark.setup
def test_a_wrong_clock_is_named_with_what_it_says(
    fresh: Repository, server_of_tomorrow: tuple[str, Path]
) -> None:
    (fresh.root / "pyproject.toml").write_text(NEEDING)
    index, certificate = server_of_tomorrow
    asking = {"PIP_NO_INDEX": "0", "PIP_INDEX_URL": index, "PIP_RETRIES": "0", "PIP_CONFIG_FILE": os.devnull}
    trusted = {"PIP_CERT": str(certificate), "REQUESTS_CA_BUNDLE": str(certificate)}  # it prefers the latter
    result = fresh.call("run", no_proxy="localhost", **asking, **trusted)
    assert result.returncode == 125
    last = result.stderr.splitlines()[-1]
    assert f"The clock of this machine says {time.strftime('%Y-%m-%d')}" in last, result.stderr


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
    assert "apt-get install gcc git make libc6-dev" in result.stderr or "Set PYTHON=" in result.stderr
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
    assert "apt-get install gcc git make libc6-dev linux-libc-dev python3" in result.stderr
    assert not (fresh.root / ".venv").exists()


@pytest.mark.parametrize("everywhere", [False, True], ids=["there is another folder", "there is none"])
def test_tests_run_their_programs_where_the_temporary_folder_lets_none_run(
    ready: Repository,
    tmp_path: Path,
    everywhere: bool,  # noqa: FBT001
) -> None:
    if os.statvfs(OTHER).f_flag & os.ST_NOEXEC:
        pytest.skip(f"here {OTHER} is mounted noexec, too")
    assert ready.call("test").returncode == 0  # the extra is there: nothing is made below
    folders = [str(tmp_path), *([OTHER] if everywhere else [])]
    mounts = " && ".join(f"mount -t tmpfs -o noexec tmp {shlex.quote(folder)}" for folder in folders)
    tool("findmnt", package="util-linux")
    apart = ("unshare", "--map-root-user", "--mount", "sh", "-c", f'{mounts} && exec "$@"', "sh")
    result = ready.call("test", by=apart, TMPDIR=str(tmp_path), TELL="TMPDIR")
    if re.search("unshare:|mount:", result.stderr):
        pytest.skip(f"nothing can be mounted here, not even in a namespace: {result.stderr.strip()}")
    (said,) = result.stderr.splitlines()
    assert said.startswith(f"lab: {tmp_path} is mounted noexec, and tests run programs that they write")
    if everywhere:
        assert (result.returncode, result.stdout) == (125, "")
        assert "Set TMPDIR=/another/folder" in said
    else:
        assert result.returncode == 0
        assert f"gate.py {OTHER} in " in result.stdout


def test_the_same_python_by_another_name_is_no_change(ready: Repository, tmp_path: Path) -> None:
    other = wrapper(tmp_path / "python", "no-question-is-refused")
    assert ready.call("run", PYTHON=other).stderr == ""
