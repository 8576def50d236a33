"""Whoever is killed in the middle of a stage, the report is complete and no process is left."""

from __future__ import annotations

import os
import select
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from tenacity import Retrying, retry_if_result, stop_after_delay, wait_fixed

from harness import results
from tests.guest.invocation import cases, command, environment, harness, red, report_in

pytestmark = [pytest.mark.kills, pytest.mark.usefixtures("place")]  # the run finds everything in the cache

GONE_WITHIN_S = 180.0  # of which a quiet machine needs a few

LONG = """
import pathlib
import pytest

@pytest.mark.dut("igb0")
def test_long(dut, stage):
    pathlib.Path("staging").touch()
    stage(dut.reads("sysfs"), dut.resets("flr", times=None, every="100ms"), lasting="60s")

def test_never_reached():
    pass
"""


class Running:
    """A run in the middle of a long stage, and every process that belongs to it."""

    def __init__(self, folder: Path, process: subprocess.Popen[str]) -> None:
        self.results = folder / "hil-results"
        self.process = process
        _until(lambda: (folder / "staging").exists())
        self.runner = _only(_children(process.pid))
        self.guest = _only(_children(self.runner))
        assert b"qemu" in Path(f"/proc/{self.guest}/cmdline").read_bytes()
        self._descriptors = [os.pidfd_open(pid) for pid in (self.runner, self.guest)]

    def all_gone(self) -> bool:
        """Wait until runner and guest have ended."""
        for descriptor in self._descriptors:
            ready, _, _ = select.select([descriptor], [], [], GONE_WITHIN_S)
            if not ready:
                return False
        return True

    def end(self) -> int:
        """Wait for the supervisor's exit status."""
        self.process.communicate(timeout=GONE_WITHIN_S)
        return self.process.returncode

    def close(self) -> None:
        """Leave no process behind, whatever the test found."""
        for descriptor in self._descriptors:
            if not select.select([descriptor], [], [], 0)[0]:
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            os.close(descriptor)


@contextmanager
def running(folder: Path) -> Iterator[Running]:
    (folder / "test_mine.py").write_text(LONG)
    with ExitStack() as stack:
        process = stack.enter_context(
            subprocess.Popen(
                command("run", "test_mine.py"),
                cwd=folder,
                env=environment(),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
        )
        stack.callback(process.kill)
        run = Running(folder, process)
        stack.callback(run.close)
        yield run


def _children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(word) for task in tasks for word in task.read_text().split()]


def _only(pids: list[int]) -> int:
    (pid,) = pids
    return pid


def _until(condition: Callable[[], bool], within_s: float = GONE_WITHIN_S) -> None:
    wait = Retrying(
        retry=retry_if_result(lambda met: not met), stop=stop_after_delay(within_s), wait=wait_fixed(0.05)
    )
    wait(condition)


def assert_complete_and_red(folder: Path) -> None:
    """Every test that was planned is in the report, and none of them as good."""
    report = report_in(folder)
    found = cases(report)
    for name in ("test_long[igb0]", "test_never_reached"):
        assert [element.tag for element in found[name] if element.tag in ("error", "skipped")], name
    assert red(report)
    assert results.load(folder).damaged == 0


def test_a_runner_that_is_killed_leaves_a_complete_report(tmp_path: Path) -> None:
    with running(tmp_path) as run:
        os.kill(run.runner, signal.SIGKILL)
        assert run.end() == 125
        assert run.all_gone()
    assert_complete_and_red(run.results)
    (error,) = red(cases(report_in(run.results))["test_long[igb0]"])
    assert error.get("type") == "hil.incomplete"


def test_a_supervisor_that_is_killed_takes_everything_with_it(tmp_path: Path) -> None:
    with running(tmp_path) as run:
        assert red(report_in(run.results))  # from the first second
        run.process.kill()
        assert run.all_gone()
    completed = harness("report", cwd=tmp_path)
    assert completed.status == 125, completed.said
    assert_complete_and_red(run.results)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_supervisor_that_is_asked_to_end_ends_in_good_order(tmp_path: Path, number: signal.Signals) -> None:
    with running(tmp_path) as run:
        run.process.send_signal(number)
        assert run.end() == 125
        assert run.all_gone()
    assert_complete_and_red(run.results)


def test_ctrl_c_ends_in_good_order(tmp_path: Path) -> None:
    with running(tmp_path) as run:
        os.killpg(run.process.pid, signal.SIGINT)
        assert run.end() == 125
        assert run.all_gone()
    assert_complete_and_red(run.results)
    end = results.load(run.results).end
    assert end is not None  # pytest itself wrote it


RESUMED = """
import os
import pathlib
import signal
import pytest

@pytest.mark.dut("igb0")
def test_first(dut, stage):
    with open("ran", "a") as stream:
        stream.write("first ")
    stage(dut.reads("sysfs"), dut.resets("flr"), meets=1)

@pytest.mark.dut("igb0")
def test_second(dut, hil_source):
    with open("ran", "a") as stream:
        stream.write("second ")
    assert hil_source.target.guest.running
    if not pathlib.Path("died").exists():
        pathlib.Path("died").touch()
        os.kill(os.getpid(), signal.SIGKILL)

def test_third():
    with open("ran", "a") as stream:
        stream.write("third ")
"""


def test_a_run_that_was_killed_is_resumed_where_it_stopped(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text(RESUMED)
    died = harness("run", "test_mine.py", cwd=tmp_path)
    assert died.status == 125, died.said
    (error,) = red(cases(died.report())["test_second[igb0]"])
    assert error.get("type") == "hil.incomplete"
    resumed = harness("run", "--resume", "test_mine.py", cwd=tmp_path)
    assert resumed.status == 0, resumed.said
    assert (tmp_path / "ran").read_text().split() == ["first", "second", "second", "third"]
    found = cases(resumed.report())
    assert len([name for name in found if name.startswith("test_")]) == 3
    assert [child.get("type") for child in found["test_second[igb0]"].iter("flakyFailure")] == [
        "hil.incomplete"
    ]
    assert resumed.histories()  # of the first run: the test that made it was not run again
    over = harness("run", "--resume", "test_mine.py", cwd=tmp_path)
    assert over.status == 0, over.said
    assert "came to its end" in over.errors
