"""What a guest wrote comes to terminal and reports by a test's own exceptions, skips and prints: spelled out."""

from __future__ import annotations

import pytest

from tests.unit.report.test_hostile_text import HOSTILE, assert_clean

ALONE = ("-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:hypothesispytest", "--color=no")

TESTS = f"""
import pytest
from harness.errors import HarnessError

HOSTILE = {HOSTILE!r}

@pytest.fixture
def hil_source():
    return None

@pytest.fixture
def falls_over(hil_source):
    raise RuntimeError(HOSTILE)

@pytest.fixture
def leaves_badly(hil_source):
    yield
    raise RuntimeError(HOSTILE)

def test_asserts(hil_source):
    assert HOSTILE == "clean", HOSTILE

def test_raises(hil_source):
    try:
        raise KeyError(HOSTILE)
    except KeyError as error:
        raise ValueError(HOSTILE) from error

def test_lab(hil_source):
    raise HarnessError(HOSTILE, said=HOSTILE, evidence=HOSTILE)

def test_fails(hil_source):
    pytest.fail(HOSTILE, pytrace=False)

def test_skips(hil_source):
    pytest.skip(HOSTILE)

def test_expected(hil_source):
    pytest.xfail(HOSTILE)

@pytest.mark.xfail(reason=HOSTILE, strict=True)
def test_unexpected(hil_source):
    pass

def test_prints(hil_source):
    print(HOSTILE)
    raise ValueError

def test_fixture(falls_over):
    pass

def test_teardown(leaves_badly):
    pass

@pytest.mark.parametrize("alias", [HOSTILE])
def test_parameter(hil_source, alias):
    raise ValueError
"""


@pytest.mark.parametrize("style", ["long", "short", "line", "native"])
def test_nothing_of_it_reaches_the_terminal_or_the_report(pytester: pytest.Pytester, style: str) -> None:
    pytester.makepyfile(TESTS)
    done = pytester.runpytest_subprocess(*ALONE, "-rA", f"--tb={style}", "--hil-results", "r")
    said = done.stdout.str() + done.stderr.str()
    assert "hidden" in said
    assert_clean(said)
    for path in (pytester.path / "r").glob("*.xml"):
        assert_clean(path.read_text())


def test_a_test_that_uses_nothing_of_ours_is_left_as_it_is(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(r"""
        def test_colours():
            print("\x1b[31mred\x1b[0m")
            raise ValueError("\x1b[32mgreen\x1b[0m")
    """)
    done = pytester.runpytest_subprocess(*ALONE)
    assert "\x1b[31mred\x1b[0m" in done.stdout.str()
    assert "\x1b[32mgreen\x1b[0m" in done.stdout.str()
