"""Was every config lock given back once, by the thread that took it?

The lock is a bit without an owner: whoever unlocks it clears it, and the kernel warns only when it is clear
already.  So a theft shows nowhere but in the trace, and what the kernel warns of is often its victim.

Source: Linux drivers/pci/access.c, `pci_cfg_access_lock()`, `pci_cfg_access_unlock()`.
"""

from __future__ import annotations

import re
from typing import Final

from harness.history.history import History
from harness.history.windows import NOBODY, FaultKind, LockFault, doubts, lock_faults, lock_windows, rows_at
from harness.judge import findings
from harness.judge.evidence.culprit import LOG_PATTERN, told
from harness.model.terms import Terms
from harness.model.verdict import Blame, EventId, Finding

NAME: Final = "lock_discipline"
SOURCE: Final = "Linux drivers/pci/access.c, pci_cfg_access_lock(), pci_cfg_access_unlock()"
_MOST: Final = 4


def lock_discipline(history: History, terms: Terms) -> tuple[Finding, ...]:  # noqa: ARG001  every checker takes both
    """Name whoever unlocked what it did not hold, or never unlocked what it did."""
    windows, faults = lock_windows(history), lock_faults(history)
    if not windows and not faults:
        return ()
    if reasons := doubts(history):
        return (findings.unknown(NAME, f"Who held which lock is not certain: {'; '.join(reasons)}."),)
    kinds: dict[tuple[int, FaultKind, int], list[LockFault]] = {}
    for fault in faults:
        if not _at_work(history, fault):
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
    return tuple(_finding(history, equal) for equal in kinds.values())


def convicted(history: History) -> tuple[LockFault, ...]:
    """The misuses that are certain, sorted by time."""
    if doubts(history):
        return ()
    return tuple(
        fault for fault in lock_faults(history) if not _at_work(history, fault) and not _doubt(history, fault)
    )


def _finding(history: History, equal: list[LockFault]) -> Finding:
    fault = equal[0]
    more = f" ({len(equal) - 1} more times)" if len(equal) > 1 else ""
    claim = told(history, fault)
    events = _events(equal)
    if why := _doubt(history, fault):
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


def _at_work(history: History, fault: LockFault) -> bool:
    """Whether the holder of a lock that is still held is still in the operation that took it: no misuse yet."""
    if fault.kind is not FaultKind.NEVER_UNLOCKED:
        return False
    (row,) = rows_at(history, [(fault.tid, fault.time_ns)])
    return row != NOBODY and int(history.operations["end_ns"][row]) == 0


def _doubt(history: History, fault: LockFault) -> str:
    """Half a sentence on why a misuse is not certain, or nothing."""
    match fault.kind:
        case FaultKind.NEVER_UNLOCKED:
            (row,) = rows_at(history, [(fault.tid, fault.time_ns)])
            return "" if row != NOBODY else "that thread is no actor's, and may still be at work"
        case FaultKind.UNLOCKED_TWICE if fault.owner is None:
            warned = any(line.of_the_kernel and re.search(LOG_PATTERN, line.text) for line in history.log)
            return "" if warned else "it may have been locked before the trace began"
        case FaultKind.UNSEEN:
            return "an unlock is missing in the trace"
        case _:
            return ""
