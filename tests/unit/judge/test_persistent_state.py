"""persistent_state: resets outside of critical sections, and inside of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from harness.history.columns import SERVED
from harness.judge.evidence import Evidence
from harness.judge.questions.persistent_state import persistent_state
from harness.model.fault import Incident, IncidentKind
from harness.model.served import NO_REGION, Happened
from harness.model.units import MS, Ns
from harness.model.verdict import Blame, EventKind, Finding, Verdict
from tests.unit.judge.build import Stage, at, terms

BEGINS, ENDS, CORRUPTED = Happened.CRITICAL_BEGINS, Happened.CRITICAL_ENDS, Happened.CORRUPTED
LOST = Happened.LOST
RESET_AT = 100_000


def judged(
    *rows: tuple[float, Happened],
    function: int = 0,
    lost: int = 0,
    incidents: tuple[Incident, ...] = (),
    error: int = MS,
) -> tuple[Finding, ...]:
    """What is said of a reset by FLR at :data:`RESET_AT`, and these rows of its model."""
    stage = Stage()
    stage.reset(stage.resetter(), RESET_AT)
    served = np.zeros(len(rows), dtype=SERVED)
    for row, (moment, what) in zip(served, rows, strict=True):
        row["time_ns"], row["what"], row["region"], row["function"] = at(moment), what, NO_REGION, function
    history = stage.history()
    plan = replace(history.plan, incidents=incidents)
    history = replace(history, plan=plan, served=served, served_lost=lost, served_error_ns=Ns(error))
    return persistent_state(Evidence(history), terms(history))


def test_a_function_that_keeps_nothing_is_not_spoken_of() -> None:
    assert judged() == ()
    assert judged((10, Happened.READ), lost=5) == ()


def test_sections_that_ended_are_counted() -> None:
    (good,) = judged((10, BEGINS), (20, ENDS), (30, BEGINS), (40, ENDS))
    assert (good.verdict, good.met) == (Verdict.PASS, 2)


def test_a_section_that_no_reset_met_and_nobody_saw_end_shows_nothing() -> None:
    assert judged((10, BEGINS)) == ()


def test_a_reset_inside_one_is_named_with_who_did_it_and_when() -> None:
    (bad,) = judged((10, BEGINS), (20, ENDS), (20_000, BEGINS), (100_500, CORRUPTED))
    assert (bad.verdict, bad.blame, bad.met) == (Verdict.FAIL, Blame.MISMATCH, 1)
    assert bad.claim.startswith("reset/flr by resetter came 80.5 ms into a critical section of disk")
    assert [(event.kind, event.row) for event in bad.events] == [
        (EventKind.SERVED, 3),
        (EventKind.OPERATION, 0),
        (EventKind.SERVED, 2),
    ]


def test_a_reset_that_nobody_announced_is_named_with_who_did_it() -> None:
    (bad,) = judged((10, BEGINS), (20, ENDS), (100_500, LOST))
    assert (bad.verdict, bad.blame, bad.met) == (Verdict.FAIL, Blame.MISMATCH, 1)
    assert bad.claim == "reset/flr by resetter came unannounced: what disk had not saved yet is lost."
    assert [(event.kind, event.row) for event in bad.events] == [
        (EventKind.SERVED, 2),
        (EventKind.OPERATION, 0),
    ]
    (bad,) = judged((10_000, LOST), (20_000, LOST))
    assert bad.claim == "A reset came unannounced: what disk had not saved yet is lost (2 times)."


@pytest.mark.parametrize("what", [Happened.BUS_RESET, Happened.WAKE, Happened.SELF_TESTED])
def test_an_flr_that_has_not_returned_yet_is_not_what_reset_it_meanwhile(what: Happened) -> None:
    (bad,) = judged((100_400, Happened.FLR), (100_450, what), (100_500, LOST))
    assert bad.claim == "A reset came unannounced: what disk had not saved yet is lost."
    (bad,) = judged((100_400, what), (100_450, Happened.FLR), (100_500, LOST))
    assert bad.claim.startswith("reset/flr by resetter")
    (bad,) = judged((20_000, BEGINS), (100_400, Happened.FLR), (100_450, what), (100_500, CORRUPTED))
    assert bad.claim.startswith("A reset came 80.5 ms into a critical section")


@pytest.mark.parametrize(("moment", "verdict"), [(60_000, Verdict.PASS), (49_999, Verdict.FAIL)])
def test_what_an_error_of_the_link_cost_is_nobodys_fault(moment: int, verdict: Verdict) -> None:
    """Cut off, it could not be told; before that, it could."""
    error = Incident(function="disk", kind=IncidentKind.LINK_ERROR, at_ns=Ns(200 * MS), detail="DLP")
    (found,) = judged((50_000, Happened.INCIDENT_BEGINS), (moment, LOST), incidents=(error,), error=0)
    assert found.verdict is verdict


def test_what_was_corrupted_and_what_was_lost_are_both_named() -> None:
    found = judged((20_000, BEGINS), (100_500, CORRUPTED), (110_000, LOST))
    assert [one.verdict for one in found] == [Verdict.FAIL, Verdict.FAIL]
    assert "into a critical section" in found[0].claim
    assert "unannounced" in found[1].claim


def test_what_was_lost_after_rows_were_is_not_sure_to_be_all() -> None:
    found = judged((100_500, LOST), lost=1)
    assert {one.verdict for one in found} == {Verdict.UNKNOWN, Verdict.FAIL}


def test_the_clock_of_the_log_may_be_a_little_wrong() -> None:
    (near,) = judged((20_000, BEGINS), (RESET_AT - 900, CORRUPTED))
    assert near.claim.startswith("reset/flr by resetter")
    (far,) = judged((20_000, BEGINS), (RESET_AT - 1_100, CORRUPTED))
    assert far.claim.startswith("A reset came 78.9 ms")
    assert far.verdict is Verdict.FAIL


def test_a_log_that_is_not_whole_proves_no_good() -> None:
    found = judged((10, BEGINS), (20, ENDS), lost=1)
    assert max(one.verdict for one in found) is Verdict.UNKNOWN


def test_what_another_function_says_is_its_own() -> None:
    assert judged((10, BEGINS), (100_500, CORRUPTED), function=1) == ()
