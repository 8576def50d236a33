"""The journalist: listens to pytest and writes one session down.

Registered by :mod:`harness.plugin.reporting.plugin` when results are asked for.  Hooks that run during tests never
raise.
"""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import socket
import sys
import time
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import pytest

from harness.errors import UsageError
from harness.journal.fold import fold
from harness.journal.lines import from_line
from harness.journal.reader import Lines, read_lines
from harness.journal.record import (
    AttemptRecord,
    PhaseReport,
    Record,
    SessionEnd,
    SessionStart,
    Status,
    TestFinish,
    TestPlan,
    TestStart,
)
from harness.journal.reserve import Reserve
from harness.journal.session import INCOMPLETE, Session
from harness.journal.writer import JournalWriter
from harness.model.flavour import Dialect, FlakyPolicy
from harness.model.units import Ns
from harness.plugin.reporting import budget
from harness.plugin.reporting.classify import Classified, classify
from harness.report.exit import exit_status
from harness.report.junit import to_junit
from harness.report.lean import lean
from harness.report.terminal import Style, Times, summary
from harness.report.text import clip
from harness.results import JOURNAL, JUNIT, boot_id, publish, put_away
from harness.visible import visible

WORKER_HEALTH: Final = "hil_health"
"""Under which name a worker of xdist sends what it has to say about the session."""
_LONGEST_OUTPUT: Final = 1 << 20
"""Bytes of captured output that a record of the journal keeps of one phase."""


def now() -> Ns:
    """CLOCK_MONOTONIC of the runner: every record carries it."""
    return Ns(time.monotonic_ns())


class Journalist:
    """Writes one session down.  Hooks that run during tests never raise."""

    def __init__(self, config: pytest.Config, results: Path) -> None:
        """Open the journal, write the first record, publish the red report.

        Raises:
            UsageError: the results folder cannot be written, another run writes to it, or there is nothing to resume.
        """
        self.config, self.results = config, results
        self.session: Session | None = None
        self.aborted = self.stopped = ""
        self.trouble: list[str] = []
        try:
            results.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(
                f"results folder {results}",
                said=os.strerror(error.errno or 0),
                hint="Name one that can be written with --hil-results DIR.",
            ) from error
        self.earlier = read_lines(results / JOURNAL) if config.getoption("hil_resume") else Lines()
        self.put_away = "" if config.getoption("hil_resume") else put_away(results)
        runs = sum(isinstance(record, SessionStart) for record in self.earlier.records)
        self.writer = JournalWriter(results / JOURNAL, reserve=Reserve(results))
        start = replace(_start(config, results), resumes=runs)
        self.records = list(self.earlier.records)  # the report must be complete even when the disk is full
        self.write(start)
        try:
            publish(results / JUNIT, to_junit(fold(self.records)))
        except UsageError:
            self.writer.close()
            raise

    def write(self, record: Record) -> None:
        """Append one record."""
        self.records.append(lean(record))
        self.writer.append(record)

    def close(self) -> None:
        """Give the journal back."""
        self.writer.close()

    def pytest_report_header(self) -> str:
        """Say where the results go."""
        runs = sum(isinstance(record, SessionStart) for record in self.earlier.records)
        more = f"; run {runs + 1} of this session" if runs else f"; {self.put_away}" if self.put_away else ""
        return f"hil results: {self.results}{more}"

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Write the plan down."""
        if session.items:
            self.write(TestPlan(tests=tuple(item.nodeid for item in session.items)))

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: list[str]) -> None:
        """Write the plan down once; every worker of xdist collects the same."""
        if not any(isinstance(record, TestPlan) for record in self.records[len(self.earlier.records) :]):
            self.write(TestPlan(tests=tuple(ids)))

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Write down what a worker of xdist has to say about the session; one that was killed says nothing."""
        for line in getattr(node, "workeroutput", {}).get(WORKER_HEALTH, ()):
            self.write(from_line(line.encode()))

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Write a module that could not be collected down: its tests are missing from the plan."""
        if report.passed:
            return
        said = _classified(report.hil) if hasattr(report, "hil") else classify(report, None)
        self.write(
            PhaseReport(
                test=report.nodeid or "session",
                phase="collect",
                status=said.status,
                type=said.type,
                summary=said.summary,
                details=said.details,
                at_ns=now(),
            )
        )

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Write down that a test begins, before it touches anything."""
        self.write(TestStart(test=nodeid, at_ns=now()))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Write down what a phase came to."""
        hil: dict[str, Any] | None = getattr(report, "hil", None)
        for note in hil.get("notes", ()) if hil else ():
            self.write(from_line(note.encode()))
        said = _classified(hil) if hil else _unclassified(report)
        if str(report.outcome) == "rerun":  # of pytest-rerunfailures: it runs the test once more
            self._give_up(report.nodeid, said)
            return
        path, line, _ = report.location
        self.write(
            PhaseReport(
                test=report.nodeid,
                phase=str(report.when),
                status=said.status,
                type=said.type,
                summary=said.summary,
                details=said.details,
                seconds=report.duration,
                output=clip(_output(report), _LONGEST_OUTPUT),
                file=path,
                line=(line or 0) + 1,
                attachments=tuple(hil["attachments"]) if hil else (),
                at_ns=now(),
            )
        )

    def _give_up(self, test: str, said: Classified) -> None:
        self.write(
            AttemptRecord(
                test=test,
                type=said.type,
                summary=said.summary,
                details=said.details,
                whole=True,
                at_ns=now(),
            )
        )

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """Write down that nothing of a test is touched any more."""
        self.write(TestFinish(test=nodeid, at_ns=now()))

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Remember why the session was stopped, by the user or by a plugin."""
        if excinfo.typename == "Interrupted":  # pytest's and xdist's answer to `shouldstop`
            self.stopped = str(excinfo.value)
        else:
            self.aborted = f"{excinfo.typename} {excinfo.value}".strip()

    def pytest_internalerror(self, excrepr: object) -> None:
        """Remember what broke in pytest itself."""
        lines = [line for line in str(excrepr).splitlines() if line.strip()]
        self.stopped = lines[-1] if lines else "internal error"

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Write the last record, make the report, and let the exit status say what the report says."""
        stopped = self.stopped or str(session.shouldfail or session.shouldstop or "")
        status = int(exitstatus)
        self.write(SessionEnd(status=status, aborted=self.aborted, stopped=stopped, at_ns=now()))
        trouble = tuple(self.writer.trouble)
        self.session = fold(self.records, boot_id=boot_id(), damaged=self.earlier.damaged, trouble=trouble)
        self.writer.give_room()
        try:
            dialect = Dialect(self.session.start.dialect)
            publish(self.results / JUNIT, to_junit(self.session, dialect=dialect))
        except UsageError as error:  # the red report of the beginning is still there
            self.trouble.append(str(error))
            self.session = replace(self.session, trouble=(*trouble, str(error)))
        session.exitstatus = int(exit_status(self.session))

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print the summary."""
        if self.session is None:
            return
        style = Style.COLOUR if terminalreporter.hasmarkup else Style.PLAIN
        terminalreporter.section("hil")
        results = _as_typed(self.results)
        times = Times.SHOWN if self.config.option.hil_times else Times.LEFT_OUT
        terminalreporter.write(
            summary(self.session, results=results, harness=_command(), style=style, times=times)
        )
        for trouble in dict.fromkeys([*self.writer.trouble, *self.trouble]):
            terminalreporter.write_line(f"ERROR     {visible(trouble)}")
        if getattr(self.config.option, "xmlpath", None):
            terminalreporter.write_line(
                "--junit-xml was given too: let the dashboard collect only one of the two"
            )


def _classified(hil: dict[str, Any]) -> Classified:
    return Classified(
        status=Status(hil["status"]), type=hil["type"], summary=hil["summary"], details=hil["details"]
    )


def _unclassified(report: pytest.TestReport) -> Classified:
    """A report that no test process made: xdist tells of a dead worker this way."""
    if report.failed:
        text = report.longreprtext
        return Classified(status=Status.ERROR, type=INCOMPLETE, summary=text.strip() or "died", details=text)
    return classify(report, None)


def _output(report: pytest.TestReport) -> str:
    """What this phase printed; pytest repeats the earlier phases in each report."""
    mine = [(title, text) for title, text in report.sections if title.endswith(f" {report.when}")]
    return "\n".join(f"--- {title} ---\n{text}" for title, text in mine)


def _start(config: pytest.Config, results: Path) -> SessionStart:
    workspace = config.invocation_params.dir
    inside = results.is_relative_to(workspace)
    return SessionStart(
        suite=config.getoption("hil_suite"),
        host=socket.gethostname(),
        pid=os.getpid(),
        boot_id=boot_id(),
        realtime_ns=Ns(time.time_ns()),
        at_ns=now(),
        versions={
            "python": platform.python_version(),
            "pytest": pytest.__version__,
            "harness": _own_version(),
        },
        provenance={"runner.kernel": platform.release()},
        argv=tuple(sys.argv),
        results=str(results.relative_to(workspace) if inside else results),
        flaky=FlakyPolicy(config.getoption("hil_flaky")),
        retries=budget.asked_for(config),
        dialect=config.getoption("hil_dialect"),
    )


def _own_version() -> str:
    try:
        return version("vfio-harness")
    except PackageNotFoundError:
        return "not installed"


def _as_typed(path: Path) -> str:
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def _command() -> str:
    """`harness` as one types it here; the one in the shell's path may be none, or that of another environment."""
    ours = Path(sys.executable).with_name("harness")
    found = shutil.which("harness")
    if found is not None and ours.exists() and ours.samefile(found):
        return "harness"
    return shlex.quote(_as_typed(ours)) if ours.exists() else f"{shlex.quote(sys.executable)} -m harness.cli"
