"""Did everything finish by its deadline, and is everything recorded?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from harness.history.history import ActorRecord, History
from harness.judge import findings
from harness.judge.starvation import starvation
from harness.judge.steps import Steps, steps_of
from harness.model.operation import verb
from harness.model.terms import Terms
from harness.model.units import as_text
from harness.model.verdict import Blame, Finding

NAME: Final = "finished"
_ACCESSES: Final = frozenset({"config-read", "config-write", "attribute-read", "reset", "oracle"})
_STACK_LINES: Final = 4


def finished(history: History, terms: Terms) -> tuple[Finding, ...]:  # noqa: ARG001  every checker takes both
    """Find operations that never returned or came too late, and actors that did not end well."""
    steps = steps_of(history)
    found = (*_stuck(steps), *_overdue(steps), *_ended_badly(steps))
    if found:
        return found
    count = len(history.operations)
    if not count:
        return (findings.unknown(NAME, "No operation was recorded."),)
    return (findings.passed(NAME, f"All {count} operations returned by the deadline.", met=count),)


def _stuck(steps: Steps) -> Iterator[Finding]:
    """Operations in flight: the pauses of an actor that was abandoned are the harness's own business."""
    table, accesses = steps.history.operations, steps.rows(lambda step: verb(step.means) in _ACCESSES)
    for row in accesses[table["end_ns"][accesses] == 0].tolist():
        number = int(table["actor"][row])
        record = steps.history.actors[number]
        step = steps.numbered[steps.of_row[row]][1]
        on = f" on {step.file.function}" if step.file else ""
        yield findings.failed(
            NAME,
            Blame.TIMEOUT,
            f"{record.name} never returned from {step.means}{on}"
            f" ({as_text(steps.history.end_ns - int(table['begin_ns'][row]))} in flight){_asleep(record)}.",
            events=[findings.operation(row)],
            met=1,
        )


def _overdue(steps: Steps) -> Iterator[Finding]:
    history, table = steps.history, steps.history.operations
    plan = history.plan
    deadline = history.begin_ns + plan.lasting_ns + plan.deadline_ns
    accesses = steps.rows(lambda step: verb(step.means) in _ACCESSES)
    late = accesses[table["end_ns"][accesses] > deadline]
    if not len(late):
        return
    starved = starvation(history)
    begin, end = table["begin_ns"][late], table["end_ns"][late]
    hungry = starved.during(begin, np.full(len(end), deadline))
    row = late[np.argmax(~hungry)]
    step = steps.numbered[steps.of_row[row]][1]
    claim = (
        f"{len(late)} operations returned after the deadline: {plan.actors[int(table['actor'][row])].name} "
        f"returned from {step.means} {as_text(int(table['end_ns'][row]) - deadline)} late"
    )
    events = [findings.operation(row)]
    if hungry.all():
        yield findings.starved(NAME, f"{claim}, but {starved.reason}.", events=events)
    else:
        yield findings.failed(NAME, Blame.TIMEOUT, f"{claim}.", events=events, met=len(late))


def _ended_badly(steps: Steps) -> Iterator[Finding]:
    table = steps.history.operations
    for number, record in enumerate(steps.history.actors):
        in_flight = bool(((table["actor"] == number) & (table["end_ns"] == 0)).any())
        if record.end == "abandoned" and not in_flight:
            yield findings.unknown(
                NAME, f"{record.name} was abandoned, but no operation of it is in flight{_asleep(record)}."
            )
        elif record.end not in ("done", "abandoned"):
            yield findings.unknown(NAME, f"{record.name} {record.end}: {record.detail or 'no detail'}.")
        if record.lost:
            yield findings.unknown(NAME, f"{record.lost} operations of {record.name} were not recorded.")


def _asleep(record: ActorRecord) -> str:
    where = f", asleep in {record.wchan}" if record.wchan else ""
    lines = [line.split(" ")[-1] for line in record.stack.splitlines() if line.strip()][:_STACK_LINES]
    return where + (f" below {', '.join(lines)}" if lines else "")
