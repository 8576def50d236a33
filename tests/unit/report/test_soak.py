"""A soak in words: the line while it runs, the table at its end, its picture."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from dataclasses import replace

import numpy as np
import pytest

from harness.model.units import MS, US
from harness.report.soak import Seen, Soak, Soaked, as_json, as_line, as_table, in_one_line, span
from harness.report.svg.soak import soak_svg
from harness.statistics.comparison import Aspect, Change, Weight
from harness.statistics.histogram import Histogram
from harness.statistics.tally import Outcome, Tally

TEST = "harness/scenarios/test_serialise.py::test_two[rng0]"


def tally(passed: int, failed: int = 0, unjudged: int = 0) -> Tally:
    made = Tally(stages=passed + failed, met=8 * (passed + failed))
    for outcome, times in ((Outcome.PASSED, passed), (Outcome.FAILED, failed), (Outcome.UNJUDGED, unjudged)):
        for _ in range(times):
            made.add_round(outcome)
    made.latencies["config-read/sysfs"] = Histogram()
    made.latencies["config-read/sysfs"].add(np.array([8 * US] * 980 + [104 * MS] * 20))
    return made


def soak(one: Tally, **more: object) -> Soak:
    made = Soak(
        wanted_s=7200.0, seconds=3600.0, rounds=one.rounds, ended="", tests=(Soaked(test=TEST, tally=one),)
    )
    return replace(made, **more)  # type: ignore[arg-type]  # of this file's own tests


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.44, "0.4 s"), (14.2, "14 s"), (200, "3 min 20 s"), (7500, "2 h 5 min"), (3600, "1 h 0 min")],
)
def test_lengths_of_time_as_people_say_them(seconds: float, text: str) -> None:
    assert span(seconds) == text


def test_the_line_while_it_runs() -> None:
    assert as_line(soak(tally(40))) == "soak: 40 rounds, 0 failed, 1 h 0 min left"
    assert as_line(soak(tally(1, 2, 3))) == "soak: 6 rounds, 2 failed, 3 without a verdict, 1 h 0 min left"


def test_the_table_says_what_no_failure_means() -> None:
    lines = as_table(soak(tally(300), ended="time is over")).splitlines()
    assert lines[0] == "300 rounds in 1 h 0 min (5.0 a minute); ended: time is over"
    (row,) = [line for line in lines if line.startswith("test_two[rng0]")]
    assert row.split()[1:5] == ["300", "0", "0", "8.0"]
    assert row.endswith("100.00% (98.74% … 100.00%)")
    assert "up to 0.99% of its rounds" in lines[-1]
    (reads,) = [line for line in lines if line.startswith("config-read/sysfs")]
    assert "104 ms" in reads


def test_the_table_shows_the_first_failure_and_where_it_lies() -> None:
    seen = Seen(
        round=17,
        outcome=Outcome.FAILED,
        type="hil.mismatch",
        summary="all ones",
        files=("att/x.round17.console.log", "att/x.round17.history.zip"),
    )
    one = tally(411, 1)
    text = as_table(soak(one, tests=(Soaked(test=TEST, tally=one, first=(seen,)),)))
    assert "  first failed in round 17 of 412: all ones\n    att/x.round17.*\n" in text
    assert "99.76% (98.64% … 99.96%)" in text
    assert "no failure" not in text


def test_the_table_tells_retries_and_changes_apart() -> None:
    one = tally(3)
    one.add_round(Outcome.PASSED, ("hil.infra.starved", "hil.infra.clock"))
    change = Change(test=TEST, aspect=Aspect.LATENCY, weight=Weight.WARNING, claim="takes longer")
    text = as_table(soak(one, compared=("b/x.json",), changes=(change,), trouble=("disk full",)))
    assert "1 round needed a retry (hil.infra.clock 1, hil.infra.starved 1)" in text
    assert "moved, as emulated machines do: test_two[rng0] takes longer" in text
    assert "compared with b/x.json" in text
    assert "ERROR     disk full" in text


def test_one_sentence() -> None:
    assert in_one_line(soak(tally(2, 1), ended="time is over")) == (
        "3 rounds in 1 h 0 min, ended: time is over; of 3 runs of 1 test 1 failed and 0 gave no verdict"
    )


def test_json_holds_what_a_baseline_needs() -> None:
    values = json.loads(json.dumps(as_json(soak(tally(2, 1)))))
    (test,) = values["tests"]
    assert Tally.from_json(test["tally"]).passes == tally(2, 1).passes
    assert test["name"] == "harness.scenarios.test_serialise.test_two[rng0]"
    assert test["latency_ns"]["config-read/sysfs"]["p99.9"] == pytest.approx(104 * MS, rel=0.01)


def test_the_picture_is_one_document_without_styles_or_scripts() -> None:
    picture = soak_svg(soak(tally(40)), {TEST: tally(400)})
    root = ET.fromstring(picture)  # noqa: S314 - we made it
    tags = {element.tag.rpartition("}")[2] for element in root.iter()}
    assert tags <= {"svg", "title", "rect", "path", "text"}
    assert not any("style" in element.attrib for element in root.iter())
    assert picture == soak_svg(soak(tally(40)), {TEST: tally(400)})
    assert b"of the baseline" in picture
    assert b"of the baseline" not in soak_svg(soak(tally(40)), {})
