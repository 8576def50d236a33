"""Did the kernel let go of a function that was unplugged, after it had been given the time to change its mind?

Whoever presses the button of a slot grants five seconds in which a second press takes it back.  A function that is
refused to its readers sooner was not removed as asked, unless the plan itself took it away meanwhile.  What is shown
after the removal is the business of :mod:`~harness.judge.questions.access_outcome` and
:mod:`~harness.judge.questions.call_outcome`.

Source: Linux drivers/pci/hotplug/pciehp_ctrl.c, `pciehp_handle_button_press()`; drivers/pci/hotplug/pciehp_pci.c,
`pciehp_unconfigure_device()`.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from harness.judge import findings
from harness.judge.evidence import Evidence
from harness.judge.evidence.accesses import refusals
from harness.judge.evidence.incidents import Removal
from harness.judge.evidence.starvation import missed
from harness.model.fault import IncidentKind
from harness.model.operation import UNPLUG
from harness.model.outcome import Outcome
from harness.model.promise import WindowKind
from harness.model.terms import Terms
from harness.model.units import as_text
from harness.model.verdict import Blame, EventId, Finding

NAME: Final = "removed"


def removed(evidence: Evidence, terms: Terms) -> tuple[Finding, ...]:
    """Hold every function that was unplugged to what the contract says of that."""
    return tuple(_judge(evidence, terms, removal) for removal in evidence.removals)


def _judge(evidence: Evidence, terms: Terms, removal: Removal) -> Finding:
    incident, asked = removal.struck.incident, findings.served(removal.struck.row)
    alias, restarted = incident.function, incident.kind is IncidentKind.SERVER_RESTARTED
    promise = terms.promise(alias, UNPLUG, WindowKind.NONE)
    if promise is None:
        return findings.unknown(NAME, f"The contract says nothing on {UNPLUG} of {alias}.", events=[asked])
    if removal.gone_ns is None:
        claim = f"{alias} was not gone when the stage ended"
        return missed(evidence.starvation, NAME, claim, promise=promise, events=[asked])
    if restarted and removal.back_ns is None:
        return findings.unknown(
            NAME,
            f"Nothing was in the place of {alias} when the stage ended.",
            promise=promise,
            events=[asked],
        )
    first, event = _let_go(evidence, alias, removal)
    took = first - removal.struck.begin_ns
    if _taken_by_the_plan(evidence, alias, first):
        return findings.passed(
            NAME,
            f"{alias} was removed by the plan itself, {as_text(took)} after the button of its slot was pressed.",
            promise=promise,
            met=1,
        )
    wrong = ""
    if promise.outcome is not Outcome.OK:
        wrong = f"where the contract promises {promise.outcome!s}"
    elif promise.at_least is not None and took < promise.at_least:
        wrong = f"sooner than {as_text(promise.at_least)}"
    if wrong:
        return findings.failed(
            NAME,
            Blame.MISMATCH,
            f"{alias} was gone {as_text(took)} after the button of its slot was pressed, {wrong}.",
            events=[asked, *event],
            promise=promise,
            met=1,
        )
    back = ""
    if restarted and removal.back_ns is not None:
        back = f", and another was in its place {as_text(removal.back_ns - removal.gone_ns)} later"
    return findings.passed(
        NAME,
        f"{alias} was removed, as asked: the kernel let go of it {as_text(took)} after the button of its slot was "
        f"pressed{back}.",
        promise=promise,
        met=1,
    )


def _taken_by_the_plan(evidence: Evidence, alias: str, first_ns: int) -> bool:
    """Whether a call of the plan had taken the function away, or was at it, when it was first seen gone."""
    return any(
        one.row is not None and one.leaving_ns <= first_ns and (one.back_ns or first_ns) >= first_ns
        for one in evidence.absences.get(alias, ())
    )


def _let_go(evidence: Evidence, alias: str, removal: Removal) -> tuple[int, list[EventId]]:
    """When the first access was refused because of it, or when the kernel said so, whichever came first."""
    history, rows = evidence.history, refusals(evidence, alias)
    gone = int(removal.gone_ns or history.end_ns)
    ends = history.operations["end_ns"][rows]
    early = rows[(ends >= removal.struck.begin_ns) & (ends < gone)]
    if not len(early):
        return gone, []
    first = int(early[np.argmin(history.operations["end_ns"][early])])
    return int(history.operations["end_ns"][first]), [findings.operation(first)]
