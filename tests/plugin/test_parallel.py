"""`-n` in a lab: how many workers, what cannot be shared out, whom they die with.  Their guests: tests/guest."""

from __future__ import annotations

import pytest

from harness.lab.capacity import look

QUICK = ("-p", "no:cacheprovider", "-p", "no:hypothesispytest")
LAB = ("--hil-lab", "emulated")

PLAIN = """
import pytest

@pytest.mark.parametrize("number", range(6))
def test_plain(number):
    pass
"""


def test_auto_is_what_the_machine_holds_and_the_header_says_why(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(PLAIN)
    done = pytester.runpytest_subprocess(*QUICK, *LAB, "-n", "auto")
    done.assert_outcomes(passed=6)
    guests = look().guests()
    done.stdout.fnmatch_lines(
        [
            f"hil guests: {guests} at once (* cores, 2 for each; *memory*); the next one is made *",
            f"{guests} worker* [[]6 items[]]",
        ]
    )


def test_more_than_the_machine_holds_is_done_and_said(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(PLAIN)
    guests = look().guests() + 1
    done = pytester.runpytest_subprocess(*QUICK, *LAB, "-n", str(guests))
    done.assert_outcomes(passed=6)
    done.stdout.fnmatch_lines([f"hil guests: {guests} at once though {guests - 1} would not share cores*"])


def test_without_a_lab_workers_are_as_xdist_makes_them(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(PLAIN)
    done = pytester.runpytest_subprocess(*QUICK, "-n", "1", "-v")
    done.assert_outcomes(passed=6)
    done.stdout.no_re_match_line(r".*(?<![\w/-])hil\b")  # nor who runs it
    done.stdout.fnmatch_lines(["scheduling tests via LoadScheduling"])


@pytest.mark.parametrize(
    ("arguments", "scheduling"), [((), "WorkStealing"), (("--dist", "loadfile"), "LoadFile")]
)
def test_tests_are_dealt_in_stretches_unless_somebody_knows_better(
    pytester: pytest.Pytester, arguments: tuple[str, ...], scheduling: str
) -> None:
    pytester.makepyfile(PLAIN)
    done = pytester.runpytest_subprocess(*QUICK, *LAB, "-n", "1", "-v", *arguments)
    done.stdout.fnmatch_lines([f"scheduling tests via {scheduling}Scheduling"])


@pytest.mark.parametrize(
    ("option", "why"), [(("--hil-keep",), "*--keep and -n: *"), (("--hil-gdb", "tcp::1"), "*--gdb and -n: *")]
)
def test_what_cannot_be_shared_out_is_usage(
    pytester: pytest.Pytester, option: tuple[str, ...], why: str
) -> None:
    pytester.makepyfile(PLAIN)
    done = pytester.runpytest_subprocess(*QUICK, *LAB, "-n", "auto", *option)
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    done.stderr.fnmatch_lines([f"{why}Leave one of them out."])
    alone = pytester.runpytest_subprocess(*QUICK, *LAB, "-n", "0", *option)
    alone.assert_outcomes(passed=6)


DIES_WITH = """
import ctypes, signal

def test_dies_with_its_parent():
    number = ctypes.c_int()
    assert ctypes.CDLL(None).prctl(2, ctypes.byref(number)) == 0  # PR_GET_PDEATHSIG, prctl(2)
    assert number.value == signal.SIGKILL
"""


def test_a_worker_asks_to_die_with_the_runner(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(DIES_WITH)
    pytester.runpytest_subprocess(*QUICK, *LAB, "-n", "1").assert_outcomes(passed=1)
    pytester.runpytest_subprocess(*QUICK, "-n", "1").assert_outcomes(failed=1)


def test_so_does_one_in_place_of_a_worker_that_died(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_a="import os\ndef test_kills_its_worker(): os._exit(9)", test_b=DIES_WITH)
    done = pytester.runpytest_subprocess(*QUICK, *LAB, "-n", "1")
    done.assert_outcomes(errors=1, passed=1)


def test_a_worker_whose_parent_is_gone_begins_nothing(pytester: pytest.Pytester) -> None:
    """The runner can die before the worker has asked to be told: its number then is not that of the parent."""
    pytester.makepyfile(PLAIN)
    pytester.makeconftest(
        """
        import pytest

        @pytest.hookimpl(trylast=True)
        def pytest_configure_node(node):
            node.workerinput["hil_controller"] = 1
        """
    )
    done = pytester.runpytest_subprocess(*QUICK, *LAB, "-n", "1", "--max-worker-restart", "0")
    assert "passed" not in done.parseoutcomes()
