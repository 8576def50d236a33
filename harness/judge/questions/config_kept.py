"""Is config space what it was, of every function at hand that nobody reset: of the plan, beside it, above it?

A change is explained by what the plan did to the function, or to others, by what was staged to go wrong with it, or by
a reset of its own driver.  One that is left over proves nothing by itself, unless the function's own log shows that
nobody wrote or reset it: then it is its own doing.  Functions that a call reset are asked of by
:mod:`~harness.judge.questions.config_restored`.

Source: PCIe r6.0 §7.5.1 (registers hold what software wrote); docs/contract.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from harness.history.history import FunctionRecord
from harness.judge import findings
from harness.judge.evidence import Evidence
from harness.judge.evidence.at_hand import at_hand, below, left_alone, taken_along
from harness.judge.evidence.config_bits import differing
from harness.judge.evidence.config_lost import touches
from harness.model.operation import SUBORDINATE_RESET, is_reset
from harness.model.served import RESETS, Happened
from harness.model.terms import Terms
from harness.model.verdict import Blame, EventId, Finding

NAME: Final = "config_kept"
_SOURCE: Final = "PCIe r6.0 §7.5.1"


def config_kept(evidence: Evidence, terms: Terms) -> tuple[Finding, ...]:
    """Compare config space after the stage with before, of each function at hand that was not reset."""
    history = evidence.history
    stuck = any(one.end != "done" for one in history.actors)
    if history.neighbours is None or (stuck and not any(one.config_after for one in at_hand(evidence))):
        return ()  # nobody looked
    found, kept = [], list[str]()
    for record in at_hand(evidence):
        if _explained(evidence, record):
            continue
        mask = left_alone(evidence, record, (*terms.volatile, *terms.unrestored))
        if record.config_before and not any(mask):
            continue
        finding = _compare(evidence, record, mask)
        if finding is None:
            kept.append(_name(evidence, record))
        else:
            found.append(finding)
    if kept:
        claim = f"Config space of {', '.join(kept)}, which nobody reset, is what it was."
        found.append(findings.passed(NAME, claim, met=len(kept), source=_SOURCE))
    return tuple(found)


def _explained(evidence: Evidence, record: FunctionRecord) -> bool:
    """Whether something was done to the function itself that others answer for, or that was staged."""
    if record.alias not in evidence.numbers:
        return any(call.succeeded and record in taken_along(evidence, call) for call in evidence.calls)
    function, plan = evidence.of(record.alias), evidence.history.plan
    return (
        bool(plan.faults_of(record.alias) or function.driver_resets or evidence.absences.get(record.alias))
        or any(one.incident.function == record.alias for one in evidence.incidents)
        or any(
            record.alias in call.resets
            or (
                call.alias == record.alias
                and is_reset(call.operation)
                and call.operation != SUBORDINATE_RESET
            )
            for call in evidence.calls
        )
    )


def _compare(evidence: Evidence, record: FunctionRecord, mask: bytearray) -> Finding | None:
    """What is wrong with a function; None: nothing."""
    name = _name(evidence, record)
    if not record.config_before:
        return findings.unknown(NAME, f"Config space of {name} could not be read before the stage.")
    if len(record.config_before) != len(record.config_after):
        claim = (
            f"Config space of {name} could not be read after the stage, and nothing in the stage explains it."
        )
        return findings.unknown(NAME, claim)
    missing, places = differing(record.config_before, record.config_after, mask)
    if not missing:
        return None
    claim = f"Config space of {name} differs in {len(missing)} bytes ({places})"
    if rows := _own_doing(evidence, record, {at: mask[at] for at in missing}):
        claim = f"{claim}, and its own log shows that nobody wrote them, or reset it."
        return findings.failed(NAME, Blame.MISMATCH, claim, events=rows, met=1, source=_SOURCE)
    resets = [event for row in _reset_rows(evidence, record) for event in findings.kernel(row)]
    who = "which the kernel reset for nobody of the plan" if resets else "which nothing in the stage explains"
    return findings.unknown(NAME, f"{claim}, {who}.", events=resets)


def _own_doing(evidence: Evidence, record: FunctionRecord, changed: Mapping[int, int]) -> list[EventId]:
    """The last read that was right and the first that was not, in a log of all that would explain it, and does not."""
    history = evidence.history
    if record.alias not in evidence.numbers or history.served_lost:
        return []
    function = evidence.of(record.alias)
    touched = list(touches(function, changed))
    written = any(history.served["what"][row] == Happened.WRITTEN for row, _ in touched)
    first = next((row for row, right in touched if not right), None)
    last = max((row for row, right in touched if right and first is not None and row < first), default=None)
    if written or first is None or last is None or len(function.served(*RESETS)):
        return []
    return [findings.served(last), findings.served(first)]


def _reset_rows(evidence: Evidence, record: FunctionRecord) -> list[int]:
    """Where the trace shows resets of a function, or of all that lies behind the port above it."""
    spans = [
        span
        for one in evidence.functions
        for span in one.resets
        if one.alias == record.alias
        or (span.method is None and record.bdf in below(evidence, one.record.port))
    ]
    return [span.row for span in spans]


def _name(evidence: Evidence, record: FunctionRecord) -> str:
    """Its alias, or its address and how it belongs to the plan."""
    if record.alias in evidence.numbers:
        return record.alias
    behind = below(evidence, record.bdf)
    for one in evidence.history.functions:
        if one.bdf in behind:
            return f"{record.alias} (a port above {one.alias})"
    beside = next((one.alias for one in evidence.history.functions if one.port == record.port), "")
    return f"{record.alias} (beside {beside})" if beside else f"{record.alias} (below a function of the plan)"
