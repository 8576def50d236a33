"""The loop of a soak: runs round after round, keeps what is worth keeping, and sums up.

See :mod:`harness.plugin.soak.plugin`, whose options lead here.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import pytest

from harness.errors import HistoryError, UsageError
from harness.history.container import from_bytes
from harness.journal.record import AttemptRecord, HealthRecord, StageRecord, Status
from harness.plugin.reporting import notes
from harness.plugin.reporting.again import reports_of
from harness.plugin.soak.baseline import Baselines
from harness.plugin.soak.rounds import BAD, GOOD, Round, SoakedTest, concern, judged
from harness.report.soak import Seen, Soak, as_json, as_line, as_table, in_one_line
from harness.report.svg.soak import soak_svg
from harness.results import SOAK, SOAK_PICTURE, publish
from harness.statistics.comparison import Weight
from harness.statistics.tally import Outcome, Tally

KEPT: Final = 3
"""Rounds of each test and kind (failed, no verdict) whose evidence stays; the first is one of them."""
HOPELESS: Final = 10
"""So many rounds in a row without one verdict, and the lab is broken: nobody waits two hours for that."""
REGRESSION: Final = "hil.soak-regression"
MOVED: Final = "hil.soak-moved"

_WRITTEN_EVERY_S: Final = 5.0
_SHOWN_EVERY_S: Final = 1.0
_TOLD_EVERY_S: Final = 60.0
"""Where nobody can overwrite a line."""
_AFRESH: Final = 100
"""After so many rounds module and session fixtures are made anew: pytest keeps a note of each test that used one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What was asked for.

    Attributes:
        results: the results folder.
        seconds: how long.
        until_failure: whether the first failure ends it.
        baselines: what it is compared with; None: with nothing.
        update: whether they are replaced.
        factor: how far latencies may move.
    """

    results: Path
    seconds: float
    until_failure: bool
    baselines: Baselines | None
    update: bool
    factor: float


class Soaking:
    """Runs the rounds of one session and sums them up."""

    def __init__(self, config: pytest.Config, wish: Wish) -> None:
        self.config, self.wish = config, wish
        self.tests: list[SoakedTest] = []
        self.round = 0
        self.complete = 0
        self.ended = ""
        self.trouble: Counter[str] = Counter()
        self.said: Soak | None = None
        self._begun = self._written = self._shown = time.monotonic()
        self._verdict_in = 0
        self._reports: list[pytest.TestReport] = []
        self._terminal = config.pluginmanager.get_plugin("terminalreporter")

    # -- pytest's hooks ------------------------------------------------------------------------------------

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Say it at once when there is nothing to soak."""
        if not session.items and not session.testsfailed:
            words = " ".join(
                [*self.config.args, *([self.config.option.keyword] if self.config.option.keyword else [])]
            )
            raise pytest.UsageError(
                f"nothing to soak: no test is selected by {words}.  Name a file, a test in it, or a part of the name "
                "of a shipped scenario; --collect-only lists them."
            )

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        """Go round until the time is over.

        Raises:
            KeyboardInterrupt: the user stopped it before a single round was complete: then nothing can be said.
            pytest.Session.Interrupted: a plugin stopped it.
        """
        if session.testsfailed or self.config.option.collectonly or not session.items:
            return None  # pytest says what is wrong
        self.tests = [SoakedTest(item) for item in session.items]
        for test in self.tests:
            self.config.hook.pytest_runtest_logstart(nodeid=test.item.nodeid, location=test.item.location)
        self._begun = time.monotonic()
        self._write()
        try:
            self.ended = self._rounds(session)
        except KeyboardInterrupt:
            self.ended = f"stopped by the user in round {self.round}"
            if not self.complete:
                self._write()
                raise
        self._finish()
        if session.shouldfail or session.shouldstop:
            raise session.Interrupted(str(session.shouldfail or session.shouldstop))
        return True

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> bool:
        """Run one test, and keep its reports for ourselves."""
        self._reports = reports_of(item, nextitem)
        return True

    @pytest.hookimpl(tryfirst=True)
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print the table."""
        if self.said is not None:
            terminalreporter.section("soak")
            terminalreporter.write(as_table(self.said))
            terminalreporter.write_line(f"statistic {self.wish.results / SOAK}")

    # -- rounds --------------------------------------------------------------------------------------------

    def _rounds(self, session: pytest.Session) -> str:
        """Go round; why it ended."""
        going = self.tests
        while True:
            self.round += 1
            afresh = self.round % _AFRESH == 0
            for number, test in enumerate(going):
                last = number + 1 == len(going)
                following = None if last and afresh else going[0 if last else number + 1].item
                self._run(test, following)
                if why := self._reason(session):
                    return why
            self.complete = self.round
            going = [test for test in going if not test.tally.outcomes[Outcome.SKIPPED]]
            if not going:
                return "every test was skipped"
            if self._elapsed() >= self.wish.seconds:
                return "time is over"
            if self.round - self._verdict_in >= HOPELESS:
                return f"no verdict in {HOPELESS} rounds: look after the lab"

    def _reason(self, session: pytest.Session) -> str:
        """Why no other test may run; empty when it may.  The first round is always completed."""
        if session.shouldfail or session.shouldstop:
            return str(session.shouldfail or session.shouldstop)
        if self.wish.until_failure and any(test.tally.outcomes[Outcome.FAILED] for test in self.tests):
            return f"a test failed in round {self.round}"
        return "time is over" if self.complete and self._elapsed() >= self.wish.seconds else ""

    def _run(self, test: SoakedTest, following: pytest.Item | None) -> None:
        held = notes.hold(test.item, self._evidence(self.round))
        hook = self.config.hook
        hook.pytest_runtest_protocol(item=test.item, nextitem=following)
        one = judged(self.round, self._reports, held)
        self._reports = []
        self._count(test, one)
        self._keep(test, one)
        now = time.monotonic()
        if now - self._written >= _WRITTEN_EVERY_S or one.outcome not in GOOD:
            self._write()
        self._show(now)

    def _count(self, test: SoakedTest, one: Round) -> None:
        attempts = tuple(note.type for note in one.notes if isinstance(note, AttemptRecord))
        test.tally.add_round(one.outcome, attempts)
        if one.outcome in (*GOOD, Outcome.FAILED):
            self._verdict_in = self.round
        for note in one.notes:
            if isinstance(note, StageRecord):
                try:
                    history = from_bytes((self.wish.results / note.history).read_bytes())
                except (OSError, HistoryError) as error:
                    self.trouble[f"a history could not be counted: {type(error).__name__}"] += 1
                else:
                    test.tally.add_stage(history, note.met)

    def _keep(self, test: SoakedTest, one: Round) -> None:
        """Decide whose evidence stays: the latest good round while there is none worse, and the first bad ones."""
        shown, good = test.shown, one.outcome in GOOD
        decides = shown is None or concern(one) > concern(shown) or (good and concern(one) == concern(shown))
        if not good and test.kept[one.outcome] < KEPT:
            test.kept[one.outcome] += 1
        elif not (good and decides):
            self._forget(test, one.number)
        if not decides:
            return
        if shown is not None and shown.outcome in GOOD:
            self._forget(test, shown.number)
        test.shown = one
        if one.outcome in BAD:
            test.first[one.outcome] = Seen(
                round=one.number,
                outcome=one.outcome,
                type=one.type,
                summary=one.summary,
                files=tuple(
                    str(path.relative_to(self.wish.results))
                    for path in notes.files_of(test.item, self._evidence(one.number))
                ),
            )
            self._tell_early(test, one)

    @staticmethod
    def _evidence(number: int) -> str:
        return f"round{number}."

    def _forget(self, test: SoakedTest, number: int) -> None:
        for path in notes.files_of(test.item, self._evidence(number)):
            with suppress(OSError):  # a disk's trouble is seen where something is written
                path.unlink()

    # -- what is said --------------------------------------------------------------------------------------

    def _elapsed(self) -> float:
        return time.monotonic() - self._begun

    def _soak(self) -> Soak:
        return Soak(
            wanted_s=self.wish.seconds,
            seconds=self._elapsed(),
            rounds=self.complete,
            ended=self.ended,
            tests=tuple(test.soaked() for test in self.tests),
            trouble=tuple(f"{sentence} ({times} times)" for sentence, times in sorted(self.trouble.items())),
        )

    def _write(self, soak: Soak | None = None) -> None:
        self._written = time.monotonic()
        data = json.dumps(as_json(soak or self._soak()), indent=1).encode() + b"\n"
        try:
            publish(self.wish.results / SOAK, data)
        except UsageError as error:  # the soak is worth more than its statistic so far
            self.trouble[str(error)] += 1

    def _show(self, now: float) -> None:
        if self._terminal is None:
            return
        overwrites = bool(self._terminal.isatty)
        if now - self._shown < (_SHOWN_EVERY_S if overwrites else _TOLD_EVERY_S):
            return
        self._shown = now
        line = as_line(self._soak())
        if overwrites:
            self._terminal.rewrite(line, erase=True)
        else:
            self._terminal.write_line(line)

    def _finish(self) -> None:
        """Compare, tell pytest and the journal of the round of each test that decides, and write it all down."""
        if self._terminal is not None and bool(self._terminal.isatty):
            self._terminal.rewrite("", erase=True)
        soak, before = self._compared(self._soak())
        picture = self._draw(soak, before)
        for number, test in enumerate(self.tests):
            self._tell(test, picture if number == 0 else "")
        self._tell_health(*self._health(), in_one_line(soak))
        if self.wish.baselines is not None:
            self._tell_baseline(soak)
        self._write(soak)
        self.said = soak

    def _compared(self, soak: Soak) -> tuple[Soak, dict[str, Tally]]:
        baselines = self.wish.baselines
        if baselines is None:
            return soak, {}
        compared = baselines.compare(soak.tests, factor=self.wish.factor)
        written: tuple[str, ...] = ()
        try:
            written = baselines.write(soak.tests, replace=self.wish.update)
        except UsageError as error:
            soak = replace(soak, trouble=(*soak.trouble, str(error)))
        soak = replace(soak, compared=compared.files, changes=compared.changes, written=written)
        return soak, dict(compared.before)

    def _draw(self, soak: Soak, before: dict[str, Tally]) -> str:
        """Draw the latencies; the name of the picture, empty when there is none."""
        if not soak.latencies:
            return ""
        try:
            publish(self.wish.results / SOAK_PICTURE, soak_svg(soak, before))
        except UsageError as error:
            self.trouble[str(error)] += 1
            return ""
        return SOAK_PICTURE

    def _tell(self, test: SoakedTest, picture: str) -> None:
        """Tell of a test once, whatever number of rounds it went through."""
        shown, item = test.shown, test.item
        if shown is None:
            return
        hook = self.config.hook
        # Once more, or it would seem to have taken as long as the whole soak.
        hook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        notes.release(item, shown.notes)
        rounds, word = test.tally.rounds, BAD.get(shown.outcome)
        if word is not None:
            times = test.tally.outcomes[shown.outcome]
            shown.say(
                f"{word} in round {shown.number} of {rounds}: {shown.summary}",
                f"{word} in {times} of {rounds} rounds, first in round {shown.number}\n\n{shown.details}",
            )
        for report in shown.reports:
            if picture and report.when == "call":
                report.hil["attachments"] = [*report.hil["attachments"], picture]
            hook.pytest_runtest_logreport(report=report)
        hook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)

    def _tell_early(self, test: SoakedTest, one: Round) -> None:
        """What is broken first goes to the journal at once: a runner that is killed must not take it along."""
        journalist = self.config.pluginmanager.get_plugin("harness_journalist")
        if journalist is None:
            return
        one.say(f"{BAD[one.outcome]} in round {one.number}: {one.summary}", one.details)
        journalist.pytest_runtest_logstart(nodeid=test.item.nodeid)
        for note in one.notes:
            journalist.write(note)
        for report in one.reports:
            journalist.pytest_runtest_logreport(report=report)

    def _health(self) -> tuple[Status, str]:
        hopeless = bool(self.tests) and self.round - self._verdict_in >= HOPELESS
        return (Status.ERROR, "hil.infra.lab") if hopeless else (Status.OK, "")

    def _tell_health(self, status: Status, kind: str, summary: str, details: str = "") -> None:
        notes.note_health(
            self.config,
            HealthRecord(name="soak", status=status, type=kind, summary=summary, details=details or summary),
        )

    def _tell_baseline(self, soak: Soak) -> None:
        """Say whether anything is worse: a failure when it fails more often, an error when it cannot be explained."""
        weights = {change.weight for change in soak.changes}
        status, kind = Status.OK, ""
        if Weight.REGRESSION in weights:
            status, kind = Status.FAILURE, REGRESSION
        elif Weight.UNEXPLAINED in weights:
            status, kind = Status.ERROR, MOVED
        elif weights:
            status, kind = Status.SKIPPED, MOVED
        lines = [f"{change.test}: {change.claim}" for change in soak.changes]
        summary = lines[0] if lines else "nothing is worse" if soak.compared else "there was no baseline yet"
        notes.note_health(
            self.config,
            HealthRecord(
                name="soak_baseline",
                status=status,
                type=kind,
                summary=summary,
                details="\n".join(lines) or summary,
            ),
        )
