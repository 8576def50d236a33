"""A runner whose memory or disk is used up, or whose worker is killed: a complete report, red where it should be."""

from __future__ import annotations

import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import xmlschema

from harness.report import ExitStatus
from harness.results import JOURNAL, JUNIT, complete, load

SCHEMA = xmlschema.XMLSchema(str(Path(__file__).parents[1] / "data" / "junit-10.xsd"))
ALONE = ("-p", "no:cacheprovider")
MEMORY = 192 << 20
"""Bytes that a group of processes may use: enough for pytest, and quickly used up."""
DISK = 4 << 20


def run(
    pytester: pytest.Pytester, *arguments: str, prefix: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    command = [*prefix, sys.executable, "-m", "pytest", "--hil-results", "hil-results", *ALONE, *arguments]
    return subprocess.run(
        command, cwd=pytester.path, capture_output=True, text=True, check=False, timeout=120
    )


def cases(folder: Path) -> dict[str, str]:
    """The result element of each case of the report, which must be valid."""
    text = (folder / JUNIT).read_text()
    SCHEMA.validate(text)
    found = {}
    for case in ET.fromstring(text).iter("testcase"):  # noqa: S314 - we made it
        said = [
            f"{child.tag} {child.get('type')}"
            for child in case
            if child.tag in ("failure", "error", "skipped")
        ]
        found[str(case.get("name"))] = said[0] if said else "ok"
    return found


@contextmanager
def memory_group() -> Iterator[Path]:
    """A control group that may use MEMORY bytes; of version 1 or 2."""
    first, second = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")
    if (first / "memory.limit_in_bytes").exists():
        group, limits = (
            first / f"hil-{os.getpid()}",
            {"memory.limit_in_bytes": MEMORY, "memory.memsw.limit_in_bytes": MEMORY},
        )
    elif (offered := second / "cgroup.subtree_control").exists() and "memory" in offered.read_text().split():
        group, limits = second / f"hil-{os.getpid()}", {"memory.max": MEMORY, "memory.swap.max": 0}
    else:
        pytest.skip("no control group for memory is to be had here")
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"no control group can be made here: {error}")
    try:
        for name, value in limits.items():
            if (group / name).exists():
                (group / name).write_text(str(value))
        yield group
    finally:
        group.rmdir()


def test_a_runner_that_is_out_of_memory_leaves_a_red_and_complete_report(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        def test_good(): pass
        def test_hungry():
            held = []
            while True:
                held.append(bytearray(8 << 20))
        def test_later(): pass
        """
    )
    with memory_group() as group:
        enter = ("sh", "-c", f'echo $$ > {group}/cgroup.procs; exec "$@"', "sh")
        done = run(pytester, prefix=enter)
        assert done.returncode == -9, done.stdout + done.stderr
        assert not (group / "cgroup.procs").read_text()
    assert any(said.startswith("error") for said in cases(pytester.path / "hil-results").values())
    assert complete(pytester.path / "hil-results") is ExitStatus.NOTHING_SAID
    found = cases(pytester.path / "hil-results")
    assert found["test_good"] == "ok"
    assert found["test_hungry"] == "error hil.incomplete"
    assert found["test_later"] == "skipped hil.notrun"
    pytester.makepyfile("def test_after(): pass")
    assert run(pytester).returncode == ExitStatus.GOOD  # and nothing of the dead is in its way
    assert not [path for path in (pytester.path / "hil-results").iterdir() if path.name.startswith(".")]


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system of DISK bytes."""
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", folder],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"no small disk can be mounted here: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


FILLS = """
import pathlib

def test_before(): print("x" * 1000)
def test_fills():
    with open("hil-results/att-of-somebody-else", "wb", buffering=0) as stream:
        try:
            while stream.write(bytes(4096)): pass
        except OSError as error:
            print(error)
@__import__("pytest").mark.parametrize("n", range(20))
def test_after(n): print("y" * 20_000)
def test_bad(): assert 0, "z" * 20_000
"""


def test_a_disk_that_fills_in_the_middle_leaves_a_red_and_complete_report(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(FILLS)
    with small_disk(pytester.path / "hil-results") as results:
        done = run(pytester)
        assert done.returncode == ExitStatus.BAD, done.stdout  # a failure was seen, whatever the disk says
        assert "the disk is full" in done.stdout
        found = cases(results)
        assert found["test_bad"] == "failure hil.mismatch"
        assert found["session_complete"] == "error hil.infra.journal"
        assert [found[f"test_after[{n}]"] for n in range(20)] == ["ok"] * 20
        (results / "att-of-somebody-else").unlink()
        assert complete(results) is ExitStatus.BAD
        again = cases(results)  # the room that was kept was enough for every record that matters
        assert again["test_bad"] == "failure hil.mismatch"
        assert all(again[f"test_after[{n}]"] == "ok" for n in range(20))
        assert load(results).end is not None


def test_a_disk_that_fills_and_no_failure_is_nothing_said(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(FILLS.replace("assert 0", "assert 1"))
    with small_disk(pytester.path / "hil-results") as results:
        assert run(pytester).returncode == ExitStatus.NOTHING_SAID
        assert cases(results)["session_complete"] == "error hil.infra.journal"


def test_a_disk_that_is_full_from_the_start_is_said_in_one_line(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_a(): pass")
    with small_disk(pytester.path / "hil-results") as results:
        with (results / "somebody").open("wb", buffering=0) as stream:
            try:
                while stream.write(bytes(4096)):
                    pass
            except OSError:
                pass
        done = run(pytester)
        assert done.returncode == pytest.ExitCode.USAGE_ERROR
        assert "No space left on device" in done.stderr
        assert "Traceback" not in done.stderr


def test_a_worker_that_is_killed_is_an_error_of_the_test_it_was_in(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import os, signal
        import pytest
        @pytest.mark.parametrize("n", range(8))
        def test_a(n):
            if n == 3: os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    done = run(pytester, "-n", "2")
    assert done.returncode == ExitStatus.NOTHING_SAID, done.stdout
    found = cases(pytester.path / "hil-results")
    assert found["test_a[3]"] == "error hil.incomplete"
    assert [found[f"test_a[{n}]"] for n in range(8) if n != 3] == ["ok"] * 7
    assert [name for name in found if name.startswith("test_a")] == [f"test_a[{n}]" for n in range(8)]
    before = (pytester.path / "hil-results" / JUNIT).read_bytes()
    assert complete(pytester.path / "hil-results") is ExitStatus.NOTHING_SAID
    assert (pytester.path / "hil-results" / JUNIT).read_bytes() == before


HEALTH = """
import pytest
from harness.journal.record import HealthRecord, Status
from harness.plugin import reporting

@pytest.fixture(scope="session", autouse=True)
def lab(request, worker_id):
    yield
    kind = "hil.device-lost" if worker_id == "gw1" else ""
    status = Status.FAILURE if worker_id == "gw1" else Status.OK
    reporting.note_health(
        request.config, HealthRecord(name="devices_returned", status=status, type=kind, summary=worker_id)
    )

@pytest.mark.parametrize("n", range(6))
def test_a(n): __import__("time").sleep(0.1)
"""


def test_what_workers_say_of_the_session_reaches_the_journal_and_the_worst_counts(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(HEALTH)
    done = run(pytester, "-n", "2")
    assert done.returncode == ExitStatus.BAD, done.stdout
    assert cases(pytester.path / "hil-results")["devices_returned"] == "failure hil.device-lost"
    text = (pytester.path / "hil-results" / JOURNAL).read_text()
    assert text.count('"record":"health"') == 2
