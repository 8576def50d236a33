"""fault_met on histories written by hand: what was staged to go wrong, and what the log of its model tells of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from harness.history.columns import SERVED
from harness.history.history import History
from harness.judge.evidence import Evidence
from harness.judge.questions.fault_met import fault_met
from harness.model.fault import Fault, Incident, IncidentKind, Misbehaviour, Occasion, PlannedFault
from harness.model.served import NO_REGION, Happened
from harness.model.units import MS, Ns
from harness.model.verdict import Blame, EventKind, Finding, Verdict
from tests.unit.judge.build import ALIAS, Stage, at, terms, worst

BEGINS, ENDS, MET = Happened.FAULT_BEGINS, Happened.FAULT_ENDS, Happened.FAULT_MET
STRUCK, OVER = Happened.INCIDENT_BEGINS, Happened.INCIDENT_ENDS
SLOW = Fault(what=Misbehaviour.NOT_READY, when=Occasion.FLR, lasting_ns=Ns(800 * MS))
WRONG = Fault(what=Misbehaviour.WRONG_VALUE, register="revision")
KILLED = Incident(function=ALIAS, kind=IncidentKind.SERVER_KILLED, at_ns=Ns(500 * MS))
LINK = Incident(function=ALIAS, kind=IncidentKind.LINK_ERROR, at_ns=Ns(600 * MS), detail="DLP")
PORT = f"{ALIAS}.port"

Row = tuple[float, Happened, int] | tuple[float, Happened, int, int] | tuple[float, Happened, int, int, int]
"""Microseconds since the release, what, value, function (0), errno (0)."""


def history(
    rows: Sequence[Row],
    faults: Sequence[Fault] = (),
    incidents: Sequence[Incident] = (),
    *,
    lost: int = 0,
    others: Sequence[PlannedFault] = (),
    late_at: float | None = None,
) -> History:
    table = np.zeros(len(rows), dtype=SERVED)
    for row, (us, what, value, *rest) in zip(table, rows, strict=True):
        function, error = (*rest, 0, 0)[:2]
        row["time_ns"], row["what"], row["value"], row["region"] = at(us), what, value, NO_REGION
        row["function"], row["error"] = function, error
    stage = Stage()
    stage.op(stage.reader(), 10, 12)
    stage.heartbeat(late_at=late_at)
    plain = stage.history()
    planned = (*others, *(PlannedFault(function=ALIAS, fault=one) for one in faults))
    plan = replace(plain.plan, functions=(ALIAS, PORT), faults=planned, incidents=tuple(incidents))
    return replace(plain, plan=plan, served=table, served_lost=lost)


def asked(*what: object, **more: object) -> tuple[Finding, ...]:
    one = history(*what, **more)  # type: ignore[arg-type]
    return fault_met(Evidence(one), terms(one))


def test_nothing_staged_is_nothing_to_say() -> None:
    assert asked([(10, BEGINS, 0), (11, MET, 0)]) == ()


def test_a_fault_that_was_met_passes_and_is_told() -> None:
    (good,) = asked([(100_000, BEGINS, 0), (250_000, MET, 0), (900_000, ENDS, 0)], [SLOW])
    assert (good.verdict, good.met) == (Verdict.PASS, 1)
    assert good.claim == (
        f"{ALIAS} was not-ready for 800 ms after flr, as staged; first met 250 ms after the release."
    )


def test_each_time_it_was_met_counts() -> None:
    (good,) = asked([(1, BEGINS, 0), (2, MET, 0), (3, BEGINS, 0), (4, MET, 0)], [SLOW])
    assert good.met == 2


def test_a_fault_that_never_began_shows_nothing() -> None:
    (odd,) = asked([(10, Happened.FLR, 0)], [SLOW])
    assert (odd.verdict, odd.blame) == (Verdict.UNKNOWN, Blame.NOTHING)
    assert "never came to be not-ready" in odd.claim


@pytest.mark.parametrize("rows", [[], [(10, BEGINS, 0)]], ids=["never began", "never met"])
def test_a_busy_machine_may_be_to_blame(rows: list[Row]) -> None:
    (odd,) = asked(rows, [SLOW], late_at=500_000)
    assert (odd.verdict, odd.blame) == (Verdict.UNKNOWN, Blame.STARVED)


def test_a_fault_that_nobody_met_shows_nothing() -> None:
    (odd,) = asked([(5, Happened.READ, 0), (10, BEGINS, 0)], [WRONG])
    assert odd.verdict is Verdict.UNKNOWN
    assert "was wrong-value (revision) from the beginning, and nothing met it" in odd.claim
    assert [(event.kind, event.row) for event in odd.events] == [(EventKind.SERVED, 1)]


@pytest.mark.parametrize(
    "rows",
    [
        [(10, BEGINS, 1), (11, MET, 1)],  # another fault
        [(10, BEGINS, 0, 1), (11, MET, 0, 1)],  # another function
        [(8e6, BEGINS, 0), (8.1e6, MET, 0)],  # after the stage
    ],
    ids=["number", "function", "late"],
)
def test_what_befell_another_or_came_later_is_no_witness(rows: list[Row]) -> None:
    (odd,) = asked(rows, [SLOW])
    assert "never came to be" in odd.claim


def test_a_fault_that_was_met_only_after_the_stage_was_not_met() -> None:
    (odd,) = asked([(10, BEGINS, 0), (8e6, MET, 0)], [SLOW])
    assert (odd.verdict, "nothing met it" in odd.claim) == (Verdict.UNKNOWN, True)


def test_numbers_count_in_the_programme_of_one_function() -> None:
    of_port = PlannedFault(function=PORT, fault=WRONG)
    rows: list[Row] = [(10, BEGINS, 0), (11, MET, 0), (12, BEGINS, 0, 1)]
    met, unmet = asked(rows, [SLOW], others=[of_port])
    assert (met.verdict, unmet.verdict) == (Verdict.PASS, Verdict.UNKNOWN)
    assert unmet.claim.startswith(PORT)


def test_one_of_two_faults_is_not_enough() -> None:
    found = asked([(10, BEGINS, 0), (11, MET, 0), (12, BEGINS, 1)], [SLOW, WRONG])
    assert [one.verdict for one in found] == [Verdict.PASS, Verdict.UNKNOWN]
    assert worst(found) is Verdict.UNKNOWN


def test_a_log_that_was_full_proves_nothing() -> None:
    (odd,) = asked([(10, BEGINS, 0), (11, MET, 0)], [SLOW], lost=3)
    assert (odd.verdict, odd.claim[:6]) == (Verdict.UNKNOWN, "3 rows")
    assert asked([], lost=3) == (), "nobody needs it"


def test_incidents_that_were_carried_out_pass() -> None:
    rows: list[Row] = [(500_100, STRUCK, 0), (500_200, OVER, 0), (600_000, STRUCK, 1), (600_500, OVER, 1)]
    killed, link = asked(rows, (), [KILLED, LINK])
    assert (killed.verdict, killed.met, link.verdict) == (Verdict.PASS, 1, Verdict.PASS)
    assert killed.claim == f"{ALIAS}: server-killed, as staged, 500 ms after the release."
    assert link.claim.startswith(f"{ALIAS}: link-error (DLP), as staged")


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([], "did not come before the stage was over"),
        ([(8e6, STRUCK, 0), (8.1e6, OVER, 0)], "did not come before the stage was over"),
        ([(500_000, STRUCK, 1), (500_001, OVER, 1)], "did not come before the stage was over"),
        ([(500_000, STRUCK, 0)], "could not be carried out"),
        ([(500_000, STRUCK, 0), (500_001, OVER, 0, 0, 5)], "could not be carried out"),
    ],
    ids=["never", "late", "another", "unfinished", "failed"],
)
def test_incidents_that_were_not_carried_out_show_nothing(rows: list[Row], said: str) -> None:
    (odd,) = asked(rows, (), [KILLED])
    assert odd.verdict is Verdict.UNKNOWN
    assert said in odd.claim


def test_an_incident_may_end_after_the_stage() -> None:
    (good,) = asked([(500_000, STRUCK, 0), (8e6, OVER, 0)], (), [KILLED])
    assert good.verdict is Verdict.PASS


@pytest.mark.parametrize("rows", [[], [(10, BEGINS, 0)]])
def test_what_did_not_come_to_pass_on_a_busy_machine_may_do_so_another_time(rows: list[Row]) -> None:
    (odd,) = asked(rows, [SLOW], late_at=500_000)
    assert (odd.verdict, odd.blame) == (Verdict.UNKNOWN, Blame.STARVED)
    assert "a heartbeat woke" in odd.claim


def test_who_reads_config_space_after_the_stage_meets_nothing() -> None:
    (late,) = asked([(100_000, BEGINS, 0), (3_000_000, MET, 0)], [WRONG])
    assert late.verdict is Verdict.UNKNOWN
    assert "nothing met it" in late.claim


TIMED = Fault(what=Misbehaviour.WRONG_VALUE, register="revision", when=Occasion.TIME, at_ns=Ns(150 * MS))


@pytest.mark.parametrize(
    ("rows", "blame"),
    [
        ([(150_000, BEGINS, 0)], Blame.NOTHING),
        ([(249_000, BEGINS, 0)], Blame.NOTHING),
        ([(251_000, BEGINS, 0)], Blame.STARVED),
        ([], Blame.STARVED),
    ],
    ids=["in time", "just in time", "late", "too late"],
)
def test_a_timed_fault_that_came_late_is_the_hosts_fault(rows: list[Row], blame: Blame) -> None:
    (odd,) = asked(rows, [TIMED])
    assert (odd.verdict, odd.blame) == (Verdict.UNKNOWN, blame)
    assert ("the host began it" in odd.claim) is (blame is Blame.STARVED)


def test_an_incident_that_never_came_is_the_hosts_fault() -> None:
    (odd,) = asked([], incidents=[KILLED])
    assert (odd.verdict, odd.blame) == (Verdict.UNKNOWN, Blame.STARVED)
