"""Was the kernel log clean?

Source of the patterns: the contract's log rules; every rule names the kernel function that prints the line.  What no
rule explains leaves the question open where it is an error of what the plan names; else it is a remark.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from harness.judge import findings
from harness.judge.evidence import Evidence
from harness.judge.evidence.calls import Call
from harness.judge.evidence.culprit import told
from harness.judge.evidence.given_up import given_up, reset_before
from harness.judge.evidence.link_errors import reported
from harness.judge.evidence.log_accounts import ERROR, first_line, leaves_open, unexplained
from harness.judge.evidence.log_events import REPORTS, UNLOCK_WARNING, LogEvent
from harness.judge.evidence.log_places import about, at_work, concerned, moment
from harness.judge.questions.lock_discipline import SOURCE, convicted
from harness.model.cause import Cause
from harness.model.taint import SOURCE as TAINT_SOURCE
from harness.model.taint import faults_since
from harness.model.terms import LogClass, Terms
from harness.model.verdict import Blame, Finding

NAME: Final = "kernel_log"
_FAULTS: Final = {
    LogClass.PANIC: Blame.KERNEL_FAULT,
    LogClass.OOPS: Blame.KERNEL_FAULT,
    LogClass.BUG: Blame.KERNEL_FAULT,
    LogClass.CORRUPTION: Blame.KERNEL_FAULT,
    LogClass.SANITIZER: Blame.KERNEL_FAULT,
    LogClass.HARD_LOCKUP: Blame.KERNEL_FAULT,
    LogClass.SOFT_LOCKUP: Blame.KERNEL_FAULT,
    LogClass.RCU_STALL: Blame.KERNEL_FAULT,
    LogClass.LOCKDEP: Blame.KERNEL_FAULT,
    LogClass.WARN: Blame.KERNEL_FAULT,
    LogClass.MACHINE_CHECK: Blame.KERNEL_FAULT,
    LogClass.LOST: Blame.DEVICE_LOST,
    LogClass.DPC: Blame.DEVICE_LOST,
    LogClass.AER_UNCORRECTABLE: Blame.DEVICE_LOST,
    LogClass.RESET_FAILED: Blame.RESET_FAILED,
    LogClass.HUNG_TASK: Blame.TIMEOUT,
    LogClass.IOMMU_FAULT: Blame.MISMATCH,
}
"""Classes that break a promise, the worst first, and what each of them is a fault of."""
_TOLERATED: Final = (
    LogClass.GIVEN_UP,
    LogClass.DEGRADED,
    LogClass.PM_FAULT,
    LogClass.CORRECTED,
    LogClass.AER_CORRECTABLE,
    LogClass.SLOW,
    LogClass.BLOCKED,
    LogClass.REFUSED,
    LogClass.WARNING,
)
"""Classes that are worth telling, no more: what came of it is judged by what the operations show.

What drivers gave up is judged before, where it is about a function of the plan.
"""
_NAMES: Final = {
    LogClass.WARN: "WARN",
    LogClass.BUG: "BUG",
    LogClass.OOPS: "Oops",
    LogClass.RCU_STALL: "RCU stall",
    LogClass.IOMMU_FAULT: "IOMMU fault",
    LogClass.AER_CORRECTABLE: "correctable AER error",
    LogClass.AER_UNCORRECTABLE: "uncorrectable AER error",
    LogClass.DPC: "DPC",
    LogClass.PM_FAULT: "PM fault",
    LogClass.CORRECTED: "corrected hardware error",
}
"""How people call a class, where its own word will not do."""
_MOST: Final = 8  # findings: a kernel that falls apart must not bury its first words


def kernel_log(evidence: Evidence, terms: Terms) -> tuple[Finding, ...]:
    """Read the kernel log by the contract's rules, and compare the taint."""
    history, read = evidence.history, evidence.log_events(terms.log_rules)
    told_of = {event for one in reported(evidence, terms) for event in one.events}
    events = [event for event in read if event not in told_of]
    found, explained = [], []
    if faults := convicted(evidence):
        explained = [event for event in events if event.kind in REPORTS and _of_the_lock(event)]
    if explained:
        first = explained[0]
        found.append(
            findings.failed(
                NAME,
                Blame.DRIVER_FAULT,
                f"Kernel log: {first.text}: that is because {told(evidence, faults[0])}.",
                events=[*map(findings.log, first.rows[:2]), *findings.kernel(faults[0].rows[-1])],
                source=SOURCE,
                met=len(explained),
            )
        )
    accounted = set(explained)
    found += _faults(evidence, [event for event in events if event not in accounted])
    if shaken := faults_since(history.taint_before, history.taint_after):
        of_the_lock = bool(explained) and all(
            event.kind not in REPORTS for event in events if event not in accounted
        )
        found.append(
            findings.failed(
                NAME,
                Blame.KERNEL_FAULT,
                f"The kernel is tainted since the stage began, by {shaken} "
                f"({history.taint_before:#x} → {history.taint_after:#x}).",
                source=TAINT_SOURCE,
                cause=Cause.LOCK_DISCIPLINE if of_the_lock else Cause.KERNEL_FAULT,
            )
        )
    found += _given_up(evidence, events)
    found += _open(evidence, unexplained(history, read))
    if not history.log_complete:
        found.append(findings.unknown(NAME, "The kernel log of the stage is not complete."))
    if found:
        return tuple(found)
    worth = [event for event in events if event.kind in _TOLERATED]
    but = " but the error of a link that was staged" if told_of else ""
    # What concerns the plan says more than that the machine is slow.
    telling = next((event for event in worth if concerned(history, event)), worth[0] if worth else None)
    aside = f", {len(worth)} of them warnings: {_description(evidence, telling)}" if telling else ""
    return (
        findings.passed(
            NAME, f"{len(history.log)} lines of kernel log, no fault{but}{aside}.", met=len(history.log)
        ),
    )


def _given_up(evidence: Evidence, events: Iterable[LogEvent]) -> Iterator[Finding]:
    """What drivers lost: the doing of the reset before it, if that reported success; else nobody knows whose."""
    history = evidence.history
    after: dict[int, list[tuple[LogEvent, Call]]] = {}
    alone: list[LogEvent] = []
    for event in events:
        if aliases := given_up(history, event):
            if call := reset_before(evidence, event, aliases):
                after.setdefault(call.function, []).append((event, call))
            elif history.log[event.row].level <= ERROR:
                alone.append(event)
    for said in after.values():
        event, call = said[0]
        more = f" ({len(said) - 1} more lines like it)" if len(said) > 1 else ""
        who = history.actors[call.actor].name
        yield findings.failed(
            NAME,
            Blame.RESET_FAILED,
            f"{call.operation} of {call.alias} by {who} reported success, and then the driver gave it up: "
            f"{_description(evidence, event)}{more}",
            events=[findings.operation(call.row), *(findings.log(one.row) for one, _ in said[:3])],
            source=event.rule.source,
            met=len(said),
            cause=Cause.BROKEN_RULE,  # what made it give up is nearer to the cause
        )
    if alone:
        yield findings.unknown(
            NAME,
            f"Nothing in the stage explains what a driver says: {_description(evidence, alone[0])}",
            events=[findings.log(event.row) for event in alone[:4]],
        )


def _open(evidence: Evidence, left_over: Iterable[tuple[int, tuple[str, ...]]]) -> Iterator[Finding]:
    """Errors of what the plan names that no rule explains: nobody can say that they are harmless."""
    rows = [row for row, named in left_over if leaves_open(evidence.history, row, named)]
    if rows:
        more = f" ({len(rows) - 1} more)" if len(rows) > 1 else ""
        yield findings.unknown(
            NAME,
            f"No rule explains an error in the kernel log: {first_line(evidence.history, rows[0])}{more}",
            events=[findings.log(row) for row in rows[:4]],
        )


def _of_the_lock(event: LogEvent) -> bool:
    return bool(UNLOCK_WARNING.search(f"{event.symbol} {event.text}"))


def _faults(evidence: Evidence, events: Iterable[LogEvent]) -> Iterator[Finding]:
    """One finding for equal events: of one class, in one place and by one function of the kernel, about the same ones.

    A place may be that of a helper, which finds the faults of many.  Which locks were taken tells deadlocks apart.
    """
    equal: dict[tuple[object, ...], list[LogEvent]] = {}
    for event in events:
        if event.kind in _FAULTS:
            where = (event.place, event.symbol) if event.place or event.symbol else (event.rule.meaning,)
            order = event.said if event.kind is LogClass.LOCKDEP else ""
            equal.setdefault((event.kind, where, order, event.functions), []).append(event)
    worst = sorted(equal.values(), key=lambda one: (list(_FAULTS).index(one[0].kind), one[0].row))
    for number, like in enumerate(worst[:_MOST], start=1):
        more = [f"{len(like) - 1} more like it"] if len(like) > 1 else []
        if number == _MOST < len(worst):
            more.append(f"{sum(map(len, worst[_MOST:]))} other faults are in the log")
        aside = f" ({', '.join(more)})" if more else ""
        yield findings.failed(
            NAME,
            _FAULTS[like[0].kind],
            f"Kernel log: {_description(evidence, like[0])}{aside}",
            events=[findings.log(event.row) for event in like[:4]],
            source=like[0].rule.source,
            met=len(like),
        )


def _description(evidence: Evidence, event: LogEvent) -> str:
    """`WARN in pci_cfg_access_unlock (drivers/pci/access.c:331), by reader, on igb0: …` and the line itself."""
    history, name = evidence.history, _NAMES.get(event.kind, event.kind.replace("-", " "))
    where = f" in {event.symbol}" if event.symbol else ""
    where += f" ({event.place})" if event.place else ""
    where += f", by {who}" if (who := at_work(history, event)) else ""
    where += f", on {' and '.join(on)}" if (on := about(history, event)) else ""
    where += f", {when}" if (when := moment(history, event)) else ""
    said = f"{event.said}: " if event.said else ""
    return f"{name}{where}: {event.rule.meaning}: {said}{event.text}"
