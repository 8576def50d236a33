"""`kernel_log_clean` carries the blame of what it sums up: of all stages the one nearest to the cause."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.journal.record import KernelLog, StageRecord
from harness.journal.session import Entry, Session
from harness.model.verdict import Blame
from harness.report.health import health

pytestmark = pytest.mark.parametrize("session", ["finished"], indirect=True)
CLEAN = StageRecord(history="h", title="t", verdict="PASS", headline="fine", kernel_log=KernelLog.CLEAN)


def stage(*blames: str) -> StageRecord:
    """One whose log shows faults of these kinds."""
    found = tuple({"checker": "kernel_log", "verdict": "FAIL", "claim": one, "blame": one} for one in blames)
    effect = {"checker": "values_sane", "verdict": "FAIL", "claim": "wrong", "blame": "hil.mismatch"}
    return replace(CLEAN, verdict="FAIL", kernel_log=KernelLog.FAULT, findings=(effect, *found))


def told(session: Session, *stages: StageRecord) -> Entry:
    entries = tuple(replace(session.entries[0], test=f"test{n}", stages=(s,)) for n, s in enumerate(stages))
    (case,) = (
        one for one in health(replace(session, entries=entries)) if one.test.endswith("kernel_log_clean")
    )
    return case


@pytest.mark.parametrize("blame", ["hil.device-lost", "hil.reset-failed", "hil.timeout", "hil.driver-fault"])
def test_the_type_is_that_of_the_fault(session: Session, blame: str) -> None:
    case = told(session, CLEAN, stage(blame))
    assert case.type == blame
    assert case.summary == f"the kernel log of 1 of 2 stages shows a fault; first: test1: {blame}"


def test_of_many_the_cause_decides(session: Session) -> None:
    case = told(session, stage("hil.device-lost"), stage("hil.timeout", "hil.kernel-fault"))
    assert case.type == Blame.KERNEL_FAULT
    assert case.summary.endswith("2 of 2 stages shows a fault; worst: test1: hil.kernel-fault")


def test_a_journal_that_names_no_blame_speaks_of_the_kernel(session: Session) -> None:
    case = told(session, replace(CLEAN, headline="oops", kernel_log=KernelLog.FAULT))
    assert (case.type, case.summary) == (
        Blame.KERNEL_FAULT,
        "the kernel log of 1 of 1 stages shows a fault; first: test0: oops",
    )
