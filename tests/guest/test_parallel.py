"""Many guests: reports as of one guest at a time, nobody survives the runner, guests made ahead are like any other."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from harness import results
from harness.history.history import History
from harness.history.steps import steps_of
from harness.judge.evidence.starvation import LATE
from harness.lab.cache.budget import LIMIT_VARIABLE, collect
from harness.lab.cache.store import Cache
from harness.lab.capacity import look
from harness.lab.template.template import KIND
from harness.model.operation import HEARTBEAT
from tests.guest.invocation import ROOT, Invocation, cases, command, environment, harness, red, report_in

pytestmark = pytest.mark.usefixtures("place")  # prepared, so that the runs find everything in the cache

WITHIN_S = 180.0  # of which a quiet machine needs a few

MINE = """
import time
import pytest
from harness.model.request import ReadClocks

ENDED = []

@pytest.fixture(autouse=True)
def noted():
    yield
    ENDED.append(time.monotonic_ns())

@pytest.mark.parametrize("number", range(2))
@pytest.mark.dut("igb0")
def test_meets(dut, stage, number):
    stage(dut.reads("sysfs"), dut.resets("flr", at="50ms"), lasting="300ms", meets=1)

@pytest.mark.parametrize("number", range(3))
def test_guest(hil_source, hil_ahead, request, number):
    guest = hil_source.target.guest
    if hil_ahead is not None:
        hil_ahead.wait()  # this test is shorter than the making of a guest
    used = guest.agent.run_source(
        "import pathlib\\n"
        "name = channel.receive()\\n"
        "mark = pathlib.Path('/hil-mark')\\n"
        "used = mark.exists()\\n"
        "mark.touch()\\n"
        "pathlib.Path('/dev/kmsg').write_text('<2>hil-mark ' + name + chr(10))\\n"
        "channel.send(used)\\n",
        request.node.name,
    )
    assert not used
    before_ns = time.time_ns()
    told_ns = guest.agent.ask(ReadClocks()).realtime_ns
    assert before_ns - 1e9 < told_ns < time.time_ns() + 1e9
    if ENDED:
        assert (guest.started_ns < ENDED[-1]) == (request.config.option.hil_ahead == "on")

def test_needs_no_guest():
    pass

@pytest.mark.parametrize("why", ["a", "b"])
def test_refused(why):
    pytest.skip(why)
"""

LONG = """
import pathlib
import pytest

@pytest.mark.parametrize("number", range(4))
@pytest.mark.dut("igb0")
def test_long(dut, stage, number):
    assert dut.bdf  # the guest has been made
    pathlib.Path(f"staging-{number}").touch()
    stage(dut.reads("sysfs"), lasting="60s")
"""


def ask(folder: Path, *arguments: str) -> Invocation:
    folder.mkdir()
    (folder / "test_mine.py").write_text(MINE)
    return harness("run", *arguments, "test_mine.py", cwd=folder)


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Invocation:
    """One guest after the other, each made ahead."""
    return ask(tmp_path_factory.mktemp("one") / "run", "-n", "0", "--hil-ahead", "on")


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Invocation:
    """Two guests at once, each made when it is needed."""
    return ask(tmp_path_factory.mktemp("two") / "run", "-n", "2", "--hil-ahead", "off")


def identities(run: Invocation) -> list[tuple[str, str, str]]:
    return [
        (str(suite.get("name")), str(case.get("classname")), str(case.get("name")))
        for suite in run.report().iter("testsuite")
        for case in suite.iter("testcase")
    ]


def test_the_report_of_many_guests_is_that_of_one(one: Invocation, two: Invocation) -> None:
    assert one.status == 0, one.said
    assert two.status == 0, two.said
    assert len(identities(one)) >= 8
    assert identities(two) == identities(one)
    assert [entry.test for entry in two.session.entries] == [entry.test for entry in one.session.entries]
    assert [len(entry.stages) for entry in two.session.entries] == [
        len(entry.stages) for entry in one.session.entries
    ]
    assert set(two.histories()) == set(one.histories())


def test_the_header_says_how_many_and_why(one: Invocation, two: Invocation) -> None:
    assert "hil guests: 1 at once (" in one.output
    assert "the next one is made ahead" in one.output
    assert "hil guests: 2 at once" in two.output
    assert "the next one is made when it is needed" in two.output


def test_a_console_is_in_the_file_of_its_test_however_its_guest_was_made(
    one: Invocation, two: Invocation
) -> None:
    for run in (one, two):
        folder = run.results / results.ATTACHMENTS
        consoles = {path.name: path.read_text(errors="replace") for path in folder.glob("*.console.log*")}
        assert not [name for name in consoles if name.startswith(".")]
        for number in range(3):
            (mine,) = [text for name, text in consoles.items() if f"test-guest-{number}-" in name]
            marks = [line.rpartition(" ")[2] for line in mine.splitlines() if "hil-mark" in line]
            assert marks == [f"test_guest[{number}]"]


def lateness_ns(history: History) -> int:
    """How late the heartbeat woke at worst."""
    steps = steps_of(history)
    beats = history.operations[steps.rows(lambda step: step.means == HEARTBEAT)]
    beats = beats[beats["end_ns"] != 0]
    return int((beats["end_ns"].astype("int64") - beats["value"].astype("int64")).max())


@pytest.mark.skipif(
    look().spare_cores(1) < 2,
    reason="guests are made ahead only where 2 cores are spare beside those of a guest; here are fewer",
)
def test_a_guest_made_ahead_on_spare_cores_lets_no_heartbeat_wait(one: Invocation) -> None:
    assert max(lateness_ns(history) for history in one.histories().values()) < LATE


def test_no_verdict_rests_on_a_stage_that_was_disturbed(one: Invocation) -> None:
    """On fewer cores a guest made ahead may starve a stage: the heartbeat says so, and it is staged again."""
    for entry in one.session.entries:
        for stage in entry.stages:
            history = one.histories()[Path(stage.history).name]
            assert stage.verdict == "PASS"
            bounded = [one for one in stage.findings if one["checker"] == "call_time"]
            assert lateness_ns(history) < LATE or all(found["verdict"] != "FAIL" for found in bounded)


# --- whoever is killed, nobody survives -------------------------------------------------------------------


class Tree:
    """A run with two workers, each in the middle of a stage, and every process that belongs to it."""

    def __init__(self, folder: Path, process: subprocess.Popen[str]) -> None:
        self.process = process
        until_s = time.monotonic() + WITHIN_S
        while len(list(folder.glob("staging-*"))) < 2:
            assert time.monotonic() < until_s, "no two stages began"
            assert process.poll() is None, process.communicate()
            select.select([], [], [], 0.05)
        (self.controller,) = children(process.pid)
        self.workers = children(self.controller)
        self.guests = [guest for worker in self.workers for guest in children(worker)]
        assert len(self.workers) == len(self.guests) == 2
        everybody = (self.controller, *self.workers, *self.guests)
        self._descriptors = [os.pidfd_open(pid) for pid in everybody]

    def all_gone(self) -> bool:
        """Wait until everybody below the supervisor has ended."""
        return all(select.select([one], [], [], WITHIN_S)[0] for one in self._descriptors)

    def close(self) -> None:
        """Leave no process behind, whatever the test found."""
        for descriptor in self._descriptors:
            if not select.select([descriptor], [], [], 0)[0]:
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            os.close(descriptor)


def children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(word) for task in tasks for word in task.read_text().split()]


@contextmanager
def running(folder: Path) -> Iterator[Tree]:
    (folder / "test_mine.py").write_text(LONG)
    with ExitStack() as stack:
        process = stack.enter_context(
            subprocess.Popen(
                command("run", "-n", "2", "test_mine.py"),
                cwd=folder,
                env=environment(),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
        )
        stack.callback(process.kill)
        tree = Tree(folder, process)
        stack.callback(tree.close)
        yield tree


def test_a_controller_that_is_killed_takes_workers_and_guests_with_it(tmp_path: Path) -> None:
    with running(tmp_path) as run:
        os.kill(run.controller, signal.SIGKILL)
        assert run.all_gone()
        run.process.communicate(timeout=WITHIN_S)
        assert run.process.returncode == 125
    found = cases(report_in(tmp_path / "hil-results"))
    for number in range(4):
        case = found[f"test_long[igb0-{number}]"]
        assert [element.tag for element in case if element.tag in ("error", "skipped")], number


def test_a_supervisor_that_is_killed_takes_workers_and_guests_with_it(tmp_path: Path) -> None:
    with running(tmp_path) as run:
        run.process.kill()
        assert run.all_gone()
    assert red(report_in(tmp_path / "hil-results"))


# --- a template is not taken from under a clone -----------------------------------------------------------

HOLDER = """
    import subprocess, sys
    from pathlib import Path
    from harness.model.request import ReadClocks
    from harness.lab.cache.store import Cache
    from harness.lab.place import prepare
    from harness.lab.template.template import KIND, Template, clone
    place, mine = prepare(Cache()), Cache(Path(sys.argv[1]))
    def copy(folder):
        for name in ("ram", "state", "manifest.json"):
            subprocess.run(["cp", "--sparse=always", place.template.path / name, folder / name], check=True)
    path = mine.publish(KIND, "copy", copy)
    template = Template(recipe=place.recipe, path=path, lock=mine.lock_of(KIND, "copy"))
    with clone(template) as guest:
        mine.close()  # as if whoever held it had died: what is left is the clone
        print("cloned", flush=True)
        sys.stdin.readline()
        print(guest.agent.ask(ReadClocks()).monotonic_ns > 0, flush=True)
    sys.stdin.readline()
"""


def test_a_template_goes_when_its_last_clone_in_another_process_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(LIMIT_VARIABLE, "0")  # nothing may stay but what is in use
    holder = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(HOLDER), str(tmp_path / "cache")],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with holder, Cache(tmp_path / "cache") as cache:
        assert holder.stdin is not None
        assert holder.stdout is not None
        assert holder.stdout.readline() == "cloned\n"
        assert collect(cache) == []
        assert cache.path(KIND, "copy").exists()
        holder.stdin.write("\n")
        holder.stdin.flush()
        assert holder.stdout.readline() == "True\n"  # it still answers, from memory that it never touched
        until_s = time.monotonic() + WITHIN_S
        while not collect(cache):
            assert time.monotonic() < until_s, "the clone has ended, and its template stays"
            select.select([], [], [], 0.05)
        holder.communicate("\n", timeout=WITHIN_S)
