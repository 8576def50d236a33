"""Did as many operations meet a window as the scenario needs for a PASS?

A stage in which nothing collided shows nothing, however clean its history.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from harness.judge import findings
from harness.judge.evidence import Evidence
from harness.judge.evidence.accesses import CONFIG, EDGE, KINDS, REGISTERS
from harness.model.operation import RAW_RESETS, UNPRIVILEGED_READ, VFIO_COPY_READ, verb
from harness.model.plan import Step
from harness.model.promise import WindowKind
from harness.model.terms import Terms
from harness.model.verdict import Finding

NAME: Final = "collided"
_NEVER_WAIT: Final = (VFIO_COPY_READ, UNPRIVILEGED_READ)
_FREE: Final = KINDS.index(WindowKind.NONE)


def collided(evidence: Evidence, terms: Terms) -> tuple[Finding, ...]:  # noqa: ARG001  every checker takes both
    """Count config accesses that waited for a window; in a plan without any, or with VFIO, whatever met one."""
    wanted = evidence.history.plan.meets
    if not wanted:
        return ()
    if reasons := evidence.window_doubts:
        return (findings.unknown(NAME, f"The lock windows are not certain: {'; '.join(reasons)}."),)
    steps = evidence.steps
    if len(steps.rows(_may_wait)) and not len(steps.rows(_is_through_vfio)):
        met, what = evidence.blocked_accesses, "config accesses"
    else:
        met = evidence.blocked_accesses + blocked_registers(evidence) + met_calls(evidence)
        what = "accesses and calls"
    if met < wanted:
        claim = f"Only {met} {what} met a lock window; the stage needs {wanted}"
        busy = evidence.starvation
        if busy.seen and _at_most(evidence, busy.share) >= wanted:
            return (findings.starved(NAME, f"{claim}, and {busy.reason}.", met=met),)
        return (findings.unknown(NAME, f"{claim}.", met=met),)
    return (findings.passed(NAME, f"{met} {what} met a lock window; the stage needs {wanted}.", met=met),)


def _at_most(evidence: Evidence, starved: float) -> float:
    """How many could have collided on a machine that was never starved: all that was done, had it gone on as it went.

    A stage that asks for more asks for too much, however busy the machine was.
    """
    done = sum(len(group.rows) for group in evidence.accesses) + len(evidence.calls)
    done += sum(actor.thinned for actor in evidence.history.actors)
    return done / (1 - starved) if starved < 1 else np.inf


def met_calls(evidence: Evidence) -> int:
    """How many calls certainly began inside a window of another thread, those that it refused included."""
    return sum(call.window is not None and call.operation not in RAW_RESETS for call in evidence.calls)


def blocked_registers(evidence: Evidence) -> int:
    """How many accesses to registers waited for a window, or were refused inside one."""
    total = 0
    for group in evidence.accesses:
        if verb(group.operation) in REGISTERS:
            refused = group.error != 0
            inside = (group.kind != EDGE) & (group.kind != _FREE)
            total += int(np.count_nonzero((group.held != EDGE) | (inside & refused)))
    return total


def _may_wait(step: Step) -> bool:
    return verb(step.means) in CONFIG and step.means not in _NEVER_WAIT


def _is_through_vfio(step: Step) -> bool:
    return step.file is not None and step.file.role.startswith("vfio")
