"""Health cases: what dashboards would not see otherwise, as test cases with names that never change.

Some consumers ignore retries, some ignore suite-level text, all of them trend test cases.  `None of the tests
failed` must not look the same as `the runner died after three of them`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from harness.journal.record import HealthRecord, KernelLog, StageRecord, Status
from harness.journal.session import DEATHS, INCOMPLETE, NOT_RUN, Entry, Session
from harness.model.cause import cause_of
from harness.model.verdict import Blame

CLASSNAME: Final = "hil.health"
RETRY_BUDGET: Final = 0.05
"""Share of the tests that may need a retry before the lab itself is called unhealthy and the session stops."""
LEAST_RETRIES: Final = 2
"""So many may, however few tests there are."""
PYTEST_INTERNAL: Final = 3
"""pytest's own exit status for an error inside pytest or one of its plugins."""
RETRY_TYPE: Final = "hil.retry-budget"
_LOG: Final = "kernel_log"


def health(session: Session) -> tuple[Entry, ...]:
    """The health cases of a session: always the same names in the same order, then others that were told."""
    told = {record.name: record for record in session.health}
    cases = [
        _session_complete(session),
        _told(told.pop("kernel_log_clean")) if "kernel_log_clean" in told else _kernel_log_clean(session),
        _told(told.pop("devices_returned")) if "devices_returned" in told else _devices_returned(session),
        _told(told.pop("retry_budget")) if "retry_budget" in told else _retry_budget(session),
    ]
    return (*cases, *(_told(record) for record in told.values() if record.name != "session_complete"))


def _case(name: str, status: Status, kind: str = "", summary: str = "", details: str = "") -> Entry:
    return Entry(
        test=f"{CLASSNAME}::{name}", status=status, type=kind, summary=summary, details=details or summary
    )


def _told(record: HealthRecord) -> Entry:
    return _case(record.name, record.status, record.type, record.summary, record.details)


def _session_complete(session: Session) -> Entry:
    name = "session_complete"
    start = session.start
    unfinished = [entry.test for entry in session.entries if entry.type in (INCOMPLETE, NOT_RUN)]
    if session.trouble or session.damaged:
        reasons = [*session.trouble]
        if session.damaged:
            reasons.append(f"{session.damaged} lines of the journal are damaged")
        return _case(name, Status.ERROR, "hil.infra.journal", f"results may be missing: {'; '.join(reasons)}")
    if session.end is None:
        what = "the host has booted since" if session.host_went_down else "no end record in the journal"
        summary = f"the runner (pid {start.pid} on {start.host}) did not come to its end: {what}"
        kind = "hil.host-crash" if session.host_went_down else INCOMPLETE
        return _case(
            name, Status.ERROR, kind, summary, "\n".join([summary, "", "without a verdict:", *unfinished])
        )
    if session.end.aborted:
        return _case(
            name, Status.ERROR, "hil.aborted", f"the user stopped the session: {session.end.aborted}"
        )
    if session.end.status == PYTEST_INTERNAL:
        return _case(name, Status.ERROR, "hil.harness", f"pytest broke: {session.end.stopped}")
    if not session.entries:
        return _case(name, Status.ERROR, NOT_RUN, "no test was collected: nothing can be said")
    return _case(name, Status.OK)


def _kernel_log_clean(session: Session) -> Entry:
    name = "kernel_log_clean"
    stages = [(entry.test, stage) for entry in session.entries for stage in entry.stages]
    faults = [(test, *_log_fault(stage)) for test, stage in stages if stage.kernel_log is KernelLog.FAULT]
    if faults:
        lines = [f"{test}: {claim}" for test, _, claim in faults]
        worst = min(range(len(faults)), key=lambda number: cause_of(_LOG, faults[number][1]))
        nth = "first" if worst == 0 else "worst"
        summary = (
            f"the kernel log of {len(faults)} of {len(stages)} stages shows a fault; {nth}: {lines[worst]}"
        )
        return _case(name, Status.FAILURE, faults[worst][1], summary, "\n".join(lines))
    unknown = [test for test, stage in stages if stage.kernel_log is KernelLog.UNKNOWN]
    if not stages:
        return _case(name, Status.SKIPPED, NOT_RUN, "no stage was judged, so no kernel log was read")
    if unknown:
        summary = f"the kernel log of {len(unknown)} of {len(stages)} stages was not judged"
        return _case(name, Status.SKIPPED, NOT_RUN, summary, "\n".join([summary, *dict.fromkeys(unknown)]))
    return _case(name, Status.OK)


def _log_fault(stage: StageRecord) -> tuple[str, str]:
    """Blame and claim of the fault in the log of a stage that is nearest to the cause."""
    failed = [one for one in stage.findings if one.get("verdict") == "FAIL" and _of_the_kernel(one)]
    told = [(str(one.get("blame") or Blame.KERNEL_FAULT), str(one.get("claim"))) for one in failed]
    usual = (stage.blame or Blame.KERNEL_FAULT, stage.headline)
    return min(told, key=lambda one: cause_of(_LOG, one[0]), default=usual)


def _of_the_kernel(finding: Mapping[str, Any]) -> bool:
    return finding.get("checker") == _LOG or finding.get("blame") == Blame.KERNEL_FAULT


def _devices_returned(session: Session) -> Entry:
    name = "devices_returned"
    if session.end is None:
        summary = "the runner died before it could tell whether every function was given back"
        return _case(name, Status.ERROR, INCOMPLETE, summary)
    return _case(name, Status.SKIPPED, NOT_RUN, "no function outside a guest was borrowed")


def allowed_retries(tests: int) -> int:
    """How many of so many tests may need a retry."""
    return max(LEAST_RETRIES, int(RETRY_BUDGET * tests))


def _retry_budget(session: Session) -> Entry:
    retried = [entry for entry in session.entries if any(try_.type not in DEATHS for try_ in entry.attempts)]
    allowed = (
        session.start.retries if session.start.retries is not None else allowed_retries(len(session.entries))
    )
    if len(retried) <= allowed:
        return _case("retry_budget", Status.OK)
    summary = (
        f"{len(retried)} of {len(session.entries)} tests needed a retry, {allowed} may: look after the lab"
    )
    lines = [f"{entry.test}: {', '.join(try_.type for try_ in entry.attempts)}" for entry in retried]
    return _case("retry_budget", Status.FAILURE, RETRY_TYPE, summary, "\n".join([summary, *lines]))
