"""The reporting plugin: writes the journal while pytest runs, and the report when it ends.

Inert until `--hil-results DIR` is given.  From the first second there is a red report in DIR, so a runner
that dies is red and neither missing nor green; `harness report DIR` completes it from the journal.  The exit
status of pytest becomes the one of :func:`harness.report.exit_status`.
"""

from __future__ import annotations

import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from harness.errors import HarnessError, UsageError
from harness.journal.record import Status
from harness.journal.session import Session
from harness.plugin.reporting import again, budget, notes
from harness.plugin.reporting.classify import Classified, classify
from harness.plugin.reporting.journalist import Journalist
from harness.plugin.reporting.last_word import LastWord
from harness.plugin.reporting.notes import attachment_path, results_folder
from harness.plugin.reporting.resuming import DONE, RUN, Resuming, refuse_others
from harness.plugin.reporting.shown import is_ours, make_visible
from harness.plugin.verdicts import FaultNotNamed, StageFailed, StageUnknown
from harness.report.svg.timeline import timeline_svg
from harness.results import load, publish


def pytest_configure(config: pytest.Config) -> None:
    """Open the journal and put a red report where a green one of an earlier run may lie."""
    results = results_folder(config) if notes.writes_results(config) else None
    if results is not None and again.may_run_again(config):
        config.pluginmanager.register(again, "harness_again")
    if results is None or hasattr(config, "workerinput"):  # xdist: the controller keeps the journal
        if results is not None and config.getoption("hil_resume"):
            told: dict[str, Any] = config.workerinput  # type: ignore[attr-defined] # of xdist
            config.stash[notes.RUN] = told[RUN]
            config.pluginmanager.register(Resuming(told[DONE]), "harness_resuming")
        return
    config.pluginmanager.register(budget.RetryBudget(config), "harness_retry_budget")
    try:
        if config.getoption("hil_resume"):
            _resume(config, load(results))
        journalist = Journalist(config, results)
    except HarnessError as error:
        raise pytest.UsageError(str(error)) from error
    config.stash[notes.JOURNALIST] = journalist
    config.pluginmanager.register(journalist, "harness_journalist")
    config.pluginmanager.register(LastWord(config, journalist), "harness_last_word")


def _resume(config: pytest.Config, session: Session) -> None:
    """Run only what has no outcome yet; workers of xdist get the options, and with them what is left out.

    Raises:
        pytest.UsageError: the run that is there was another one, or nothing of it is left to do.
    """
    if session.over:
        raise pytest.UsageError("--hil-resume: the run that is there came to its end; start anew without it.")
    refuse_others(session.start.argv[1:], sys.argv[1:])
    done = [entry.test for entry in session.entries if entry.complete]
    config.stash[notes.RUN] = run = session.runs + 1
    config.pluginmanager.register(Resuming(done, session.planned, run=run), "harness_resuming")


def pytest_unconfigure(config: pytest.Config) -> None:
    """Close the journal."""
    journalist = config.stash.get(notes.JOURNALIST, None)
    if journalist is not None:
        journalist.close()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Say what could not be collected, in plain JSON on the report, as below."""
    report = yield
    call: pytest.CallInfo[object] | None = getattr(report, "call", None)
    if report.failed and call is not None and call.excinfo is not None:
        report.hil = _plain(classify(report, call.excinfo.value))  # type: ignore[attr-defined] # as below
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Say what a phase came to, in plain JSON on the report, so that it survives xdist."""
    report = yield
    if is_ours(item):
        make_visible(report)
    reported = results_folder(item.config) is not None
    if reported or notes.ATTEMPT in item.stash:
        error = call.excinfo.value if call.excinfo is not None else None
        said = classify(report, error)
        if said.status.concern >= Status.ERROR.concern:
            item.stash.setdefault(notes.SAID, []).append(said)
        report.hil = {  # type: ignore[attr-defined] # pytest lets plugins add attributes to a report
            **_plain(said),
            "attachments": [str(name) for name in _picture(item, error, report)] if reported else [],
            "given_up": item.stash.get(notes.GIVEN_UP, 0),
        }
    return report


@pytest.hookimpl(tryfirst=True)
def pytest_report_to_serializable(
    config: pytest.Config, report: pytest.CollectReport | pytest.TestReport
) -> None:
    """Send what a worker of xdist has noted with the next report that it sends."""
    if isinstance(report, pytest.TestReport) and notes.NOTES in config.stash and hasattr(report, "hil"):
        report.hil["notes"] = config.stash[notes.NOTES]
        del config.stash[notes.NOTES]


def _plain(said: Classified) -> dict[str, str]:
    return {
        "status": str(said.status),
        "type": str(said.type),
        "summary": said.summary,
        "details": said.details,
    }


def _picture(item: pytest.Item, raised: BaseException | None, report: pytest.TestReport) -> list[Path]:
    """Draw the timeline of a stage that was not judged PASS, unless whoever staged it has drawn it."""
    if item.stash.get(notes.PICTURED, False) or not isinstance(
        raised, StageFailed | StageUnknown | FaultNotNamed
    ):
        return []
    path = attachment_path(item, "timeline.svg")
    results = results_folder(item.config)
    if path is None or results is None:
        return []
    try:
        publish(path, timeline_svg(raised.evidence, raised.judgement))
    except UsageError:  # the text of the failure has the timeline too
        return []
    except Exception as error:  # noqa: BLE001  a picture that cannot be drawn must not end the session
        report.sections.append(("hil", f"no picture could be drawn: {error!r}"))
        return []
    return [path.relative_to(results)]
