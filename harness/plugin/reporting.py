"""The reporting plugin: writes the journal while pytest runs, and the report when it ends.

Inert until `--hil-results DIR` is given.  From the first second there is a red report in DIR, so a runner
that dies is red and neither missing nor green; `harness report DIR` completes it from the journal.  The exit
status of pytest becomes the one of :func:`harness.report.exit_status`.

During a test, other plugins say what was judged with :func:`note_stage`, :func:`note_attempt` and
:func:`note_health`; these do nothing when nobody asked for results.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from harness.errors import HarnessError, UsageError
from harness.journal.record import AttemptRecord, FlakyPolicy, HealthRecord, StageRecord, to_line
from harness.plugin.classify import Classified, classify
from harness.plugin.journalist import Journalist, now
from harness.plugin.verdicts import StageFailed, StageUnknown
from harness.report.identity import slug
from harness.report.junit import Dialect
from harness.report.timeline_svg import timeline_svg
from harness.results import ATTACHMENTS, publish

# -- what other plugins call -------------------------------------------------------------------------


def note_stage(item: pytest.Item, stage: StageRecord) -> None:
    """Write down that a stage of this test was judged; do it before asserting on the verdict."""
    if any(name.endswith(".svg") for name in stage.attachments):
        item.stash[_PICTURED] = True
    _note(item, replace(stage, test=item.nodeid, at_ns=now()))


def note_attempt(item: pytest.Item, attempt: AttemptRecord) -> None:
    """Write down that an attempt of this test gave no verdict and will be made again."""
    _note(item, replace(attempt, test=item.nodeid, at_ns=now()))


def note_health(config: pytest.Config, health: HealthRecord) -> None:
    """Say something about the session as a whole, such as that every function was given back."""
    journalist = config.stash.get(_JOURNALIST, None)
    if journalist is not None:
        journalist.write(replace(health, at_ns=now()))


def results_folder(config: pytest.Config) -> Path | None:
    """The results folder of this run, absolute; None when nobody asked for results."""
    named = config.getoption("hil_results", None)
    return Path(os.path.abspath(config.invocation_params.dir / named)) if named else None  # noqa: PTH100


def attachment_path(item: pytest.Item, kind: str) -> Path | None:
    """Where a file that belongs to this test goes, such as `history.zip` or `console.txt`; its folder exists.

    The name is unique in the run.  Its path relative to :func:`results_folder` goes into
    `StageRecord.attachments`.
    """
    results = results_folder(item.config)
    if results is None:
        return None
    folder = results / ATTACHMENTS
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{slug(item.nodeid)}.{kind}"


# -- pytest's hooks ----------------------------------------------------------------------------------


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of reporting."""
    group = parser.getgroup("hil", "hardware in the loop")
    group.addoption(
        "--hil-results",
        metavar="DIR",
        help="write the journal, junit.xml and all evidence into DIR; the exit status becomes 0 good, 1 bad, "
        "2 usage, 125 nothing could be said",
    )
    group.addoption(
        "--hil-suite",
        metavar="NAME",
        default="hil.lab",
        help="name of the JUnit suite (default: %(default)s)",
    )
    group.addoption(
        "--hil-dialect",
        choices=[str(dialect) for dialect in Dialect],
        default=str(Dialect.STRICT),
        help="flavour of junit.xml (default: %(default)s)",
    )
    group.addoption(
        "--hil-flaky",
        choices=[str(policy) for policy in FlakyPolicy],
        default=str(FlakyPolicy.PASS),
        help="what a pass after a retry counts as (default: %(default)s)",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Open the journal and put a red report where a green one of an earlier run may lie."""
    results = results_folder(config)
    if results is None or hasattr(config, "workerinput"):  # xdist: the controller keeps the journal
        return
    try:
        journalist = Journalist(config, results)
    except HarnessError as error:
        raise pytest.UsageError(str(error)) from error
    config.stash[_JOURNALIST] = journalist
    config.pluginmanager.register(journalist, "harness_journalist")


def pytest_unconfigure(config: pytest.Config) -> None:
    """Close the journal."""
    journalist = config.stash.get(_JOURNALIST, None)
    if journalist is not None:
        journalist.close()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Say what a phase came to, in plain JSON on the report, so that it survives xdist."""
    report = yield
    if results_folder(item.config) is not None:
        error = call.excinfo.value if call.excinfo is not None else None
        said = classify(report, error)
        report.hil = {  # type: ignore[attr-defined] # pytest lets plugins add attributes to a report
            **_plain(said),
            "attachments": [str(name) for name in _picture(item, error)],
            "notes": item.stash.get(_NOTES, []),
        }
        item.stash[_NOTES] = []
    return report


_JOURNALIST: Final = pytest.StashKey[Journalist]()
_PICTURED: Final = pytest.StashKey[bool]()
_NOTES: Final = pytest.StashKey[list[str]]()


def _note(item: pytest.Item, record: StageRecord | AttemptRecord) -> None:
    journalist = item.config.stash.get(_JOURNALIST, None)
    if journalist is not None:
        journalist.write(record)
    elif results_folder(item.config) is not None:  # a worker of xdist: travels with the next report
        item.stash.setdefault(_NOTES, []).append(to_line(record).decode())


def _plain(said: Classified) -> dict[str, str]:
    return {
        "status": str(said.status),
        "type": str(said.type),
        "summary": said.summary,
        "details": said.details,
    }


def _picture(item: pytest.Item, error: BaseException | None) -> list[Path]:
    """Draw the timeline of a stage that was not judged PASS, unless whoever staged it has drawn it."""
    if item.stash.get(_PICTURED, False) or not isinstance(error, StageFailed | StageUnknown):
        return []
    path = attachment_path(item, "timeline.svg")
    results = results_folder(item.config)
    if path is None or results is None:
        return []
    try:
        publish(path, timeline_svg(error.history, error.judgement))
    except UsageError:  # the text of the failure has the timeline too
        return []
    return [path.relative_to(results)]
