"""What a function still had after a reset that it told of, and that takes such a thing away: then it forgot nothing.

Its own log shows it: what it answered before anybody had written it anew, and what software found when it set it up.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from harness.history.reading import OfFunction
from harness.history.steps import Rows
from harness.model.served import RESETS, Happened

_CONFIG_REGION: Final = 7
_CACHE_LINE_SIZE: Final = 0x0C
"""A byte that drivers set, that does nothing, and that is 0 after a reset (PCIe r6.0 §7.5.1.1)."""
_NAMED: Final = "cache-line-size"


class LeftOver(NamedTuple):
    """One thing.

    Attributes:
        row: of `History.served`, that shows it.
        what: it is, as the object of a sentence.
    """

    row: int
    what: str


def left_over(function: OfFunction, reset: int) -> LeftOver | None:
    """The first thing that a function still had between a reset and its next one.

    Args:
        function: whose rows are asked.
        reset: row of `History.served` in which it tells of the reset.

    Returns:
        None: nothing shows any; that proves nothing.
    """
    history, later = function.whole.history, function.served(*RESETS)
    until = next(iter(later[later > reset].tolist()), len(history.served))
    found = [*_software_found(function, reset, until), *_answered(function, reset, until)]
    return min(found, default=None)


def _software_found(function: OfFunction, reset: int, until: int) -> list[LeftOver]:
    rows = _between(function.served(Happened.LEFT_OVER), reset, until)
    values = function.whole.history.served["value"]
    return [LeftOver(row, f"the queue at {int(values[row]):#x}") for row in rows[:1].tolist()]


def _answered(function: OfFunction, reset: int, until: int) -> list[LeftOver]:
    """What it answered of its cache line size, unless that was staged to be wrong, before the first write."""
    history, before = function.whole.history, function.record.config_before[_CACHE_LINE_SIZE:][:1]
    if not any(before) or any(fault.register == _NAMED for fault in history.plan.faults_of(function.alias)):
        return []
    written = _between(_touching(function, Happened.WRITTEN), reset, until)
    read = _between(_touching(function, Happened.READ), reset, next(iter(written.tolist()), until))
    for row in read.tolist():
        event = history.served[row]
        shift = 8 * (_CACHE_LINE_SIZE - int(event["address"]))
        if int(event["value"]) >> shift & 0xFF == before[0]:
            return [LeftOver(row, f"its cache line size, {before[0]:#x}")]
    return []


def _touching(function: OfFunction, what: Happened) -> Rows:
    """Accesses that were answered, and to config space, of which the first 8 bytes hold that register."""
    rows, served = function.served(what), function.whole.history.served
    at, width = (served[column][rows].astype(np.int64) for column in ("address", "width"))
    touches = (at <= _CACHE_LINE_SIZE) & (at + np.minimum(width, 8) > _CACHE_LINE_SIZE)
    kept: Rows = rows[touches & (served["region"][rows] == _CONFIG_REGION) & (served["error"][rows] == 0)]
    return kept


def _between(rows: Rows, after: int, before: int) -> Rows:
    kept: Rows = rows[(rows > after) & (rows < before)]
    return kept
