"""Lock windows, waits and resets, read out of a trace written by hand."""

from __future__ import annotations

from dataclasses import replace

from harness.history.columns import Edge
from harness.history.reading import Reading
from harness.history.windows import LOCK, UNLOCK, WAIT, reset_doubts
from harness.model.pci import ResetMethod
from tests.unit.judge.build import Stage, at


def test_a_window_knows_when_it_was_asked_for_and_let_go() -> None:
    stage = Stage()
    stage.reader()
    stage.window(100, 200, asked=40)
    (window,) = Reading(stage.history()).windows
    assert (window.asked_ns, window.opened_ns, window.closed_ns, window.released_ns) == (
        at(40),
        at(100),
        at(200),
        at(202),
    )
    assert (window.opened_row, window.closed_row, window.tid) == (1, 2, 900)


def test_without_a_probe_on_unlocks_return_nobody_knows_when_it_was_let_go() -> None:
    stage = Stage(unlock_return=False)
    stage.reader()
    stage.window(100, 200)
    (window,) = Reading(stage.history()).windows
    assert window.released_ns is None


def test_locks_of_other_functions_and_other_probes_are_no_windows() -> None:
    stage = Stage()
    reader = stage.reader()
    stage.probe(10, LOCK, Edge.ENTRY, 900, function=-1)
    stage.probe(11, LOCK, Edge.RETURN, 900, function=-1)
    stage.probe(12, UNLOCK, Edge.ENTRY, 900, function=-1)
    stage.wait(13, reader)
    assert Reading(stage.history()).windows == ()


def test_nested_locks_of_bridge_and_function_are_told_apart() -> None:
    stage = Stage()
    stage.reader()
    stage.probe(10, LOCK, Edge.ENTRY, 900, function=-1)
    stage.probe(11, LOCK, Edge.RETURN, 900, function=-1)
    stage.window(20, 30, tid=900)
    stage.probe(40, UNLOCK, Edge.ENTRY, 900, function=-1)
    (window,) = Reading(stage.history()).windows
    assert (window.opened_ns, window.closed_ns) == (at(20), at(30))


def test_a_wait_belongs_to_one_operation_only() -> None:
    stage = Stage()
    reader = stage.reader()
    stage.op(reader, 10, 12)
    stage.op(reader, 12.1, 50)  # less than the resolution of the trace after the first
    stage.wait(12.6, reader)
    stage.op(reader, 60, 70)
    assert Reading(stage.history()).waited.tolist() == [False, True, False]


def test_a_wait_shortly_before_the_next_operation_belongs_to_the_one_before() -> None:
    stage = Stage()
    reader = stage.reader()
    stage.op(reader, 10, 12)
    stage.wait(11, reader)
    stage.op(reader, 12.1, 50)
    assert Reading(stage.history()).waited.tolist() == [True, False]


def test_a_wait_between_operations_or_of_another_thread_belongs_to_none() -> None:
    stage = Stage()
    reader = stage.reader()
    stage.op(reader, 10, 12)
    stage.wait(30, reader)
    stage.probe(11, WAIT, Edge.ENTRY, 4242)
    stage.wait(2, reader)
    assert Reading(stage.history()).waited.tolist() == [False]


def test_an_operation_in_flight_waits_too() -> None:
    stage = Stage()
    reader = stage.reader()
    stage.op(reader, 10, None)
    stage.wait(500, reader)
    assert Reading(stage.history()).waited.tolist() == [True]


def test_resets_are_spans_with_results() -> None:
    stage = Stage()
    stage.resetter()
    stage.performed(10, 100, tid=100)
    stage.performed(200, 300, tid=100, symbol="pci_pm_reset", result=-25)
    found = [
        (span.method, span.result, span.begin_ns, span.end_ns) for span in Reading(stage.history()).resets
    ]
    assert found == [(ResetMethod.FLR, 0, at(10), at(100)), (ResetMethod.PM, -25, at(200), at(300))]


def test_doubts_about_one_method_leave_the_others_alone() -> None:
    stage = Stage()
    stage.resetter()
    history = stage.history()
    assert reset_doubts(history, ResetMethod.FLR) == ()
    probes = tuple(replace(p, missed=1) if p.symbol == "pcie_flr" else p for p in history.probes)
    doubtful = replace(history, probes=probes)
    assert len(reset_doubts(doubtful, ResetMethod.FLR)) == 2
    assert reset_doubts(doubtful, ResetMethod.PM) == ()
    assert reset_doubts(replace(history, probes=()), ResetMethod.BUS) == (
        "no probe on entry of pci_reset_bus_function",
        "no probe on return of pci_reset_bus_function",
    )
