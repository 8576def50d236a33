"""What a function still had after a reset that it told of, and that takes such a thing away: then it forgot nothing.

Its own log shows it: what it answered before anybody had written it anew, and what software found when it set it up.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from harness.history.history import History
from harness.judge.evidence.served_rows import served_rows
from harness.judge.evidence.steps import Rows
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


def left_over(history: History, alias: str, reset: int) -> LeftOver | None:
    """The first thing that a function still had between a reset and its next one.

    Args:
        history: whose rows are asked.
        alias: of the function.
        reset: row of `History.served` in which it tells of the reset.

    Returns:
        None: nothing shows any; that proves nothing.
    """
    later = served_rows(history, alias, *RESETS)
    until = next(iter(later[later > reset].tolist()), len(history.served))
    found = [
        *_software_found(history, alias, reset, until),
        *_answered(history, alias, reset, until),
    ]
    return min(found, default=None)


def _software_found(history: History, alias: str, reset: int, until: int) -> list[LeftOver]:
    rows = _between(served_rows(history, alias, Happened.LEFT_OVER), reset, until)
    return [
        LeftOver(row, f"the queue at {int(history.served['value'][row]):#x}") for row in rows[:1].tolist()
    ]


def _answered(history: History, alias: str, reset: int, until: int) -> list[LeftOver]:
    """What it answered of its cache line size, unless that was staged to be wrong, before the first write."""
    before = history.function(alias).config_before[_CACHE_LINE_SIZE : _CACHE_LINE_SIZE + 1]
    if not any(before) or any(fault.register == _NAMED for fault in history.plan.faults_of(alias)):
        return []
    written = _between(_touching(history, alias, Happened.WRITTEN), reset, until)
    read = _between(_touching(history, alias, Happened.READ), reset, next(iter(written.tolist()), until))
    for row in read.tolist():
        event = history.served[row]
        shift = 8 * (_CACHE_LINE_SIZE - int(event["address"]))
        if int(event["value"]) >> shift & 0xFF == before[0]:
            return [LeftOver(row, f"its cache line size, {before[0]:#x}")]
    return []


def _touching(history: History, alias: str, what: Happened) -> Rows:
    """Accesses that were answered, and to config space, of which the first 8 bytes hold that register."""
    rows, served = served_rows(history, alias, what), history.served
    at, width = (served[column][rows].astype(np.int64) for column in ("address", "width"))
    touches = (at <= _CACHE_LINE_SIZE) & (at + np.minimum(width, 8) > _CACHE_LINE_SIZE)
    kept: Rows = rows[touches & (served["region"][rows] == _CONFIG_REGION) & (served["error"][rows] == 0)]
    return kept


def _between(rows: Rows, after: int, before: int) -> Rows:
    kept: Rows = rows[(rows > after) & (rows < before)]
    return kept
