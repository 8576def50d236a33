"""Was every function back when the kernel said so, and how often had it looked?

What a model of ours writes down tells how long its function was away: not ready, asleep, or answering with Request
Retry Status.  Whoever reports success before that is over hands out a function that is not there.  A hot or subordinate
reset answers for every function that it reset, whichever it was asked of; and a function that was restored while it was
away has lost what was written, however long the call took afterwards.

How often the kernel looked is in its log, in milliseconds of sleep: each look comes after twice the time of the last,
1, 2, 4 … 65 s, and lines begin after the first second.

Source: Linux drivers/pci/pci.c, `pci_dev_wait()`; drivers/pci/probe.c, `pci_bus_wait_rrs()`; drivers/pci/pci.h,
`PCIE_RESET_READY_POLL_MS`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from harness.history.history import History
from harness.history.reading import OfFunction
from harness.history.steps import Rows
from harness.judge import findings
from harness.judge.evidence import Evidence
from harness.judge.evidence.calls import Call
from harness.model.fault import Fault, Misbehaviour, Occasion
from harness.model.operation import RESCAN, verb
from harness.model.served import Happened
from harness.model.terms import Terms
from harness.model.units import Ns, as_text
from harness.model.verdict import Blame, Finding

NAME: Final = "came_back"
_SOURCE: Final = "Linux drivers/pci/pci.c, pci_dev_wait(); drivers/pci/probe.c, pci_bus_wait_rrs()"
_LOOKED: Final = re.compile(
    r"(?P<bdf>[0-9a-f]{4,}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]): (?P<missing>not )?ready (?:after )?(?P<ms>\d+)ms"
    r"(?: after (?P<occasion>[^;]+))?(?:; (?P<then>waiting|giving up))?$"
)
_AWAY: Final = frozenset({Misbehaviour.NOT_READY, Misbehaviour.NEVER_READY})
_BY_RESET: Final = (Occasion.FLR, Occasion.BUS_RESET, Occasion.WAKE)
_FOREVER: Final = np.iinfo(np.int64).max
_CONFIG_REGION: Final = 7
_SHOWN: Final = 8  # bytes of an access that a row holds
_NO_ROWS: Final[Rows] = np.empty(0, dtype=np.intp)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """How the kernel looked again and again for a function that was away.

    Attributes:
        alias: the function.
        occasion: what it had done to it, in the kernel's words (`FLR`, `bus reset`, `PM D3hot->D0`); empty when it
            scanned the bus.
        looked_ms: how long it had slept by each line of the log, milliseconds, in order.
        rows: of `History.log`, one for each.
        over: whether the last of them ends the waiting.
        found: whether the function was there in the end.
    """

    alias: str
    occasion: str
    looked_ms: tuple[int, ...]
    rows: tuple[int, ...]
    over: bool
    found: bool


def came_back(evidence: Evidence, terms: Terms) -> tuple[Finding, ...]:  # noqa: ARG001  every checker takes both
    """Hold successful resets and scans against what models saw, and the kernel's waits against its own rule."""
    return (*_too_early(evidence), *map(_patience, waits(evidence.history)))


def waits(history: History) -> tuple[Wait, ...]:
    """Every wait that the kernel log tells of, in order of its end."""
    aliases = {record.bdf: record.alias for record in history.functions}
    pending: dict[tuple[str, str], list[tuple[int, int]]] = {}
    found: list[Wait] = []
    for row, line in enumerate(history.log):
        match = _LOOKED.search(line.text)
        if match is None or not line.of_the_kernel or match["bdf"] not in aliases:
            continue
        key = (aliases[match["bdf"]], match["occasion"] or "")
        looks = pending.setdefault(key, [])
        looks.append((int(match["ms"]), row))
        if match["then"] != "waiting":
            found.append(_wait(key, pending.pop(key), over=True, back=not match["missing"]))
    return (*found, *(_wait(key, looks, over=False, back=False) for key, looks in pending.items()))


def _wait(key: tuple[str, str], looks: list[tuple[int, int]], *, over: bool, back: bool) -> Wait:
    return Wait(
        alias=key[0],
        occasion=key[1],
        looked_ms=tuple(ms for ms, _ in looks),
        rows=tuple(row for _, row in looks),
        over=over,
        found=back,
    )


def _patience(wait: Wait) -> Finding:
    looked = wait.looked_ms
    after = f" after {wait.occasion}" if wait.occasion else " on its bus"
    end = "found it" if wait.found else "gave up" if wait.over else "still looked at the end of the stage"
    told = f"The kernel looked for {wait.alias}{after} until it had slept {', '.join(map(str, looked))} ms, and {end}"
    rare = [
        row for before, ms, row in zip(looked, looked[1:], wait.rows[1:], strict=False) if ms > 2 * before + 1
    ]
    if rare:
        return findings.failed(
            NAME,
            Blame.TIMEOUT,
            f"{told}: it slept more than twice as long as before.",
            events=[findings.log(row) for row in rare[:2]],
            source=_SOURCE,
            met=len(rare),
        )
    return findings.passed(NAME, f"{told}.", source=_SOURCE, met=len(looked))


def _too_early(evidence: Evidence) -> Iterator[Finding]:
    history = evidence.history
    if history.served_lost:
        return  # the begin of a fault may be missing
    done = [call for call in evidence.calls if call.succeeded and _waits_for(call)]
    for function in evidence.functions:
        for number, fault in enumerate(history.plan.faults_of(function.alias)):
            mine = [
                call for call in done if _answers(call, function.alias) and fault.what in _waits_for(call)
            ]
            yield from _judge(function, fault, mine, list(_spells(function, number, fault)))


def _answers(call: Call, alias: str) -> bool:
    """Whether a success of this call says that a function is there."""
    return alias in (call.alias, *call.resets)


def _waits_for(call: Call) -> frozenset[Misbehaviour]:
    """What must be over when this call reports success."""
    if call.operation == RESCAN:
        return _AWAY | {Misbehaviour.RETRY_STATUS}
    return _AWAY | {Misbehaviour.STAY_ASLEEP} if verb(call.operation) == "reset" else frozenset()


def _spells(function: OfFunction, number: int, fault: Fault) -> Iterator[tuple[int, int]]:
    """Since when and until when a function was away, each time."""
    for row in function.served(Happened.FAULT_BEGINS, value=number):
        since = int(function.whole.history.served["time_ns"][row])
        yield since, _FOREVER if fault.lasting_ns is None else since + fault.lasting_ns


def _known(call: Call, fault: Fault, since: int, error: int) -> bool:
    """Whether the function was away when the kernel must have looked.

    What a reset brings about comes before the look, however short the reset and however wrong the clocks are.
    """
    if fault.when in _BY_RESET:
        return call.begin_ns - error <= since <= call.end_ns + error
    return since < (call.performed[-1].end_ns if call.performed else call.begin_ns) - error


def _judge(
    function: OfFunction, fault: Fault, done: Iterable[Call], away: list[tuple[int, int]]
) -> Iterator[Finding]:
    error = function.whole.history.served_error_ns
    early: list[tuple[Call, int, Rows]] = []
    patient = []
    for call in done:
        for since, until in away:
            known = _known(call, fault, since, error)
            void = _into_the_void(function, fault, call, (since, until)) if known else _NO_ROWS
            if known and (call.end_ns < until - error or len(void)):
                early.append((call, until, void))
            elif call.begin_ns < until <= call.end_ns + error:
                patient.append((call, until))
    if early:
        yield _left_behind(function, fault, early)
    elif patient:
        call, until = patient[0]
        yield findings.passed(
            NAME,
            f"{len(patient)} {call.operation} on {call.alias} waited for {_the(function, call)} that was {fault.what}: "
            f"slow but ready; the first returned {as_text(Ns(max(0, call.end_ns - until)))} after it was back.",
            source=_SOURCE,
            met=len(patient),
        )


def _left_behind(function: OfFunction, fault: Fault, early: list[tuple[Call, int, Rows]]) -> Finding:
    call, until, void = early[0]
    what = f"{len(early)} {call.operation} on {call.alias}"
    whom = "the function" if call.alias == function.alias else function.alias
    if call.end_ns < until:
        left = "and for ever" if until == _FOREVER else f"for another {as_text(Ns(until - call.end_ns))}"
        told = f"{what} reported success while {whom} was {fault.what}, {left}"
    else:
        told = f"{what} restored {whom} while it was {fault.what}, {as_text(Ns(call.end_ns - until))} before its end"
    lost = f", and {len(void)} writes of its restore went into the void" if len(void) else ""
    return findings.failed(
        NAME,
        Blame.RESET_FAILED,
        f"{told}: the kernel did not wait for it{lost}.",
        events=[*(findings.operation(call.row) for call, _, _ in early[:4]), *map(findings.served, void[:2])],
        source=_SOURCE,
        met=len(early),
    )


def _into_the_void(function: OfFunction, fault: Fault, call: Call, away: tuple[int, int]) -> Rows:
    """What a call gave back of config space, while the function was away and claimed none of it.

    Whoever waits only reads meanwhile; QEMU writes zeros into base addresses when it resets a bus.  By the function's
    own log, whose clock is one: only whose doing it is may be uncertain, as that clock may differ from the target's.
    """
    if fault.what not in _AWAY:
        return _NO_ROWS
    served, error = function.whole.history.served, function.whole.history.served_error_ns
    rows = function.served(Happened.WRITTEN)
    times, regions = served["time_ns"][rows], served["region"][rows]
    since, until = max(away[0] + 1, call.begin_ns - error), min(away[1], call.end_ns + error)
    void: Rows = rows[(times >= since) & (times < until) & (regions == _CONFIG_REGION)]
    return np.array([row for row in void.tolist() if _gives_back(function, row)], dtype=np.intp)


def _gives_back(function: OfFunction, row: int) -> bool:
    """Whether a write of config space puts back what was there before the stage."""
    event, before = function.whole.history.served[row], function.record.config_before
    at, width = int(event["address"]), min(int(event["width"]), _SHOWN)
    data = int(event["value"]).to_bytes(_SHOWN, "little")[:width]
    return any(data) and data == before[at : at + width]


def _the(function: OfFunction, call: Call) -> str:
    return "a function" if call.alias == function.alias else f"{function.alias},"
