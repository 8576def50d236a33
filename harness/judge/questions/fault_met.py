"""Did everything that was staged to go wrong really go wrong, and did anybody meet it?

A fault that never began, and one that nobody met, shows nothing of how Linux bears it.  What a model writes down is
the witness, not the plan.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from harness.history.history import History
from harness.history.steps import Rows
from harness.judge import findings
from harness.judge.evidence import Evidence
from harness.model.fault import Fault, Occasion
from harness.model.fault_words import fault_in_words
from harness.model.served import Happened
from harness.model.terms import Terms
from harness.model.units import MS, Ns, as_text
from harness.model.verdict import EventId, Finding

NAME: Final = "fault_met"
TOLERANCE: Final = 100 * MS
"""So late a host begins what was timed without being called busy."""


def fault_met(evidence: Evidence, terms: Terms) -> tuple[Finding, ...]:  # noqa: ARG001  every checker takes both
    """Hold every fault and incident of the plan against the log of its model."""
    history = evidence.history
    if history.served_lost and history.plan.faults:
        return (
            findings.unknown(NAME, f"{history.served_lost} rows of the models' logs were lost: it was full."),
        )
    return (*_faults(evidence), *_incidents(evidence))


def _faults(evidence: Evidence) -> Iterator[Finding]:
    history, over = evidence.history, _over(evidence.history)
    for function in evidence.functions:
        alias = function.alias
        for number, fault in enumerate(history.plan.faults_of(alias)):
            what = fault_in_words(fault)
            begun = function.served_in_time(Happened.FAULT_BEGINS, value=number)
            met = function.served(Happened.FAULT_MET, value=number)
            met = met[history.served["time_ns"][met] <= over]
            late = _late(history, fault, begun)
            if not len(begun):
                yield _missing(evidence, f"{alias} never came to be {what}: its occasion did not come", late)
            elif not len(met):
                event = findings.served(begun[0])
                yield _missing(evidence, f"{alias} was {what}, and nothing met it", late, event)
            else:
                first = int(history.served["time_ns"][met[0]]) - history.begin_ns
                yield findings.passed(
                    NAME,
                    f"{alias} was {what}, as staged; first met {as_text(Ns(first))} after the release.",
                    met=len(met),
                )


def _over(history: History) -> int:
    """When the actors were done: afterwards the harness reads config space, and settings are put back."""
    ends = history.operations["end_ns"]
    done = bool(len(ends)) and bool(ends.all())
    return int(ends.max()) + history.served_error_ns if done else history.end_ns


def _late(history: History, fault: Fault, begun: Rows) -> str:
    """What a busy host has to do with it: it is the host that tells a model when the actors were released."""
    if fault.when is not Occasion.TIME:
        return ""
    planned = history.begin_ns + fault.at_ns
    began = int(history.served["time_ns"][begun[0]]) if len(begun) else int(history.end_ns)
    late = began - planned - history.served_error_ns
    return f"the host began it {as_text(Ns(late))} late" if late > TOLERANCE else ""


def _missing(evidence: Evidence, claim: str, late: str, *events: EventId) -> Finding:
    """What did not come to pass, for which a busy machine may be to blame."""
    busy = evidence.starvation
    if reason := late or (busy.seen and busy.reason):
        return findings.starved(NAME, f"{claim}, and {reason}.", events=events)
    return findings.unknown(NAME, f"{claim}.", events=events)


def _incidents(evidence: Evidence) -> Iterator[Finding]:
    history = evidence.history
    for number, incident in enumerate(history.plan.incidents):
        alias, function = incident.function, evidence.of(incident.function)
        begun = function.served_in_time(Happened.INCIDENT_BEGINS, value=number)
        # The host may see the end of it only when the stage is over: a slot takes a second to power off.
        ended = function.served(Happened.INCIDENT_ENDS, value=number)
        what = f"{alias}: {incident.kind}" + (f" ({incident.detail})" if incident.detail else "")
        if not len(begun):
            yield findings.starved(NAME, f"{what} did not come before the stage was over: the host was late.")
        elif not len(ended) or history.served["error"][ended[0]]:
            yield findings.unknown(
                NAME, f"{what} could not be carried out.", events=[findings.served(begun[0])]
            )
        else:
            at = int(history.served["time_ns"][begun[0]]) - history.begin_ns
            yield findings.passed(NAME, f"{what}, as staged, {as_text(Ns(at))} after the release.", met=1)
