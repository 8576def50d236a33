"""The lab plugin: inert until asked, one test for each function, and the guests of one test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness.contract import load as load_contract
from harness.history.container import from_bytes
from harness.model.exit_status import ExitStatus
from harness.model.pci import Bdf, Nature, ResetMethod
from harness.model.request import DescribeMachine, ReadConfig
from harness.plugin.lab import describe
from harness.plugin.lab.guests import TargetSource
from harness.results import load

# Hypothesis's plugin imports all of Hypothesis at the end of every session
ALONE = ("-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:hypothesispytest", "--strict-markers")
GOLDEN = Path(__file__).parents[1] / "golden" / "history" / "v1.history.zip"
HINT = "*no lab was asked for: use ./lab/run, or add --hil-lab emulated*"

SCENARIO = """
import pytest

@pytest.mark.dut("igb0", "nvme0")
def test_stages(dut, stage):
    raise AssertionError("no lab, and yet it runs")
"""


def test_without_options_nothing_is_left_behind(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_plain(): pass")
    done = pytester.runpytest_inprocess(*ALONE)
    assert done.ret == 0
    done.stdout.no_re_match_line(r".*(?<![\w/-])hil\b")  # nor who runs it
    left = {path.name for path in pytester.path.iterdir()} - {"__pycache__"}  # Python's own
    assert left == {"test_without_options_nothing_is_left_behind.py"}


def test_who_asks_for_nothing_pays_for_nothing(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytester.makepyfile(
        """
        import sys

        def test_plain():
            heavy = {"harness.history", "harness.judge", "harness.report", "harness.staging"}
            assert heavy.isdisjoint(sys.modules)
            assert {"numpy", "junitparser", "tenacity", "execnet"}.isdisjoint(sys.modules)
        """
    )
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # other plugins bring what they like
    ours = ("-p", "harness.plugin.entry_point")
    pytester.runpytest_subprocess(*ours).assert_outcomes(passed=1)
    asked = pytester.runpytest_subprocess(*ours, "--hil-results", "r")
    asked.assert_outcomes(failed=1)  # what is looked for is there once it is asked for


@pytest.mark.parametrize("fixture", ["stage", "functions", "hil_source", "hil_place", "dut", "locks"])
def test_who_needs_a_lab_is_skipped_with_the_command_that_would_help(
    pytester: pytest.Pytester, fixture: str
) -> None:
    pytester.makepyfile(f"def test_needs({fixture}): raise AssertionError")
    done = pytester.runpytest_inprocess(*ALONE, "-rs")
    done.assert_outcomes(skipped=1)
    done.stdout.fnmatch_lines([HINT])


def test_the_contract_needs_no_lab(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_reads(hil_contract): assert hil_contract.promises")
    pytester.runpytest_inprocess(*ALONE).assert_outcomes(passed=1)


def test_a_marked_test_runs_once_for_each_function_named_by_its_alias(pytester: pytest.Pytester) -> None:
    path = pytester.makepyfile(SCENARIO)
    done = pytester.runpytest_inprocess(*ALONE, "--collect-only", "-q")
    done.stdout.fnmatch_lines([f"{path.name}::test_stages[[]igb0]", f"{path.name}::test_stages[[]nvme0]"])
    pytester.runpytest_inprocess(*ALONE).assert_outcomes(skipped=2)


SLOW_ONES = """
import pytest

def test_quick(): pass

@pytest.mark.hil_slow
def test_slow(): pass

@pytest.mark.hil_slow
@pytest.mark.parametrize("way", ["up", "down"])
def test_slow_ways(way): pass

class TestSlow:
    @pytest.mark.hil_slow
    def test_inside(self): pass
"""
LAB = ("--hil-lab", "emulated", "--hil-results", "r", "--collect-only", "-q")


@pytest.mark.parametrize(
    ("options", "collected"),
    [
        (LAB, ["quick"]),
        ((*LAB, "-m", "hil_slow"), ["slow", "slow_ways[up]", "slow_ways[down]", "inside"]),
        ((*LAB, "-m", "not hil_slow"), ["quick"]),
        ((*LAB, "-k", "quick or inside"), ["quick"]),
        (("--collect-only", "-q"), ["quick", "slow", "slow_ways[up]", "slow_ways[down]", "inside"]),
    ],
    ids=["a lab", "asked for", "refused", "by a word", "no lab"],
)
def test_slow_tests_of_a_lab_run_when_they_are_asked_for(
    pytester: pytest.Pytester, options: tuple[str, ...], collected: list[str]
) -> None:
    pytester.makepyfile(SLOW_ONES)
    done = pytester.runpytest_inprocess(*ALONE, *options)
    assert [line.rpartition("::test_")[2] for line in done.outlines if "::" in line] == collected


@pytest.mark.parametrize(
    ("named", "collected"),
    [
        ("test_slow", ["slow"]),
        ("test_slow_ways", ["slow_ways[up]", "slow_ways[down]"]),
        ("test_slow_ways[up]", ["slow_ways[up]"]),
        ("TestSlow", ["inside"]),
        ("TestSlow::test_inside", ["inside"]),
    ],
)
def test_a_slow_test_that_is_named_runs(pytester: pytest.Pytester, named: str, collected: list[str]) -> None:
    path = pytester.makepyfile(SLOW_ONES)
    done = pytester.runpytest_inprocess(*ALONE, *LAB, f"{path.name}::{named}")
    assert [line.rpartition("::test_")[2] for line in done.outlines if "::" in line] == collected


def test_aliases_combine_with_other_parameters(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.parametrize("method", ["flr", "pm"])
        @pytest.mark.dut("igb0")
        def test_a(dut, method): pass
        """
    )
    done = pytester.runpytest_inprocess(*ALONE, "--collect-only", "-q")
    names = sorted(line.partition("::")[2] for line in done.outlines if "::" in line)
    assert [sorted(name.removeprefix("test_a[").removesuffix("]").split("-")) for name in names] == [
        ["flr", "igb0"],
        ["igb0", "pm"],
    ]


def test_a_marker_that_nobody_uses_does_no_harm(pytester: pytest.Pytester) -> None:
    pytester.makepyfile('import pytest\n@pytest.mark.dut("igb0")\n@pytest.mark.hil_boots\ndef test_a(): pass')
    pytester.runpytest_inprocess(*ALONE).assert_outcomes(passed=1)


def test_the_markers_are_described(pytester: pytest.Pytester) -> None:
    done = pytester.runpytest_inprocess("--markers")
    done.stdout.fnmatch_lines(["@pytest.mark.dut(*aliases): *", "@pytest.mark.hil_boots: *"])


@pytest.mark.parametrize("arguments", [("--hil-lab", "moon"), ("--hil-lab",), ("--hil-guests", "few")])
def test_a_lab_that_does_not_exist_is_usage(pytester: pytest.Pytester, arguments: tuple[str, ...]) -> None:
    done = pytester.runpytest_inprocess(*ALONE, *arguments)
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    done.stderr.fnmatch_lines([f"*{arguments[0]}*"])


def test_a_lab_always_has_a_results_folder(pytester: pytest.Pytester) -> None:
    """Evidence would be lost without one; the report in it is red until the end.  Who only looks leaves none."""
    pytester.makepyfile("def test_needs_no_lab(): pass")
    lab = (*ALONE, "--hil-lab", "emulated", "-q")
    pytester.runpytest_inprocess(*lab, "--collect-only")
    assert not (pytester.path / "hil-results").exists()
    pytester.runpytest_inprocess(*lab)
    assert (pytester.path / "hil-results" / "junit.xml").exists()
    pytester.runpytest_inprocess(*lab, "--hil-results", "mine")
    assert (pytester.path / "mine" / "junit.xml").exists()


def test_a_broken_fixture_request_is_an_error_not_a_failure(pytester: pytest.Pytester) -> None:
    """A test that forgets its marker: usage, told in set-up, so nothing was said of any function or commit."""
    pytester.makepyfile("def test_forgot(dut): pass")
    pytester.makeconftest(
        """
        import pytest

        @pytest.fixture
        def functions():
            return lambda alias: alias
        """
    )
    done = pytester.runpytest_inprocess(*ALONE, "--hil-results", "r")
    assert done.ret == 125
    done.stdout.fnmatch_lines(['*no function was named*@pytest.mark.dut("igb0", "nvme0")*'])


class Place:
    """Makes targets that only know their console, and writes down how they were made."""

    def __init__(self, *, records: bool = True) -> None:
        self.made: list[str] = []
        self.alive: list[object] = []
        self._records = records

    @contextmanager
    def clone(self, console: Path) -> Iterator[Any]:
        self.made.append(console.name)
        target = SimpleNamespace(console=console if self._records else None)
        self.alive.append(target)
        yield target
        self.alive.remove(target)


def source(place: Place) -> TargetSource:
    return TargetSource(place.clone, Path("t.console.log"))


def test_a_guest_is_made_at_the_first_use_and_kept() -> None:
    place = Place()
    guests = source(place)
    assert place.made == []
    assert guests.target is guests.target
    assert place.made == ["t.console.log"]
    guests.close()
    assert place.alive == []


def test_a_target_without_a_console_has_none_to_keep() -> None:
    targets = source(Place(records=False))
    targets.renew()
    targets.renew()
    assert targets.consoles == []
    targets.close()


def test_a_renewed_guest_replaces_the_old_one_and_keeps_both_consoles() -> None:
    place = Place()
    guests = source(place)
    first = cast("object", guests.target)
    second = cast("object", guests.renew())
    assert first is not second
    assert place.alive == [second]
    assert cast("object", guests.target) is second
    assert place.made == ["t.console.log", "t.console.1.log"]
    assert [path.name for path in guests.consoles] == ["t.console.log", "t.console.1.log"]
    guests.close()
    guests.close()
    assert place.alive == []


@pytest.mark.parametrize(
    ("lockdown", "locked"), [("none", False), ("integrity", True), ("unreadable: No such file", False)]
)
def test_a_function_is_described_from_what_its_kernel_says(lockdown: str, locked: bool) -> None:  # noqa: FBT001
    """Facts and config space of a recorded e1000e, as the agent of that guest gave them."""
    recorded = from_bytes(GOLDEN.read_bytes()).functions[0]
    config = recorded.config_before[:0xE8] + b"\x10\x28" + recorded.config_before[0xEA:]
    bdf = Bdf.parse(recorded.bdf)
    facts = SimpleNamespace(
        bdf=bdf, vendor=recorded.vendor, device=recorded.device, reset_methods=recorded.reset_methods
    )
    answers = {ReadConfig(bdf=bdf): config, DescribeMachine(): SimpleNamespace(lockdown=lockdown)}
    target = SimpleNamespace(
        agent=SimpleNamespace(ask=answers.__getitem__),
        facts={"e1000e0": facts}.__getitem__,
        nature={"e1000e0": Nature.EMULATED}.__getitem__,
    )
    contract = load_contract()
    function = describe("e1000e0", cast("Any", target), contract)
    assert (function.alias, function.platform, str(function.bdf)) == ("e1000e0", "e1000e", "0000:06:00.0")
    assert function.reset_methods == (ResetMethod.PM, ResetMethod.BUS)
    assert function.config_bytes == 4096
    assert function.traits.locked_down is locked
    assert (function.express, function.device_control) == (0xE0, 0x2810)
    for method, oracle in function.traits.oracles.items():
        entry = contract.oracle("e1000e", method)
        assert entry is not None
        assert oracle == entry.on("e1000e0")
    assert function.traits.oracles


def test_a_model_that_cannot_be_served_ends_the_run_before_anything_is_collected(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(SCENARIO)
    done = pytester.runpytest_inprocess(*ALONE, "--hil-model", "mine0=absent.py:mine")
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    done.stderr.fnmatch_lines(["*mine0=absent.py:mine*no file*Name one*"])
    done.stdout.no_fnmatch_line("*collected*")


@pytest.mark.parametrize(
    ("alias", "says"),
    [
        ("igb9", "function 'igb9': not in this lab. Did you mean igb0?"),
        ("0000:00:03.0", "Name a function by its alias, not by its address."),
        ("toaster", "one of your own is named by --model toaster=FILE.py:CALLABLE."),
        ("igb9.port", "function 'igb9.port': not in this lab. Did you mean igb0?"),
    ],
)
def test_a_function_that_is_not_there_is_said_before_a_guest_is_made(
    pytester: pytest.Pytester, alias: str, says: str
) -> None:
    pytester.makepyfile(
        f"""
        import pytest

        @pytest.mark.dut({alias!r})
        def test_a(dut): print("not run")

        def test_theirs(): pass
        """
    )
    done = pytester.runpytest_inprocess(*ALONE, "--hil-lab", "emulated", "--hil-results", "r")
    done.assert_outcomes(errors=1, passed=1)
    assert done.ret == ExitStatus.NOTHING_SAID
    said = done.stdout.str()
    assert says in said
    assert "Traceback" not in said
    assert "plugin.py" not in said
    entry, theirs = load(pytester.path / "r").entries
    assert theirs.type == ""
    assert entry.type == "hil.usage"


def test_a_function_that_is_not_there_is_said_when_its_test_is_collected(pytester: pytest.Pytester) -> None:
    path = pytester.makepyfile(
        """
        import pytest

        @pytest.mark.dut("igb9", "igb0", "IGB0")
        def test_a(dut): pass
        """
    )
    done = pytester.runpytest_inprocess(*ALONE, "--hil-lab", "emulated", "--collect-only")
    assert done.ret == 0
    said = [line for line in done.outlines if line.startswith("hil: ")]
    assert [line.partition(": function ")[0] for line in said] == [
        f"hil: {path.name}::test_a[igb9]",
        f"hil: {path.name}::test_a[IGB0]",
    ]
    assert all("not in this lab. Did you mean igb0?" in line for line in said)


def test_a_function_that_a_body_asks_for_is_looked_up_before_a_guest_is_made(
    pytester: pytest.Pytester,
) -> None:
    pytester.makeconftest(
        """
        import pytest

        class Source:
            consoles = []
            target = property(lambda self: pytest.fail("a guest was made"))
            def borrow(self, alias): pass
            def another_follows(self): pass

        @pytest.fixture
        def hil_source():
            return Source()
        """
    )
    pytester.makepyfile(
        "def test_a(functions): functions('0000:00:03.0')\ndef test_b(functions): functions('igb0')"
    )
    done = pytester.runpytest_inprocess(*ALONE, "--hil-lab", "emulated", "--hil-results", "r")
    done.assert_outcomes(errors=1, passed=1)
    wrong, right = load(pytester.path / "r").entries
    assert (wrong.type, right.type) == ("hil.usage", "")
    assert "by its alias, not by its address" in wrong.summary


def test_a_marker_that_names_nothing_is_no_reason_to_skip(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("import pytest\n@pytest.mark.dut()\ndef test_a(dut): pass")
    pytester.makeconftest("import pytest\n@pytest.fixture\ndef functions(): return lambda alias: alias")
    done = pytester.runpytest_inprocess(*ALONE, "--hil-lab", "emulated", "--hil-results", "r")
    done.assert_outcomes(errors=1)
    assert [entry.type for entry in load(pytester.path / "r").entries] == ["hil.usage"]
