"""A fault that the plan asked for is no news about the kernel; any other is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.history.history import History
from harness.journal.record import KernelLog, SessionEnd, StageRecord, Status
from harness.journal.session import Entry, Session
from harness.model.flavour import Dialect
from harness.model.operation import HOLD_CONFIG, STEAL, Operation
from harness.model.plan import Actor, File, Op, Plan, Step
from harness.model.units import Ns
from harness.model.verdict import Blame, Finding, Judgement, Verdict
from harness.report.junit import to_junit
from harness.report.stage import stage_record
from tests.unit.report.served import late_after_reset

WARNED = Judgement(
    findings=(Finding(checker="kernel_log", verdict=Verdict.FAIL, claim="WARNING", blame=Blame.KERNEL_FAULT),)
)


@pytest.mark.parametrize(
    ("means", "state"),
    [(STEAL, KernelLog.PROVOKED), (HOLD_CONFIG, KernelLog.FAULT)],
    ids=["misuse", "proper use"],
)
def test_a_fault_counts_unless_the_plan_misuses_locks(means: Operation, state: KernelLog) -> None:
    step = Step(op=Op.WRITE, means=means, file=File(function="igb0", role="windows"), value=b"x")
    plan = Plan(
        title="t",
        functions=("igb0",),
        actors=(Actor(name="driver", steps=(step,)),),
        lasting_ns=Ns(1),
        deadline_ns=Ns(1),
    )
    history = History(plan=plan, begin_ns=Ns(0), end_ns=Ns(1))
    assert stage_record(history, WARNED, file="h.history.zip").kernel_log is state


def test_a_fault_that_a_misbehaving_function_provokes_is_no_news() -> None:
    history, _ = late_after_reset()
    assert stage_record(history, WARNED, file="h.history.zip").kernel_log is KernelLog.PROVOKED
    healthy = replace(history, plan=replace(history.plan, faults=(), incidents=()))
    assert stage_record(healthy, WARNED, file="h.history.zip").kernel_log is KernelLog.FAULT


@pytest.mark.parametrize("state", KernelLog)
def test_every_state_of_a_kernel_log_can_be_reported(state: KernelLog) -> None:
    stage = StageRecord(history="h", title="t", verdict="PASS", headline="fine", kernel_log=state)
    session = Session(
        entries=(Entry(test="a.py::b", status=Status.OK, stages=(stage,)),), end=SessionEnd(status=0)
    )
    assert f'"{state}"'.encode() in to_junit(session, dialect=Dialect.RICH)
