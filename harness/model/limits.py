"""How much the harness takes from outside: from guests, and out of files.  Every error says which limit it met.

A guest may be hostile and a file may be anything.  What is bounded here is memory and time of the host; a limit lies
far above what real stages give, and is no promise about them.
"""

from __future__ import annotations

from collections.abc import Sized
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

    def refusal(self, value: Sized, /) -> str:
        """The same of the length of a value; see :class:`harness.model.plain.Demand`."""
        return self.excess(len(value))


# -- files: histories, journals, contract files, modules -----------------------------------------------
# In brackets: the most that 130 recorded stages of every shipped scenario have.

HISTORY_FILE: Final = Limit(what="a history", most=256 << 20)
HISTORY_MEMBERS: Final = Limit(what="the archive of a history", most=64, unit="members")  # (4)
HISTORY_INFLATED: Final = Limit(
    what="a long member of a history", most=16, unit="times its packed size"
)  # (7.4)
"""What keeps a small file from taking much memory, where the following leave room for stages on quick machines."""
HISTORY_JSON: Final = Limit(what="history.json, unpacked", most=16 << 20)  # (46 kB)
OPERATIONS: Final = Limit(what="operations.npy", most=1 << 24, unit="rows")  # (76,848; all lanes 1,200,000)
CALLS: Final = Limit(what="operations.npy", most=1 << 16, unit="calls")  # (2,445)
"""Of resets, opens, accesses to a disk and whatever else is judged one by one."""
KERNEL_ROWS: Final = Limit(what="kernel.npy", most=1 << 17, unit="rows")  # (34)
SERVED_ROWS: Final = Limit(what="served.npy", most=1 << 20, unit="rows")  # (14,640; a log holds 200,000)
JOURNAL_FILE: Final = Limit(what="a journal", most=256 << 20)
JOURNAL_LINES: Final = Limit(what="a journal", most=1 << 18, unit="lines")
JOURNAL_LINE: Final = Limit(what="a line of a journal", most=8 << 20)  # (20 kB)
JOURNAL_ENTRIES: Final = Limit(what="one list of a journal", most=1 << 17, unit="entries")
BASELINE_FILE: Final = Limit(what="a baseline", most=16 << 20)
CONTRACT_FILE: Final = Limit(what="a contract file", most=1 << 18)  # (19 kB)
CONTRACT_KEY: Final = Limit(what="one line of a contract file", most=64, unit="dots")  # (9)
"""TOML's reader takes a time that grows with the levels of a key times the lines below it."""
PROMISES: Final = Limit(what="one operation in one window", most=64, unit="promises")  # (6)
MODULE_INFO: Final = Limit(what=".modinfo of a kernel module", most=1 << 20)
MODULE_FILE: Final = Limit(what="a kernel module", most=1 << 30)  # with debugging information
MODULE: Final = Limit(what="a kernel module, unpacked", most=128 << 20)  # (30 MB: Debian's amdgpu)

# -- values in them --------------------------------------------------------------------------------------

VALUES: Final = Limit(what="one JSON text", most=1 << 19, unit="values")
DEPTH: Final = Limit(what="values of no fixed form", most=16, unit="levels")  # (4)
TEXT: Final = Limit(what="one text", most=1 << 16, unit="characters")  # (1,367)
BYTES: Final = Limit(what="one field", most=4096)
ENTRIES: Final = Limit(what="one list", most=256, unit="entries")  # (8)
"""Of whatever a plan has: actors, functions, settings, faults …"""
STEPS: Final = Limit(what="the steps of all actors together", most=256, unit="steps")  # (17)
PROBES: Final = Limit(what="the probes of a history", most=1024, unit="probes")  # (42)
LOG_LINES: Final = Limit(what="the kernel log of a history", most=1 << 15, unit="lines")  # (219)
UEVENTS: Final = Limit(what="the uevents of a history", most=1 << 14, unit="uevents")  # (2)
LONGEST_TIME: Final = Limit(what="one time", most=1 << 60, unit="ns")
"""36 years: sums of a few of them still fit into 64 bits."""


# --- from a guest's agent ---------------------------------------------------------------------------------

LINE: Final = Limit(what="a line of an agent", most=1 << 20)
MESSAGE: Final = Limit(what="a message of an agent", most=512 << 20)
"""All lanes are 48 MB at most, the trace of a processor some MB; an answer brings all of them."""
MESSAGE_VALUES: Final = Limit(what="a message of an agent", most=1_000_000, unit="values")
"""One costs a byte there and up to 72 here."""
MESSAGE_TEXT: Final = Limit(what="the text in a message of an agent", most=64 << 20)
"""The kernel's trace is the longest of them.  One character beyond U+FFFF makes it four times as long here."""
UNREAD: Final = Limit(what="what an agent sends and nobody takes", most=16_000, unit="messages")
UNREAD_BYTES: Final = Limit(what="what an agent sends and nobody takes", most=64 << 20)
"""Counted with what the values cost here."""
TRACEBACK: Final = Limit(what="a traceback of an agent", most=64_000, unit="characters")
SENTENCE: Final = Limit(what="a sentence of an agent", most=4_000, unit="characters")
PAGES: Final = Limit(what="the shared memory of a stage", most=1024, unit="pages")
"""One for each actor, and one more; reading each stops the guest for a moment."""
OUTPUT: Final = Limit(what="the output of a command", most=1 << 16, unit="characters")
"""The agent keeps a quarter as many bytes, each of which may be written as `\\x1b`."""
PROGRAM: Final = Limit(what="a program that is brought to a target", most=16 << 20)
CONSOLE_LINE: Final = Limit(what="a line of a console", most=2048, unit="characters")
"""The kernel's own are half as long (kernel/printk/printk.c, LOG_LINE_MAX)."""
