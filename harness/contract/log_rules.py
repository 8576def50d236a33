"""Entries `[[log]]`: how to read lines of the kernel log."""

from __future__ import annotations

import re
import warnings
from typing import Final

from harness.contract.schema import Entry
from harness.model.terms import LogClass, LogRule, nameless

_GROUPS: Final = (
    "symbol", "frame", "handler", "place", "comm", "pid", "lock", "link", "bdf", "sid", "driver",
)  # fmt: skip
"""What a named group of a pattern may tell; see :class:`~harness.model.terms.LogRule`."""


def read_log_rule(entry: Entry) -> LogRule:
    """Read one entry.

    Raises:
        ContractError: a field is missing, unknown or makes no sense.
    """
    pattern = entry.text("pattern")
    entry.name = f"log {pattern!r}"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            groups = re.compile(pattern).groupindex
            re.compile(
                f"(?:)|{nameless(pattern)}"
            )  # beside others, as the judge asks for all of them at once
    except (re.error, OverflowError, RecursionError, Warning) as error:
        entry.refuse("pattern", f"no regular expression: {error}")
    for name in groups:
        if name not in _GROUPS:
            entry.refuse("pattern", f"names a group {name!r}", f"Choose from: {', '.join(_GROUPS)}.")
    rule = LogRule(
        pattern=pattern,
        kind=entry.word("class", LogClass),
        meaning=entry.text("meaning"),
        source=entry.text("source"),
    )
    entry.finish()
    return rule
