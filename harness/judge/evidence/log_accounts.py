"""The account of the kernel log: which lines that concern the plan nobody has explained.

A line concerns the plan if it is a warning or worse, or names a function of it, a port above one, or a driver of one.
An explanation is a rule of the contract, or a fault that was staged with the function that the line names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from harness.history.history import History
from harness.judge.evidence.given_up import WARNING
from harness.judge.evidence.log_events import LogEvent, addresses
from harness.judge.evidence.log_places import aliases_of, drivers

ERROR: Final = 3
"""Syslog level: a line of it that names what the plan names leaves a question open."""
_SPEAKER: Final = re.compile(r"^([\w-]+)(?: [\w.:-]+)*: ")


def unexplained(history: History, events: Iterable[LogEvent]) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Rows of the log that no event explains, and the functions of the plan that each of them names.

    Args:
        history: whose log it is.
        events: all that the contract's rules read in it.
    """
    explained = {row for event in events for row in event.rows}
    for row, line in enumerate(history.log):
        if row in explained or not line.of_the_kernel or not line.text.strip():
            continue
        named = _named(history, line.text)
        if any(history.plan.wrongs(alias) for alias in named):
            continue
        if named or line.level <= WARNING:
            yield row, named


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
