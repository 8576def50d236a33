"""Lock windows, resets and waits, read out of traces written by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.history.history import Probe
from harness.history.reading import Reading
from harness.history.windows import (
    EVIDENCE,
    LOCK,
    RESET_FUNCTIONS,
    TRYLOCK,
    UNLOCK,
    WAIT,
    LockWindow,
    doubts,
    reset_doubts,
)
from harness.model.pci import ResetMethod
from harness.model.units import US
from tests.unit.history.build import END, ENTRY, PROBES, RETURN, Hit, history


def spans(windows: tuple[LockWindow, ...]) -> list[tuple[int, int, int, int]]:
    """Function, opening and closing in microseconds, thread."""
    return [(w.function, w.opened_ns // US, w.closed_ns // US, w.tid) for w in windows]


def test_a_window_opens_at_the_return_of_lock_and_closes_at_the_entry_of_unlock() -> None:
    (window,) = Reading(
        history(
            [(10, 9, LOCK, ENTRY), (13, 9, LOCK, RETURN), (90, 9, UNLOCK, ENTRY), (95, 9, UNLOCK, RETURN)]
        )
    ).windows
    assert (window.opened_ns, window.closed_ns) == (13 * US, 90 * US)
    assert (window.asked_ns, window.released_ns) == (10 * US, 95 * US)
    assert (window.opened_row, window.closed_row) == (1, 2)


def test_without_a_probe_on_the_return_of_unlock_the_release_is_not_known() -> None:
    (window,) = Reading(
        history([(10, 9, LOCK, ENTRY), (13, 9, LOCK, RETURN), (90, 9, UNLOCK, ENTRY)])
    ).windows
    assert window.released_ns is None


def test_a_window_that_nobody_closed_ends_with_the_stage() -> None:
    (window,) = Reading(history([(10, 9, LOCK, ENTRY), (13, 9, LOCK, RETURN)])).windows
    assert (window.closed_ns, window.closed_row) == (END, -1)


def test_asking_alone_opens_nothing() -> None:
    assert Reading(history([(10, 9, LOCK, ENTRY)])).windows == ()


@pytest.mark.parametrize(("answer", "opens"), [(1, True), (0, False), (0x7F00, False), (0x101, True)])
def test_trylock_opens_only_when_it_returns_true(answer: int, *, opens: bool) -> None:
    """It returns a bool: only the low byte of the register is defined."""
    found = Reading(history([(10, 9, TRYLOCK, ENTRY), (12, 9, TRYLOCK, RETURN, -1, answer)])).windows
    assert bool(found) is opens


def test_two_threads_take_turns() -> None:
    found = Reading(
        history(
            [
                (10, 8, LOCK, ENTRY),
                (11, 8, LOCK, RETURN),
                (12, 9, LOCK, ENTRY),
                (50, 8, UNLOCK, ENTRY),
                (51, 9, LOCK, RETURN),
                (52, 8, UNLOCK, RETURN),
                (80, 9, UNLOCK, ENTRY),
            ]
        )
    ).windows
    assert spans(found) == [(0, 11, 50, 8), (0, 51, 80, 9)]
    assert [w.asked_ns for w in found] == [10 * US, 12 * US]
    assert found[0].released_ns == 52 * US


def test_one_thread_locks_two_functions_one_inside_the_other() -> None:
    """A bus reset locks every function of the bus before it unlocks the first."""
    found = Reading(
        history(
            [
                (10, 9, LOCK, ENTRY, 0),
                (11, 9, LOCK, RETURN),
                (12, 9, LOCK, ENTRY, 1),
                (13, 9, LOCK, RETURN),
                (70, 9, UNLOCK, ENTRY, 1),
                (80, 9, UNLOCK, ENTRY, 0),
            ]
        )
    ).windows
    assert spans(found) == [(0, 11, 80, 9), (1, 13, 70, 9)]


def test_a_lock_inside_a_lock_call_belongs_to_the_inner_one() -> None:
    hits: list[Hit] = [(10, 9, LOCK, ENTRY, 0), (11, 9, TRYLOCK, ENTRY, 1), (12, 9, TRYLOCK, RETURN, -1, 1)]
    hits += [(13, 9, LOCK, RETURN), (20, 9, UNLOCK, ENTRY, 0), (21, 9, UNLOCK, ENTRY, 1)]
    assert spans(Reading(history(hits)).windows) == [(1, 12, 21, 9), (0, 13, 20, 9)]


def test_other_functions_have_no_windows() -> None:
    assert (
        Reading(
            history([(10, 9, LOCK, ENTRY, -1), (11, 9, LOCK, RETURN), (20, 9, UNLOCK, ENTRY, -1)])
        ).windows
        == ()
    )


def test_another_thread_may_unlock() -> None:
    (window,) = Reading(
        history([(10, 9, LOCK, ENTRY), (11, 9, LOCK, RETURN), (20, 7, UNLOCK, ENTRY)])
    ).windows
    assert (window.tid, window.closed_ns) == (9, 20 * US)


def test_an_unlock_without_a_lock_is_ignored() -> None:
    assert Reading(history([(5, 9, UNLOCK, ENTRY), (6, 9, UNLOCK, RETURN)])).windows == ()


def test_doubts_name_what_is_missing() -> None:
    assert doubts(history([])) == ()
    assert doubts(history([], lost=3)) == ("3 trace events were lost",)
    some = [replace(PROBES[0], missed=4), *PROBES[1:]]
    assert doubts(history([], probes=tuple(some))) == (f"4 hits on entry of {LOCK} were missed",)
    absent = [replace(PROBES[0], present=False, reason="No such file"), *PROBES[1:]]
    assert doubts(history([], probes=tuple(absent))) == (f"no probe on entry of {LOCK} (No such file)",)
    assert len(doubts(history([], probes=()))) == len(EVIDENCE)


def test_a_kernel_that_lets_nobody_trace_it_is_one_doubt_and_says_why() -> None:
    shut = tuple(
        replace(probe, present=False, reason="dynamic_events: Operation not permitted") for probe in PROBES
    )
    said = ("the kernel could not be traced (dynamic_events: Operation not permitted)",)
    assert doubts(history([], probes=shut)) == said
    assert reset_doubts(history([], probes=shut), ResetMethod.FLR) == said


@pytest.mark.parametrize("symbol", RESET_FUNCTIONS)
def test_each_reset_function_performs_its_method(symbol: str) -> None:
    (span,) = Reading(history([(10, 9, symbol, ENTRY), (110, 9, symbol, RETURN)])).resets
    assert (span.method, span.begin_ns, span.end_ns) == (RESET_FUNCTIONS[symbol], 10 * US, 110 * US)
    assert (span.result, span.tid, span.row, span.function) == (0, 9, 0, 0)


def test_a_call_that_only_probes_for_the_method_is_no_reset() -> None:
    symbol = "pci_pm_reset"
    found = Reading(
        history(
            [
                (1, 9, symbol, ENTRY, 0, 1),
                (2, 9, symbol, RETURN),
                (10, 9, symbol, ENTRY, 0, 0),
                (30, 9, symbol, RETURN),
            ]
        )
    ).resets
    assert [(span.begin_ns, span.end_ns) for span in found] == [(10 * US, 30 * US)]


@pytest.mark.parametrize("printed", [-25, 0xFFFF_FFE7, -25 & 0xFFFF_FFFF_FFFF_FFFF - (1 << 64)])
def test_a_negative_result_is_read_in_whatever_width_it_was_printed(printed: int) -> None:
    value = printed if printed < 2**63 else printed - 2**64
    (span,) = Reading(history([(10, 9, "pcie_flr", ENTRY), (20, 9, "pcie_flr", RETURN, -1, value)])).resets
    assert span.result == -25


def test_a_reset_that_never_returned_has_no_result() -> None:
    (span,) = Reading(history([(10, 9, "pcie_flr", ENTRY)])).resets
    assert (span.result, span.end_ns) == (None, END)


def test_resets_of_two_threads_do_not_mix() -> None:
    found = Reading(
        history(
            [
                (10, 8, "pcie_flr", ENTRY, 0),
                (20, 9, "pcie_flr", ENTRY, 1),
                (30, 8, "pcie_flr", RETURN),
                (40, 9, "pcie_flr", RETURN),
            ]
        )
    ).resets
    assert [(s.function, s.begin_ns // US, s.end_ns // US) for s in found] == [(0, 10, 30), (1, 20, 40)]


def test_resets_of_other_functions_and_lone_returns_are_ignored() -> None:
    hits: list[Hit] = [
        (5, 9, "pcie_flr", RETURN),
        (10, 9, "pcie_flr", ENTRY, -1),
        (20, 9, "pcie_flr", RETURN),
    ]
    assert Reading(history(hits)).resets == ()


def test_reset_doubts_name_what_is_missing() -> None:
    assert reset_doubts(history([]), ResetMethod.FLR) == ()
    assert reset_doubts(history([], lost=1), ResetMethod.FLR) == ("1 trace events were lost",)
    gone = tuple(replace(p, present=p.symbol != "pcie_flr") for p in PROBES)
    assert reset_doubts(history([], probes=gone), ResetMethod.FLR) == (
        "no probe on entry of pcie_flr",
        "no probe on return of pcie_flr",
    )
    assert reset_doubts(history([], probes=gone), ResetMethod.PM) == ()


def waits(
    hits: list[Hit], operations: list[tuple[int, int, int]], probes: tuple[Probe, ...] = PROBES
) -> list[bool]:
    found: list[bool] = Reading(history(hits, operations, probes=probes)).waited.tolist()
    return found


def test_an_operation_waited_if_its_own_thread_did_meanwhile() -> None:
    operations = [(10, 20, 0), (12, 90, 1), (30, 40, 0), (95, 99, 1)]
    assert waits([(15, 502, WAIT, ENTRY)], operations) == [False, True, False, False]


def test_the_last_time_that_it_slept_is_kept_for_each_operation_and_all_for_each_thread_and_function() -> (
    None
):
    hits: list[Hit] = [
        (15, 501, WAIT, ENTRY),
        (16, 501, WAIT, ENTRY, 1),
        (35, 501, WAIT, ENTRY),
        (99, 502, WAIT, ENTRY),
    ]
    reading = Reading(history(hits, [(10, 20, 0), (30, 40, 0), (50, 60, 1)]))
    assert reading.slept.tolist() == [1, 2, -1]
    assert reading.sleeps == {
        (501, 0): [15 * US, 35 * US],
        (501, 1): [16 * US],
        (502, 0): [99 * US],
    }


def test_an_operation_that_never_returned_waited_too() -> None:
    assert waits([(15, 501, WAIT, ENTRY)], [(10, 0, 0)]) == [True]


def test_a_wait_between_two_operations_belongs_to_none() -> None:
    assert waits([(25, 501, WAIT, ENTRY)], [(10, 20, 0), (30, 40, 0)]) == [False, False]


def test_a_wait_of_a_stranger_belongs_to_none() -> None:
    assert waits([(15, 999, WAIT, ENTRY)], [(10, 20, 0)]) == [False]


def test_nobody_waited_without_a_probe_or_without_operations() -> None:
    no_wait = tuple(probe for probe in PROBES if probe.symbol != WAIT)
    assert waits([], [(10, 20, 0)], probes=no_wait) == [False]
    assert waits([(15, 501, WAIT, ENTRY)], []) == []
