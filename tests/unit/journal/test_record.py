from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import HistoryError
from harness.journal.lines import from_line, to_line
from harness.journal.record import (
    AttemptRecord,
    HealthRecord,
    KernelLog,
    Latency,
    PhaseReport,
    Record,
    SessionEnd,
    SessionStart,
    StageRecord,
    Status,
    TestFinish,
    TestPlan,
    TestStart,
)
from harness.model.flavour import FlakyPolicy
from harness.model.units import Ns

STAGE = StageRecord(
    test="t.py::a",
    history="a.history.zip",
    title="readers block",
    verdict="PASS",
    headline="all waited",
    findings=({"checker": "collided", "verdict": "PASS", "events": ["operation:1"]},),
    weaknesses=("keeps state",),
    met=3,
    retried=(AttemptRecord(type="hil.infra.clock", summary="wild clock"),),
    functions=("igb0",),
    provenance={"kernel.release": "6.12.1"},
    latencies=(Latency(operation="config-read/sysfs", count=2, p50_ns=1, p99_ns=2, max_ns=3),),
    kernel_log=KernelLog.WARN,
    kernel_warnings=("igb: slow",),
    attachments=("att/a.svg",),
)
RECORDS: list[Record] = [
    SessionStart(host="lab7", pid=4, boot_id="b", versions={"pytest": "9"}, flaky=FlakyPolicy.FAIL),
    TestPlan(tests=("t.py::a", "t.py::b[x-y]")),
    TestStart(test="t.py::a", at_ns=Ns(5)),
    PhaseReport(test="t.py::a", phase="call", status=Status.FAILURE, type="hil.mismatch", seconds=1.5),
    STAGE,
    AttemptRecord(test="t.py::a", type="hil.infra.clock", summary="s"),
    TestFinish(test="t.py::a"),
    HealthRecord(name="devices_returned", status=Status.OK),
    SessionEnd(status=1, aborted="SIGINT"),
]


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.KIND)
def test_a_record_survives_its_line(record: Record) -> None:
    line = to_line(record)
    assert from_line(line) == record
    assert line.isascii()
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1


@given(text=st.text(alphabet=st.characters(exclude_categories=())))
def test_any_text_survives_even_surrogates(text: str) -> None:
    record = PhaseReport(test=text, phase="call", status=Status.OK, output=text)
    assert from_line(to_line(record)) == record


def test_fields_of_a_newer_harness_are_ignored_and_missing_ones_get_their_default() -> None:
    line = json.dumps({"record": "test-start", "test": "t", "mood": "good"}).encode()
    assert from_line(line) == TestStart(test="t")


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"record":"dance"}',
        b'{"record":"test-start"}',
        b'{"record":"test-start","test":7}',
        b'{"record":"phase","test":"t","phase":"call","status":"splendid"}',
        to_line(STAGE)[:-20],
        b"\xff\xfe",
    ],
)
def test_damage_is_named_as_damage(line: bytes) -> None:
    with pytest.raises(HistoryError):
        from_line(line)
