"""What a config lock window is called: what its holder was doing when it took the lock."""

from __future__ import annotations

import pytest

from harness.history.columns import INTERRUPT
from harness.history.reading import Reading
from harness.history.windows import LOCK, NOBODY, TRYLOCK, UNLOCK
from harness.model import operation as words
from harness.model.pci import ResetMethod
from harness.model.promise import WindowKind
from harness.model.units import US
from tests.unit.history.build import ENTRY, READ, RETURN, Hit, history, write

HITS: list[Hit] = [(10, 501, LOCK, ENTRY), (13, 501, LOCK, RETURN), (90, 501, UNLOCK, ENTRY)]


@pytest.mark.parametrize(
    ("means", "kind"),
    [
        *((words.reset(method), WindowKind.SYSFS_RESET) for method in ResetMethod),
        (words.VFIO_RESET, WindowKind.VFIO_RESET),
        (words.VFIO_FLR_BIT, WindowKind.VFIO_RESET),
        (words.HOT_RESET, WindowKind.HOT_RESET),
        (words.VFIO_OPEN, WindowKind.VFIO_OPEN),
        (words.VFIO_CLOSE, WindowKind.VFIO_OPEN),
        (words.ENABLE_VFS, WindowKind.SRIOV),
        (words.DISABLE_VFS, WindowKind.SRIOV),
        (words.HOLD_CONFIG, WindowKind.CONFIG_LOCK),
        (words.HOLD_BOTH, WindowKind.CONFIG_LOCK),
        (words.SUBORDINATE_RESET, WindowKind.SYSFS_RESET),
        (words.HOST_RESET, WindowKind.DRIVER_RESET),
        (words.DIAGNOSTICS, WindowKind.DRIVER_RESET),
        (words.REVIVAL, WindowKind.DRIVER_RESET),
    ],
)
def test_a_window_is_of_the_kind_of_its_holders_operation(means: str, kind: WindowKind) -> None:
    (window,) = Reading(history(HITS, [(5, 95, 0)], steps=(write(means), READ))).windows
    assert (window.kind, window.holder) == (kind, 0)


@pytest.mark.parametrize("operations", [[], [(5, 9, 0)], [(20, 95, 0)], [(5, 95, 1)]])
def test_a_holder_that_was_in_no_operation_leaves_a_config_lock(
    operations: list[tuple[int, int, int]],
) -> None:
    (window,) = Reading(history(HITS, operations, steps=(write("reset/flr", "reset"), READ))).windows
    assert (window.kind, window.holder) == (WindowKind.CONFIG_LOCK, NOBODY)


def test_a_vfio_user_that_is_done_closes_the_function() -> None:
    """Its thread takes the lock after its last operation, to reset the function."""
    (window,) = Reading(history(HITS, [(5, 9, 0)], steps=(write(words.VFIO_RESET, "vfio"), READ))).windows
    assert (window.kind, window.holder) == (WindowKind.VFIO_OPEN, NOBODY)


def test_a_holder_that_never_returned_counts() -> None:
    (window,) = Reading(history(HITS, [(5, 0, 0)], steps=(write(words.HOT_RESET), READ))).windows
    assert window.kind is WindowKind.HOT_RESET


def test_the_port_above_is_locked_by_the_same_operation() -> None:
    hits: list[Hit] = [
        (7, 501, LOCK, ENTRY, 1),
        (8, 501, LOCK, RETURN),
        *HITS,
        (95, 501, UNLOCK, ENTRY, 1),
    ]
    found = Reading(history(hits, [(5, 99, 0)], steps=(write("reset/bus"), READ))).windows
    assert [(w.function, w.kind) for w in found] == [(1, WindowKind.SYSFS_RESET), (0, WindowKind.SYSFS_RESET)]


def test_each_moment_finds_the_operation_of_its_own_thread() -> None:
    operations = [(5, 20, 0), (6, 50, 1), (30, 0, 0)]
    moments = [(501, 10), (502, 10), (501, 25), (501, 70), (999, 10), (502, 60)]
    threads = Reading(history([], operations)).threads
    found = [threads.at(tid, us * US) for tid, us in moments]
    assert found == [0, 1, NOBODY, 2, NOBODY, NOBODY]


@pytest.mark.parametrize(
    ("symbol", "tid", "kind"),
    [
        (TRYLOCK, INTERRUPT, WindowKind.DRIVER_RESET),
        (TRYLOCK, 77, WindowKind.CONFIG_LOCK),
        (LOCK, INTERRUPT, WindowKind.CONFIG_LOCK),
    ],
)
def test_only_a_lock_tried_for_in_an_interrupt_is_a_drivers_own(
    symbol: str, tid: int, kind: WindowKind
) -> None:
    hits: list[Hit] = [
        (10, tid, symbol, ENTRY),
        (13, tid, symbol, RETURN, -1, 1),
        (90, tid, UNLOCK, ENTRY),
    ]
    (window,) = Reading(history(hits, [(5, 95, 0)], steps=(write(words.HOST_RESET), READ))).windows
    assert window.kind is kind
