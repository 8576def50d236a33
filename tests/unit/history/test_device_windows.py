"""Spans in which device_lock is held, read out of traces written by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.history.history import Probe
from harness.history.reading import Reading
from harness.history.windows import HOLD_DEVICE_LOCK, UNREGISTER, device_doubts
from harness.model import operation as words
from harness.model.plan import File, Op, Step
from harness.model.promise import WindowKind
from harness.model.units import US
from tests.unit.history.build import END, ENTRY, PROBES, READ, RETURN, Hit, history, write

USER = Step(op=Op.READ, means=words.VFIO_READ, file=File(function="igb0", role="vfio-config"), width=4)


@pytest.mark.parametrize(
    ("symbol", "kind"), [(UNREGISTER, WindowKind.UNBIND), (HOLD_DEVICE_LOCK, WindowKind.DEVICE_LOCK)]
)
def test_a_span_goes_from_entry_to_return(symbol: str, kind: WindowKind) -> None:
    (window,) = Reading(history([(10, 9, symbol, ENTRY, 1), (90, 9, symbol, RETURN)])).device_windows
    assert (window.function, window.opened_ns, window.closed_ns, window.tid) == (1, 10 * US, 90 * US, 9)
    assert (window.opened_row, window.closed_row, window.kind) == (0, 1, kind)
    assert (window.asked_ns, window.released_ns) == (None, None)


def test_the_holders_operation_is_as_far_as_the_lock_can_reach() -> None:
    hits: list[Hit] = [(10, 501, UNREGISTER, ENTRY), (90, 501, UNREGISTER, RETURN)]
    (window,) = Reading(history(hits, [(3, 97, 0)])).device_windows
    assert (window.asked_ns, window.released_ns) == (3 * US, 97 * US)
    (window,) = Reading(history(hits, [(3, 0, 0)])).device_windows
    assert (window.asked_ns, window.released_ns) == (3 * US, None)


def test_a_span_that_never_ends_lasts_to_the_end_of_the_stage() -> None:
    (window,) = Reading(history([(10, 9, UNREGISTER, ENTRY)])).device_windows
    assert (window.closed_ns, window.closed_row) == (END, -1)


def test_spans_are_sorted_and_threads_do_not_mix() -> None:
    hits: list[Hit] = [
        (10, 8, UNREGISTER, ENTRY, 0),
        (20, 9, HOLD_DEVICE_LOCK, ENTRY, 1),
        (30, 9, HOLD_DEVICE_LOCK, RETURN),
        (40, 8, UNREGISTER, RETURN),
        (50, 8, UNREGISTER, RETURN),
        (60, 8, UNREGISTER, ENTRY, -1),
        (70, 8, UNREGISTER, RETURN),
    ]
    found = [
        (w.function, w.opened_ns // US, w.closed_ns // US) for w in Reading(history(hits)).device_windows
    ]
    assert found == [(0, 10, 40), (1, 20, 30)]


def without(symbol: str) -> tuple[Probe, ...]:
    return tuple(replace(p, present=False, reason="gone") if p.symbol == symbol else p for p in PROBES)


@pytest.mark.parametrize("means", [words.UNBIND, words.REMOVE])
def test_an_unbind_under_a_vfio_user_needs_the_probe(means: str) -> None:
    steps = (write(means, "driver/unbind"), USER)
    assert device_doubts(history([], steps=steps)) == ()
    assert device_doubts(history([], steps=steps, probes=without(HOLD_DEVICE_LOCK))) == ()
    assert device_doubts(history([], steps=steps, probes=without(UNREGISTER))) == (
        f"no probe on entry of {UNREGISTER} (gone)",
        f"no probe on return of {UNREGISTER} (gone)",
    )
    assert device_doubts(history([], steps=steps, lost=2)) == ("2 trace events were lost",)


def test_without_a_user_nobody_waits_for_one() -> None:
    steps = (write(words.UNBIND, "driver/unbind"), READ)
    assert device_doubts(history([], steps=steps, probes=without(UNREGISTER))) == ()


@pytest.mark.parametrize("means", [words.HOLD_DEVICE, words.HOLD_BOTH, words.HOLD_PORT])
def test_our_own_windows_need_the_probe_of_our_own_module(means: str) -> None:
    steps = (write(means), READ)
    assert device_doubts(history([], steps=steps, probes=without(UNREGISTER))) == ()
    assert len(device_doubts(history([], steps=steps, probes=without(HOLD_DEVICE_LOCK)))) == 2
    missed = tuple(replace(p, missed=3) if p.symbol == HOLD_DEVICE_LOCK else p for p in PROBES)
    assert len(device_doubts(history([], steps=steps, probes=missed))) == 2


def test_a_plan_that_opens_none_has_no_doubts() -> None:
    assert device_doubts(history([], steps=(USER, READ), probes=(), lost=5)) == ()
