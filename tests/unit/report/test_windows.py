"""Windows of every kind, misuse of locks, retries and lost mappings in a timeline."""

from __future__ import annotations

import errno
import re
import xml.etree.ElementTree as ET
from dataclasses import replace

import numpy as np
import pytest

from harness.history.columns import KERNEL, Edge
from harness.history.history import History, LogLine
from harness.history.windows import HOLD_DEVICE_LOCK, LOCK, UNLOCK, UNREGISTER, FaultKind
from harness.model.promise import WindowKind
from harness.model.verdict import EventId, EventKind, Judgement
from harness.report.ascii.timeline import timeline_text
from harness.report.svg import fills
from harness.report.svg.timeline import timeline_svg
from harness.report.timeline.layout import KINDS, LETTERS, MEANINGS, SHORT, Layout, Look
from harness.report.timeline.views import close_up, overview
from tests.unit.report.windows import NAMES, ONES, POINTS, TID, US, ZERO, stolen_lock

SVG = "{http://www.w3.org/2000/svg}"
UNJUDGED = Judgement(findings=())


def drawn() -> Layout:
    return overview(*stolen_lock())


def looks(layout: Layout, lane: str) -> list[Look]:
    return [span.look for one in layout.lanes if one.name == lane for span in one.spans]


def row_of_the_read(history: History) -> int:
    ones = np.flatnonzero((history.operations["value"] == ONES) & (history.operations["actor"] == 1))
    return int(ones[0])


def traced(history: History, *hits: tuple[int, str, Edge, str, int]) -> History:
    """The history with another trace: us after release, symbol, edge, actor, function."""
    rows = [
        (ZERO + at * US, 0, TID[name], POINTS.index((symbol, edge)), function)
        for at, symbol, edge, name, function in hits
    ]
    return replace(history, kernel=np.array(rows, dtype=KERNEL))


def test_windows_have_kinds_holders_and_the_port_a_band_of_its_own() -> None:
    layout = drawn()
    assert [(window.function, window.kind) for window in layout.windows] == [
        ("igb0", WindowKind.DEVICE_LOCK),
        ("igb0.port", WindowKind.HOT_RESET),
        ("igb0", WindowKind.HOT_RESET),
    ]
    device, _, hot = layout.windows
    assert hot.holder == "resetter (thread 706) in reset/hot"
    assert hot.text == f"config lock of igb0 held 76.7 ms by {hot.holder}, hot reset"
    assert device.text == "device lock of igb0 held 60 ms by holder (thread 707) in hold/device-lock"
    assert [band.name for band in layout.bands] == [
        "lock igb0",
        "device igb0",
        "hot reset igb0",
        "lock igb0.port",
    ]


def test_a_theft_is_told_with_both_threads_and_what_came_of_it() -> None:
    (fault,) = drawn().faults
    assert (fault.kind, fault.begin, fault.end) == (FaultKind.STOLEN, 190_000_000, 239_500_000)
    assert fault.text == (
        "at 190.000 ms thief (thread 708) unlocked the config lock of igb0 that resetter (thread 706) held, "
        "who unlocked it again 49.5 ms later"
    )
    assert drawn().notes == (fault.text, "reset/hot: 6 attempts refused (EAGAIN), then ok")


def test_the_marked_read_says_that_the_lock_was_stolen() -> None:
    assert "began 5 ms after the config lock of igb0 was stolen" in drawn().marks[1].lines


def test_a_lock_that_was_unlocked_twice_was_not_stolen() -> None:
    history, judgement = stolen_lock()
    twice = traced(history, (195_006, UNLOCK, Edge.ENTRY, "thief", 0))
    finding = replace(judgement.findings[0], events=(EventId(EventKind.OPERATION, row_of_the_read(history)),))
    (mark,) = overview(twice, Judgement(findings=(finding,))).marks
    assert not any("stolen" in line for line in mark.lines)


def test_the_close_up_shows_all_of_the_theft() -> None:
    near = close_up(*stolen_lock())
    assert near is not None
    assert near.begin < 113_312_000
    assert near.end > 239_500_000


def test_an_event_that_no_window_touches_is_shown_with_what_lies_around_it() -> None:
    history, judgement = stolen_lock()
    finding = replace(judgement.findings[0], events=(EventId(EventKind.OPERATION, 0),))
    near = close_up(history, Judgement(findings=(finding,)))
    assert near is not None
    assert near.marks[0].begin == 20_000_000
    assert near.end == 20_012_000 + 31_000_000


def test_a_report_of_the_kernel_is_told_without_its_frame() -> None:
    history, judgement = stolen_lock()
    cut = LogLine(time_us=1, level=4, text="------------[ cut here ]------------")
    layout = overview(replace(history, log=(cut, *history.log)), judgement)
    assert layout.log == tuple(line.text for line in history.log)


def test_operations_look_like_what_became_of_them() -> None:
    layout = drawn()
    assert looks(layout, "resetter") == [Look.RETRIED] * 6 + [Look.OK]
    assert looks(layout, "mapper") == [Look.OK, Look.SIGBUS]
    assert looks(layout, "flr-writer") == [Look.UNSEEN]
    assert looks(layout, "port-reader") == [Look.OK, Look.BLOCKED]
    assert looks(layout, "reader-2") == [Look.OK, Look.VIOLATING, Look.OK]


def test_a_reset_that_the_trace_shows_is_no_reset_unseen() -> None:
    history, judgement = stolen_lock()
    seen = (
        (70_100, "pcie_flr", Edge.ENTRY, "flr-writer", 0),
        (70_200, "pcie_flr", Edge.RETURN, "flr-writer", -1),
    )
    assert looks(overview(traced(history, *seen), judgement), "flr-writer") == [Look.OK]


def test_without_probes_no_reset_is_missed() -> None:
    history, judgement = stolen_lock()
    absent = tuple(replace(probe, present=False) for probe in history.probes)
    assert looks(overview(replace(history, probes=absent), UNJUDGED), "flr-writer") == [Look.OK]
    assert looks(overview(replace(history, lost_kernel_events=1), judgement), "flr-writer") == [Look.OK]


def test_an_unbind_that_waits_is_a_window_of_its_own_kind() -> None:
    history, _ = stolen_lock()
    probes = tuple(
        replace(probe, symbol=UNREGISTER) if probe.symbol == HOLD_DEVICE_LOCK else probe
        for probe in history.probes
    )
    layout = overview(replace(history, probes=probes), UNJUDGED)
    assert layout.windows[0].kind is WindowKind.UNBIND
    assert layout.windows[0].text.startswith("device lock of igb0 held 60 ms by holder (thread 707)")
    assert layout.windows[0].text.endswith(", unbind waits")
    assert "U unbind waits" in timeline_text(replace(history, probes=probes), UNJUDGED)


def test_the_last_refusal_is_final_and_has_its_errno() -> None:
    history, _ = stolen_lock()
    rows = history.operations["actor"] == NAMES.index("resetter")
    kept = np.flatnonzero(~rows | (history.operations["error"] == errno.EAGAIN))
    layout = overview(replace(history, operations=history.operations[kept]), UNJUDGED)
    assert looks(layout, "resetter") == [Look.RETRIED] * 5 + [Look.REFUSED]
    (resetter,) = [lane for lane in layout.lanes if lane.name == "resetter"]
    assert [span.error for span in resetter.spans] == ["EAGAIN"] * 6
    text = timeline_text(replace(history, operations=history.operations[kept]), UNJUDGED)
    assert re.search(r"^resetter .*e\.\.EAGAIN", text, re.MULTILINE)


def test_a_lock_that_is_never_given_back_is_marked_at_the_end() -> None:
    history, _ = stolen_lock()
    taken = (250_000, LOCK, Edge.ENTRY, "thief", 0), (250_001, LOCK, Edge.RETURN, "thief", -1)
    layout = overview(traced(history, *taken), UNJUDGED)
    (fault,) = layout.faults
    assert (fault.kind, fault.begin, fault.end) == (FaultKind.NEVER_UNLOCKED, layout.end, layout.end)
    assert fault.text.startswith("thief (thread 708) took the config lock of igb0 at 250.001 ms")
    assert "not seen given back" in layout.windows[0].text


def test_an_unlock_of_a_free_lock_is_marked_where_it_was() -> None:
    history, _ = stolen_lock()
    layout = overview(traced(history, (90_000, UNLOCK, Edge.ENTRY, "thief", 1)), UNJUDGED)
    (fault,) = layout.faults
    assert (fault.kind, fault.function, fault.begin) == (FaultKind.UNLOCKED_TWICE, "igb0.port", 90_000_000)
    assert "that was free; last held by nobody in this stage" in fault.text
    assert [band.name for band in layout.bands] == ["lock igb0.port"]


def test_a_lock_that_was_taken_twice_shows_a_missing_unlock() -> None:
    history, _ = stolen_lock()
    hits = [
        (at + more, LOCK, edge, name, 0 if edge is Edge.ENTRY else -1)
        for at, name in ((90_000, "holder"), (95_000, "thief"))
        for more, edge in ((0, Edge.ENTRY), (1, Edge.RETURN))
    ]
    faults = overview(traced(history, *hits), UNJUDGED).faults
    assert [fault.kind for fault in faults] == [FaultKind.UNSEEN, FaultKind.NEVER_UNLOCKED]
    assert "that holder (thread 707) had not been seen to give back" in faults[0].text


def test_many_misuses_are_drawn_and_counted() -> None:
    history, _ = stolen_lock()
    hits = [(at, UNLOCK, Edge.ENTRY, "thief", 0) for at in range(10_000, 110_000, 10_000)]
    layout = overview(traced(history, *hits), UNJUDGED)
    assert len(layout.faults) == 10
    assert layout.notes[4] == "6 more misuses of locks"


def test_text_names_the_kind_in_its_bar_or_by_a_letter() -> None:
    history, judgement = stolen_lock()
    text = timeline_text(history, judgement)
    assert "[= hot reset ==X_________" in text
    legend = " ".join(text.split())
    assert "[==] config lock held, shaded ::, (--) device lock held, shaded .., H hot reset" in legend
    narrow = [
        (50_000, LOCK, Edge.ENTRY, "resetter", 0),
        (113_210, LOCK, Edge.RETURN, "resetter", -1),
        (125_000, UNLOCK, Edge.ENTRY, "resetter", 0),
    ]
    assert re.search(r"^lock igb0 .*\[H\]", timeline_text(traced(history, *narrow), UNJUDGED), re.MULTILINE)


def test_lanes_are_shaded_by_the_windows_of_their_own_function() -> None:
    text = timeline_text(*stolen_lock())
    lanes = {line.split()[0]: line for line in text.splitlines()[:24] if line.endswith("|")}
    assert ":::" in lanes["flr-writer"]
    assert "......" in lanes["flr-writer"]
    assert "......" not in lanes["port-reader"]


def test_the_svg_marks_the_theft_and_shades_only_what_is_concerned() -> None:
    root = ET.fromstring(timeline_svg(*stolen_lock()))  # noqa: S314 - we made it
    said = [element.text for element in root.iter(f"{SVG}text")]
    assert "stolen" in said
    assert "its owner does not know, 49.5 ms" in said
    assert "SIGBUS" in said
    assert "misuse/steal" in said
    assert "hot reset, held 126 ms" in said
    rows = {
        element.text: float(element.get("y", 0))
        for element in root.iter(f"{SVG}text")
        if element.text in NAMES
    }
    device = [
        (float(element.get("y", 0)), float(element.get("height", 0)))
        for element in root.iter(f"{SVG}rect")
        if element.get("fill") == "url(#hil-device)" and element.find(f"{SVG}title") is not None
    ]
    shaded = {name for name, y in rows.items() if any(top <= y <= top + height for top, height in device)}
    assert shaded == set(NAMES) - {"port-reader"}


def test_every_pattern_that_is_used_is_defined() -> None:
    used = {fills.fill(look) for look in Look} | {fills.held(kind) for kind in KINDS}
    used |= {fills.shade(kind) for kind in KINDS}
    for name in (fill[len("url(#") : -1] for fill in used if fill.startswith("url")):
        assert f'id="{name}"' in fills.definitions()


@pytest.mark.parametrize("words", [KINDS, SHORT, fills.WINDOWS])
def test_every_kind_of_window_has_a_name_and_a_colour(words: dict[WindowKind, str]) -> None:
    assert set(words) == set(WindowKind) - {WindowKind.NONE, WindowKind.PORT_LOCK}  # a port's are its own
    assert len({fills.held(kind) for kind in words}) == len(words)


def test_every_look_has_a_letter_a_meaning_and_a_colour() -> None:
    assert set(LETTERS) == set(MEANINGS) == set(fills.LOOKS) == set(Look)
    assert len(set(LETTERS.values())) == len(Look)
    assert len({fills.fill(look) for look in Look}) == len(Look)
