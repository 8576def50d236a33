"""One guest for many tests: what one breaks, later ones are told of, and nothing else suffers."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import pytest

from harness.lab.place import Place
from tests.guest.invocation import Invocation, cases, harness, red

TESTS = r"""
import pytest
from harness.model.request import Bind, DescribeFunction, LoadModule
from harness.model.verdict import Blame

ANOTHER_PROCESS = '''
import subprocess, sys
path, what = channel.receive(), channel.receive()
program = "import sys; open(sys.argv[1], 'w').write(sys.argv[2])"
channel.send(subprocess.run([sys.executable, "-c", program, path, what]).returncode)
'''

def write(source, path, what):
    source.target.agent.run_source(ANOTHER_PROCESS, path, what)

@pytest.fixture(autouse=True)
def guest(hil_source):
    print("guest", hil_source.target.guest.pid)

@pytest.mark.dut("igb0")
def test_a_good_one(dut, stage):
    stage(dut.reads("sysfs"), lasting="50ms")

@pytest.mark.dut("nvme0")
def test_b_loses(dut, stage, hil_source):
    stage(dut.reads("sysfs"), lasting="50ms")
    write(hil_source, f"/sys/bus/pci/devices/{dut.bdf}/remove", "1")

@pytest.mark.dut("nvme0", "nvme0.port")
def test_c_needs_it(dut):
    raise AssertionError("it runs")

def test_c_asks_for_it(functions):
    functions("nvme0")
    raise AssertionError("it runs")

@pytest.mark.dut("igb0")
def test_d_others_go_on(dut, stage):
    stage(dut.reads("sysfs"), lasting="50ms")

def test_d_leaves_its_driver(functions, hil_source):
    hil_source.target.agent.ask(Bind(bdf=functions("e1000e0").bdf, driver="vfio-pci"))

def test_d_finds_none(functions, hil_source):
    facts = hil_source.target.agent.ask(DescribeFunction(bdf=functions("e1000e0").bdf))
    assert facts.driver == ""

@pytest.mark.dut("pair0")
def test_d_gets_stuck(dut, stage, locks):
    run = stage(dut.reads("sysfs"), locks(dut).never_unlocks(at="20ms"), lasting="1s", deadline="200ms")
    print("judged", run.verdict.name)
    run.names(Blame.DRIVER_FAULT, "keeper")

@pytest.mark.dut("pair0", "pair1")
def test_d_needs_the_device(dut):
    raise AssertionError("it runs")

def test_e_panics(hil_source):
    hil_source.target.agent.open_channel("open('/proc/sysrq-trigger', 'w').write('c')")

@pytest.mark.dut("nvme0", "pair0")
def test_f_is_fresh(dut, stage):
    stage(dut.reads("sysfs"), lasting="50ms")

def test_g_warns(hil_source):
    hil_source.target.agent.ask(LoadModule(name="hil_faults"))
    write(hil_source, "/dev/hil_faults", "warn")

def test_i_is_fresh_again(hil_source):
    pass
"""


@pytest.fixture(scope="module")
def run(
    place: Place,  # noqa: ARG001  prepared, so that the run finds everything in the cache
    tmp_path_factory: pytest.TempPathFactory,
) -> Invocation:
    folder = tmp_path_factory.mktemp("shared")
    (folder / "test_lab.py").write_text(TESTS)
    return harness("run", "--hil-guests", "shared", "test_lab.py", cwd=folder, timeout_s=300.0)


@pytest.fixture(scope="module")
def found(run: Invocation) -> dict[str, ET.Element]:
    return cases(run.report())


def guest_of(case: ET.Element) -> str:
    """Process id of the QEMU that a test met: clones of one guest can agree on their boot id."""
    said = re.search(r"^guest (\d+)$", case.findtext("system-out") or "", re.MULTILINE)
    assert said is not None, ET.tostring(case)
    return said[1]


def only(case: ET.Element, tag: str, kind: str) -> str:
    """The message of a case's one result."""
    (result,) = [one for one in case if one.tag in ("failure", "error", "skipped")]
    assert (result.tag, result.get("type")) == (tag, kind), ET.tostring(case)
    return result.get("message") or ""


def test_the_guest_outlives_a_test_until_it_is_lost(found: dict[str, ET.Element]) -> None:
    guests = [guest_of(case) for name, case in found.items() if name.startswith("test_")]
    first, second, third = dict.fromkeys(guests)
    order = [name for name in found if name.startswith("test_")]
    until = {
        first: order.index("test_e_panics"),
        second: order.index("test_g_warns"),
        third: order.index("test_i_is_fresh_again"),
    }
    assert {pid: max(n for n, one in enumerate(guests) if one == pid) for pid in until} == until
    assert not [name for name in order if re.search("good|go_on|fresh", name) and red(found[name])]


def test_who_loses_a_function_fails_by_that_alone(found: dict[str, ET.Element]) -> None:
    message = only(found["test_b_loses[nvme0]"], "failure", "hil.device-lost")
    assert re.fullmatch(
        r"nvme0 \(\S+\) was lost by test_lab.py::test_b_loses\[nvme0\]: it is gone from sysfs; "
        r"history: att/\S+\.history\.zip",
        message,
    )


@pytest.mark.parametrize(
    "name", ["test_c_needs_it[nvme0]", "test_c_needs_it[nvme0.port]", "test_c_asks_for_it"]
)
def test_later_tests_say_by_whom_and_where_the_evidence_is(
    run: Invocation, found: dict[str, ET.Element], name: str
) -> None:
    message = only(found[name], "skipped", "hil.blocked")
    assert "was lost by test_lab.py::test_b_loses[nvme0]: it is gone from sysfs; history: " in message
    assert (run.results / message.rpartition("history: ")[2]).exists()
    assert message.startswith("nvme0.port is the port above nvme0: ") == ("port" in name)


def test_what_can_be_put_back_is_put_back_and_said(found: dict[str, ET.Element]) -> None:
    said = found["test_d_leaves_its_driver"].findtext("system-out") or ""
    assert (
        "put back e1000e0: bound to vfio-pci with driver_override vfio-pci, it was bound to no driver" in said
    )
    assert not red(found["test_d_finds_none"])


def test_a_function_that_somebody_is_stuck_in_is_blocked_with_its_siblings(
    found: dict[str, ET.Element],
) -> None:
    stuck = found["test_d_gets_stuck[pair0]"]
    assert not red(stuck)  # it names what went wrong
    assert "judged FAIL" in (stuck.findtext("system-out") or "")
    for alias, says in (("pair0", "pair0 ("), ("pair1", "pair1 is a function of the same device as pair0: ")):
        message = only(found[f"test_d_needs_the_device[{alias}]"], "skipped", "hil.blocked")
        assert message.startswith(says)
        assert "test_d_gets_stuck[pair0]: reader is stuck in config-read/sysfs" in message


def test_the_health_of_the_session_names_each_loss_once(
    run: Invocation, found: dict[str, ET.Element]
) -> None:
    assert run.status == 1, run.said
    only(found["devices_returned"], "failure", "hil.device-lost")
    returned = found["devices_returned"].findtext("failure") or ""
    assert (returned.count("nvme0 ("), returned.count("pair0 (")) == (1, 1)
    only(found["shared_guest_kept"], "failure", "hil.kernel-fault")
    kept = found["shared_guest_kept"].findtext("failure") or ""
    assert "test_e_panics lost the guest that tests share" in kept
    assert "its kernel panicked: sysrq triggered crash" in kept
    assert "test_g_warns ran into a kernel warning of the kernel that tests share" in kept


def test_each_guest_leaves_its_console(run: Invocation) -> None:
    consoles = sorted((run.results / "att").glob("shared-guest-*.console.log"))
    assert len(consoles) == 3
    assert "sysrq triggered crash" in consoles[0].read_text(errors="replace")
