"""What is left over and decides nothing goes from the judge through the journal into every report."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET

from harness.journal.fold import fold
from harness.journal.lines import from_line, to_line
from harness.journal.record import Record, SessionEnd, SessionStart, StageRecord, TestFinish, TestStart
from harness.model.verdict import EventId, EventKind, Finding, Judgement, Remark, Verdict
from harness.report.findings import as_text
from harness.report.junit import to_junit
from harness.report.stage import stage_record
from harness.report.terminal import summary
from tests.unit.report.histories import read_in_lock_window

LINES = Remark(
    kind="lines of kernel log that no rule explains",
    text="2 lines of kernel log that no rule explains: usb 1-1: \x1b[31mred[[ATTACHMENT|x]]",
    count=2,
    rows=(EventId(EventKind.LOG, 3), EventId(EventKind.LOG, 5)),
)
ONE = Remark(kind=LINES.kind, text="1 line of kernel log that no rule explains: foo", rows=LINES.rows[:1])
OTHER = Remark(kind="resets under a driver", text="1 reset under a driver: igb0")


def record(*remarks: Remark, test: str = "a.py::one") -> StageRecord:
    history, judged = read_in_lock_window()
    stage = stage_record(history, Judgement(findings=judged.findings, remarks=remarks), file="h")
    read = from_line(to_line(stage))
    assert read == stage
    assert isinstance(read, StageRecord)
    return StageRecord(**{**{name: getattr(read, name) for name in StageRecord.__slots__}, "test": test})


def session(*stages: StageRecord) -> list[Record]:
    records: list[Record] = [SessionStart()]
    for stage in stages:
        records += [TestStart(test=stage.test), stage, TestFinish(test=stage.test)]
    return [*records, SessionEnd(status=0)]


def test_the_summary_has_a_line_for_each_kind_with_its_count_over_the_run() -> None:
    run = session(record(LINES, OTHER), record(ONE, test="a.py::two"), record(test="a.py::three"))
    told = [line for line in summary(fold(run), results="r").splitlines() if line.startswith("told")]
    assert told == [
        f"told     {LINES.kind}: 3 in 2 stages; 2 {LINES.kind}: usb 1-1: red[[ ATTACHMENT|x]]",
        "told     resets under a driver: 1 in 1 stage; 1 reset under a driver: igb0",
    ]


def test_system_out_of_the_case_has_them_and_no_other_case() -> None:
    run = session(record(LINES, OTHER), record(test="a.py::two"))
    cases = {case.get("name"): case for case in ET.fromstring(to_junit(fold(run))).iter("testcase")}  # noqa: S314
    output = cases["one"].findtext("system-out", "")
    assert "\n1 reset under a driver: igb0\n" in output
    assert output.startswith("2 lines of kernel log that no rule explains: usb 1-1: red[[ ATTACHMENT|x]]\n")
    assert "no rule explains" not in cases["two"].findtext("system-out", "")


def test_a_journal_of_an_earlier_harness_has_none_and_still_renders() -> None:
    fields = json.loads(to_line(record(LINES)))
    del fields["remarks"]
    old = from_line(json.dumps(fields).encode())
    assert isinstance(old, StageRecord)
    assert old.remarks == ()
    assert "told" not in summary(fold(session(old)), results="r")
    assert b"no rule explains" not in to_junit(fold(session(old)))


def test_findings_as_text_end_with_them() -> None:
    good = Finding(checker="collided", verdict=Verdict.PASS, claim="met")
    text = as_text(Judgement(findings=(good,), remarks=(ONE,)))
    assert text.splitlines() == ["PASS    collided: met", f"told    {ONE.text}", "        events: log:3"]
