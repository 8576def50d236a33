"""The reporting plugin: writes the journal while pytest runs, and the report when it ends.

Inert until `--hil-results DIR` is given.  From the first second there is a red report in DIR, so a runner
that dies is red and neither missing nor green; `harness report DIR` completes it from the journal.  The exit
status of pytest becomes the one of :func:`harness.report.exit_status`.

During a test, other plugins say what was judged with :func:`note_stage`, :func:`note_attempt` and
:func:`note_health`; these do nothing when nobody asked for results.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

from harness.errors import HarnessError, UsageError
from harness.journal.lines import to_line
from harness.journal.record import AttemptRecord, FlakyPolicy, HealthRecord, KernelLog, StageRecord, Status
from harness.journal.session import Session
from harness.plugin import budget
from harness.plugin.classify import Classified, classify
from harness.plugin.journalist import WORKER_HEALTH, Journalist, now
from harness.plugin.resuming import DONE, RUN, Resuming, refuse_others
from harness.plugin.verdicts import FaultNotNamed, StageFailed, StageUnknown
from harness.report.identity import slug
from harness.report.junit import Dialect
from harness.report.svg.timeline import timeline_svg
from harness.results import ATTACHMENTS, load, publish

# -- what other plugins call -------------------------------------------------------------------------


def note_stage(item: pytest.Item, stage: StageRecord) -> None:
    """Write down that a stage of this test was judged; do it before asserting on the verdict."""
    if any(name.endswith(".svg") for name in stage.attachments):
        item.stash[_PICTURED] = True
    if stage.kernel_log is KernelLog.FAULT:
        item.stash[_FAULT_SEEN] = True
    _note(item, replace(stage, test=item.nodeid, at_ns=now()))


def note_attempt(item: pytest.Item, attempt: AttemptRecord) -> None:
    """Write down that an attempt of this test gave no verdict and will be made again."""
    item.stash[_GIVEN_UP] = item.stash.get(_GIVEN_UP, 0) + 1
    _note(item, replace(attempt, test=item.nodeid, at_ns=now()))


def note_health(config: pytest.Config, health: HealthRecord) -> None:
    """Say something about the session as a whole, such as that every function was given back."""
    record = replace(health, at_ns=now())
    journalist = config.stash.get(_JOURNALIST, None)
    if journalist is not None:
        journalist.write(record)
    elif results_folder(config) is not None:  # a worker of xdist: travels with its last word
        notes: list[str] = config.workeroutput.setdefault(WORKER_HEALTH, [])  # type: ignore[attr-defined]
        notes.append(to_line(record).decode())


def results_folder(config: pytest.Config) -> Path | None:
    """The results folder of this run, absolute; None when nobody asked for results."""
    named = config.getoption("hil_results", None)
    return Path(os.path.abspath(config.invocation_params.dir / named)) if named else None  # noqa: PTH100


def attachment_path(item: pytest.Item, kind: str) -> Path | None:
    """Where a file that belongs to this test goes, such as `history.zip` or `console.txt`; its folder exists.

    The name is unique in the run, and another one for each try of the test.  Its path relative to
    :func:`results_folder` goes into `StageRecord.attachments`.
    """
    results = results_folder(item.config)
    if results is None:
        return None
    folder = results / ATTACHMENTS
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{_file_name(item)}{kind}"


# -- what runs a test many times ---------------------------------------------------------------------


def hold(item: pytest.Item, name: str) -> list[StageRecord | AttemptRecord]:
    """Keep what this test notes from now on out of the journal, and begin the names of its files with `name`, too.

    A soak runs a test many times, and only at the end knows which of its rounds the journal wants.

    Returns:
        What it notes, as it comes; for :func:`release`.
    """
    notes: list[StageRecord | AttemptRecord] = []
    item.stash[_HELD] = (name, notes)
    return notes


def release(item: pytest.Item, notes: list[StageRecord | AttemptRecord]) -> None:
    """Write down what was held back, and hold nothing back any more."""
    if _HELD in item.stash:
        del item.stash[_HELD]
    for note in notes:
        _note(item, note)


def files_of(item: pytest.Item, name: str) -> list[Path]:
    """The files of a test that :func:`hold` gave this name."""
    results = results_folder(item.config)
    return sorted((results / ATTACHMENTS).glob(f"{slug(item.nodeid)}.{name}*")) if results else []


# -- what runs a test again --------------------------------------------------------------------------


def may_run_again(config: pytest.Config) -> bool:
    """Whether a test may run once more; not with `--hil-keep`, whose user wants to look at the guest."""
    return bool(config.getoption("hil_retries") != budget.OFF and not config.getoption("hil_keep", False))


def begin_attempt(item: pytest.Item, number: int) -> None:
    """Begin a try of a whole test, counted from 1: what is said from now on belongs to it."""
    if number == 1:
        item.stash[_GIVEN_UP] = 0
    item.stash[_ATTEMPT] = number
    item.stash[_SAID] = []
    item.stash[_PICTURED] = item.stash[_FAULT_SEEN] = False
    item._report_sections.clear()  # noqa: SLF001 - what an earlier try printed is not this one's


def give_up_attempt(item: pytest.Item, attempt: AttemptRecord) -> None:
    """Write down that a try of the whole test was given up, with every file that it left."""
    results = results_folder(item.config)
    left = sorted((results / ATTACHMENTS).glob(f"{_file_name(item)}*")) if results else []
    names = tuple(str(path.relative_to(results)) for path in left) if results else ()
    note_attempt(item, replace(attempt, attachments=(*attempt.attachments, *names)))


def said_so_far(item: pytest.Item) -> list[Classified]:
    """The errors and failures of this try, in their order."""
    return item.stash.get(_SAID, [])


def kernel_fault_seen(item: pytest.Item) -> bool:
    """Whether a stage of this try has seen the kernel under test go wrong."""
    return item.stash.get(_FAULT_SEEN, False)


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
    group.addoption(
        "--hil-resume",
        action="store_true",
        help="go on where the run stopped that left its results there: what has an outcome is not run again",
    )
    group.addoption("--hil-under-test", metavar="WHAT", default="", help=argparse.SUPPRESS)
    group.addoption(
        "--hil-retries",
        metavar="auto|N|off",
        type=budget.parse,
        default=budget.AUTO,
        help="how many tests may need a second try on a fresh guest, because the lab was in their way, before the "
        "session stops: auto is 5 %% of them and at least two; off tries none again (default: %(default)s)",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Open the journal and put a red report where a green one of an earlier run may lie."""
    results = results_folder(config)
    if results is not None and may_run_again(config):
        from harness.plugin import again  # noqa: PLC0415 - it tells this module what it does

        config.pluginmanager.register(again, "harness_again")
    if results is None or hasattr(config, "workerinput"):  # xdist: the controller keeps the journal
        if results is not None and config.getoption("hil_resume"):
            told: dict[str, Any] = config.workerinput  # type: ignore[attr-defined] # of xdist
            config.stash[_RUN] = told[RUN]
            config.pluginmanager.register(Resuming(told[DONE]), "harness_resuming")
        return
    config.pluginmanager.register(budget.RetryBudget(config), "harness_retry_budget")
    try:
        if config.getoption("hil_resume"):
            _resume(config, load(results))
        journalist = Journalist(config, results)
    except HarnessError as error:
        raise pytest.UsageError(str(error)) from error
    config.stash[_JOURNALIST] = journalist
    config.pluginmanager.register(journalist, "harness_journalist")


def _resume(config: pytest.Config, session: Session) -> None:
    """Run only what has no outcome yet; workers of xdist get the options, and with them what is left out.

    Raises:
        pytest.UsageError: the run that is there was another one, or nothing of it is left to do.
    """
    if session.over:
        raise pytest.UsageError("--hil-resume: the run that is there came to its end; start anew without it.")
    refuse_others(session.start.argv[1:], sys.argv[1:])
    done = [entry.test for entry in session.entries if entry.complete]
    config.stash[_RUN] = run = session.runs + 1
    config.pluginmanager.register(Resuming(done, session.planned, run=run), "harness_resuming")


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
    reported = results_folder(item.config) is not None
    if reported or _ATTEMPT in item.stash:
        error = call.excinfo.value if call.excinfo is not None else None
        said = classify(report, error)
        if said.status.concern >= Status.ERROR.concern:
            item.stash.setdefault(_SAID, []).append(said)
        report.hil = {  # type: ignore[attr-defined] # pytest lets plugins add attributes to a report
            **_plain(said),
            "attachments": [str(name) for name in _picture(item, error, report)] if reported else [],
            "given_up": item.stash.get(_GIVEN_UP, 0),
        }
    return report


@pytest.hookimpl(tryfirst=True)
def pytest_report_to_serializable(
    config: pytest.Config, report: pytest.CollectReport | pytest.TestReport
) -> None:
    """Send what a worker of xdist has noted with the next report that it sends."""
    if isinstance(report, pytest.TestReport) and _NOTES in config.stash and hasattr(report, "hil"):
        report.hil["notes"] = config.stash[_NOTES]
        del config.stash[_NOTES]


_JOURNALIST: Final = pytest.StashKey[Journalist]()
_PICTURED: Final = pytest.StashKey[bool]()
_NOTES: Final = pytest.StashKey[list[str]]()
_RUN: Final = pytest.StashKey[int]()
_ATTEMPT: Final = pytest.StashKey[int]()
_HELD: Final = pytest.StashKey[tuple[str, list[StageRecord | AttemptRecord]]]()
_GIVEN_UP: Final = pytest.StashKey[int]()
_SAID: Final = pytest.StashKey[list[Classified]]()
_FAULT_SEEN: Final = pytest.StashKey[bool]()


def _file_name(item: pytest.Item) -> str:
    """What the names of all files of this try begin with, and those of no other."""
    run, number = item.config.stash.get(_RUN, 1), item.stash.get(_ATTEMPT, 1)
    held, _ = item.stash.get(_HELD, ("", []))
    again = (f"run{run}." if run > 1 else "") + (f"try{number}." if number > 1 else "")
    return f"{slug(item.nodeid)}.{held}{again}"


def _note(item: pytest.Item, record: StageRecord | AttemptRecord) -> None:
    if _HELD in item.stash:
        item.stash[_HELD][1].append(record)
        return
    journalist = item.config.stash.get(_JOURNALIST, None)
    if journalist is not None:
        journalist.write(record)
    elif results_folder(item.config) is not None:  # a worker of xdist: travels with the next report
        item.config.stash.setdefault(_NOTES, []).append(to_line(record).decode())


def _plain(said: Classified) -> dict[str, str]:
    return {
        "status": str(said.status),
        "type": str(said.type),
        "summary": said.summary,
        "details": said.details,
    }


def _picture(item: pytest.Item, raised: BaseException | None, report: pytest.TestReport) -> list[Path]:
    """Draw the timeline of a stage that was not judged PASS, unless whoever staged it has drawn it."""
    if item.stash.get(_PICTURED, False) or not isinstance(raised, StageFailed | StageUnknown | FaultNotNamed):
        return []
    path = attachment_path(item, "timeline.svg")
    results = results_folder(item.config)
    if path is None or results is None:
        return []
    try:
        publish(path, timeline_svg(raised.history, raised.judgement))
    except UsageError:  # the text of the failure has the timeline too
        return []
    except Exception as error:  # noqa: BLE001  a picture that cannot be drawn must not end the session
        report.sections.append(("hil", f"no picture could be drawn: {error!r}"))
        return []
    return [path.relative_to(results)]
