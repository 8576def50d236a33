"""Text of a guest, or of a history file, is fed through every exit: no terminal and no reader's eye acts upon it.

Exits of pytest itself are in `tests/plugin/test_hostile_text.py`.
"""

from __future__ import annotations

import io
import re
from dataclasses import replace
from pathlib import Path

import pytest

from harness import cli
from harness.errors import HarnessError, HistoryError
from harness.history.container import to_bytes
from harness.history.history import History, LogLine
from harness.journal.record import AttemptRecord, Latency, Refusals, StageRecord, Status
from harness.journal.session import Entry, Session
from harness.lab import progress
from harness.model.verdict import Judgement
from harness.report.ascii.timeline import timeline_text
from harness.report.findings import as_text
from harness.report.junit import to_junit
from harness.report.svg.timeline import timeline_svg
from harness.report.terminal import summary
from harness.report.text import one_line
from harness.visible import visible
from tests.unit.report.histories import read_in_lock_window

HOSTILE = "\x1b[31mred\x1b]0;t\x07\x9b2J\x7f\x00\u202eevil\u2066\x85\u2028\x1b[8mhidden\x1b(0\r"
ACTED_UPON = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


def assert_clean(text: str) -> None:
    found = ACTED_UPON.search(text)
    assert not found, repr(text[max(0, found.start() - 60) : found.end() + 60])


def hostile() -> tuple[History, Judgement]:
    """A stage of which every free text is hostile."""
    history, judgement = read_in_lock_window()
    alias = f"igb0{HOSTILE}"
    plan = history.plan
    steps = [
        tuple(
            replace(step, file=replace(step.file, function=alias)) if step.file else step
            for step in actor.steps
        )
        for actor in plan.actors
    ]
    actors = tuple(
        replace(actor, name=f"{actor.name}{HOSTILE}", steps=own)
        for actor, own in zip(plan.actors, steps, strict=True)
    )
    log = (LogLine(time_us=10_061_000, level=2, text=f"BUG: {HOSTILE}"), *history.log)
    made = replace(
        history,
        plan=replace(plan, title=f"{plan.title}{HOSTILE}", functions=(alias,), actors=actors),
        actors=tuple(
            replace(one, name=f"{one.name}{HOSTILE}", detail=HOSTILE, wchan=HOSTILE, stack=HOSTILE)
            for one in history.actors
        ),
        functions=tuple(replace(one, alias=alias, driver=HOSTILE) for one in history.functions),
        probes=tuple(replace(one, reason=HOSTILE) for one in history.probes),
        log=log,
        provenance={**history.provenance, "kernel.release": f"6.12{HOSTILE}", "kernel.own_modules": HOSTILE},
        lost_reason=HOSTILE,
    )
    findings = tuple(
        replace(one, claim=f"{one.claim}{HOSTILE}", source=HOSTILE, weakness=HOSTILE)
        for one in judgement.findings
    )
    return made, Judgement(findings=findings)


def entries() -> tuple[Entry, ...]:
    """One of each status, hostile throughout."""
    return tuple(
        Entry(
            test=f"a.py::test_{status}[{HOSTILE}]",
            status=status,
            type=f"hil.{HOSTILE}",
            summary=HOSTILE,
            details=HOSTILE,
            output=HOSTILE,
            file=HOSTILE,
            attempts=(AttemptRecord(type=HOSTILE, summary=HOSTILE, details=HOSTILE),),
            stages=(
                StageRecord(
                    history=HOSTILE,
                    title=HOSTILE,
                    verdict="FAIL",
                    headline=HOSTILE,
                    blame=HOSTILE,
                    staged=(HOSTILE,),
                    kernel_warnings=(HOSTILE,),
                    provenance={"kernel.release": HOSTILE, "kernel.own_modules": HOSTILE},
                    latencies=(Latency(operation=HOSTILE, count=1, p50_ns=1, p99_ns=1, max_ns=1),),
                    refusals=(
                        Refusals(
                            operation=HOSTILE, attempts=1, errnos={HOSTILE: 1}, rounds=1, ended={HOSTILE: 1}
                        ),
                    ),
                ),
            ),
        )
        for status in Status
    )


def test_a_text_is_spelled_out_once() -> None:
    text = visible(f"a\tb\nc\r\n{HOSTILE}\ud83d")
    assert text.startswith(
        "a\tb\nc\n\\x1b[31mred\\x1b]0;t\\x07\\x9b2J\\x7f\\x00\\u202eevil\\u2066\\x85\\u2028"
    )
    assert text.endswith("\\x0d\\ud83d")
    assert visible(text) == text
    assert visible("é 漢 🎉 ‚' ") == "é 漢 🎉 ‚' "


def test_timelines() -> None:
    history, judgement = hostile()
    assert timeline_text(history, judgement).isascii()
    assert_clean(timeline_text(history, judgement))
    assert_clean(timeline_svg(history, judgement).decode())


def test_findings_and_headlines() -> None:
    _, judgement = hostile()
    assert_clean(as_text(judgement))
    assert_clean(one_line(HOSTILE))


def test_errors() -> None:
    error = HarnessError(HOSTILE, said=HOSTILE, hint=HOSTILE)
    assert_clean(str(error))
    assert_clean(str(HistoryError(f"history {HOSTILE}")))


def test_reports_of_a_session() -> None:
    session = Session(entries=entries())
    assert_clean(summary(session, results="hil-results"))
    assert_clean(to_junit(session).decode())


def test_progress_and_notes(capsys: pytest.CaptureFixture[str]) -> None:
    progress.note(HOSTILE)
    with progress.step(HOSTILE, total_bytes=5) as step:
        step.out = io.StringIO()
        step._shown_at = 0.0
        step.advance_to(3, detail=HOSTILE)
        assert_clean(step.out.getvalue())
    assert_clean(capsys.readouterr().err)


def test_judging_and_replaying(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    history, _ = hostile()
    path = tmp_path / "x.history.zip"
    path.write_bytes(to_bytes(history))
    cli.main(["judge", "--timeline", "--svg", str(tmp_path / "x.svg"), str(path)])
    said = capsys.readouterr()
    assert_clean(said.out + said.err)
    assert "hidden" in said.out, said.err
    assert_clean((tmp_path / "x.svg").read_text())


def test_errors_of_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["judge", str(tmp_path / f"absent{HOSTILE}".replace("\x00", ""))])
    said = capsys.readouterr()
    assert_clean(said.out + said.err)
    assert "No such file" in said.err


def test_nothing_is_left_of_what_python_would_print(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A mistake of ours shows its traceback, and the exception in it may quote a guest."""

    def broken(*_: object) -> int:
        raise ValueError(HOSTILE)

    monkeypatch.setattr("harness.lab.doctor.examine", broken)
    assert cli.main(["doctor"]) == 125
    said = capsys.readouterr()
    assert "Traceback" in said.err
    assert_clean(said.out + said.err)
