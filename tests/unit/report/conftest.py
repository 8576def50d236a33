"""One session that shows every row of the mapping table, and the schema that it must satisfy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import xmlschema

from harness.journal.fold import fold
from harness.journal.record import (
    AttemptRecord,
    HealthRecord,
    KernelLog,
    Latency,
    PhaseReport,
    Record,
    Refusals,
    SessionEnd,
    SessionStart,
    StageRecord,
    Status,
    TestFinish,
    TestPlan,
    TestStart,
)
from harness.journal.session import Session
from harness.model.flavour import FlakyPolicy
from harness.model.units import Ns

SCHEMA = Path(__file__).parents[2] / "data" / "junit-10.xsd"
TRY = AttemptRecord(type="hil.timeout", summary="no answer in 9 s", details="console tail")

ROWS: dict[str, tuple[Status, str]] = {
    "ok": (Status.OK, ""),
    "refused_as_specified": (Status.OK, ""),
    "recovered": (Status.OK, ""),
    "kernel_warning": (Status.OK, ""),
    "refused": (Status.SKIPPED, "hil.refused"),
    "mismatch": (Status.FAILURE, "hil.mismatch"),
    "timeout": (Status.FAILURE, "hil.timeout"),
    "reset_failed": (Status.FAILURE, "hil.reset-failed"),
    "device_lost": (Status.FAILURE, "hil.device-lost"),
    "blocked": (Status.SKIPPED, "hil.blocked"),
    "kernel_fault": (Status.FAILURE, "hil.kernel-fault"),
    "infra": (Status.ERROR, "hil.infra.guest"),
    "harness": (Status.ERROR, "hil.harness"),
    "xfail": (Status.SKIPPED, "pytest.xfail"),
    "xpass": (Status.FAILURE, "hil.xpass"),
    "unknown": (Status.ERROR, "hil.unknown"),
}
RETRIED = ("recovered", "timeout", "infra")
REFUSED = ("ok", "mismatch")


def records(
    *, flaky: FlakyPolicy = FlakyPolicy.PASS, aborted: str = "", finished: bool = True
) -> list[Record]:
    """A session with a test of each row; unless `finished` the runner died in the test after them."""
    second = 1_000_000_000
    said: list[Record] = [
        SessionStart(
            suite="hil.nvme0",
            host="lab7",
            pid=42,
            boot_id="first",
            realtime_ns=Ns(1_795_332_566 * second),
            at_ns=Ns(100 * second),
            versions={"harness": "0.1.0"},
            argv=("pytest",),
            results="hil-results",
            flaky=flaky,
            provenance={"kernel.release": "6.12.117"},
        ),
        TestPlan(
            tests=(
                *(f"t/test_rows.py::test_{name}[nvme0]" for name in ROWS),
                "t/test_rows.py::late",
                "t/x.py::never",
            )
        ),
    ]
    at = 100
    for name, (status, kind) in ROWS.items():
        test = f"t/test_rows.py::test_{name}[nvme0]"
        said.append(TestStart(test=test, at_ns=Ns(at * second)))
        if name in RETRIED:
            said += [AttemptRecord(test=test, type=TRY.type, summary=TRY.summary, details=TRY.details)] * 2
        said.append(
            StageRecord(
                test=test,
                history=f"histories/{name}.history.zip",
                title=name,
                verdict="PASS",
                headline="fine",
                met=3,
                operations=100,
                seed=7,
                kernel_log=KernelLog.WARN if name == "kernel_warning" else KernelLog.CLEAN,
                kernel_warnings=("nvme nvme0: slow\x1b[0m",) if name == "kernel_warning" else (),
                latencies=(
                    Latency(operation="config-read/sysfs", count=9, p50_ns=9_000, p99_ns=20_000, max_ns=1),
                ),
                refusals=(
                    Refusals(
                        operation="reset/vfio", attempts=3, errnos={"EAGAIN": 3}, rounds=1, ended={"ok": 1}
                    ),
                )
                if name in REFUSED
                else (),
                attachments=(f"att/{name}.timeline.svg", f"att/{name}.console.log"),
            )
        )
        summary = "" if status is Status.OK else f"what {name} means, in one line"
        said.append(
            PhaseReport(
                test=test,
                phase="call",
                status=status,
                type=kind,
                summary=summary,
                details=f"{summary}\nand at length",
                output="captured",
                file="t/test_rows.py",
                line=7,
            )
        )
        at += 2
        said.append(TestFinish(test=test, at_ns=Ns(at * second)))
    said.append(TestStart(test="t/test_rows.py::late", at_ns=Ns(at * second)))
    if finished:
        said += [
            PhaseReport(test="t/test_rows.py::late", phase="call", status=Status.OK),
            TestFinish(test="t/test_rows.py::late", at_ns=Ns(at * second)),
            PhaseReport(test="t/x.py::never", phase="call", status=Status.OK),
            HealthRecord(name="devices_returned", status=Status.OK),
            HealthRecord(
                name="guests_ended", status=Status.ERROR, type="hil.infra.guest", summary="one lives"
            ),
        ]
    if finished or aborted:
        said.append(SessionEnd(status=1, aborted=aborted, at_ns=Ns((at + 1) * second)))
    return said


@pytest.fixture(
    params=[
        "finished",
        "died",
        "host-crash",
        "aborted",
        "flaky-fails",
        "journal-trouble",
        "stub",
        "nothing-run",
    ]
)
def session(request: pytest.FixtureRequest) -> Session:
    """Every row of the mapping table, in every way a session can end."""
    match request.param:
        case "finished":
            return fold(records(), boot_id="first")
        case "died":
            return fold(records(finished=False), boot_id="first")
        case "host-crash":
            return fold(records(finished=False), boot_id="second")
        case "aborted":
            return fold(records(finished=False, aborted="KeyboardInterrupt"), boot_id="first")
        case "flaky-fails":
            return fold(records(flaky=FlakyPolicy.FAIL), boot_id="first")
        case "journal-trouble":
            return fold(records(), boot_id="first", damaged=2, trouble=("journal j: ENOSPC",))
        case "stub":
            return Session(start=SessionStart(host="lab7", pid=42))
        case _:
            return fold([SessionStart(), SessionEnd(status=5)])


@pytest.fixture(scope="session")
def schema() -> Any:
    """The strict schema of the Jenkins xUnit plugin."""
    return xmlschema.XMLSchema(SCHEMA)
