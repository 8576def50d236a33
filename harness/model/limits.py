"""How much the harness takes from outside: from guests, and out of files.  Every error says which limit it met.

A guest may be hostile and a file may be anything.  What is bounded here is memory and time of the host; a limit lies
far above what real stages give, and is no promise about them.
"""

from __future__ import annotations

from dataclasses import dataclass


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
        return f"{amount:,} {self.unit}, at most {self.most:,} are taken of {self.what}" if amount > self.most else ""
