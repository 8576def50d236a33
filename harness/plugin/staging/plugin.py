"""The fixture `stage`: carry an experiment out, judge it, and hold the test to the verdict.

A test that stages and asserts nothing is still judged: when its body has returned, every run whose verdict it did
not look at decides the test.  FAIL is a failure, UNKNOWN an error, a known weakness an expected failure.
"""

from __future__ import annotations

import argparse
from collections.abc import Generator
from pathlib import Path
from typing import Any, Final

import pytest

from harness.contract import Contract
from harness.errors import HarnessError
from harness.plugin.lab.guests import TargetSource
from harness.plugin.staging.run import Run
from harness.plugin.staging.stage import Stage
from harness.plugin.verdicts import FaultNotNamed, StageFailed, StageUnknown
from harness.target import silence

_LEAST_SILENCE_S: Final = 2.0
_RUNS: Final = pytest.StashKey["list[Run]"]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of staging; `harness replay` sets them."""
    group = parser.getgroup("hil")
    group.addoption("--hil-replay", type=Path, metavar="HISTORY", help=argparse.SUPPRESS)
    group.addoption(
        "--hil-silence",
        type=_seconds,
        default=silence.DEFAULT_S,
        metavar="SECONDS",
        help="give a guest up whose agent has said nothing for so long while a stage runs, not counting time in which "
        "the host was too busy to let it (default: %(default)s)",
    )


def _seconds(text: str) -> float:
    """An option's value in seconds.

    Raises:
        argparse.ArgumentTypeError: less than two: the agent speaks once a second.
    """
    try:
        seconds = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds") from None
    if not _LEAST_SILENCE_S <= seconds < float("inf"):
        raise argparse.ArgumentTypeError(
            f"{text} s: the agent speaks once a second, so {_LEAST_SILENCE_S:.0f} at least"
        )
    return seconds


@pytest.fixture
def stage(request: pytest.FixtureRequest, hil_source: TargetSource, hil_contract: Contract) -> Stage:
    """Stage parts together: `stage(dut.reads(actors=3), dut.resets("flr", at="50ms"), lasting="400ms", meets=3)`."""
    runs: list[Run] = []
    request.node.stash[_RUNS] = runs
    return Stage(request.node, hil_source, hil_contract, runs)


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, Any, Any]:
    """When the test's body has returned, hold it to every verdict that it did not look at."""
    result = yield
    pending = [run for run in pyfuncitem.stash.get(_RUNS, []) if not run.settled]
    for run in sorted(pending, key=lambda run: -run.concern):  # a known weakness must not hide a failure
        run.enforce()
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    call: pytest.CallInfo[None],
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show our own exceptions as what they say: their traceback leads through the harness, not to the cause."""
    report = yield
    error = call.excinfo.value if call.excinfo is not None else None
    if report.failed and isinstance(error, StageFailed | StageUnknown | FaultNotNamed):
        report.longrepr = str(error)
    elif report.failed and isinstance(error, HarnessError):
        report.longrepr = f"{error}\n\n{error.evidence}".rstrip()
    return report
