"""The lanes of drivers: step by step, tries that came to nothing, tries for a lock, and what they were told."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest

from harness.history.history import History
from harness.history.reading import Reading
from harness.history.windows import DRIVER_STEPS, UNLOCK, Callback, DriverStep
from harness.model.operation import TRY_CONFIG, UNBIND
from harness.model.units import Ns
from harness.model.verdict import Judgement
from harness.report.ascii.timeline import timeline_text
from harness.report.svg.timeline import timeline_svg
from harness.report.timeline.driver_lane import (
    FATES,
    PHASE_LETTERS,
    TOLD,
    TOLD_LETTERS,
    DriverLane,
    Fate,
    Phase,
)
from harness.report.timeline.drivers import driver_lanes
from harness.report.timeline.layout import Layout
from harness.report.timeline.views import close_up, overview
from tests.unit.report.drivers import (
    AFTER,
    BEGUN,
    ENTRY,
    MS,
    PLAN,
    STEPS,
    Hit,
    again,
    history_of,
    race,
    told,
    tried,
)
from tests.unit.report.histories import read_in_lock_window

UNJUDGED = Judgement(findings=())


def layout_of(history: History) -> Layout:
    return overview(history, UNJUDGED)


def lane_of(*hits: Hit) -> DriverLane:
    (lane,) = layout_of(history_of(*hits)).drivers
    return lane


def phases(lane: DriverLane) -> list[tuple[Phase, int]]:
    return [(stretch.phase, stretch.begin // MS) for stretch in lane.stretches]


def rows(text: str, name: str) -> list[str]:
    return re.findall(rf"^{re.escape(name)} *\|(.*)\|$", text, re.MULTILINE)


def test_a_reset_is_told_step_by_step_without_gaps() -> None:
    lane = lane_of(*again(1_000))
    assert lane.name == "driver ipr0"
    assert phases(lane) == [
        (Phase.ASKED, 1_000),
        (Phase.ALERT, 1_001),
        (Phase.SELF_TEST, 1_501),
        (Phase.RESTORE, 3_500),
        (Phase.BRING_UP, 3_550),
    ]
    ends = [stretch.end // MS for stretch in lane.stretches]
    assert ends == [1_001, 1_501, 3_500, 3_550, 3_900]
    assert {stretch.fate for stretch in lane.stretches} == {Fate.DONE}
    assert [stretch.last for stretch in lane.stretches] == [False] * 4 + [True]


def test_a_try_that_failed_ends_where_the_next_begins_and_looks_different() -> None:
    history, judgement = race()
    (lane,) = overview(history, judgement).drivers
    failed = [stretch for stretch in lane.stretches if stretch.fate is Fate.FAILED]
    assert (failed[-1].phase, failed[-1].end) == (Phase.BRING_UP, 15_000 * MS)
    assert lane.stretches[-1].fate is Fate.DONE
    (row,) = rows(timeline_text(history, UNJUDGED), lane.name)
    assert "~x" in row
    assert row.rstrip().endswith(">")
    svg = timeline_svg(history, UNJUDGED).decode()
    assert svg.count('fill="url(#hil-nothing)"') == 6  # five stretches and the legend
    assert "not done, \u00d7 tried again" in svg


def test_a_try_that_the_stage_cut_short_is_not_told_as_failed() -> None:
    history = history_of(*BEGUN, *tried(500, 1), (501, "ipr_reset_start_bist", ENTRY, "", 0, 0))
    (lane,) = layout_of(history).drivers
    assert {stretch.fate for stretch in lane.stretches} == {Fate.OPEN}
    text = timeline_text(history, UNJUDGED)
    assert "~~ not done when the stage ended" in text
    assert "tried again" not in text
    assert "x" not in rows(text, lane.name)[0]


def test_a_driver_that_leaves_has_not_failed() -> None:
    hits = (
        *BEGUN,
        *tried(500, 1),
        (501, "ipr_reset_start_bist", ENTRY, "", 0, 0),
        (5_199, UNLOCK, ENTRY, "", 0, 0),
        *AFTER[:2],
    )
    history = history_of(*hits, operations=((99, 5_300, "host-resetter", 0),))
    assert layout_of(history).drivers[0].stretches[-1].fate is Fate.OPEN
    step = replace(STEPS["host-resetter"], means=UNBIND)
    leaving = replace(
        history, plan=replace(PLAN, actors=(replace(PLAN.actors[0], steps=(step,)), *PLAN.actors[1:]))
    )
    layout = layout_of(leaving)
    (lane,) = layout.drivers
    assert {stretch.fate for stretch in lane.stretches} == {Fate.LEFT}
    assert lane.stretches[-1].end == 5_300 * MS
    assert layout.notes[0].endswith("restore 100 ms, then the driver left")
    text = timeline_text(leaving, UNJUDGED)
    assert rows(text, lane.name)[0].rstrip().endswith("|")
    assert "--| then the driver left" in text
    svg = timeline_svg(leaving, UNJUDGED).decode()
    assert "driver left</text>" in svg
    assert 'fill="url(#hil-nothing)"' not in svg


def test_tries_for_the_lock_are_one_span_between_alert_and_the_reset() -> None:
    (lane,) = overview(*race()).drivers
    (tries,) = (stretch for stretch in lane.stretches if stretch.phase is Phase.TRIES)
    assert (tries.begin, tries.end, tries.tries) == (1_200 * MS, 3_200 * MS, 20)
    assert tries.words[0] == "tries for the lock, 20 times"
    near = close_up(*race())
    assert near is not None
    assert "20 times in vain" in timeline_svg(*race()).decode()
    assert "self-test, no lock" in timeline_text(*race())
    assert re.search(r"t/+s", rows(timeline_text(*race()), lane.name)[0].replace("B", "s"))


def test_a_lock_that_was_had_at_the_first_try_is_no_span() -> None:
    assert Phase.TRIES not in dict(phases(lane_of(*again(1_000))))


def test_a_lock_that_was_had_at_last_ends_the_tries() -> None:
    hits = (*BEGUN, *tried(400, 0), *tried(500, 0), *tried(600, 1))
    lane = lane_of(*hits, (600, "ipr_reset_start_bist", ENTRY, "", 0, 0))
    tries, test = lane.stretches[-2:]
    assert (tries.phase, tries.tries, tries.end // MS) == (Phase.TRIES, 2, 600)
    assert not test.bare


def test_tries_without_a_reset_after_them_are_shown() -> None:
    lane = lane_of(*BEGUN, *tried(400, 0))
    assert phases(lane)[-1] == (Phase.TRIES, 400)
    assert lane.stretches[-1].words[0] == "tries for the lock, 1 time"


def test_tries_of_our_own_kernel_module_are_not_the_drivers() -> None:
    hits = (*BEGUN, (400, *tried(0, 0)[0][1:3], "reader", 0, 0), (400, *tried(0, 0)[1][1:3], "reader", -1, 0))
    history = history_of(*hits, operations=((399, 401, "reader", 0),))
    assert Phase.TRIES in dict(phases(layout_of(history).drivers[0]))
    step = replace(STEPS["reader"], means=TRY_CONFIG)
    actors = (*PLAN.actors[:2], replace(PLAN.actors[2], steps=(step,)))
    staged = replace(history, plan=replace(PLAN, actors=actors))
    assert Phase.TRIES not in dict(phases(layout_of(staged).drivers[0]))


@pytest.mark.parametrize(
    ("warm", "phase", "letters"), [(False, Phase.SELF_TEST, "Ss"), (True, Phase.WARM_RESET, "Ww")]
)
def test_a_reset_without_the_lock_is_told_as_such(*, warm: bool, phase: Phase, letters: str) -> None:
    for locked in (True, False):
        history = history_of(*again(1_000, locked=locked, warm=warm))
        (lane,) = layout_of(history).drivers
        (itself,) = (stretch for stretch in lane.stretches if stretch.phase is phase)
        assert itself.bare is not locked
        assert itself.letter == letters[not locked]
        assert letters[not locked] in rows(timeline_text(history, UNJUDGED), lane.name)[0]
        svg = timeline_svg(history, UNJUDGED).decode()
        assert ("without the lock" in svg) is not locked
        assert ("url(#hil-bare)" in svg) is not locked


def test_a_lock_of_somebody_else_is_not_the_drivers() -> None:
    (lane,) = overview(*race()).drivers
    assert [stretch.bare for stretch in lane.stretches if stretch.phase is Phase.SELF_TEST] == [True, False]


def test_where_the_trace_is_not_certain_nobody_is_said_to_have_had_no_lock() -> None:
    history = history_of(*again(1_000, locked=False))
    (lane,) = layout_of(replace(history, lost_kernel_events=1)).drivers
    assert not any(stretch.bare for stretch in lane.stretches)


def test_the_kernel_lane_leaves_drivers_to_their_own() -> None:
    history, _ = race()
    letters = [instant.letter for instant in layout_of(history).instants]
    assert "k" not in letters
    assert letters.count("v") == 20
    assert letters.count("L") == 2
    legend = " ".join(timeline_text(history, UNJUDGED).split())
    assert "k other probe" not in legend
    assert "v tried for in vain" in legend


def test_what_a_driver_did_to_a_function_that_is_not_known_stays_with_the_kernel() -> None:
    history = history_of((100, "ipr_reset_alert", ENTRY, "", -1, 0))
    layout = layout_of(history)
    assert layout.drivers == ()
    assert [instant.letter for instant in layout.instants] == ["k"]


def test_tellings_are_instants_of_the_driver() -> None:
    (lane,) = layout_of(told()).drivers
    assert [(one.at // MS, one.what) for one in lane.tellings] == [
        (1_000, Callback.PREPARE),
        (1_160, Callback.DONE),
    ]
    assert lane.tellings[0].text == "reset_prepare called by resetter (thread 802)"
    near = replace(told(), end_ns=Ns(told().begin_ns + 1_500 * MS))
    text = timeline_text(near, UNJUDGED)
    (row,) = rows(text, lane.name)
    assert row.strip()[0] == "P"
    assert row.strip()[-1] == "D"
    assert "driver: P told: prepare, D told: done" in text
    words = re.findall(r"<text [^>]*>([^<]*)</text>", timeline_svg(near, UNJUDGED).decode())
    assert {"prepare", "done"} <= set(words)


def test_the_words_of_tellings_stand_outside_of_the_reset() -> None:
    svg = timeline_svg(replace(told(), end_ns=Ns(told().begin_ns + 1_500 * MS)), UNJUDGED).decode()
    places = {word: float(x) for x, word in re.findall(r'<text x="([\d.]+)"[^>]*>(prepare|done)<', svg)}
    edges = [
        float(x) for x in re.findall(r'<path d="M([\d.]+) [^"]*" stroke="[^"]*" stroke-width="2.5">', svg)
    ]
    assert places["prepare"] < min(edges)
    assert places["done"] > max(edges)


def test_what_lies_outside_of_the_view_is_not_drawn() -> None:
    (before,) = driver_lanes(Reading(told()), (0, 900 * MS))
    assert before.tellings == ()
    (lane,) = driver_lanes(Reading(history_of(*again(1_000))), (4_000 * MS, 5_000 * MS))
    assert lane.stretches == ()


def test_in_a_single_column_the_reset_itself_is_what_shows() -> None:
    history = history_of(*again(1_000))
    long = replace(history, end_ns=Ns(history.begin_ns + 3_000_000 * MS))
    (row,) = rows(timeline_text(long, UNJUDGED), "driver ipr0")
    assert row.strip() == ">"  # and that it was done, above all
    undone = replace(long, kernel=long.kernel[:-1])
    (row,) = rows(timeline_text(undone, UNJUDGED), "driver ipr0")
    assert row.startswith("S~")


def test_without_what_drivers_did_there_is_no_lane() -> None:
    history, judgement = read_in_lock_window()
    assert overview(history, judgement).drivers == ()
    assert "\ndriver" not in timeline_text(history, judgement)
    assert "hil-bare" not in timeline_svg(history, judgement).decode()


def test_a_driver_at_rest_in_the_view_keeps_its_lane() -> None:
    history, judgement = race()
    cut = overview(replace(history, end_ns=Ns(history.begin_ns + 19_000 * MS)), judgement)
    assert [lane.function for lane in cut.drivers] == ["ipr0"]


def test_each_try_is_a_sentence() -> None:
    first, second, *_ = layout_of(race()[0]).notes
    assert first == (
        "driver of ipr0: asked by host-resetter (thread 801) at 100 ms, shutdown 199 ms, alert 900 ms, 20 tries for "
        "the lock in vain over 2 s, self-test without the lock at 3200 ms for 2 s, restore 1.2 s, bring-up 8.6 s, "
        "not done"
    )
    assert second == (
        "driver of ipr0: asked by an interrupt at 15000 ms, alert 500 ms, self-test at 15501 ms for 2 s, "
        "restore 50 ms, bring-up 350 ms, done at 17900 ms"
    )


def test_many_tries_are_counted() -> None:
    hits = [hit for number in range(9) for hit in again(1_000 + 2_000 * number)[:2]]
    notes = [note for note in layout_of(history_of(*hits)).notes if "driver" in note]
    assert len(notes) == 7
    assert notes[-1] == "3 more resets by drivers"


def test_a_marked_step_lies_in_the_lane_of_the_driver_and_says_who_held_the_lock() -> None:
    layout = overview(*race())
    mark = layout.marks[1]
    assert mark.lane == "driver ipr0"
    assert layout.drivers[0].marked
    assert mark.lines[0].endswith(
        "ipr_reset_start_bist entered of ipr0, an interrupt: driver of ipr0, self-test"
    )
    assert mark.lines[2] == "while the config lock of ipr0 was held by resetter (thread 802) in reset/flr"
    assert "B" in rows(timeline_text(*race()), "driver ipr0")[0]


@pytest.mark.parametrize(
    "hits",
    [
        AFTER,
        AFTER[-1:],
        again(1_000)[-1:],
        (*again(-500), *again(17_500)),
        (*tried(1, 0), *BEGUN),
        tried(5, 0)[1:],
    ],
)
def test_whatever_the_trace_begins_or_ends_with_is_drawn(hits: tuple[Hit, ...]) -> None:
    history = history_of(*hits)
    root = ET.fromstring(timeline_svg(history, UNJUDGED))  # noqa: S314 - we drew it
    assert root.tag.endswith("svg")
    for line in timeline_text(history, UNJUDGED).splitlines():
        assert len(line) <= 80


@pytest.mark.parametrize(
    "symbol", [symbol for symbol, step in DRIVER_STEPS.items() if step is not DriverStep.DONE]
)
def test_every_step_but_the_last_begins_a_stretch(symbol: str) -> None:
    (stretch,) = lane_of((1_000, symbol, ENTRY, "", 0, 0)).stretches
    assert stretch.begin == 1_000 * MS


def test_every_phase_and_call_has_its_own_letter_and_word() -> None:
    assert set(PHASE_LETTERS) == set(Phase)
    used = [*PHASE_LETTERS.values(), *TOLD_LETTERS.values(), "s", "w"]
    assert len(set(used)) == len(used)
    assert set(TOLD) == set(TOLD_LETTERS) == set(Callback)
    assert set(FATES) == set(Fate) - {Fate.DONE}
