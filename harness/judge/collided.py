"""Did as many operations meet a window as the scenario needs for a PASS?

A stage in which nothing collided shows nothing, however clean its history.
"""

from __future__ import annotations

from typing import Final

from harness.history.history import History
from harness.history.windows import doubts
from harness.judge import findings
from harness.judge.reads_blocked import blocked_accesses
from harness.judge.reset_operations import reset_operations
from harness.judge.starvation import starvation
from harness.judge.steps import steps_of
from harness.model.operation import verb
from harness.model.terms import Terms
from harness.model.verdict import Finding

NAME: Final = "collided"


def collided(history: History, terms: Terms) -> tuple[Finding, ...]:  # noqa: ARG001  every checker takes both
    """Count config accesses that waited for a window; in a plan without any, resets that did."""
    wanted = history.plan.meets
    if not wanted:
        return ()
    if reasons := doubts(history):
        return (findings.unknown(NAME, f"The lock windows are not certain: {'; '.join(reasons)}."),)
    if len(steps_of(history).rows(lambda step: verb(step.means) in ("config-read", "config-write"))):
        met, what = blocked_accesses(history), "config accesses"
    else:
        met, what = sum(reset.window is not None for reset in reset_operations(history)), "resets"
    if met < wanted:
        claim = f"Only {met} {what} met a lock window; the stage needs {wanted}"
        busy = starvation(history)
        if busy.seen:
            return (findings.starved(NAME, f"{claim}, and {busy.reason}.", met=met),)
        return (findings.unknown(NAME, f"{claim}.", met=met),)
    return (findings.passed(NAME, f"{met} {what} met a lock window; the stage needs {wanted}.", met=met),)
