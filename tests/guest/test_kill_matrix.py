"""Whatever breaks in the middle of a stage: the verdict blames the right party and tells what every actor was doing.

One run of tests/guest/faulty.py: a test for each fault, and healthy ones between them.
"""

from __future__ import annotations

import re
import shutil
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.guest.invocation import Invocation, cases, harness
from tests.guest.processes import whose_command_names

pytestmark = pytest.mark.kills

SILENCE_S = 8
"""On a busy machine an agent that opens files and arms its probes has been silent for more than four."""
READERS = r"reader-[12] was in config-read/sysfs of igb0"
DOING = rf"({READERS}|resetter was in reset/flr of igb0|no actor was in an operation)"
HEALTHY = tuple(f"test_healthy_{number}" for number in range(7))


@dataclass(frozen=True, slots=True)
class Matrix:
    """The run, and what it left behind.

    Attributes:
        run: the command, and its results.
        left: files that are still where guests have their run folders.
        alive: processes that still have to do with it.
    """

    run: Invocation
    left: list[str]
    alive: list[int]

    def element(self, name: str) -> ET.Element:
        """What makes a test red: the only such element of its case."""
        case = cases(self.run.report())[f"{name}[igb0]"]
        found = [child for child in case if child.tag in ("failure", "error")]
        assert found, f"{name} is green\n{self.run.said}"
        return found[0]


@pytest.fixture(scope="module")
def matrix(
    place: object,  # noqa: ARG001  prepared, so that the run finds everything in the cache
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Matrix]:
    folder = tmp_path_factory.mktemp("matrix")
    shutil.copy(Path(__file__).with_name("faulty.py"), folder / "test_faults.py")
    with tempfile.TemporaryDirectory(prefix="hil-m-") as short:  # run folders hold sockets: a short path
        run = harness(
            "run",
            "test_faults.py",
            "--hil-silence",
            str(SILENCE_S),
            "--hil-retries",
            "off",
            cwd=folder,
            variables={"TMPDIR": short},
            timeout_s=600.0,
        )
        yield Matrix(run, [path.name for path in Path(short).iterdir()], whose_command_names(str(folder)))


@pytest.mark.parametrize("name", HEALTHY)
def test_tests_before_and_after_a_fault_have_their_results(matrix: Matrix, name: str) -> None:
    case = cases(matrix.run.report())[f"{name}[igb0]"]
    assert not [child.tag for child in case if child.tag in ("failure", "error", "skipped")], matrix.run.said


def test_nothing_is_left_of_any_guest(matrix: Matrix) -> None:
    assert matrix.alive == []
    assert matrix.left == []


def test_the_run_is_red_for_a_broken_promise(matrix: Matrix) -> None:
    assert matrix.run.status == 1, matrix.run.said


def test_a_panic_is_the_kernels_fault(matrix: Matrix) -> None:
    element = matrix.element("test_panic")
    assert (element.tag, element.get("type")) == ("failure", "hil.kernel-fault")
    message = str(element.get("message"))
    assert re.match(
        r"The kernel panicked [\d.]+ m?s into the stage: hil_faults: a panic on request; ", message
    )
    assert re.search(DOING, message), message


def test_a_panic_leaves_a_history_with_rows_in_flight(matrix: Matrix) -> None:
    (history,) = [one for one in matrix.run.histories().values() if one.lost == "panic"]
    assert [actor.name for actor in history.actors] == ["reader-1", "reader-2", "resetter", "heartbeat"]
    assert len({actor.tid for actor in history.actors}) == 4
    assert set(history.operations["end_ns"]) == {0}
    begins = history.operations["begin_ns"]
    assert ((begins >= history.begin_ns) & (begins <= history.end_ns)).all()
    assert 0 < history.end_ns - history.begin_ns < 10 * 10**9
    assert any("a panic on request" in line.text for line in history.log)
    assert history.functions[0].platform == "igb"


def test_a_hang_is_the_kernels_fault_and_names_where_it_spins(matrix: Matrix) -> None:
    element = matrix.element("test_hang")
    assert (element.tag, element.get("type")) == ("failure", "hil.kernel-fault")
    message = str(element.get("message"))
    assert re.match(
        r"The kernel hung [\d.]+ m?s into the stage: processors 0 and 1 spin with interrupts off", message
    )
    assert "spin_for_ever" in message
    assert re.search(DOING, message), message
    (history,) = [one for one in matrix.run.histories().values() if one.lost == "hang"]
    assert sum("spin_for_ever" in line.text for line in history.log) >= 2  # the backtrace of each processor


def test_an_oops_ends_the_stage_and_is_the_kernels_fault(matrix: Matrix) -> None:
    element = matrix.element("test_oops")
    assert (element.tag, element.get("type")) == ("failure", "hil.kernel-fault")
    assert "NULL pointer dereference" in str(element.get("message"))


def test_an_oops_of_an_actor_says_what_it_was_doing(matrix: Matrix) -> None:
    element = matrix.element("test_oops_of_an_actor")
    assert (element.tag, element.get("type")) == ("failure", "hil.kernel-fault")
    assert "The kernel gave victim up in the middle of misuse/oops on" in " ".join(str(element.text).split())
    (history,) = [
        one for one in matrix.run.histories().values() if any(actor.name == "victim" for actor in one.actors)
    ]
    victim = history.operations[history.operations["actor"] == 0]
    assert victim["end_ns"].tolist() == [0]
    assert history.actors[0].end == "died"
    assert {actor.end for actor in history.actors[1:]} == {
        "done"
    }  # the others went on to the end of the stage


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """What is expected of a test whose guest is lost without its kernel's doing.

    Attributes:
        type: of its error.
        says: a regular expression for its message.
        shows: what its text must show besides.
    """

    type: str
    says: str
    shows: tuple[str, ...] = (
        "in flight, from shared memory:",
        "reader-2 (thread",
        "resetter (thread",
        "console ends",
    )


TROUBLES = {
    "test_frozen": Trouble(
        type="hil.infra.guest", says=rf"stopped from outside, .* into the stage: QEMU was stopped.*{DOING}"
    ),
    "test_reboot": Trouble(
        type="hil.infra.guest", says=rf"started anew, without a panic, .*sysrq: Resetting.*{DOING}"
    ),
    "test_qemu_killed": Trouble(
        type="hil.infra.qemu",
        says=r"its QEMU ended(, last heard .* into the stage)?: QEMU was killed by SIGKILL",
        shows=("console ends with:",),
    ),
    "test_agent_killed": Trouble(
        type="hil.infra.agent", says=rf"the agent's process ended in a living guest, .*SIGKILL.*{DOING}"
    ),
    "test_agent_stuck": Trouble(
        type="hil.infra.agent",
        says=r"the agent says nothing, in a living guest, .*; it was last heard reading config space and putting "
        r"settings back; no actor was in an operation",
        shows=("pci_wait_cfg", "in flight, from shared memory:"),
    ),
    "test_wild_clock": Trouble(type="hil.infra.clock", says=r"compare guest clock and host clock", shows=()),
}


@pytest.mark.parametrize("name", TROUBLES)
def test_trouble_of_the_lab_is_an_error_of_its_own_kind(matrix: Matrix, name: str) -> None:
    expected, element = TROUBLES[name], matrix.element(name)
    assert (element.tag, element.get("type")) == ("error", expected.type)
    assert re.search(expected.says, str(element.get("message"))), element.get("message")
    for piece in expected.shows:
        assert piece in str(element.text), element.text


def test_a_flood_is_never_silent(matrix: Matrix) -> None:
    element = matrix.element("test_flood")
    assert (element.tag, element.get("type")) in {("failure", "hil.kernel-fault"), ("error", "hil.unknown")}
    assert re.search(r"flood \d{8}|not complete", str(element.text))
