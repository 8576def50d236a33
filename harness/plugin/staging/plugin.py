"""The fixture `stage`: carry an experiment out, judge it, and hold the test to the verdict.

A test that stages and asserts nothing is still judged: when its body has returned, every run decides the test that no
`names` has settled.  FAIL is a failure, UNKNOWN an error, a known weakness an expected failure.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Final

import pytest

from harness.contract import Contract
from harness.errors import HarnessError, UsageError
from harness.plugin.lab.guests import TargetSource
from harness.plugin.staging.run import Staged
from harness.plugin.staging.stage import Stage
from harness.plugin.verdicts import FaultNotNamed, StageFailed, StageUnknown

_STAGED: Final = pytest.StashKey[Staged]()


@pytest.fixture
def stage(request: pytest.FixtureRequest, hil_source: TargetSource, hil_contract: Contract) -> Stage:
    """Stage parts together: `stage(dut.reads(actors=3), dut.resets("flr", at="50ms"), lasting="400ms", meets=3)`."""
    request.node.stash[_STAGED] = staged = Staged()
    return Stage(request.node, hil_source, hil_contract, staged)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    """When the test's body has returned, hold it to every verdict; a body that skips takes back nothing staged."""
    staged = item.stash.get(_STAGED, Staged(asked=True))
    try:
        yield
    except pytest.skip.Exception:
        staged.answer()
        raise
    except BaseException:
        staged.settle()
        raise
    staged.answer()
    if not staged.asked:
        raise UsageError(
            f"test {item.name}",
            said="it takes `stage` and staged nothing",
            hint='Give what the verbs return to it, as in `stage(dut.resets("flr"), dut.reads("sysfs"))`; '
            "a test that needs no stage does not take it.",
        )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None]:
    """Hold the test to what its fixtures have staged after its body, too."""
    yield
    item.stash.get(_STAGED, Staged()).answer()


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Show what a test's author got wrong as what it says, here too."""
    report = yield
    call: pytest.CallInfo[object] | None = getattr(report, "call", None)
    if report.failed and call and call.excinfo and isinstance(call.excinfo.value, HarnessError):
        report.longrepr = str(call.excinfo.value)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show our own exceptions as what they say: their traceback leads through the harness, not to the cause."""
    report = yield
    error = call.excinfo.value if call.excinfo is not None else None
    if report.failed and isinstance(error, StageFailed | StageUnknown | FaultNotNamed):
        report.longrepr = str(error)
    elif isinstance(error, pytest.xfail.Exception) and item.stash.get(_STAGED, Staged()).shows(
        str(error.msg)
    ):
        report.longrepr = str(error.msg)
    elif report.failed and isinstance(error, HarnessError):
        report.longrepr = f"{error}\n\n{error.evidence}".rstrip()
    return report
