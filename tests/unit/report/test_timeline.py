from __future__ import annotations

import time
import xml.etree.ElementTree as ET
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.history.columns import KERNEL, OPERATION, empty
from harness.history.history import History, LogLine
from harness.history.reading import Reading
from harness.history.windows import HOLD_DEVICE_LOCK
from harness.model.plan import Actor
from harness.model.units import Ns
from harness.model.verdict import Blame, EventId, EventKind, Finding, Judgement, Verdict
from harness.report.ascii.timeline import timeline_text
from harness.report.stage import latencies, stage_record
from harness.report.svg.timeline import timeline_svg
from harness.report.timeline.lanes import MOST_SPANS
from harness.report.timeline.layout import Look
from harness.report.timeline.ticks import ticks
from harness.report.timeline.views import close_up, overview
from tests.unit.report.histories import PLAN, READ, ZERO, read_in_lock_window

SVG = "{http://www.w3.org/2000/svg}"


def judged(*events: EventId, claim: str = "broken") -> Judgement:
    finding = Finding(checker="c", verdict=Verdict.FAIL, claim=claim, events=events, blame=Blame.MISMATCH)
    return Judgement(findings=(finding,))


def fits(text: str) -> None:
    assert text.isascii()
    assert max(len(line) for line in text.splitlines()) <= 80
    assert text.endswith("\n")
    assert "\t" not in text


def test_the_pair_is_marked_in_the_order_of_time_and_spelled_out() -> None:
    layout = overview(*read_in_lock_window())
    lock, read = layout.marks
    assert (lock.letter, lock.lane, lock.begin) == ("A", "kernel", 50_024_000)
    assert (read.letter, read.lane, read.begin, read.end) == ("B", "reader-1", 61_204_000, 61_218_000)
    said = " ".join(read.lines)
    assert "config-read/sysfs at 0x4, 4 bytes: read 0xffffffff" in said
    assert "began 11.2 ms after the config lock of igb0 was taken" in said
    assert "ended 92.2 ms before it was given back" in said
    assert "11.2 ms after A" in said


def test_operations_look_like_what_they_showed() -> None:
    reader_1, reader_2, resetter = overview(*read_in_lock_window()).lanes
    assert [span.look for span in reader_1.spans] == [Look.OK, Look.OK, Look.VIOLATING, Look.OK]
    assert [span.look for span in reader_2.spans] == [Look.OK, Look.BLOCKED, Look.IN_FLIGHT]
    assert [span.look for span in resetter.spans] == [Look.OK]
    assert reader_2.end == "abandoned"
    history, _ = read_in_lock_window()
    assert overview(history, Judgement(findings=())).lanes[0].spans[2].look is Look.ALL_ONES


def test_windows_and_resets_lie_where_the_kernel_put_them() -> None:
    layout = overview(*read_in_lock_window())
    (window,), (flr,) = layout.windows, layout.resets
    assert (window.begin, window.end) == (50_024_000, 153_400_000)
    assert (flr.method, flr.begin, flr.end) == ("flr", 50_090_000, 152_000_000)
    assert "returned 0" in flr.text


def test_the_close_up_holds_the_pair_and_the_whole_window() -> None:
    near = close_up(*read_in_lock_window())
    assert near is not None
    assert near.begin < 50_024_000
    assert 153_400_000 < near.end < 200_000_000
    history, _ = read_in_lock_window()
    assert close_up(history, Judgement(findings=())) is None


def test_the_text_shows_the_violation_inside_the_shade() -> None:
    text = timeline_text(*read_in_lock_window())
    fits(text)
    lines = [line for line in text.splitlines() if line.endswith("|")]
    lane = [line for line in lines if line.startswith("reader-1")][1]
    assert ":B:" in lane
    lock = [line for line in lines if line.startswith("lock igb0")][1]
    assert lock.index("[") < lane.index("B") < lock.index("]")


HOSTILE = st.text(alphabet=st.characters(exclude_categories=()), max_size=300)


@settings(max_examples=60, deadline=None)
@given(
    begins=st.lists(st.integers(0, 400_000_000), max_size=60),
    seed=st.integers(0, 1000),
    claim=HOSTILE,
    line=HOSTILE,
    rows=st.lists(st.integers(0, 80), max_size=4),
)
def test_any_history_fits_into_80_columns_and_makes_an_svg(
    begins: list[int], seed: int, claim: str, line: str, rows: list[int]
) -> None:
    history, _ = read_in_lock_window()
    random = np.random.default_rng(seed)
    operations = empty(OPERATION, len(begins))
    operations["begin_ns"] = ZERO + np.sort(np.array(begins, dtype=np.int64))
    lengths = random.integers(-10_000_000, 30_000_000, len(begins))
    operations["end_ns"] = np.where(lengths < 0, 0, operations["begin_ns"] + lengths)
    operations["actor"] = random.integers(0, 3, len(begins))
    operations["error"] = random.choice([0, 0, 5, 999, -7], len(begins))
    kernel = empty(KERNEL, len(begins))
    kernel["time_ns"] = operations["begin_ns"]
    kernel["probe"] = random.integers(0, 6, len(begins))
    device = tuple(replace(probe, symbol=HOLD_DEVICE_LOCK) for probe in history.probes[-2:])
    history = replace(history, probes=(*history.probes[:-2], *device) if seed % 2 else history.probes)
    kernel["function"] = random.integers(-1, 1, len(begins))
    kernel["tid"] = random.integers(501, 504, len(begins))
    history = replace(
        history, operations=operations, kernel=kernel, log=(LogLine(time_us=0, level=3, text=line),)
    )
    kinds = list(EventKind)
    judgement = judged(*(EventId(kinds[row % 3], row) for row in rows), claim=claim)
    fits(timeline_text(history, judgement))
    ET.fromstring(timeline_svg(history, judgement))  # noqa: S314 - we made it


def test_a_stage_without_any_event_still_has_a_timeline() -> None:
    bare = History(plan=PLAN, begin_ns=Ns(0), end_ns=Ns(0))
    fits(timeline_text(bare, Judgement(findings=())))
    ET.fromstring(timeline_svg(bare, Judgement(findings=())))  # noqa: S314 - we made it


def crowd(count: int, actors: int) -> tuple[History, Judgement]:
    history, _ = read_in_lock_window()
    plan = replace(PLAN, actors=tuple(Actor(name=f"reader-{n}", steps=(READ,)) for n in range(actors)))
    operations = empty(OPERATION, count)
    operations["begin_ns"] = ZERO + np.arange(count) * (400_000_000 // count)
    operations["end_ns"] = operations["begin_ns"] + 300
    operations["actor"] = np.arange(count) % actors
    operations["result"] = 4
    operations["error"][count // 2] = 16
    return replace(history, plan=plan, actors=(), operations=operations), judged(
        EventId(EventKind.OPERATION, count - 1)
    )


def test_a_crowd_is_drawn_as_bins_and_hides_nothing_worse() -> None:
    history, judgement = crowd(200_000, 4)
    layout = overview(history, judgement)
    spans = [span for lane in layout.lanes for span in lane.spans]
    assert len(spans) < MOST_SPANS
    assert sum(span.count for span in spans) == 200_000
    assert {span.look for span in spans} == {Look.OK, Look.REFUSED, Look.VIOLATING}
    assert len(timeline_svg(history, judgement)) < 1_000_000


def test_many_actors_are_summed_up_but_not_the_marked_one() -> None:
    history, judgement = crowd(400, 64)
    text = timeline_text(history, judgement)
    fits(text)
    assert "54 more actors" in text
    assert f"reader-{399 % 64} " in text


def test_a_million_operations_take_seconds() -> None:
    history, judgement = crowd(1_000_000, 4)
    begun = time.process_time()  # ours alone: others may have the machine
    timeline_text(history, judgement)
    timeline_svg(history, judgement)
    assert time.process_time() - begun < 60


def test_the_svg_needs_no_style_sheet_and_no_script() -> None:
    data = timeline_svg(*read_in_lock_window())
    root = ET.fromstring(data)  # noqa: S314 - we made it
    assert {element.tag for element in root.iter()} <= {
        f"{SVG}{tag}" for tag in ("svg", "title", "defs", "pattern", "rect", "path", "text", "circle")
    }
    for element in root.iter():
        assert not {"style", "class", "onclick", "href"} & set(element.keys())
    titles = [element.text or "" for element in root.iter(f"{SVG}title")]
    assert any("operation:4 config-read/sysfs at 0x4, 4 bytes: read 0xffffffff" in title for title in titles)
    held = "config lock of igb0 held 103 ms by resetter (thread 503) in reset/flr, sysfs reset"
    assert held in titles


@pytest.mark.parametrize(("begin", "end"), [(0, 410_000_000), (0, 1), (49_999, 50_003), (7, 10**12)])
def test_ticks_are_round_and_few(begin: int, end: int) -> None:
    found = ticks(begin, end, 6)
    assert len(found) <= 7
    assert all(begin <= tick <= end for tick in found)
    if len(found) > 1:
        step = found[1] - found[0]
        assert str(step).strip("0") in ("1", "2", "5")


def test_modules_of_the_users_own_are_named_in_the_journal_and_below_the_picture() -> None:
    history, judgement = read_in_lock_window()
    mine = {**history.provenance, "kernel.own_modules": "igb-1f0c0123abcd"}
    patched = replace(history, provenance=mine)
    assert stage_record(patched, judgement, file="h").provenance == mine
    assert "6.12.117+deb13-amd64 with igb-1f0c0123abcd" in " ".join(timeline_text(patched, judgement).split())


def test_a_stage_is_summed_up_for_the_journal() -> None:
    history, judgement = read_in_lock_window()
    record = stage_record(history, judgement, file="h.history.zip", attachments=("t.svg",))
    assert (record.verdict, record.operations, record.seed) == ("FAIL", 8, 7)
    assert record.headline.startswith("reader-1 read config space")
    assert record.kernel_log == "warn"
    assert record.kernel_warnings == ("igb 0000:01:00.0: timed out waiting for pending transaction",)
    assert record.provenance == {"kernel.release": "6.12.117+deb13-amd64"}
    assert record.findings[1]["events"] == ["operation:4", "kernel:1"]
    by_name = {latency.operation: latency for latency in latencies(Reading(history))}
    assert by_name["config-read/sysfs"].count == 6
    assert by_name["config-read/sysfs"].max_ns == 83_430_000
    assert by_name["reset/flr"].p50_ns == 103_456_000
