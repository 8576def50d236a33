"""How much the harness takes from outside: from guests, and out of files.  Every error says which limit it met.

A guest may be hostile and a file may be anything.  What is bounded here is memory and time of the host; a limit lies
far above what real stages give, and is no promise about them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """The most that is taken of one thing.

    Attributes:
        what: the thing, as the error names it: `a history, unpacked`.
        most: how much is still taken.
        unit: what is counted: `bytes`, `rows`, `levels`.
    """

    what: str
    most: int
    unit: str = "bytes"

    def excess(self, amount: int) -> str:
        """Say by how much an amount is too much.

        Args:
            amount: in the limit's unit.

        Returns:
            A clause for `said=` of an error; empty when the amount is within the limit.
        """
        return (
            f"{amount:,} {self.unit}, at most {self.most:,} are taken of {self.what}"
            if amount > self.most
            else ""
        )


# --- from a guest's agent ---------------------------------------------------------------------------------

LINE: Final = Limit(what="a line of an agent", most=1 << 20)
MESSAGE: Final = Limit(what="a message of an agent", most=512 << 20)
"""A full lane is 24 MB, the trace of a processor some MB; an answer brings all of them."""
VALUES: Final = Limit(what="a message of an agent", most=1_000_000, unit="values")
"""One costs a byte there and up to 72 here."""
TEXT: Final = Limit(what="the text in a message of an agent", most=64 << 20)
"""The kernel's trace is the longest of them.  One character beyond U+FFFF makes it four times as long here."""
UNREAD: Final = Limit(what="what an agent sends and nobody takes", most=16_000, unit="messages")
UNREAD_BYTES: Final = Limit(what="what an agent sends and nobody takes", most=64 << 20)
"""Counted with what the values cost here."""
TRACEBACK: Final = Limit(what="a traceback of an agent", most=64_000, unit="characters")
SENTENCE: Final = Limit(what="a sentence of an agent", most=4_000, unit="characters")
CONSOLE_LINE: Final = Limit(what="a line of a console", most=2048, unit="characters")
"""The kernel's own are half as long (kernel/printk/printk.c, LOG_LINE_MAX)."""
