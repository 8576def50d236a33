"""`--hil-kernels`: every test that needs a lab runs on each of the kernels, one kernel after the other."""

from __future__ import annotations

import pytest

ALONE = ("-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:hypothesispytest", "--strict-markers")

TESTS = """
import pytest

@pytest.mark.dut("igb0", "nvme0")
def test_stages(dut, hil_place): pass

def test_plain(): pass

def test_place(hil_place): pass
"""

CONFTEST = """
import pytest

@pytest.fixture
def functions():
    return lambda alias: alias

@pytest.fixture(scope="session")
def hil_place(request):
    print("prepared", request.param)
    yield
    print("left", request.param)
"""


def collected(pytester: pytest.Pytester, *options: str) -> list[str]:
    """Identities of the tests, in the order in which they would run."""
    pytester.makepyfile(test_some=TESTS)
    done = pytester.runpytest_inprocess(*ALONE, "--collect-only", "-q", *options)
    return [line.partition("::")[2] for line in done.outlines if "::" in line]


def test_without_the_option_identities_stay(pytester: pytest.Pytester) -> None:
    assert collected(pytester) == ["test_stages[igb0]", "test_stages[nvme0]", "test_plain", "test_place"]


def test_identities_name_the_kernel_and_a_kernel_comes_after_the_other(pytester: pytest.Pytester) -> None:
    names = collected(pytester, "--hil-kernels", "6.1, 7.x")
    assert sorted(names) == sorted(
        [f"test_stages[{alias}-{one}]" for one in ("6.1", "7.x") for alias in ("igb0", "nvme0")]
        + ["test_plain", "test_place[6.1]", "test_place[7.x]"]
    )
    kernels = [name.rstrip("]").rpartition("-")[2].rpartition("[")[2] for name in names if "[" in name]
    assert kernels == ["6.1"] * 3 + ["7.x"] * 3


def test_a_kernel_is_left_before_the_next_one_is_prepared(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_some=TESTS)
    pytester.makeconftest(CONFTEST)
    done = pytester.runpytest_inprocess(*ALONE, "-s", "--hil-kernels", "6.1,7.x")
    done.assert_outcomes(passed=7)
    told = [
        word
        for line in done.outlines
        for word in ("prepared 6.1", "left 6.1", "prepared 7.x", "left 7.x")
        if word in line
    ]
    assert told == ["prepared 6.1", "left 6.1", "prepared 7.x", "left 7.x"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("6.1,6",), "*'6': write it like 6.12 or 7.x*"),
        (("6.1,6.1",), "*6.1 is there twice*"),
        (("",), "*it is empty*"),
        (("6.1", "--hil-kernel", "vmlinux"), "*--kernel names another one*"),
    ],
)
def test_a_mistake_is_usage(pytester: pytest.Pytester, options: tuple[str, ...], said: str) -> None:
    pytester.makepyfile(test_some=TESTS)
    done = pytester.runpytest_inprocess(*ALONE, "--hil-kernels", *options)
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    done.stderr.fnmatch_lines([said])
