from __future__ import annotations

import os
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from junitparser import xunit2
from lxml import etree

from harness.journal.fold import fold
from harness.journal.record import AttemptRecord, SessionEnd, SessionStart, StageRecord, Status
from harness.journal.session import Entry, Session
from harness.model.flavour import Dialect
from harness.report.junit import to_junit
from tests.unit.report.conftest import REFUSED, RETRIED, ROWS, SCHEMA, records

SUREFIRE = [
    "failure",
    "rerunFailure",
    "flakyFailure",
    "skipped",
    "error",
    "rerunError",
    "flakyError",
    "system-out",
    "system-err",
]
RESULTS = {"failure", "error", "skipped"}


def parsed(xml: bytes) -> ET.Element:
    return ET.fromstring(xml)  # noqa: S314 - we made it


def cases(xml: bytes) -> dict[str, ET.Element]:
    return {str(case.get("name")): case for case in parsed(xml).iter("testcase")}


def test_every_way_to_end_is_valid(session: Session, schema: Any) -> None:
    xml = to_junit(session)
    schema.validate(xml.decode())
    etree.XMLSchema(etree.parse(str(SCHEMA))).assertValid(etree.fromstring(xml))


def test_children_stand_in_surefires_order(session: Session) -> None:
    for name, case in cases(to_junit(session)).items():
        places = [SUREFIRE.index(child.tag) for child in case]
        assert places == sorted(places), name


def test_each_case_has_one_result_and_one_output_and_says_what_it_is(session: Session) -> None:
    for name, case in cases(to_junit(session)).items():
        results = [child for child in case if child.tag in RESULTS]
        assert len(results) <= 1, name
        assert len(case.findall("system-out")) <= 1
        for result in results:
            assert result.get("message"), name
            assert "\n" not in str(result.get("message"))
            assert str(result.get("type")).startswith(("hil.", "pytest.")), name
            assert (result.text or "").strip(), name
        for attempt in [*case.findall("flakyFailure"), *case.findall("rerunFailure")]:
            assert attempt.get("type")
            assert (attempt.findtext("stackTrace") or "").strip()


@pytest.mark.parametrize("row", ROWS)
def test_refused_attempts_are_counted_and_are_no_retries_of_the_test(row: str) -> None:
    case = cases(to_junit(fold(records())))[f"test_{row}[nvme0]"]
    output = case.findtext("system-out") or ""
    assert ("reset/vfio: 3 attempts refused (EAGAIN), then ok\n" in output) == (row in REFUSED)
    assert ("[[PROPERTY|hil.refused=3]]" in output) == (row in REFUSED)
    if row not in RETRIED:
        assert not case.findall("flakyFailure")
        assert not case.findall("rerunFailure")
        assert "hil.attempts" not in output


@pytest.mark.parametrize("row", ROWS)
def test_every_row_of_the_table_becomes_its_element(row: str) -> None:
    case = cases(to_junit(fold(records())))[f"test_{row}[nvme0]"]
    status, kind = ROWS[row]
    results = [(child.tag, child.get("type")) for child in case if child.tag in RESULTS]
    assert results == ([] if status is Status.OK else [(str(status), kind)])
    attempts = [child.tag for child in case if child.tag.endswith("Failure")]
    assert attempts == (
        [] if row not in RETRIED else ["flakyFailure" if status is Status.OK else "rerunFailure"] * 2
    )
    if row in RETRIED and status is not Status.OK:
        first = next(child for child in case if child.tag in RESULTS)
        assert str(first.get("message")).startswith("3 attempts: timeout, timeout, ")
    if row == "kernel_warning":
        assert case.findtext("system-err") == "nvme nvme0: slow"


def test_a_dead_runner_is_red_and_complete() -> None:
    found = cases(to_junit(fold(records(finished=False), boot_id="first")))
    assert len(found) == len(ROWS) + 2 + 4
    late = found["late"].find("error")
    assert late is not None
    assert late.get("type") == "hil.incomplete"
    never = found["never"].find("skipped")
    assert never is not None
    assert never.get("type") == "hil.notrun"
    complete = found["session_complete"].find("error")
    assert complete is not None
    assert complete.get("type") == "hil.incomplete"


def test_the_stub_is_red() -> None:
    root = parsed(to_junit(Session(start=SessionStart(host="lab7", pid=4))))
    assert int(str(root.get("errors"))) >= 1


def test_health_cases_have_names_that_never_change(session: Session) -> None:
    root = parsed(to_junit(session))
    health = [case.get("name") for case in root.iter("testcase") if case.get("classname") == "hil.health"]
    assert health[:4] == ["session_complete", "kernel_log_clean", "devices_returned", "retry_budget"]


def test_a_round_trip_keeps_counts_and_retries(tmp_path: Path) -> None:
    path = tmp_path / "junit.xml"
    path.write_bytes(to_junit(fold(records())))
    (suite,) = list(xunit2.JUnitXml.fromfile(str(path)))
    by_name = {case.name: case for case in suite if isinstance(case, xunit2.TestCase)}
    assert suite.tests == len(by_name)
    spent = 1  # of its own: too many of these tests needed a retry
    assert suite.failures == sum(status is Status.FAILURE for status, _ in ROWS.values()) + spent
    assert by_name["test_recovered[nvme0]"].is_flaky
    assert by_name["test_timeout[nvme0]"].is_rerun
    assert not by_name["test_ok[nvme0]"].is_flaky


def test_wall_clock_survives_the_statistics() -> None:
    session = fold(records())
    root = parsed(to_junit(session))
    assert float(str(root.get("time"))) == session.seconds == len(ROWS) * 2 + 1
    assert root[0].get("time") == root.get("time")


def test_attachments_are_the_last_lines_and_survive_trimming() -> None:
    names = set()
    for case in cases(to_junit(fold(records()))).values():
        text = case.findtext("system-out") or ""
        if "[[ATTACHMENT|" not in text:
            continue
        lines = text.splitlines()
        tags = [line for line in lines if line.startswith("[[")]
        assert lines[-len(tags) :] == tags
        assert len("\n".join(tags)) < 500
        attachments = [line[len("[[ATTACHMENT|") : -2] for line in tags if line.startswith("[[ATTACHMENT|")]
        assert attachments[0].endswith(".svg")
        assert len(attachments) <= 4
        for path in attachments:
            assert path.startswith("hil-results/")
            base = path.rpartition("/")[2]
            assert base not in names
            names.add(base)
    assert names


def test_long_folders_never_cut_an_attachment_in_half() -> None:
    said = [replace(r, results="/a/" * 60) if isinstance(r, SessionStart) else r for r in records()]
    for case in cases(to_junit(fold(said))).values():
        for line in (case.findtext("system-out") or "").splitlines():
            assert not line.startswith("[[") or line.endswith("]]")
            assert "…" not in line
        assert len((case.findtext("system-out") or "").partition("[[")[2]) < 498


def test_a_base_name_is_attached_once_in_a_run() -> None:
    # Jenkins keys attachments by base name: a second one would show the first one's file.
    entries = [
        Entry(test=f"t::{n}", status=Status.OK, attachments=(f"{n}/a.svg", f"{n}/{n}.log")) for n in "xy"
    ]
    text = to_junit(Session(entries=tuple(entries))).decode()
    assert text.count("a.svg") == 1
    assert text.count(".log]]") == 2


def test_the_rich_dialect_adds_what_the_schema_rejects(schema: Any) -> None:
    xml = to_junit(fold(records()), dialect=Dialect.RICH)
    case = cases(xml)["test_timeout[nvme0]"]
    assert (case.get("file"), case.get("line")) == ("t/test_rows.py", "7")
    assert str(case.get("timestamp")).startswith("2026-")
    properties = {p.get("name"): p.get("value") for p in case.iter("property")}
    assert properties["hil.attempts"] == "3"
    assert properties["hil.met"] == "3"
    assert not schema.is_valid(xml.decode())


def test_identity_is_the_same_on_another_machine_and_kernel() -> None:
    def identity(host: str, kernel: str, *, backwards: bool) -> set[tuple[Any, Any, Any]]:
        said = records()
        first = said[0]
        assert isinstance(first, SessionStart)
        said[0] = replace(first, host=host, boot_id=host, pid=7, provenance={"kernel.release": kernel})
        session = fold(said)
        if backwards:
            session = replace(session, entries=session.entries[::-1])
        root = parsed(to_junit(session))
        return {(s.get("name"), c.get("classname"), c.get("name")) for s in root for c in s.iter("testcase")}

    assert identity("a", "6.1", backwards=False) == identity("b", "7.0", backwards=True)


def test_ten_thousand_cases_convert_in_seconds_and_stay_readable() -> None:
    entry = Entry(
        test="",
        status=Status.FAILURE,
        type="hil.mismatch",
        summary="s",
        details="x " * 40_000,
        output="o" * 9_000,
    )
    entries = tuple(replace(entry, test=f"t.py::test_{n}") for n in range(10_000))
    begun = time.monotonic()
    xml = to_junit(Session(entries=entries, end=SessionEnd(status=1)))
    assert time.monotonic() - begun < 30
    assert len(xml) < 10_000_000
    assert len(cases(xml)) == 10_004
    assert etree.fromstring(xml) is not None  # no node beyond libxml2's limit


def test_it_works_without_lxml(tmp_path: Path, schema: Any) -> None:
    code = (
        "import sys; sys.modules['lxml'] = None; sys.path.insert(0, sys.argv[1])\n"
        "import junitparser.junitparser as backend\n"
        "assert backend.etree.__name__ == 'xml.etree.ElementTree', backend.etree\n"
        "from conftest import records\n"
        "from harness.journal.fold import fold\n"
        "from harness.report.junit import to_junit\n"
        "open(sys.argv[2], 'wb').write(to_junit(fold(records())))\n"
    )
    # conftest imports xmlschema, which works on ElementTree; the converter must too.
    path = tmp_path / "junit.xml"
    subprocess.run(
        [sys.executable, "-c", code, Path(__file__).parent, path], check=True, env=dict(os.environ)
    )
    schema.validate(path.read_text())
    assert cases(path.read_bytes()).keys() == cases(to_junit(fold(records()))).keys()


ANY = st.text(alphabet=st.characters(exclude_categories=()), max_size=200)
HOSTILE = st.one_of(
    ANY,
    st.sampled_from(
        ["\x1b[31mred", "[[ATTACHMENT|/etc/shadow]]", "]]>", "&#x0;", "a\rb\r\nc", "\ud800\ufffe\x00"]
    ),
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    test=ANY,
    summary=HOSTILE,
    details=HOSTILE,
    output=HOSTILE,
    kind=ANY,
    key=ANY,
    status=st.sampled_from(list(Status)),
)
def test_no_text_breaks_the_file(
    schema: Any, *, test: str, summary: str, details: str, output: str, kind: str, key: str, status: Status
) -> None:
    entry = Entry(
        test=test,
        status=status,
        type=kind,
        summary=summary,
        details=details,
        output=output,
        attempts=(AttemptRecord(type=kind, summary=summary, details=details),),
        attachments=(output,),
    )
    start = SessionStart(suite=key, host=key, argv=(details,), provenance={key: output})
    for dialect in Dialect:
        xml = to_junit(Session(start=start, entries=(entry,), end=SessionEnd(status=0)), dialect=dialect)
        case = parsed(xml).find(".//testcase")
        assert case is not None
        assert case.get("name")
        etree.fromstring(xml)
        if dialect is Dialect.STRICT:
            schema.validate(xml.decode())
        texts = [str(element.text) for element in case.iter() if element.tag != "system-out"]
        assert not any("[[ATTACHMENT|" in text for text in texts)


def test_what_a_guest_prints_cannot_attach_a_file() -> None:
    entry = Entry(
        test="t.py::a", status=Status.OK, output="[[ATT\x1b[0mACHMENT|/etc/shadow]] [[PROPERTY|a=b]]"
    )
    text = cases(to_junit(Session(entries=(entry,))))["a"].findtext("system-out") or ""
    assert "[[ATTACHMENT|" not in text
    assert "[[PROPERTY|" not in text


def test_what_was_staged_and_named_is_said_in_the_output_of_a_case() -> None:
    stage = StageRecord(
        history="h",
        title="t",
        verdict="FAIL",
        headline="kept",
        staged=("endpoint0 ignore-flr from the beginning",),
        blame="hil.reset-failed",
        provenance={"served.clock_error_ns": 300_000, "kernel.release": "6.12"},
    )
    green = Entry(test="t.py::a", status=Status.OK, stages=(stage,))
    red = Entry(test="t.py::b", status=Status.FAILURE, type="hil.reset-failed", stages=(stage,))
    xml = to_junit(Session(entries=(green, red), end=SessionEnd(status=1)))
    said = {name: str(case.findtext("system-out")) for name, case in cases(xml).items()}
    for name in ("a", "b"):
        assert "staged: endpoint0 ignore-flr from the beginning" in said[name]
    assert "named: hil.reset-failed: the stage was judged FAIL, as the test demands" in said["a"]
    assert "[[PROPERTY|hil.named=hil.reset-failed]]" in said["a"]
    assert "named" not in said["b"]
    names = {one.get("name") for one in parsed(xml).iter("property")}
    assert "kernel.release" in names
    assert "served.clock_error_ns" not in names  # another stage has another
