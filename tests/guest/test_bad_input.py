"""What cannot work says so in one line, with the right exit status, and leaves a red report and nothing else.

A guest that panics at boot is in `test_guest.py`; mistakes inside a scenario are in `test_run.py`.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.contract import load
from harness.judge import judge
from harness.lab.place import Place
from harness.model.request import DescribeMachine
from harness.model.verdict import Verdict
from harness.plugin.lab import describe, platform_of
from harness.staging.conduct import conduct
from harness.staging.part import plan_of
from tests.guest.invocation import Invocation, harness, red

NOBODY = 65534


def assert_one_line(run: Invocation, status: int, pattern: str) -> None:
    """The right status, and one line on standard error that matches."""
    assert run.status == status, run.said
    said = [line for line in run.errors.splitlines() if line.startswith("harness: ")]
    assert len(said) == 1, run.said
    assert re.search(pattern, said[0]), said[0]
    assert "Traceback" not in run.said


# --- nothing to test on -----------------------------------------------------------------------------------


@pytest.fixture
def without_qemu(tmp_path: Path) -> Path:
    """A folder with every command that this machine has, but for QEMU."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for place in os.get_exec_path():
        for program in Path(place).glob("*"):
            link = folder / program.name
            if not program.name.startswith("qemu-") and not link.is_symlink():
                link.symlink_to(program)
    assert shutil.which("qemu-system-x86_64", path=str(folder)) is None
    return folder


@pytest.fixture
def closed_port() -> int:
    """A port of this machine where nobody listens."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def test_neither_qemu_nor_network(tmp_path: Path, without_qemu: Path, closed_port: int) -> None:
    run = harness(
        "run",
        cwd=tmp_path,
        variables={
            "PATH": str(without_qemu),
            "VFIO_HARNESS_CACHE": str(tmp_path / "cache"),
            "VFIO_HARNESS_MIRROR": f"http://127.0.0.1:{closed_port}/debian",
            "no_proxy": "127.0.0.1",
        },
    )
    assert_one_line(run, 125, rf"127\.0\.0\.1:{closed_port}.*refused")
    (error,) = [one for one in red(run.report()) if (one.get("type") or "") == "hil.infra.setup"]
    assert f"127.0.0.1:{closed_port}" in (error.get("message") or "")
    kept = [
        path for path in (tmp_path / "cache").rglob("*") if path.is_file() and path.stat().st_size > 1 << 20
    ]
    assert not kept, "something half-made is left in the cache"


def test_no_tracefs_is_no_verdict(place: Place, console: Path) -> None:
    """The kernel's own trace is what convicts; without it there are things one cannot know."""
    contract = load()
    with place.clone(console) as target:
        target.agent.run_source(
            "import ctypes\n"
            "libc = ctypes.CDLL(None, use_errno=True)\n"
            "assert libc.umount2(b'/sys/kernel/tracing', 2) == 0, ctypes.get_errno()\n"  # MNT_DETACH
            "channel.send(None)"
        )
        assert not target.agent.ask(DescribeMachine()).tracefs
        igb0 = describe("igb0", target, contract)
        parts = (igb0.reads("sysfs", actors=2), igb0.resets("flr", at="50ms"))
        plan = plan_of(parts, title="no tracefs", lasting="250ms", meets=2)
        history = conduct(plan, target, platform_of(target, contract))
    assert not len(history.kernel)
    assert not any(probe.present for probe in history.probes)
    judgement = judge(history, contract.terms_of(history))
    assert judgement.verdict is Verdict.UNKNOWN, judgement
    doubts = [finding for finding in judgement.findings if finding.checker == "access_outcome"]
    assert (
        "the kernel could not be traced (/sys/kernel/tracing/dynamic_events: No such file" in doubts[0].claim
    )


# --- mistakes of the command line -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "status", "pattern"),
    [
        (["run", "--kernel", "junk"], 2, r"junk.*(bzImage|vmlinux)"),
        (["run", "--kernel", "absent"], 2, r"absent.*No such file"),
        (["run", "--modules", "."], 2, r"--kernel"),
        (["run", "--qemu", "junk"], 2, r"junk"),
        (["run", "--qemu", "/bin/true"], 2, r"/bin/true"),
        (["judge", "absent.history.zip"], 2, r"absent\.history\.zip.*No such file"),
        (["judge", "junk"], 125, r"history"),
        (["report", "absent"], 2, r"absent.*No such file"),
        (["report", "--frobnicate"], 2, r"--frobnicate.*--help"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
@pytest.mark.usefixtures("place")  # prepared, so that nothing has to be fetched
def test_a_mistake_is_one_line(tmp_path: Path, arguments: list[str], status: int, pattern: str) -> None:
    (tmp_path / "junk").write_bytes(b"#!/absent\n" + bytes(2000))
    (tmp_path / "junk").chmod(0o755)
    run = harness(*arguments, cwd=tmp_path)
    assert_one_line(run, status, pattern)
    if arguments[0] == "run":
        assert red(run.report()), "the report of a run that could not begin must be red"


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that everybody can enter; pytest's own are private."""
    with tempfile.TemporaryDirectory(prefix="hil-public-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder
        folder.chmod(0o700)


def test_results_that_cannot_be_written(public: Path) -> None:
    user = None
    if os.geteuid() == 0:
        user = NOBODY  # root may write anywhere
        probe = [sys.executable, "-c", "import harness.cli"]
        try:
            subprocess.run(probe, check=True, capture_output=True, cwd="/", user=user)
        except (PermissionError, subprocess.CalledProcessError):
            pytest.skip("this Python or this checkout cannot be read by others")
    else:
        public.chmod(0o555)
    run = harness("run", "--results", "here", cwd=public, results_folder=public / "here", user=user)
    assert_one_line(run, 2, r"results folder .*here.*(Permission denied|Read-only).*--results DIR")
    assert not list(public.iterdir())


@pytest.mark.usefixtures("place")
def test_a_scenario_that_is_not_there(tmp_path: Path) -> None:
    run = harness("run", "test_absent.py", cwd=tmp_path)
    assert run.status == 2, run.said
    assert "test_absent.py" in run.said
    assert "Traceback" not in run.said
