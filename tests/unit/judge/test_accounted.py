"""What the log of a model tells and nobody explains."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from harness.history.columns import SERVED
from harness.history.history import History
from harness.judge import judge
from harness.judge.evidence import Evidence
from harness.judge.questions.accounted import accounted
from harness.model.fault import Fault, Incident, IncidentKind, Misbehaviour, PlannedFault
from harness.model.operation import SELF_TEST
from harness.model.served import NO_REGION, Happened
from harness.model.units import MS, Ns
from harness.model.verdict import Blame, Finding, Verdict
from tests.unit.judge.build import ALIAS, Stage, at, terms

Row = tuple[float, Happened, int, int]
"""Microseconds since the release, what, bus address, errno."""

REFUSED: tuple[Row, ...] = tuple(
    (1_000.0 * number, Happened.DMA_WRITTEN, 0x5000_0000, errno.ENODEV) for number in range(1, 31)
)


def stage() -> Stage:
    made = Stage(platform="hil-endpoint")
    made.heartbeat()
    made.op(made.reader(), 10, 12)
    return made


def told(history: History, rows: Sequence[Row]) -> History:
    table = np.zeros(len(rows), dtype=SERVED)
    for row, (us, what, address, error) in zip(table, rows, strict=True):
        row["time_ns"], row["what"], row["address"], row["error"] = at(us), what, address, error
        row["region"] = NO_REGION
    return replace(history, served=table)


def asked(history: History) -> tuple[Finding, ...]:
    return accounted(Evidence(history), terms(history))


def test_dma_that_the_machine_refused_convicts_the_function() -> None:
    history = told(stage().history(), REFUSED)
    (bad,) = asked(history)
    assert (bad.verdict, bad.blame, bad.met) == (Verdict.FAIL, Blame.MISMATCH, 30)
    assert bad.claim == (
        f"{ALIAS} wrote to bus address 0x50000000 and was refused (ENODEV), and 29 more like it: it was no bus master, "
        "or nobody had mapped that for it."
    )
    assert [str(event) for event in bad.events] == ["served:0", "served:1", "served:2", "served:3"]
    assert judge(history, terms(history)).verdict is Verdict.FAIL


def test_dma_that_was_carried_out_is_nothing_to_say() -> None:
    rows = [(us, what, address, 0) for us, what, address, _ in REFUSED]
    assert asked(told(stage().history(), rows)) == ()


@pytest.mark.parametrize("error", [errno.ETIMEDOUT, errno.ENOTCONN, errno.ECANCELED])
def test_nobody_is_convicted_of_what_nobody_refused(error: int) -> None:
    assert asked(told(stage().history(), [(1_000, Happened.DMA_READ, 0x1000, error)])) == ()


def wrong(history: History, *faults: Fault) -> History:
    plan = replace(history.plan, faults=tuple(PlannedFault(function=ALIAS, fault=fault) for fault in faults))
    return replace(history, plan=plan)


def met(us: float, number: int = 0) -> Row:
    return us, Happened.FAULT_MET, number, 0


@pytest.mark.parametrize(
    ("fault", "verdict"),
    [
        (Fault(what=Misbehaviour.STRAY_DMA, value=0x5000_0000), None),
        (Fault(what=Misbehaviour.STRAY_DMA, value=0x6000_0000), Verdict.FAIL),
        (Fault(what=Misbehaviour.IGNORE_FLR), Verdict.UNKNOWN),
        (Fault(what=Misbehaviour.LOSE_WRITES, register="command"), Verdict.UNKNOWN),
        (Fault(what=Misbehaviour.LOSE_WRITES, register="cache-line-size"), Verdict.FAIL),
        (Fault(what=Misbehaviour.LOSE_INTERRUPTS), Verdict.FAIL),
        (Fault(what=Misbehaviour.SELF_TEST_FAILS, value=5), Verdict.FAIL),
        (Fault(what=Misbehaviour.LOSE_COMMANDS, value=0x5000_0000), Verdict.FAIL),
    ],
    ids=lambda value: str(value.what) if isinstance(value, Fault) else str(value),
)
def test_a_fault_explains_its_own_effects_and_no_others(fault: Fault, verdict: Verdict | None) -> None:
    found = asked(wrong(told(stage().history(), [met(500), *REFUSED]), fault))
    assert [one.verdict for one in found] == ([] if verdict is None else [verdict])


def test_what_comes_before_a_fault_is_met_is_not_its_effect() -> None:
    fault = Fault(what=Misbehaviour.IGNORE_FLR)
    open_, bad = asked(wrong(told(stage().history(), [*REFUSED[:10], met(10_500), *REFUSED[10:]]), fault))
    assert (open_.verdict, bad.verdict, bad.met) == (Verdict.UNKNOWN, Verdict.FAIL, 10)
    assert open_.claim == (
        f"{ALIAS} wrote to bus address 0x50000000 and was refused (ENODEV), and 19 more like it: ignore-flr, which was "
        "staged, may be why."
    )
    (bad,) = asked(wrong(told(stage().history(), REFUSED), fault))
    assert bad.verdict is Verdict.FAIL, "it never came to pass"


@pytest.mark.parametrize(
    ("kind", "verdict"),
    [
        (IncidentKind.UNPLUGGED, Verdict.UNKNOWN),
        (IncidentKind.SERVER_RESTARTED, Verdict.UNKNOWN),
        (IncidentKind.SERVER_STALLED, Verdict.UNKNOWN),
        (IncidentKind.SERVER_KILLED, Verdict.FAIL),
        (IncidentKind.LINK_ERROR, Verdict.FAIL),
    ],
)
def test_an_incident_explains_dma_that_was_under_way(kind: IncidentKind, verdict: Verdict) -> None:
    struck = (200_000.0, Happened.INCIDENT_BEGINS, 0, 0)
    late = (250_000.0, Happened.DMA_READ, 0x1000, errno.ENODEV)
    early = (150_000.0, *late[1:])
    (found,) = asked(incident(told(stage().history(), [struck, late]), kind))
    assert found.verdict is verdict
    (found,) = asked(incident(told(stage().history(), [early, struck]), kind))
    assert found.verdict is Verdict.FAIL


def incident(history: History, kind: IncidentKind) -> History:
    stall = Ns(100 * MS) if kind is IncidentKind.SERVER_STALLED else Ns(0)
    detail = "DLP" if kind is IncidentKind.LINK_ERROR else ""
    one = Incident(function=ALIAS, kind=kind, at_ns=Ns(200 * MS), lasting_ns=stall, detail=detail)
    return replace(history, plan=replace(history.plan, incidents=(one,)))


def flr(us: float) -> Row:
    return us, Happened.FLR, 0, 0


def test_a_reset_from_nobody_leaves_the_question_open() -> None:
    history = told(stage().history(), [flr(50_000), flr(60_000)])
    (odd,) = asked(history)
    assert odd.verdict is Verdict.UNKNOWN
    assert odd.claim == (
        f"{ALIAS} saw an FLR 50 ms after the release that neither the plan nor the kernel's trace explains, and 1 more "
        "like it."
    )
    assert judge(history, terms(history)).verdict is Verdict.UNKNOWN


@pytest.mark.parametrize(("us", "explained"), [(60_000, True), (500, False), (400_000, False)])
def test_a_reset_within_a_call_is_explained(us: float, explained: bool) -> None:  # noqa: FBT001
    made = stage()
    made.reset(made.resetter(), 1_000)
    assert (asked(told(made.history(), [flr(us)])) == ()) is explained


def test_a_reset_before_the_release_or_after_the_stage_is_none_of_the_plan() -> None:
    history = stage().history()
    late = (history.end_ns - at(0)) / 1_000 + 1_000
    assert asked(told(history, [flr(-50_000), flr(late)])) == ()


def test_a_self_test_ends_after_the_write_that_began_it() -> None:
    made = stage()
    tester = made.does("tester", SELF_TEST)
    made.op(tester, 1_000, 1_100)
    ends = (200_000.0, Happened.SELF_TESTED, 0, 0)
    assert asked(told(made.history(), [ends])) == ()
    (odd,) = asked(told(made.history(), [(500.0, Happened.SELF_TESTED, 0, 0)]))
    assert "saw a self-test" in odd.claim


def test_what_the_kernel_does_about_an_incident_it_does_later() -> None:
    struck = (200_000.0, Happened.INCIDENT_BEGINS, 0, 0)
    reset = (250_000.0, Happened.BUS_RESET, 0, 0)
    history = told(stage().history(), [struck, reset])
    assert asked(incident(history, IncidentKind.LINK_ERROR)) == ()
    assert len(asked(told(stage().history(), [reset]))) == 1
    (odd,) = asked(incident(history, IncidentKind.SERVER_STALLED))
    assert odd.verdict is Verdict.UNKNOWN, "who stands still resets nobody"
