"""Rounds added up, and held against a baseline."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from harness.errors import HistoryError
from harness.history.history import History
from harness.history.reading import Reading
from harness.history.steps import steps_of
from harness.lab.figures.synthetic import synthetic
from harness.model.operation import config_read, reset
from harness.model.pci import AccessPath, ResetMethod
from harness.model.units import MS, US
from harness.report.stage import latencies
from harness.statistics.comparison import ENOUGH, Aspect, Weight, compare
from harness.statistics.histogram import Histogram
from harness.statistics.spans import spans
from harness.statistics.tally import Outcome, Place, Tally, place_of
from tests.property.thinned import thinned

HISTORY = replace(
    synthetic(4000), provenance={"kernel.release": "6.12.117+deb13-amd64", "lab.accelerator": "tcg"}
)
PLACE = Place(function="dut", platform="nvme", kernel="6.12", accelerator="tcg")


def tally(
    passed: int = 0, failed: int = 0, *, met: int = 8, read_us: int = 20, accelerator: str = "tcg"
) -> Tally:
    """Rounds that all took the same; times around `read_us`, one in fifty ten times as long."""
    made = Tally(place=replace(PLACE, accelerator=accelerator))
    for outcome, times in ((Outcome.PASSED, passed), (Outcome.FAILED, failed)):
        for _ in range(times):
            made.add_round(outcome)
            made.stages += 1
            made.met += met
    reads = np.full(1000, read_us * US)
    reads[::50] *= 10
    made.latencies["config-read/sysfs"] = Histogram()
    made.latencies["config-read/sysfs"].add(reads)
    return made


def claims(now: Tally, before: Tally, **options: float) -> list[tuple[Aspect, Weight]]:
    return [(change.aspect, change.weight) for change in compare("t", now, before, **options)]


def test_spans_are_those_of_the_table() -> None:
    found = {means: times for means, times, _ in spans(steps_of(HISTORY))}
    assert set(found) == {"config-read/sysfs", "reset/flr", "heartbeat"}
    assert len(found[config_read(AccessPath.SYSFS)]) == 4000
    assert int(found[reset(ResetMethod.FLR)].min()) > 100 * MS


def test_operations_that_never_returned_have_no_latency() -> None:
    operations = HISTORY.operations.copy()
    operations["end_ns"][operations["actor"] == 4] = 0
    assert "reset/flr" not in {
        means for means, *_ in spans(steps_of(replace(HISTORY, operations=operations)))
    }


def test_what_a_full_lane_left_out_is_counted_as_long_as_the_row_after_it() -> None:
    """Otherwise the slow ones, which all have their rows, would weigh more in a long stage than in a short one."""
    thin = thinned(HISTORY, 2 * MS)
    assert len(thin.operations) < len(HISTORY.operations) / 2
    whole, less = Tally(), Tally()
    whole.add_stage(HISTORY, 1)
    less.add_stage(thin, 1)
    assert less.operations == whole.operations
    read = config_read(AccessPath.SYSFS)
    assert less.latencies[read].count == whole.latencies[read].count
    (before,), (after,) = (
        [one for one in latencies(Reading(history)) if one.operation == read] for history in (HISTORY, thin)
    )
    assert (after.count, after.max_ns) == (before.count, before.max_ns)
    assert after.p50_ns == pytest.approx(before.p50_ns, rel=0.1)
    assert after.p99_ns == pytest.approx(before.p99_ns, rel=0.1)


def test_stages_add_up() -> None:
    made = Tally()
    for met in (3, 0, 4):
        made.add_stage(HISTORY, met)
    assert (made.stages, made.met, made.met_nothing) == (3, 7, 1)
    assert made.operations == 3 * len(HISTORY.operations)
    assert made.latencies["config-read/sysfs"].count == 12_000
    assert made.place == PLACE


def test_rounds_add_up_and_what_has_no_verdict_counts_for_neither_side() -> None:
    made = Tally()
    for outcome in (Outcome.PASSED, Outcome.KNOWN, Outcome.FAILED, Outcome.UNJUDGED, Outcome.SKIPPED):
        made.add_round(outcome, ("hil.infra.clock", "hil.infra.starved") if outcome is Outcome.PASSED else ())
    assert (made.passes.good, made.passes.total, made.rounds) == (2, 3, 5)
    assert made.retried == 1
    assert made.attempts == {"hil.infra.clock": 1, "hil.infra.starved": 1}


def test_two_soaks_merge_into_what_one_long_soak_would_have_given() -> None:
    first, second, whole = Tally(), Tally(), Tally()
    for part, outcome in ((first, Outcome.PASSED), (second, Outcome.FAILED), (second, Outcome.PASSED)):
        for one in (part, whole):
            one.add_round(outcome, ("hil.infra.clock",))
            one.add_stage(HISTORY, 5)
    merged = Tally()
    merged.merge(first)
    merged.merge(second)
    assert merged.to_json() == whole.to_json()


def test_ports_are_no_functions_of_their_own() -> None:
    plan = replace(HISTORY.plan, functions=("dut", "dut.port", "other"))
    assert place_of(replace(HISTORY, plan=plan)).function == "dut+other"
    assert place_of(replace(HISTORY, plan=plan)).platform == "nvme+unknown"


def test_a_patched_driver_is_another_place() -> None:
    patched = replace(HISTORY, provenance={**HISTORY.provenance, "kernel.own_modules": "ipr-0123456789ab"})
    assert place_of(patched).kernel == f"{place_of(HISTORY).kernel}+ipr-0123456789ab"


def test_a_tally_survives_json() -> None:
    made = tally(3, 1)
    made.add_round(Outcome.UNJUDGED, ("hil.infra.guest",))
    assert Tally.from_json(json.loads(json.dumps(made.to_json()))).to_json() == made.to_json()


@pytest.mark.parametrize(
    "spoil",
    [
        {"version": 99},
        {"outcomes": {"won": 1}},
        {"outcomes": {"passed": -1}},
        {"met": "many"},
        {"latencies": []},
        {"latencies": {"config-read/sysfs": {}}},
    ],
)
def test_what_is_none_is_refused(spoil: dict[str, Any]) -> None:
    with pytest.raises(HistoryError):
        Tally.from_json({**tally(1).to_json(), **spoil})
    with pytest.raises(HistoryError):
        Tally.from_json({})


# --- against a baseline ---------------------------------------------------------------------------------------


def test_equal_soaks_say_nothing() -> None:
    assert claims(tally(100), tally(300)) == []
    assert claims(tally(98, 2), tally(99, 1)) == []


def test_failing_more_often_is_a_regression_only_when_chance_does_not_explain_it() -> None:
    assert claims(tally(99, 1), tally(100)) == []
    assert claims(tally(5, 1), tally(1000)) == [(Aspect.PASS_RATE, Weight.REGRESSION)]
    assert claims(tally(80, 20), tally(100)) == [(Aspect.PASS_RATE, Weight.REGRESSION)]
    assert claims(tally(100), tally(80, 20)) == []


def test_the_claim_has_both_sides_in_numbers() -> None:
    (change,) = compare("t", tally(80, 20), tally(100))
    assert "80 of 100 rounds, baseline 100 of 100" in change.claim


def test_latency_moves_only_when_median_and_tail_do() -> None:
    before = tally(100)
    assert claims(tally(100, read_us=50), before) == [(Aspect.LATENCY, Weight.WARNING)]
    assert claims(tally(100, read_us=39), before) == []
    assert claims(tally(100, read_us=39), before, factor=1.5) == [(Aspect.LATENCY, Weight.WARNING)]
    tail_only = tally(100)
    tail_only.latencies["config-read/sysfs"].add(np.full(40, 500 * MS))
    assert claims(tail_only, before) == []
    median_only = tally(100)
    median_only.latencies["config-read/sysfs"] = Histogram()
    median_only.latencies["config-read/sysfs"].add(np.full(1000, 100 * US))
    assert claims(median_only, before) == []


def test_few_operations_have_no_tail_to_compare() -> None:
    now = tally(100, read_us=500)
    now.latencies["config-read/sysfs"] = Histogram()
    now.latencies["config-read/sysfs"].add(np.full(ENOUGH - 1, 900 * MS))
    assert claims(now, tally(100)) == []


def test_latency_of_an_emulator_is_a_warning_of_a_processor_it_is_not() -> None:
    fast, slow = tally(100, accelerator="kvm"), tally(100, read_us=50, accelerator="kvm")
    assert claims(slow, fast) == [(Aspect.LATENCY, Weight.UNEXPLAINED)]


def test_a_scenario_that_has_lost_its_teeth_is_noticed() -> None:
    assert claims(tally(100, met=3), tally(100, met=8)) == [(Aspect.MEETINGS, Weight.WARNING)]
    assert claims(tally(100, met=0), tally(100, met=1)) == [(Aspect.MEETINGS, Weight.WARNING)]
    assert claims(tally(100, met=5), tally(100, met=8)) == []
    assert claims(tally(100, met=0), tally(100, met=0)) == []


def test_the_heartbeat_is_no_operation_of_a_function() -> None:
    def with_beats(history: History, late_us: int) -> Tally:
        made = tally(100)
        made.latencies["heartbeat"] = Histogram()
        made.latencies["heartbeat"].add(np.full(len(history.operations), late_us * US))
        return made

    assert claims(with_beats(HISTORY, 90_000), with_beats(HISTORY, 10_000)) == []
