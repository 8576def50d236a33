"""Where did a function write that wrote to an address that nobody had mapped for it?

That it was staged says the plan, and how the machine answered says the log of the model.  What the kernel said of it
is read by :mod:`~harness.judge.questions.kernel_log`; without it, too, a write that reached memory convicts.

Source: Intel VT-d 4.1 §7 (address translation faults); Linux drivers/iommu/intel/dmar.c.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from typing import Final

from harness.history.reading import OfFunction
from harness.judge import findings
from harness.judge.evidence import Evidence
from harness.model.fault import Misbehaviour
from harness.model.operation import UNMAPPED_DMA
from harness.model.outcome import Outcome
from harness.model.promise import WindowKind
from harness.model.served import Happened
from harness.model.terms import Terms
from harness.model.verdict import Blame, Finding

NAME: Final = "stray_dma"


def stray_dma(evidence: Evidence, terms: Terms) -> tuple[Finding, ...]:
    """Hold every write that was staged to go astray against what the contract promises of the IOMMU."""
    return tuple(
        finding
        for function in evidence.functions
        for address in dict.fromkeys(
            fault.value or 0
            for fault in evidence.history.plan.faults_of(function.alias)
            if fault.what is Misbehaviour.STRAY_DMA
        )
        for finding in _judge(function, terms, address)
    )


def _judge(function: OfFunction, terms: Terms, address: int) -> Iterator[Finding]:
    alias, served, rows = function.alias, function.whole.history.served, function.served(Happened.DMA_WRITTEN)
    rows = rows[served["address"][rows] == address]
    if not len(rows):
        return  # fault_met says that it never came
    what = f"{alias} wrote to bus address {address:#x}, which nobody had mapped for it"
    promise = terms.promise(alias, UNMAPPED_DMA, WindowKind.NONE)
    if promise is None:
        yield findings.unknown(NAME, f"The contract says nothing on this: {what}.")
        return
    events = [findings.served(row) for row in rows[:4]]
    errors = served["error"][rows]
    wrong = (errors != 0) != (promise.outcome is Outcome.REFUSED)
    if wrong.any():
        said = "it was refused" if errors[wrong][0] else "it reached memory"
        yield findings.failed(
            NAME,
            Blame.MISMATCH,
            f"Stray DMA: {what}, and {said}; promised is {promise.outcome!s}.",
            events=events,
            promise=promise,
            met=int(wrong.sum()),
        )
        return
    name = errno.errorcode.get(int(errors[0]), "refused") if errors[0] else "done"
    yield findings.passed(NAME, f"{what}: {name}.", promise=promise, met=len(rows))
