"""Did everything finish by its deadline?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from harness.history.history import ActorRecord
from harness.history.steps import Rows
from harness.history.windows import LockWindow
from harness.judge import findings
from harness.judge.evidence import Evidence
from harness.judge.evidence.culprit import doer
from harness.model.loss import OURS
from harness.model.terms import Terms
from harness.model.units import as_text
from harness.model.verdict import Blame, Finding

NAME: Final = "finished"
_OOPS: Final = 1 << 7
"""Bit of /proc/sys/kernel/tainted: the kernel killed a process because it could not go on with it."""
_STACK_LINES: Final = 4
Held = dict[str, LockWindow]
"""Config locks that were held when the stage ended, by alias of their function."""


def finished(evidence: Evidence, terms: Terms) -> tuple[Finding, ...]:  # noqa: ARG001  every checker takes both
    """Find operations that never returned or came too late, and actors that did not end well."""
    badly = any(actor.end != "done" for actor in evidence.history.actors)
    held = _still_held(evidence) if badly else {}
    found = (
        *_stuck(evidence, held),
        *_never_began(evidence, held),
        *_overdue(evidence),
        *_ended_badly(evidence),
    )
    if found:
        return found
    count = evidence.history.begun
    if not count:
        return (findings.unknown(NAME, "No operation was recorded."),)
    return (findings.passed(NAME, f"All {count} operations returned by the deadline.", met=count),)


def _stuck(evidence: Evidence, held: Held) -> Iterator[Finding]:
    """Operations in flight, and who holds the config lock that they may be waiting for."""
    history, table, judged = evidence.history, evidence.history.operations, _judged(evidence)
    in_flight = judged[table["end_ns"][judged] == 0]
    oops = history.taint_after & ~history.taint_before & _OOPS
    for row in in_flight.tolist():
        record, step = history.actors[int(table["actor"][row])], evidence.steps.behind(row)
        on = f" on {step.file.function}" if step.file else ""
        if oops and record.end == "died":
            yield findings.failed(
                NAME,
                Blame.KERNEL_FAULT,
                f"The kernel gave {record.name} up in the middle of {step.means}{on}: {record.detail}.",
                events=[findings.operation(row)],
                source="Linux kernel/exit.c, make_task_dead()",
                met=1,
            )
            continue
        window = held.get(step.file.function) if step.file else None
        lock = _holder(evidence, record, window)
        yield findings.failed(
            NAME,
            Blame.TIMEOUT,
            f"{record.name} never returned from {step.means}{on}"
            f" ({as_text(history.end_ns - int(table['begin_ns'][row]))} in flight){_asleep(record)}{lock}.",
            events=[
                findings.operation(row),
                *(findings.kernel(window.opened_row) if window and lock else ()),
            ],
            met=1,
        )


def _never_began(evidence: Evidence, held: Held) -> Iterator[Finding]:
    """Actors that did not come back from their set-up: a fault where somebody holds a lock of what they use."""
    for number, record in enumerate(evidence.history.actors):
        if record.end != "abandoned" or not record.detail:
            continue
        steps = evidence.history.plan.actors[number].steps
        uses = dict.fromkeys(step.file.function for step in steps if step.file)
        windows = [held[alias] for alias in uses if alias in held]
        told = [(window, lock) for window in windows if (lock := _holder(evidence, record, window))]
        claim = f"{record.name} never came back from {record.detail}{_asleep(record)}"
        if told:
            window, lock = told[0]
            yield findings.failed(
                NAME, Blame.TIMEOUT, f"{claim}{lock}.", events=findings.kernel(window.opened_row), met=1
            )
        else:
            yield findings.unknown(NAME, f"{claim}, and nothing that was seen explains it.")


def _holder(evidence: Evidence, record: ActorRecord, window: LockWindow | None) -> str:
    """Who holds the lock that an actor may be waiting for, as the end of a sentence; empty when nobody does."""
    if window is None or window.tid == record.tid:
        return ""
    holder = doer(evidence, window.tid, window.opened_ns)
    return f"; {holder} has held its config lock for {as_text(evidence.history.end_ns - window.opened_ns)}"


def _overdue(evidence: Evidence) -> Iterator[Finding]:
    history, table = evidence.history, evidence.history.operations
    plan = history.plan
    deadline = history.begin_ns + plan.lasting_ns + plan.deadline_ns
    judged = _judged(evidence)
    late = judged[table["end_ns"][judged] > deadline]
    if not len(late):
        return
    starved = evidence.starvation
    begin, end = table["begin_ns"][late], table["end_ns"][late]
    hungry = starved.during(begin, np.full(len(end), deadline))
    row = late[np.argmax(~hungry)]
    step = evidence.steps.behind(row)
    claim = (
        f"{len(late)} operations returned after the deadline: {plan.actors[int(table['actor'][row])].name} "
        f"returned from {step.means} {as_text(int(table['end_ns'][row]) - deadline)} late"
    )
    events = [findings.operation(row)]
    if hungry.all():
        yield findings.starved(NAME, f"{claim}, but {starved.reason}.", events=events)
    else:
        yield findings.failed(NAME, Blame.TIMEOUT, f"{claim}.", events=events, met=len(late))


def _ended_badly(evidence: Evidence) -> Iterator[Finding]:
    table = evidence.history.operations
    flying = set(table["actor"][table["end_ns"] == 0].tolist())
    for number, record in enumerate(evidence.history.actors):
        in_flight = number in flying
        if record.end == "abandoned" and not in_flight and not record.detail:
            yield findings.unknown(
                NAME, f"{record.name} was abandoned, but no operation of it is in flight{_asleep(record)}."
            )
        elif record.end not in ("done", "abandoned"):
            yield findings.unknown(NAME, f"{record.name} {record.end}: {record.detail or 'no detail'}.")


def _judged(evidence: Evidence) -> Rows:
    return evidence.steps.rows(lambda step: step.means not in OURS)


def _still_held(evidence: Evidence) -> Held:
    """The config locks that were certainly held when the stage ended, by alias of their function."""
    if evidence.doubts:
        return {}
    return {
        evidence.of(window.function).alias: window
        for window in evidence.windows
        if window.closed_row < 0 and window.closed_ns == evidence.history.end_ns
    }


def _asleep(record: ActorRecord) -> str:
    where = f", asleep in {record.wchan}" if record.wchan else ""
    lines = [line.split(" ")[-1] for line in record.stack.splitlines() if line.strip()][:_STACK_LINES]
    return where + (f" below {', '.join(lines)}" if lines else "")
