"""The kernel's trace, as text, to the table KERNEL of a history.  Pure.

Source: Linux kernel/trace/trace_output.c: `COMM-TID [CPU] FLAGS SECONDS.MICROSECONDS: EVENT: (PLACE) FIELDS`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import numpy as np

from harness.errors import HistoryError
from harness.history.columns import INTERRUPT, KERNEL, Table

_LINE: Final = re.compile(
    r"^.*-(?P<tid>\d{1,10})\s+\[\d+\]\s+(?P<flags>\S+)\s+(?P<s>\d{1,10})\.(?P<us>\d{6}): "
    r"p(?P<probe>\d{1,5}): \([^)]*\)(?P<fields>.*)$"
)
_INTERRUPTS: Final = frozenset("hHszZ")
"""Third of the flags: a hard or a soft interrupt, or one that interrupted another; whatever thread it came over has no
part in it."""
_LOST: Final = "EVENTS]"  # `CPU:1 [LOST 42 EVENTS]` stands where the kernel overwrote some
_NAME: Final = re.compile(r'\bfn="([^"]*)"')
_VALUE: Final = re.compile(r"\bv=(-?\d{1,20})")


def gaps(text: str) -> int:
    """How often the trace itself says that events were lost."""
    return sum(_LOST in line for line in text.splitlines() if not line.startswith("#"))


def parse(text: str, functions: Mapping[str, int]) -> Table:
    """Read every event of ours.

    Args:
        text: the file `trace` of our instance; lines that begin with `#` are its header.
        functions: BDF to index in the plan.

    Returns:
        A table of :data:`~harness.history.columns.KERNEL`, sorted by time.

    Raises:
        HistoryError: a line that cannot be understood; guessing would make evidence up.
    """
    rows = []
    for line in text.splitlines():
        if not line or line.startswith("#") or _LOST in line:
            continue
        match = _LINE.match(line)
        if match is None:
            raise HistoryError("kernel trace", said=f"line not understood: {line[:100]!r}")
        name, value = _NAME.search(match["fields"]), _VALUE.search(match["fields"])
        time_ns = int(match["s"]) * 1_000_000_000 + int(match["us"]) * 1_000
        function = functions.get(name[1], -1) if name else -1
        tid = INTERRUPT if match["flags"][2:3] in _INTERRUPTS else int(match["tid"])
        rows.append((time_ns, int(value[1]) if value else 0, tid, int(match["probe"]), function))
    try:
        table: Table = np.array(rows, dtype=KERNEL)
    except (OverflowError, ValueError) as error:
        raise HistoryError("kernel trace", said=f"a number beyond its column: {error}") from error
    return table[np.argsort(table["time_ns"], kind="stable")]
