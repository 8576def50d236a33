"""What a served function saw and did: bars, marks and density, in pictures and in words."""

from __future__ import annotations

import re
import time
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.history.columns import SERVED, empty
from harness.history.history import History
from harness.model.fault import Fault, Misbehaviour, Occasion, PlannedFault
from harness.model.fault_words import staged
from harness.model.served import Happened
from harness.model.units import MS, Ns
from harness.model.verdict import EventId, EventKind, Finding, Judgement, Verdict
from harness.report.ascii.timeline import timeline_text
from harness.report.findings import headline
from harness.report.stage import stage_record
from harness.report.svg.timeline import timeline_svg
from harness.report.timeline.served import COLUMNS, ServedLane, Sight
from harness.report.timeline.served_words import told
from harness.report.timeline.views import overview
from harness.report.timeline.wrongs import Origin, wrongs_of
from tests.unit.report.histories import ZERO, read_in_lock_window
from tests.unit.report.served import NOT_READY, late_after_reset, read, row, table

DOCUMENT = Path(__file__).parents[3] / "docs" / "history.md"
FOR_EVER = Fault(what=Misbehaviour.IGNORE_FLR)
AT_EACH = Fault(what=Misbehaviour.NOT_READY, when=Occasion.FLR, lasting_ns=Ns(20 * MS))


def lane_of(history: History) -> ServedLane:
    (lane,) = overview(history, Judgement(findings=())).served
    return lane


def with_rows(
    *rows: tuple[int, Happened, int, int, int, int, int], faults: tuple[Fault, ...] = ()
) -> History:
    history, _ = read_in_lock_window()
    planned = tuple(PlannedFault(function="igb0", fault=fault) for fault in faults)
    return replace(history, served=table(*rows), plan=replace(history.plan, faults=planned))


def test_a_fault_is_shaded_from_its_beginning_for_as_long_as_it_lasts() -> None:
    history, _ = late_after_reset()
    late, wrong = (one for one in lane_of(history).wrongs if one.origin is Origin.FUNCTION)
    assert (late.word, late.begin, late.end, late.bounded) == ("not-ready", 50_102_000, 130_102_000, "80 ms")
    assert (wrong.word, wrong.begin, wrong.end, wrong.bounded) == (
        "wrong-value (device)",
        300_000_000,
        410_000_000,
        "",
    )
    assert "first met at 61.210 ms" in late.text
    assert "to the end of the stage, met by nobody" in wrong.text


def test_a_fault_of_before_the_release_is_wrong_from_the_first_column() -> None:
    history = with_rows(
        row(-500_000, Happened.FAULT_BEGINS), row(-400_000, Happened.FAULT_MET), faults=(FOR_EVER,)
    )
    (wrong,) = lane_of(history).wrongs
    assert (wrong.begin, wrong.end) == (-500_000_000, 410_000_000)
    assert "from before the release to the end of the stage, first met before the release" in wrong.text


def test_a_fault_that_was_over_before_the_release_is_told_and_not_drawn() -> None:
    history = with_rows(row(-500_000, Happened.FAULT_BEGINS), faults=(NOT_READY,))
    layout = overview(history, Judgement(findings=()))
    assert not layout.served[0].wrongs
    assert "igb0: not-ready before the release only, met by nobody" in layout.notes


def test_a_fault_that_is_timed_past_the_end_did_not_begin() -> None:
    history = with_rows(row(500_000, Happened.FAULT_BEGINS), faults=(NOT_READY,))
    assert not wrongs_of(history)


def test_a_fault_that_begins_anew_ends_the_one_before() -> None:
    history = with_rows(
        row(50_000, Happened.FAULT_BEGINS), row(60_000, Happened.FAULT_BEGINS), faults=(AT_EACH,)
    )
    assert [(one.begin, one.end) for one in wrongs_of(history)] == [
        (50_000_000, 60_000_000),
        (60_000_000, 80_000_000),
    ]


@pytest.mark.parametrize(
    ("begins_us", "spans_ms"),
    [
        ((50_000, 150_000), [(50, 70), (150, 170)]),
        ((50_000, 60_000), [(50, 80)]),  # it begins anew before it is over
        ((50_000, 70_100), [(50, 90.1)]),  # no picture could keep them apart
    ],
)
def test_a_fault_that_begins_more_than_once(
    begins_us: tuple[int, ...], spans_ms: list[tuple[float, float]]
) -> None:
    history = with_rows(*(row(at, Happened.FAULT_BEGINS) for at in begins_us), faults=(AT_EACH,))
    wrongs = lane_of(history).wrongs
    assert [(one.begin / 1e6, one.end / 1e6) for one in wrongs] == spans_ms
    assert sum(one.count for one in wrongs) == len(begins_us)


def test_a_fault_that_is_told_to_end_ends() -> None:
    history = with_rows(
        row(50_000, Happened.FAULT_BEGINS), row(90_000, Happened.FAULT_ENDS), faults=(FOR_EVER,)
    )
    assert lane_of(history).wrongs[0].end == 90_000_000


def test_bars_that_overlap_lie_in_rows_of_their_own_and_those_of_the_host_apart() -> None:
    history = with_rows(
        row(50_000, Happened.FAULT_BEGINS, 0),
        row(60_000, Happened.FAULT_BEGINS, 1),
        row(200_000, Happened.FAULT_BEGINS, 0),
        faults=(AT_EACH, replace(AT_EACH, what=Misbehaviour.ALL_ONES_MEMORY)),
    )
    assert [len(track) for track in lane_of(history).tracks] == [2, 1]
    both = lane_of(late_after_reset()[0])
    assert [track[0].origin for track in both.tracks] == [Origin.FUNCTION, Origin.HOST]


def test_each_served_function_has_a_lane_and_its_own_wrongs() -> None:
    history, judgement = late_after_reset()
    other = table(row(100_000, Happened.FAULT_BEGINS, 0), read(110_000), function=1)
    rows = np.concatenate([history.served, other])
    plan = replace(
        history.plan,
        functions=("igb0", "igb1"),
        faults=(*history.plan.faults, PlannedFault(function="igb1", fault=FOR_EVER)),
    )
    history = replace(history, plan=plan, served=rows[np.argsort(rows["time_ns"], kind="stable")])
    first, second = overview(history, judgement).served
    assert [one.word for one in first.wrongs] == ["not-ready", "wrong-value (device)", "server-stalled"]
    assert [(one.word, one.begin) for one in second.wrongs] == [("ignore-flr", 100_000_000)]
    assert (second.name, second.count, second.marked, first.marked) == ("model igb1", 2, False, True)
    text = timeline_text(history, judgement)
    assert "wrong igb1" in text
    assert b"ignore-flr" in timeline_svg(history, judgement)


def test_an_incident_that_could_not_be_done_says_so() -> None:
    history, _ = late_after_reset()
    rows = history.served.copy()
    rows["error"][rows["what"] == Happened.INCIDENT_ENDS] = 5
    (wrong,) = (one for one in lane_of(replace(history, served=rows)).wrongs if one.origin is Origin.HOST)
    assert wrong.text.endswith("could not be done (EIO)")


def test_accesses_are_counted_by_what_they_showed() -> None:
    history, _ = late_after_reset()
    lane = lane_of(history)
    counted = {sight: sum(seen.count for seen in lane.accesses if seen.sight is sight) for sight in Sight}
    assert counted[Sight.READ] == 10
    assert counted[Sight.ALL_ONES] == 4
    assert counted[Sight.WRITTEN] == 2
    assert counted[Sight.REFUSED] == 1
    (to_bar,) = (seen for seen in lane.accesses if not seen.config)
    assert (to_bar.at, to_bar.sight) == (165_000_000, Sight.WRITTEN)


@pytest.mark.parametrize(
    ("width", "value", "sight"),
    [
        (1, 0xFF, Sight.ALL_ONES),
        (2, 0xFF, Sight.READ),
        (4, 0xFFFF_FFFF, Sight.ALL_ONES),
        (8, 2**64 - 1, Sight.ALL_ONES),
        (64, 2**64 - 1, Sight.ALL_ONES),
        (0, 0, Sight.READ),
    ],
)
def test_all_ones_are_all_bits_of_the_access(width: int, value: int, sight: Sight) -> None:
    history = with_rows(row(10_000, Happened.READ, value, region=7, width=width))
    assert [seen.sight for seen in lane_of(history).accesses] == [sight]


def test_marks_say_what_was_done() -> None:
    history, _ = late_after_reset()
    said = {seen.sight: seen.text for seen in lane_of(history).signs}
    assert list(said) == [
        Sight.FLR,
        Sight.MET,
        Sight.INTERRUPT,
        Sight.DMA,
        Sight.DMA_REFUSED,
        Sight.INTERRUPT_LOST,
    ]
    assert "igb0 reset itself (FLR), epoch 3 began" in said[Sight.FLR]
    assert "showed for the first time that it was wrong: not-ready (80 ms)" in said[Sight.MET]
    assert "wrote by DMA at 0xdead0000, 64 bytes, refused (EFAULT)" in said[Sight.DMA_REFUSED]


@pytest.mark.parametrize("what", Happened)
def test_every_row_can_be_said_in_words(what: Happened) -> None:
    history = with_rows(row(1, what, 0, region=7, width=4, error=5), faults=(FOR_EVER,))
    text = told(history, 0)
    assert text.startswith("served:0 igb0 ")
    assert "no word" not in text


@pytest.mark.parametrize("what", [Happened.FAULT_BEGINS, Happened.FAULT_MET, Happened.FAULT_ENDS])
def test_a_fault_that_the_plan_does_not_know_is_said_by_its_number(what: Happened) -> None:
    assert told(with_rows(row(1, what, 1), faults=(FOR_EVER,)), 0).endswith(": fault 1")


def test_a_reset_in_a_critical_section_is_seen() -> None:
    history = with_rows(
        row(10_000, Happened.CRITICAL_BEGINS, 7),
        row(20_000, Happened.CRITICAL_ENDS, 7),
        row(30_000, Happened.CRITICAL_BEGINS, 8),
        row(40_000, Happened.CORRUPTED, 8),
        row(50_000, Happened.LOST),
    )
    signs = [seen.sight for seen in lane_of(history).signs]
    assert signs == [Sight.CRITICAL, Sight.KEPT, Sight.CRITICAL, Sight.CORRUPTED, Sight.LOST]


def test_the_document_names_every_row() -> None:
    section = DOCUMENT.read_text().split("## served.npy", 1)[1].split("\n## ", 1)[0]
    rows = re.findall(r"^\| ([\d, ]+) \| ([A-Z_, `]+) \|", section, re.MULTILINE)
    named = {
        int(number): name
        for numbers, names in rows
        for number, name in zip(numbers.split(", "), names.replace("`", "").split(", "), strict=True)
    }
    assert named == {int(what): what.name for what in Happened}


def test_a_row_of_a_newer_model_is_said_to_be_unknown() -> None:
    history = with_rows(read(1))
    history.served["what"] = 200
    assert "no word for (200)" in told(history, 0)
    assert not lane_of(history).accesses


def test_a_storm_is_a_mark_for_each_column() -> None:
    history = with_rows(*(row(at, Happened.INTERRUPT, 1) for at in range(0, 400_000, 20)))
    lane = lane_of(history)
    assert len(lane.signs) <= COLUMNS + 1
    assert sum(seen.count for seen in lane.signs) == 20_000
    assert "signalled interrupt 1; " in lane.signs[0].text


def test_served_rows_are_marked_and_spelled_out() -> None:
    layout = overview(*late_after_reset())
    begun, fetched = layout.marks
    assert (begun.letter, begun.lane, begun.begin) == ("A", "model igb0", 50_102_000)
    assert begun.lines == (
        "served:8 igb0 went wrong: not-ready (80 ms), 50.1 ms after release, give or take 300 us",
    )
    assert "meanwhile igb0: not-ready since 50.102 ms" in fetched.lines
    assert layout.served[0].marked


def test_a_served_row_that_is_not_there_is_no_mark() -> None:
    history, judgement = late_after_reset()
    finding = replace(judgement.findings[0], events=(EventId(EventKind.SERVED, 9_999),))
    assert not overview(history, Judgement(findings=(finding,))).marks


def test_the_text_has_a_row_for_what_was_wrong_and_one_for_what_was_seen() -> None:
    text = timeline_text(*late_after_reset())
    lines = text.splitlines()
    whole = lines.index("the whole stage, ms after release")
    wrong, host, model = lines[whole + 5 : whole + 8]
    assert wrong.startswith("wrong igb0")
    assert "< not-ready >" in wrong
    assert host.startswith("host igb0")
    assert "<#####> server-stalled" in host
    assert model.startswith("model igb0")
    assert wrong.index("<") == model.index("A")
    assert "1" in model[wrong.index("<") : wrong.index(">")]
    assert "E" in model
    legend = " ".join(lines)
    assert "1 read all ones" in legend
    assert "b bus reset" not in legend


def test_the_picture_shades_names_and_explains() -> None:
    root = ET.fromstring(timeline_svg(*late_after_reset()))  # noqa: S314 - we drew it
    texts = [element.text or "" for element in root.iter("{http://www.w3.org/2000/svg}text")]
    for said in ("not-ready, 80 ms", "wrong-value (device)", "fault met", "FLR", "staged fault"):
        assert said in texts, said
    assert any(text.startswith("server-stalled") for text in texts)
    ids = {element.get("id") for element in root.iter("{http://www.w3.org/2000/svg}pattern")}
    assert {"hil-wrong", "hil-incident"} <= ids


def test_a_marked_row_is_said_as_a_whole_beside_the_flags() -> None:
    history, judgement = late_after_reset()
    finding = replace(judgement.findings[0], events=judgement.findings[0].events[1:])
    picture = timeline_svg(history, Judgement(findings=(finding,))).decode()
    assert ">igb0 went wrong: not-ready (80 ms), 50.1 ms after release, give or take 300 us</text>" in picture


def test_a_history_without_served_rows_has_nothing_of_it() -> None:
    history, judgement = read_in_lock_window()
    assert not overview(history, judgement).served
    assert b"hil-wrong" not in timeline_svg(history, judgement)
    assert "model" not in timeline_text(history, judgement)


def test_two_hundred_thousand_rows_make_a_small_picture_quickly() -> None:
    history, judgement = late_after_reset()
    count = 200_000
    rows = empty(SERVED, count)
    rows["time_ns"] = ZERO + np.linspace(0, 400 * MS, count).astype(np.int64)
    rows["what"] = np.where(np.arange(count) % 50, Happened.READ, Happened.INTERRUPT)
    rows["region"], rows["width"] = 7, 4
    busy = replace(history, served=np.concatenate([rows, history.served]))
    least = len(timeline_svg(history, judgement))
    begun = time.process_time()  # ours alone: others may have the machine
    picture = timeline_svg(busy, judgement)
    assert time.process_time() - begun < 3
    assert len(picture) < least + 60_000


@settings(max_examples=60, deadline=None)
@given(
    times=st.lists(st.integers(-600_000_000, 500_000_000), max_size=60),
    seed=st.integers(0, 1000),
    marked=st.lists(st.integers(0, 80), max_size=3),
)
def test_any_rows_fit_into_80_columns_and_make_an_svg(times: list[int], seed: int, marked: list[int]) -> None:
    history, judgement = late_after_reset()
    random = np.random.default_rng(seed)
    rows = empty(SERVED, len(times))
    rows["time_ns"] = ZERO + np.sort(np.array(times, dtype=np.int64))
    rows["what"] = random.integers(0, 25, len(times))
    rows["value"] = random.choice(np.array([0, 1, 2, 7, 2**64 - 1], dtype=np.uint64), len(times))
    rows["address"] = random.choice(np.array([0, 4, 2**64 - 1], dtype=np.uint64), len(times))
    rows["function"] = random.integers(-1, 2, len(times))
    rows["region"] = random.choice([0, 7, 255], len(times))
    rows["width"] = random.choice([0, 1, 4, 8, 4096, 2**32 - 1], len(times))
    rows["error"] = random.choice([0, 0, 5, 999], len(times))
    history = replace(history, served=rows, served_lost=seed % 2)
    events = tuple(EventId(EventKind.SERVED, number) for number in marked)
    judgement = Judgement(findings=(replace(judgement.findings[0], events=events),))
    text = timeline_text(history, judgement)
    assert text.isascii()
    assert max(len(line) for line in text.splitlines()) <= 80
    ET.fromstring(timeline_svg(history, judgement))  # noqa: S314 - we drew it


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (NOT_READY, "igb0 not-ready for 80 ms after flr"),
        (FOR_EVER, "igb0 ignore-flr from the beginning"),
        (
            Fault(what=Misbehaviour.NEVER_READY, when=Occasion.BUS_RESET, after=2, times=1),
            "igb0 never-ready after bus-reset, not the first 2, 1 time at most",
        ),
        (
            Fault(what=Misbehaviour.REFUSE_MEMORY, when=Occasion.ACCESSES, after=500),
            "igb0 refuse-memory after 500 accesses",
        ),
        (
            Fault(
                what=Misbehaviour.WRONG_VALUE,
                register="device",
                value=0xBAD,
                when=Occasion.TIME,
                at_ns=Ns(300 * MS),
            ),
            "igb0 wrong-value (device) 0xbad from 300 ms after the release",
        ),
        (
            Fault(what=Misbehaviour.SELF_TEST_SLOW, value=10_000),
            "igb0 self-test-slow, taking 10 s, from the beginning",
        ),
        (
            Fault(what=Misbehaviour.SELF_TEST_FAILS, value=3),
            "igb0 self-test-fails with code 3 from the beginning",
        ),
    ],
)
def test_what_is_staged_is_said_in_a_line(fault: Fault, said: str) -> None:
    assert staged(with_rows(read(1), faults=(fault,)).plan) == (said,)


def test_the_record_of_a_stage_says_what_was_staged_and_what_it_was_convicted_of() -> None:
    history, judgement = late_after_reset()
    record = stage_record(history, judgement, file="h")
    assert record.staged == (
        "igb0 not-ready for 80 ms after flr",
        "igb0 wrong-value (device) from 300 ms after the release",
        "igb0 server-stalled for 40 ms, 200 ms after the release",
    )
    assert record.blame == "hil.reset-failed"
    assert record.provenance["served.rows"] == len(history.served)
    assert record.provenance["served.clock_error_ns"] == 300_000
    plain = stage_record(*read_in_lock_window(), file="h")
    assert not plain.staged
    assert not [key for key in plain.provenance if key.startswith("served")]


def test_a_pass_is_headed_by_what_went_wrong_as_staged() -> None:
    met = Finding(checker="fault_met", verdict=Verdict.PASS, claim="late, as staged", met=1)
    others = tuple(
        Finding(checker=name, verdict=Verdict.PASS, claim=name, met=900) for name in ("collided", "finished")
    )
    head = headline(Judgement(findings=(*others, met)))
    assert head is not None
    assert head.claim == "late, as staged"
    head = headline(Judgement(findings=others[::-1]))
    assert head is not None
    assert head.claim == "collided"
