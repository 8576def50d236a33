"""Was every config lock given back once, by the thread that took it?

The lock is a bit without an owner: whoever unlocks it clears it, and the kernel warns only when it is clear
already.  So a theft shows nowhere but in the trace, and what the kernel warns of is often its victim.

Source: Linux drivers/pci/access.c, `pci_cfg_access_lock()`, `pci_cfg_access_unlock()`.
"""

from __future__ import annotations

from typing import Final

from harness.history.windows import NOBODY, FaultKind, LockFault
from harness.judge import findings
from harness.judge.evidence import Evidence
from harness.judge.evidence.culprit import told
from harness.model.terms import Terms
from harness.model.verdict import Blame, EventId, Finding

NAME: Final = "lock_discipline"
SOURCE: Final = "Linux drivers/pci/access.c, pci_cfg_access_lock(), pci_cfg_access_unlock()"
_MOST: Final = 4


def lock_discipline(evidence: Evidence, terms: Terms) -> tuple[Finding, ...]:  # noqa: ARG001  every checker takes both
    """Name whoever unlocked what it did not hold, or never unlocked what it did."""
    windows, faults = evidence.windows, evidence.lock_faults
    if not windows and not faults:
        return ()
    if reasons := evidence.doubts:
        return (findings.unknown(NAME, f"Who held which lock is not certain: {'; '.join(reasons)}."),)
    kinds: dict[tuple[int, FaultKind, int], list[LockFault]] = {}
    for fault in faults:
        if not _at_work(evidence, fault):
            kinds.setdefault((fault.function, fault.kind, fault.tid), []).append(fault)
    if not kinds:
        return (
            findings.passed(
                NAME,
                f"Each of {len(windows)} config locks was given back once, by the thread that took it.",
                met=len(windows),
                source=SOURCE,
            ),
        )
    return tuple(_finding(evidence, equal) for equal in kinds.values())


def convicted(evidence: Evidence) -> tuple[LockFault, ...]:
    """The misuses that are certain, sorted by time."""
    if evidence.doubts:
        return ()
    return tuple(
        fault
        for fault in evidence.lock_faults
        if not _at_work(evidence, fault) and not _doubt(evidence, fault)
    )


def _finding(evidence: Evidence, equal: list[LockFault]) -> Finding:
    fault = equal[0]
    more = f" ({len(equal) - 1} more times)" if len(equal) > 1 else ""
    claim = told(evidence, fault)
    events = _events(equal)
    if why := _doubt(evidence, fault):
        return findings.unknown(NAME, f"{claim}{more}, but {why}.", events=events)
    return findings.failed(
        NAME,
        Blame.DRIVER_FAULT,
        f"{claim}{more}.",
        events=events,
        source=SOURCE,
        met=len(equal),
    )


def _events(faults: list[LockFault]) -> list[EventId]:
    rows = [row for fault in faults for row in fault.rows][:_MOST]
    return [event for row in rows for event in findings.kernel(row)]


def _at_work(evidence: Evidence, fault: LockFault) -> bool:
    """Whether the holder of a lock that is still held is still in the operation that took it: no misuse yet."""
    if fault.kind is not FaultKind.NEVER_UNLOCKED:
        return False
    row = evidence.threads.at(fault.tid, fault.time_ns)
    return row != NOBODY and int(evidence.history.operations["end_ns"][row]) == 0


def _doubt(evidence: Evidence, fault: LockFault) -> str:
    """Half a sentence on why a misuse is not certain, or nothing."""
    match fault.kind:
        case FaultKind.NEVER_UNLOCKED:
            row = evidence.threads.at(fault.tid, fault.time_ns)
            return "" if row != NOBODY else "that thread is no actor's, and may still be at work"
        case FaultKind.UNLOCKED_TWICE if fault.owner is None:
            return "" if evidence.unlock_warned else "it may have been locked before the trace began"
        case FaultKind.UNSEEN:
            return "an unlock is missing in the trace"
        case _:
            return ""
