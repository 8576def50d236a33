"""`harness run`, `replay` and `judge` as a user meets them."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from harness.lab.place import Place
from tests.guest.invocation import ROOT, Invocation, cases, harness, red

FAILS = """
import pytest

@pytest.mark.dut("igb0")
def test_assertion(dut, stage):
    run = stage(dut.reads("sysfs"), lasting="50ms")
    assert len(run.history.operations) == 0

def test_panic(functions, stage, hil_source):
    dut = functions("nvme0")
    hil_source.target.agent.open_channel(
        "import select, pathlib\\n"
        "recording = lambda: any(p.read_text().strip() == '1'"
        " for p in pathlib.Path('/sys/kernel/tracing/instances').glob('*/tracing_on'))\\n"
        "while not recording(): select.select([], [], [], 0.01)\\n"
        "pathlib.Path('/proc/sysrq-trigger').write_text('c')\\n"
    )
    stage(dut.reads("sysfs"), lasting="10s")
"""

BIRTH = """
import time
from harness.model.request import ReadClocks

def test_birth(hil_source, request, functions, stage):
    guest = hil_source.target.guest
    lived = guest.agent.ask(ReadClocks()).monotonic_ns
    # A clone has lived longer than its QEMU has run; a guest that was booted has not.
    assert (lived < time.monotonic_ns() - guest.started_ns) == request.config.option.hil_cold
    igb0 = functions("igb0")
    stage(igb0.reads("sysfs"), igb0.resets("flr", at="50ms"), lasting="300ms", meets=1)
"""

UNKNOWN = """
import pytest

@pytest.mark.dut("igb0")
def test_nobody_collides_that_often(dut, stage):
    stage(dut.reads("sysfs"), dut.resets("flr"), lasting="200ms", meets=10**6)
"""

MISTAKES = """
import pytest

def test_alias(functions):
    functions("igb7")

@pytest.mark.dut("igb0")
def test_method(dut, stage):
    stage(dut.resets("flrr"))

@pytest.mark.dut("e1000e0")
def test_not_offered(dut, stage):
    stage(dut.resets("flr"))

@pytest.mark.dut("igb0")
def test_offset(dut, stage):
    stage(dut.reads("sysfs", at=0x1000))

@pytest.mark.dut("igb0")
def test_width(dut, stage):
    stage(dut.reads("sysfs", width=3))

@pytest.mark.dut("igb0")
def test_path(dut, stage):
    stage(dut.reads("debugfs"))

@pytest.mark.dut("igb0")
def test_nobody(dut, stage):
    stage()
"""


@pytest.fixture(scope="module")
def readme(
    place: Place,  # noqa: ARG001  prepared, so that the run finds everything in the cache
    tmp_path_factory: pytest.TempPathFactory,
) -> Invocation:
    """The first scenario of the README, saved and run as it says there."""
    return ask(tmp_path_factory.mktemp("first"), scenarios()[0])


def scenarios() -> list[str]:
    """The code blocks of the README that are scenarios."""
    blocks = re.findall(r"^```python\n(.*?)^```$", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE)
    return [str(block) for block in blocks if "def test_" in block]


def ask(folder: Path, scenario: str, *arguments: str) -> Invocation:
    (folder / "test_mine.py").write_text(scenario)
    return harness("run", *arguments, "test_mine.py", cwd=folder)


# --- what a scenario of one's own comes to ----------------------------------------------------------------


def test_the_first_scenario_of_the_readme_works(readme: Invocation) -> None:
    assert readme.status == 0, readme.said
    assert not red(readme.report())
    assert len(readme.histories()) == 2
    for stage in (stage for entry in readme.session.entries for stage in entry.stages):
        assert stage.verdict == "PASS"
        assert stage.met >= 3


def test_the_other_scenarios_of_the_readme_work(tmp_path: Path) -> None:
    others = scenarios()[1:]
    assert others
    run = ask(tmp_path, "\n".join(others))
    assert run.status == 0, run.said
    assert len(run.histories()) == len(others)


def test_a_broken_promise_is_a_failure_whatever_broke_it(tmp_path: Path) -> None:
    run = ask(tmp_path, FAILS + BIRTH)
    assert run.status == 1, run.said
    found = cases(run.report())
    assert not red(found["test_birth"])
    (assertion,) = red(found["test_assertion[igb0]"])
    assert assertion.tag == "failure"
    (panic,) = red(found["test_panic"])
    assert (panic.tag, panic.get("type")) == ("failure", "hil.kernel-fault")
    assert "sysrq triggered crash" in (panic.get("message") or "") + (panic.text or "")
    (console,) = (run.results / "att").glob("*panic*.console.log")
    assert "Kernel Offset: disabled" in console.read_text(errors="replace")
    assert len(run.histories()) == 3


def test_too_few_collisions_are_no_verdict(tmp_path: Path) -> None:
    run = ask(tmp_path, UNKNOWN)
    assert run.status == 125, run.said
    (error,) = red(cases(run.report())["test_nobody_collides_that_often[igb0]"])
    assert (error.tag, error.get("type")) == ("error", "hil.unknown")
    assert "the stage needs 1000000" in (error.get("message") or "")


def test_mistakes_are_one_line_that_names_the_way_out(tmp_path: Path) -> None:
    run = ask(tmp_path, MISTAKES)
    assert run.status == 2, run.said
    found = cases(run.report())
    says = {
        "test_alias": r"'igb7'.*There are: .*igb0",
        "test_method[igb0]": r"'flrr'.*Choose one of: .*flr",
        "test_not_offered[e1000e0]": r"offers only: pm, bus",
        "test_offset[igb0]": r"at offset 0x1000.*The last offset for this width is 0xffc",
        "test_width[igb0]": r"3 bytes.*A width is 1, 2 or 4 bytes",
        "test_path[igb0]": r"'debugfs'.*Choose one of: sysfs, proc",
        "test_nobody[igb0]": r"nobody acts.*Name at least one",
    }
    for name, pattern in says.items():
        (error,) = red(found[name])
        assert (error.tag, error.get("type")) == ("error", "hil.usage"), name
        message = error.get("message") or ""
        assert re.search(pattern, message), message
        assert "\n" not in message
        shown = [line for line in run.output.splitlines() if re.search(pattern, line)]
        assert shown, run.output
    assert not run.histories()


@pytest.mark.cold
def test_cold_boots_a_guest_for_the_test(tmp_path: Path) -> None:
    run = ask(tmp_path, BIRTH, "--cold")
    assert run.status == 0, run.said
    assert len(run.histories()) == 1


# --- the same again, later --------------------------------------------------------------------------------


def test_a_history_is_staged_again_from_its_own_plan(readme: Invocation) -> None:
    name, before = next(iter(readme.histories().items()))
    folder = readme.results.parent
    path = readme.results / "att" / name
    run = harness("replay", path, "--results", "again", cwd=folder, results_folder=folder / "again")
    assert run.status == 0, run.said
    (after,) = run.histories().values()
    assert after.plan == before.plan
    assert after.begin_ns != before.begin_ns


def test_a_history_is_judged_again_without_a_guest(readme: Invocation, tmp_path: Path) -> None:
    paths = [readme.results / "att" / name for name in readme.histories()]
    # Nothing that a guest needs can be found.
    nowhere = {"VFIO_HARNESS_CACHE": str(tmp_path / "cache"), "PATH": "/nonexistent"}
    run = harness("judge", *paths, "--timeline", "--svg", "picture.svg", cwd=tmp_path, variables=nowhere)
    assert run.status == 0, run.said
    assert run.output.count("PASS  test_readers_sleep_through_a_reset") == 2
    assert "[==] config lock held" in run.output
    assert ET.fromstring((tmp_path / "picture.svg").read_bytes()).tag.endswith("svg")  # noqa: S314 - ours
    assert not (tmp_path / "cache").exists()
