"""Entries `[[log]]`: how to read lines of the kernel log."""

from __future__ import annotations

import re

from harness.contract.schema import Entry
from harness.model.terms import LogClass, LogRule


def read_log_rule(entry: Entry) -> LogRule:
    """Read one entry.

    Raises:
        ContractError: a field is missing, unknown or makes no sense.
    """
    pattern = entry.text("pattern")
    entry.name = f"log {pattern!r}"
    try:
        re.compile(pattern)
    except re.error as error:
        entry.refuse("pattern", f"no regular expression: {error}")
    rule = LogRule(
        pattern=pattern,
        kind=entry.word("class", LogClass),
        meaning=entry.text("meaning"),
        source=entry.text("source"),
    )
    entry.finish()
    return rule
