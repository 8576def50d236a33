"""What drivers did to their functions, read out of traces written by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.history.columns import INTERRUPT
from harness.history.reading import Reading
from harness.history.windows import (
    CALLBACKS,
    DRIVER_STEPS,
    Callback,
    DriverStep,
    driver_doubts,
)
from harness.history.windows.drivers import PROPOSED
from harness.model.probe import NO_SUCH_FUNCTION
from harness.model.units import US
from tests.unit.history.build import END, ENTRY, PROBES, Hit, history

WHOLE = (
    DriverStep.ASKED,
    DriverStep.SHUTDOWN,
    DriverStep.ALERT,
    DriverStep.SELF_TEST,
    DriverStep.TESTED,
    DriverStep.RESTORE,
    DriverStep.BRING_UP,
    DriverStep.DONE,
)


def steps(*wanted: DriverStep, begin: int = 10, function: int = 0) -> list[Hit]:
    """One hit for each step, ten microseconds apart."""
    symbols = {step: symbol for symbol, step in DRIVER_STEPS.items()}
    return [
        (begin + 10 * number, INTERRUPT, symbols[step], ENTRY, function) for number, step in enumerate(wanted)
    ]


def test_a_reset_goes_from_asked_to_done() -> None:
    (reset,) = Reading(history(steps(*WHOLE))).driver_resets
    assert tuple(taken.step for taken in reset.steps) == WHOLE
    assert (reset.begin_ns, reset.end_ns, reset.done) == (10 * US, 80 * US, True)
    assert reset.bare == (40 * US, 70 * US)


def test_one_that_failed_ends_where_the_next_begins() -> None:
    first, second = Reading(history([*steps(*WHOLE[:5]), *steps(*WHOLE, begin=100)])).driver_resets
    assert (first.end_ns, first.done) == (100 * US, False)
    assert (second.begin_ns, second.done) == (100 * US, True)
    assert first.bare == (40 * US, 100 * US)


def test_one_that_never_ends_lasts_as_long_as_the_stage() -> None:
    (reset,) = Reading(history(steps(DriverStep.ASKED, DriverStep.ALERT))).driver_resets
    assert (reset.end_ns, reset.done, reset.bare) == (END, False, None)


def test_a_step_that_is_polled_is_one_step() -> None:
    (reset,) = Reading(
        history(steps(DriverStep.ASKED, DriverStep.ALERT, DriverStep.ALERT, DriverStep.WARM_RESET))
    ).driver_resets
    assert [taken.step for taken in reset.steps] == [
        DriverStep.ASKED,
        DriverStep.ALERT,
        DriverStep.WARM_RESET,
    ]
    assert reset.bare == (40 * US, END)


def test_functions_are_told_apart() -> None:
    resets = Reading(history([*steps(*WHOLE), *steps(*WHOLE, begin=15, function=1)])).driver_resets
    assert [(reset.function, reset.done, len(reset.steps)) for reset in resets] == [
        (0, True, 8),
        (1, True, 8),
    ]


def test_what_belongs_to_no_function_of_the_plan_is_left_out() -> None:
    assert Reading(history(steps(*WHOLE, function=-1))).driver_resets == ()


def test_drivers_are_told_before_and_after() -> None:
    symbols = {what: symbol for symbol, what in CALLBACKS.items()}
    hits: list[Hit] = [
        (10, 501, symbols[Callback.PREPARE], ENTRY, 0),
        (20, 501, symbols[Callback.DONE], ENTRY, 0),
        (30, 501, symbols[Callback.DONE], ENTRY, -1),
    ]
    assert [(one.what, one.time_ns, one.tid) for one in Reading(history(hits)).tellings] == [
        (Callback.PREPARE, 10 * US, 501),
        (Callback.DONE, 20 * US, 501),
    ]


@pytest.mark.parametrize("driver", ["ipr", "nvme"])
def test_without_its_probes_nothing_is_known_of_a_driver(driver: str) -> None:
    whole = history(steps(*WHOLE))
    assert driver_doubts(whole, driver) == ()
    others = tuple(probe for probe in PROBES if driver not in probe.symbol)
    assert driver_doubts(replace(whole, probes=others), driver)
    assert driver_doubts(history([], lost=3), driver)


ABSENT = "p:hil_1/p23 ipr_reset_prepare fn=x:string: "


@pytest.mark.parametrize(
    ("reason", "certain"),
    [
        (f"ipr_reset_prepare: {NO_SUCH_FUNCTION} ipr", True),
        (ABSENT + "Invalid argument", False),
        ("ipr_reset_prepare: module ipr is not loaded", False),
    ],
)
def test_a_callback_that_only_a_patched_driver_has_is_not_missed_where_there_is_none(
    reason: str,
    certain: bool,  # noqa: FBT001
) -> None:
    whole = history(steps(*WHOLE))
    probes = tuple(
        replace(probe, present=False, reason=reason) if probe.symbol in PROPOSED else probe
        for probe in whole.probes
    )
    assert (driver_doubts(replace(whole, probes=probes), "ipr") == ()) is certain


def test_an_older_history_did_not_ask_for_callbacks_of_a_patched_driver() -> None:
    whole = history(steps(*WHOLE))
    older = replace(whole, probes=tuple(probe for probe in whole.probes if probe.symbol not in PROPOSED))
    assert driver_doubts(older, "ipr") == ()


def test_hits_that_were_missed_of_a_callback_of_a_patched_driver_are_a_doubt() -> None:
    whole = history(steps(*WHOLE))
    probes = tuple(replace(probe, missed=1) if probe.symbol in PROPOSED else probe for probe in whole.probes)
    assert driver_doubts(replace(whole, probes=probes), "ipr")
