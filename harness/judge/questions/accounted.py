"""Is everything accounted for that a served function did, by the log of its model?

* A DMA that the machine refused is the function's own doing: no driver of a healthy one asks for it, and one whose bus
  mastering is off, or whose mapping is gone, has to be quiet.  The log proves it, so it convicts.
* A reset comes from somebody: a call of the plan, the kernel's or a driver's doing in the trace, an incident that was
  staged.  One that comes from nobody leaves the question open whose it was.

What was staged to go wrong explains its own effects, from when it was met, and no others: which those are,
`model/fault.py` says.  A write that was staged to go astray is judged by `stray_dma`; that another fault lets DMA be
refused nobody can prove, so it leaves the question open.

Source: PCIe r6.0 §7.5.1.1.3 (Bus Master Enable), §6.6.2 (what a function may do after a reset); Intel VT-d 4.1 §7.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

from harness.history.reading import OfFunction
from harness.judge import findings
from harness.judge.evidence import Evidence
from harness.model.fault import Misbehaviour
from harness.model.fault_words import named
from harness.model.operation import SELF_TEST, verb
from harness.model.served import Happened
from harness.model.terms import Terms
from harness.model.units import Ns, as_text
from harness.model.verdict import Blame, Finding

NAME: Final = "accounted"
_BUS_MASTER: Final = "PCIe r6.0 §7.5.1.1.3; Intel VT-d 4.1 §7"
_NOT_REFUSED: Final = frozenset({errno.ETIMEDOUT, errno.ENOTCONN, errno.ECANCELED})
"""The machine did not answer, or was not there; or bus mastering was switched off while the transfer was under way."""
_RESETS: Final = {
    Happened.FLR: "an FLR",
    Happened.BUS_RESET: "a reset of its bus",
    Happened.SELF_TESTED: "a self-test",
}
"""A wake-up is none of them: power management comes and goes with every access."""


def accounted(evidence: Evidence, terms: Terms) -> tuple[Finding, ...]:  # noqa: ARG001  every checker takes both
    """Look for what the models' logs tell and nobody explains."""
    found = [
        finding
        for one in evidence.functions
        for finding in (*_refused(evidence, one), *_untold(evidence, one))
    ]
    return tuple(found)


def _refused(evidence: Evidence, function: OfFunction) -> Iterator[Finding]:
    """DMA that the machine refused; one finding a function, or two where a fault may be why of some of them."""
    history, served = evidence.history, evidence.history.served
    faults = history.plan.faults_of(function.alias)
    staged = {fault.value or 0 for fault in faults if fault.what is Misbehaviour.STRAY_DMA}
    rows = [
        row
        for row in function.served_in_time(Happened.DMA_READ, Happened.DMA_WRITTEN).tolist()
        if served["error"][row]
        and int(served["error"][row]) not in _NOT_REFUSED
        and int(served["address"][row]) not in staged
    ]
    since, what = min(_excuses(evidence, function), default=(0, ""))
    own = [row for row in rows if not what or int(served["time_ns"][row]) < since]
    if excused := rows[len(own) :]:  # in order of their time
        yield findings.unknown(
            NAME,
            f"{_moved(function, excused)}: {what}, which was staged, may be why.",
            events=[findings.served(row) for row in excused[:4]],
        )
    if own:
        yield findings.failed(
            NAME,
            Blame.MISMATCH,
            f"{_moved(function, own)}: it was no bus master, or nobody had mapped that for it.",
            events=[findings.served(row) for row in own[:4]],
            source=_BUS_MASTER,
            met=len(own),
        )


def _moved(function: OfFunction, rows: list[int]) -> str:
    """What the first of these rows tells, and how many are like it."""
    served, first = function.whole.history.served, rows[0]
    did = "read from" if served["what"][first] == Happened.DMA_READ else "wrote to"
    name = errno.errorcode.get(int(served["error"][first]), "refused")
    more = f", and {len(rows) - 1} more like it" if len(rows) > 1 else ""
    return f"{function.alias} {did} bus address {int(served['address'][first]):#x} and was refused ({name}){more}"


def _excuses(evidence: Evidence, function: OfFunction) -> Iterator[tuple[int, str]]:
    """What was staged and may let DMA be refused: since when, and its name."""
    times = evidence.history.served["time_ns"]
    for number, fault in enumerate(evidence.history.plan.faults_of(function.alias)):
        met = function.served(Happened.FAULT_MET, value=number)
        if fault.may_refuse_dma and len(met):
            yield int(times[met[0]]), named(fault)
    for struck in evidence.incidents:
        if struck.incident.function == function.alias and struck.incident.kind.may_refuse_dma:
            yield struck.begin_ns, str(struck.incident.kind)


def _untold(evidence: Evidence, function: OfFunction) -> Iterator[Finding]:
    """Resets that nobody asked for; one finding a function."""
    history, served = evidence.history, evidence.history.served
    if history.lost:
        return
    rows = function.served_in_time(*_RESETS)
    rows = rows[served["time_ns"][rows] >= history.begin_ns - history.served_error_ns]
    if not len(rows):
        return
    spans = np.array([*_asked(evidence, function)], dtype=np.int64).reshape(-1, 2)
    tests = np.array([*_tested(evidence, function)], dtype=np.int64).reshape(-1, 2)
    error = history.served_error_ns
    times, what = served["time_ns"][rows], served["what"][rows]

    def within(spans: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        after = spans[:, :1] - error <= times[None, :]
        before = times[None, :] <= spans[:, 1:] + error
        return np.asarray((after & before).any(axis=0))

    rows = rows[~(within(spans) | ((what == Happened.SELF_TESTED) & within(tests)))]
    if not len(rows):
        return
    at = Ns(max(0, int(served["time_ns"][rows[0]]) - history.begin_ns))
    more = f", and {len(rows) - 1} more like it" if len(rows) > 1 else ""
    yield findings.unknown(
        NAME,
        f"{function.alias} saw {_RESETS[Happened(int(served['what'][rows[0]]))]} {as_text(at)} after the release that "
        f"neither the plan nor the kernel's trace explains{more}.",
        events=[findings.served(row) for row in rows[:4]],
    )


def _asked(evidence: Evidence, function: OfFunction) -> Iterator[tuple[int, int]]:
    """When somebody may have reset the function: from, until."""
    history, beside = evidence.history, evidence.beside[function.alias]
    names = {history.plan.functions[number] for number in beside}
    names |= {history.plan.ports[name] for name in names if name in history.plan.ports}
    for call in evidence.calls:
        if call.alias in names or function.alias in call.resets:
            yield call.begin_ns, call.end_ns
    for name in names:
        rows = evidence.steps.on(name, lambda step: verb(step.means) == "config-write")
        for row in history.operations[rows]:
            yield int(row["begin_ns"]), int(row["end_ns"]) or history.end_ns
    for number in beside:
        one = evidence.of(number)
        yield from ((span.begin_ns, span.end_ns) for span in one.resets)
        yield from ((span.begin_ns, span.end_ns) for span in one.driver_resets)
    for struck in evidence.incidents:
        if (
            struck.incident.function in names and struck.incident.kind.may_reset
        ):  # what the kernel does about it, it does later
            yield struck.begin_ns, history.end_ns


def _tested(evidence: Evidence, function: OfFunction) -> Iterator[tuple[int, int]]:
    """When a self-test may have come to its end: it goes on after the write that began it."""
    end = evidence.history.end_ns
    for call in evidence.calls:
        if call.operation == SELF_TEST and call.alias == function.alias:
            yield call.begin_ns, end
    for span in function.driver_resets:
        yield span.begin_ns, end
