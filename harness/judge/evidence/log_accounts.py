"""The account of the kernel log: which lines that concern the plan nobody has explained.

A line concerns the plan if it is a warning or worse, or names a function of it, a port above one, or a driver of one.
An explanation is a rule of the contract, or a fault that was staged with the function that the line names.  What names
none and stands between the lines of a report that the kernel makes of itself, or only frames one, is a part of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Final

from harness.history.history import History
from harness.judge.evidence.given_up import WARNING
from harness.judge.evidence.log_events import REPORTS, LogEvent, addresses
from harness.judge.evidence.log_places import aliases_of, drivers

ERROR: Final = 3
"""Syslog level: a line of it that names what the plan names leaves a question open."""
_NEAR: Final = 24
"""Lines without a word that a rule knows, as lockdep's scenario of a deadlock has them in the middle of its report."""
_FRAME: Final = re.compile(r"^[\s=_*-]*$|^-+\[ end trace ")
"""Nothing, a ruler, or the end of a report."""
_SPEAKER: Final = re.compile(r"^([\w-]+)(?: [\w.:-]+)*: ")


def unexplained(history: History, events: Iterable[LogEvent]) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Rows of the log that no event explains, and the functions of the plan that each of them names.

    Args:
        history: whose log it is.
        events: all that the contract's rules read in it.
    """
    events = tuple(events)
    explained = {row for event in events for row in event.rows}
    inside = {row for event in events if event.kind in REPORTS for row in _between(event.rows)}
    for row, line in enumerate(history.log):
        if row in explained or not line.of_the_kernel or _FRAME.search(line.text):
            continue
        named = _named(history, line.text)
        if any(history.plan.wrongs(alias) for alias in named):
            continue
        if named or (line.level <= WARNING and row not in inside):
            yield row, named


def _between(rows: tuple[int, ...]) -> Iterator[int]:
    """Lines between those of a report that are not far apart: other processors may write, too."""
    for one, following in pairwise(rows):
        if following - one <= _NEAR:
            yield from range(one + 1, following)


def leaves_open(history: History, row: int, named: tuple[str, ...]) -> bool:
    """Whether such a row lets nobody say that all is well: an error of what the plan names.  Others are remarks."""
    return bool(named) and history.log[row].level == ERROR


def first_line(history: History, row: int) -> str:
    """The first line of a record of the log."""
    return history.log[row].text.strip().partition("\n")[0]


def _named(history: History, text: str) -> tuple[str, ...]:
    """The functions that a line is about: by address, by that of the port above, or by the driver that speaks."""
    if found := addresses(text):
        return aliases_of(history, found)
    speaker = _SPEAKER.search(text)
    return drivers(history, speaker[1]) if speaker else ()
