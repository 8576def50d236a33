"""Which reset took from a function what config space lacks at the end: often not the last.

A reset that restores nothing leaves its loss to the next one, which saves what it finds and restores that.  The
function's own log tells, for each of its resets, whether software had given back or found again what is missing; where
there is none, reads by the plan do.  Who gave it back is not to blame for whoever took it away again.

Source: Linux drivers/pci/pci.c, `pci_save_state()`, `pci_restore_state()`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from harness.history.reading import OfFunction
from harness.judge.evidence.calls import Call
from harness.judge.evidence.evidence import Evidence
from harness.judge.evidence.whose_reset import resetting
from harness.model.operation import verb
from harness.model.served import RESETS, Happened

_CONFIG_REGION: Final = 7
_NAMED: Final = 3  # of earlier resets
_SHOWN: Final = 8  # bytes of an access that a row holds


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """Who lost it.

    Attributes:
        calls: of the plan, one when that is certain, else all that it may have been; none: nobody of the plan did.
        row: of `History.served`, the reset in which it was lost; None where the function keeps no log.
    """

    calls: tuple[Call, ...]
    row: int | None = None


def or_earlier(evidence: Evidence, loss: Loss) -> str:
    """Who else than the last call may have lost it, as what follows his name; empty where nobody else may.

    Who waits behind the close or open of another saves what that one left, so names are worth more than a number.
    """
    actors, earlier = evidence.history.plan.actors, loss.calls[:-1]
    if not earlier:
        return ""
    names = dict.fromkeys(f"{one.operation} by {actors[one.actor].name}" for one in earlier)
    some = " or ".join(names) if len(names) <= _NAMED else f"one of the {len(earlier)} resets"
    return f", or after {some} before it"


def lost_in(
    evidence: Evidence, function: OfFunction, calls: Sequence[Call], missing: Mapping[int, int]
) -> Loss:
    """Find the reset after which bytes of config space were not there any more.

    Args:
        evidence: of the stage.
        function: whose config space it is.
        calls: that reset it and succeeded, in order of their end; at least one.
        missing: offsets of bytes that differ from what they were before the stage, and the bits of them that count.
    """
    rows = [] if evidence.history.served_lost else function.served_in_time(*RESETS).tolist()
    if not rows:
        return Loss(calls=_by_reads(function, calls, missing))
    ends = [*rows[1:], len(evidence.history.served)]
    touched = list(touches(function, missing))
    right = [
        any(held for row, held in touched if begin < row < end) for begin, end in zip(rows, ends, strict=True)
    ]
    taken = len(right) - next((at for at, here in enumerate(reversed(right)) if here), len(right))
    if taken == len(rows):
        return Loss(calls=tuple(calls[-1:]))  # the last gave it back, and that did not arrive
    event = evidence.history.served[rows[taken]]
    call = resetting(evidence, function, int(event["time_ns"]), Happened(int(event["what"])))
    return Loss(calls=() if call is None else (call,), row=rows[taken])


def touches(function: OfFunction, missing: Mapping[int, int]) -> Iterator[tuple[int, bool]]:
    """Rows of the function's log in which software wrote or read what is missing, and whether it was right."""
    served, rows = function.whole.history.served, function.served(Happened.READ, Happened.WRITTEN)
    at = served["address"][rows].astype(np.int64)
    near = (at <= max(missing)) & (at + _SHOWN > min(missing)) & (served["region"][rows] == _CONFIG_REGION)
    for row in rows[near & (served["error"][rows] == 0)].tolist():
        event = served[row]
        held = _held(function, int(event["address"]), int(event["width"]), int(event["value"]), missing)
        if held is not None:
            yield row, held


def _held(function: OfFunction, at: int, width: int, value: int, missing: Mapping[int, int]) -> bool | None:
    """Whether an access carried what is missing, in the bits that count; None: it did not touch it."""
    before, data = function.record.config_before, value.to_bytes(_SHOWN, "little")
    touched = [offset for offset in range(at, at + min(width, _SHOWN)) if offset in missing]
    if not touched:
        return None
    return not any((data[offset - at] ^ before[offset]) & missing[offset] for offset in touched)


def _by_reads(function: OfFunction, calls: Sequence[Call], missing: Mapping[int, int]) -> tuple[Call, ...]:
    """The calls between the last read that still found it, and the first that did not."""
    reads = sorted(_reads(function, missing))
    since = max((begin for begin, _, right in reads if right), default=0)
    until = min((end for begin, end, right in reads if not right and begin > since), default=None)
    among = [call for call in calls if call.end_ns > since and (until is None or call.begin_ns < until)]
    return tuple(among or calls[-1:])


def _reads(function: OfFunction, missing: Mapping[int, int]) -> Iterator[tuple[int, int, bool]]:
    """Begin and end of reads of what is missing by the plan, and whether it was still there."""
    steps, table = function.whole.steps, function.whole.history.operations
    for number, step in steps.numbers(function.alias):
        if verb(step.means) != "config-read" or step.width > _SHOWN or _by_vfio(step.means):
            continue
        for row in steps.rows_of.get(number, ()):
            event = table[row]
            if event["error"] or int(event["result"]) != step.width or not event["end_ns"]:
                continue
            held = _held(function, step.offset, step.width, int(event["value"]), missing)
            if held is None:
                break
            yield int(event["begin_ns"]), int(event["end_ns"]), held


def _by_vfio(means: str) -> bool:
    """VFIO mixes bits of its own into what it reads."""
    return means.partition("/")[2].startswith("vfio")
