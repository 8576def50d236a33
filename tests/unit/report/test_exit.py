from __future__ import annotations

import pytest

from harness.journal.record import AttemptRecord, HealthRecord, KernelLog, SessionEnd, StageRecord, Status
from harness.journal.session import Entry, Session
from harness.report import ExitStatus, exit_status

OK = Entry(test="a", status=Status.OK)
SKIPPED = Entry(test="b", status=Status.SKIPPED, type="hil.refused")
XFAIL = Entry(test="c", status=Status.SKIPPED, type="pytest.xfail")
FAILED = Entry(test="d", status=Status.FAILURE, type="hil.mismatch")
UNKNOWN = Entry(test="e", status=Status.ERROR, type="hil.unknown")
USAGE = Entry(test="f", status=Status.ERROR, type="hil.usage")
NOT_RUN = Entry(test="g", status=Status.SKIPPED, type="hil.notrun")
RECOVERED = Entry(test="h", status=Status.OK, attempts=(AttemptRecord(type="hil.infra.clock", summary="w"),))
FAULT = StageRecord(history="h", title="t", verdict="PASS", headline="oops", kernel_log=KernelLog.FAULT)
PROVOKED = StageRecord(history="h", title="t", verdict="FAIL", headline="oops", kernel_log=KernelLog.PROVOKED)
END = SessionEnd(status=0)


@pytest.mark.parametrize(
    ("session", "status"),
    [
        (Session(entries=(OK,), end=END), ExitStatus.GOOD),
        (Session(entries=(OK, SKIPPED, XFAIL), end=END), ExitStatus.GOOD),
        (Session(entries=(SKIPPED,), end=END), ExitStatus.GOOD),
        (Session(entries=(OK, RECOVERED), end=END), ExitStatus.GOOD),
        (Session(entries=(OK, FAILED), end=END), ExitStatus.BAD),
        (Session(entries=(FAILED, UNKNOWN, USAGE)), ExitStatus.BAD),
        (Session(entries=(OK, UNKNOWN), end=END), ExitStatus.NOTHING_SAID),
        (Session(entries=(OK, USAGE, UNKNOWN), end=END), ExitStatus.USAGE),
        (Session(entries=(), end=SessionEnd(status=4)), ExitStatus.USAGE),
        (Session(entries=(), end=SessionEnd(status=5)), ExitStatus.USAGE),
        (Session(entries=(OK,), end=SessionEnd(status=3)), ExitStatus.NOTHING_SAID),
        (Session(entries=(OK, NOT_RUN), end=END), ExitStatus.NOTHING_SAID),
        (Session(entries=(OK,)), ExitStatus.NOTHING_SAID),
        (Session(), ExitStatus.NOTHING_SAID),
        (Session(entries=(OK,), end=END, trouble=("disk full",)), ExitStatus.NOTHING_SAID),
        (Session(entries=(OK,), end=END, damaged=1), ExitStatus.NOTHING_SAID),
        (Session(entries=(OK,), end=SessionEnd(status=2, aborted="^C")), ExitStatus.NOTHING_SAID),
        (Session(entries=(RECOVERED,) * 3, end=END), ExitStatus.NOTHING_SAID),
        (Session(entries=(Entry(test="a", status=Status.OK, stages=(FAULT,)),), end=END), ExitStatus.BAD),
        (Session(entries=(Entry(test="a", status=Status.OK, stages=(PROVOKED,)),), end=END), ExitStatus.GOOD),
        (
            Session(
                entries=(OK,),
                end=END,
                health=(
                    HealthRecord(name="devices_returned", status=Status.FAILURE, type="hil.device-lost"),
                ),
            ),
            ExitStatus.BAD,
        ),
    ],
)
def test_exit_status(session: Session, status: ExitStatus) -> None:
    assert exit_status(session) is status


def test_numbers_that_git_bisect_knows() -> None:
    assert [int(status) for status in ExitStatus] == [0, 1, 2, 125]
