"""Was every function back when the kernel said so, and how often had it looked?

What a model of ours writes down tells how long its function was away: not ready, asleep, or answering with Request
Retry Status.  Whoever reports success before that is over hands out a function that is not there.

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
            mine = [call for call in done if call.alias == function.alias and fault.what in _waits_for(call)]
            yield from _judge(history, fault, mine, list(_spells(function, number, fault)))


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
    history: History, fault: Fault, done: Iterable[Call], away: list[tuple[int, int]]
) -> Iterator[Finding]:
    error = history.served_error_ns
    early, patient = [], []
    for call in done:
        for since, until in away:
            if _known(call, fault, since, error) and call.end_ns < until - error:
                early.append((call, until))
            elif call.begin_ns < until <= call.end_ns + error:
                patient.append((call, until))
    if early:
        call, until = early[0]
        left = "and for ever" if until == _FOREVER else f"for another {as_text(Ns(until - call.end_ns))}"
        yield findings.failed(
            NAME,
            Blame.RESET_FAILED,
            f"{len(early)} {call.operation} on {call.alias} reported success while the function was {fault.what}, "
            f"{left}: the kernel did not wait for it.",
            events=[findings.operation(call.row) for call, _ in early[:4]],
            source=_SOURCE,
            met=len(early),
        )
    elif patient:
        call, until = patient[0]
        yield findings.passed(
            NAME,
            f"{len(patient)} {call.operation} on {call.alias} waited for a function that was {fault.what}: slow but "
            f"ready; the first returned {as_text(Ns(max(0, call.end_ns - until)))} after it was back.",
            source=_SOURCE,
            met=len(patient),
        )
