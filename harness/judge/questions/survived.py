"""Did the kernel live through the stage?

One that stopped itself or that makes no progress any more has failed, whatever the actors saw; what they were in the
middle of says where to look.  Of one that lives, and whose agent was lost, nothing is claimed here: its log may tell.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from harness.history.history import History
from harness.judge import findings
from harness.judge.evidence import Evidence
from harness.model.loss import LossKind, doing
from harness.model.terms import Terms
from harness.model.units import as_text
from harness.model.verdict import Blame, Finding

NAME: Final = "survived"
_WORDS: Final = {LossKind.PANIC: "The kernel panicked", LossKind.HANG: "The kernel hung"}
_MARK: Final = "Kernel panic - not syncing"
SOURCE: Final = "Linux kernel/panic.c, panic()"


def survived(evidence: Evidence, terms: Terms) -> tuple[Finding, ...]:  # noqa: ARG001  every checker takes both
    """Say how the kernel was lost; nothing when it was not."""
    history = evidence.history
    if not history.lost:
        return ()
    table = history.operations
    flying = np.flatnonzero(table["end_ns"] == 0).tolist()
    what = doing(history.plan, ((int(table["actor"][row]), int(table["step"][row])) for row in flying))
    if not history.actors:
        what = "what the actors were doing could not be read"
    lines = [row for row, line in enumerate(history.log) if _MARK in line.text]
    events = [*(findings.operation(row) for row in flying), *(findings.log(row) for row in lines[:1])]
    who = _WORDS.get(LossKind(history.lost), "The agent was lost")
    claim = f"{who} {_when(history)}: {history.lost_reason}; {what}."
    if LossKind(history.lost).kernel_fault:
        return (findings.failed(NAME, Blame.KERNEL_FAULT, claim, events=events, source=SOURCE, met=1),)
    return (findings.unknown(NAME, claim, events=events),)


def _when(history: History) -> str:
    if not history.begin_ns:
        return "during the stage" if not history.actors else "before the stage began"
    return f"{as_text(history.end_ns - history.begin_ns)} into the stage"
