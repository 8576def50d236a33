"""Did everything that was staged to go wrong really go wrong, and did anybody meet it?

A fault that never began, and one that nobody met, shows nothing of how Linux bears it.  What a model writes down is
the witness, not the plan.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from harness.history.history import History
from harness.judge import findings
from harness.model.fault import Fault
from harness.model.served import Happened
from harness.model.terms import Terms
from harness.model.units import Ns, as_text
from harness.model.verdict import Finding

NAME: Final = "fault_met"


def fault_met(history: History, terms: Terms) -> tuple[Finding, ...]:  # noqa: ARG001  every checker takes both
    """Hold every fault and incident of the plan against the log of its model."""
    if history.served_lost and history.plan.faults:
        return (
            findings.unknown(NAME, f"{history.served_lost} rows of the models' logs were lost: it was full."),
        )
    return (*_faults(history), *_incidents(history))


def _faults(history: History) -> Iterator[Finding]:
    for alias in history.plan.functions:
        for number, fault in enumerate(history.plan.faults_of(alias)):
            what = _described(fault)
            begun = _rows(history, alias, Happened.FAULT_BEGINS, number)
            met = _rows(history, alias, Happened.FAULT_MET, number)
            if not len(begun):
                yield findings.unknown(NAME, f"{alias} never came to be {what}: its occasion did not come.")
            elif not len(met):
                yield findings.unknown(
                    NAME,
                    f"{alias} was {what}, and nothing met it.",
                    events=[findings.served(begun[0])],
                )
            else:
                first = int(history.served["time_ns"][met[0]]) - history.begin_ns
                yield findings.passed(
                    NAME,
                    f"{alias} was {what}, as staged; first met {as_text(Ns(first))} after the release.",
                    met=len(met),
                )


def _incidents(history: History) -> Iterator[Finding]:
    for number, incident in enumerate(history.plan.incidents):
        begun = _rows(history, incident.function, Happened.INCIDENT_BEGINS, number)
        ended = _rows(history, incident.function, Happened.INCIDENT_ENDS, number)
        what = f"{incident.function}: {incident.kind}" + (f" ({incident.detail})" if incident.detail else "")
        if not len(begun):
            yield findings.unknown(NAME, f"{what} did not come before the stage was over.")
        elif not len(ended) or history.served["error"][ended[0]]:
            yield findings.unknown(
                NAME, f"{what} could not be carried out.", events=[findings.served(begun[0])]
            )
        else:
            at = int(history.served["time_ns"][begun[0]]) - history.begin_ns
            yield findings.passed(NAME, f"{what}, as staged, {as_text(Ns(at))} after the release.", met=1)


def _rows(
    history: History, alias: str, what: Happened, value: int
) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    served, function = history.served, history.plan.functions.index(alias)
    fits = (served["what"] == what) & (served["function"] == function) & (served["value"] == value)
    return np.flatnonzero(fits & (served["time_ns"] <= history.end_ns))


def _described(fault: Fault) -> str:
    """`not-ready for 800 ms after flr`."""
    register = f" ({fault.register})" if fault.register else ""
    lasting = f" for {as_text(fault.lasting_ns)}" if fault.lasting_ns is not None else ""
    return f"{fault.what}{register}{lasting}, by {fault.when}"
