"""What a model of ours saw and did, one row each, as it writes them into a file that outlives it.  Pure.

A row is 36 bytes, little-endian, see :data:`ROW`; the table of a history has the same columns.
"""

from __future__ import annotations

import enum
import struct
from typing import Final

ROW: Final = struct.Struct("<qQQhBBIi")
"""`time_ns` (CLOCK_MONOTONIC), `value`, `address`, `function`, `what`, `region`, `width`, `error`."""
NO_REGION: Final = 255


class Happened(enum.IntEnum):
    """What a row tells; what the columns hold is said for each."""

    READ = 1
    """`width` bytes at `address` of `region` were read; `value`: the first 8; `error`: the errno that was answered."""
    WRITTEN = 2
    """The same, written."""
    FLR = 3
    """Initiate Function Level Reset was written and obeyed; `value` is the epoch that begins, the count of resets."""
    BUS_RESET = 4
    """The bus above was reset; `value` as before."""
    WAKE = 5
    """It left D3hot and forgot its state; `value` as before."""
    SELF_TESTED = 6
    """A built-in self-test came to its end; `value` as before."""
    FLR_IGNORED = 7
    """Initiate Function Level Reset was written, and nothing happened."""
    FAULT_BEGINS = 8
    """`value` is the number of the fault in the programme."""
    FAULT_ENDS = 9
    FAULT_MET = 10
    """The first access that a fault changed, of those since it began; `value` as before."""
    INTERRUPT = 11
    """An interrupt was signalled; `value` is the vector."""
    INTERRUPT_LOST = 12
    """One should have been."""
    DMA_READ = 13
    """`width` bytes at bus address `address` were read; `error` when the guest refused.

    ECANCELED: bus mastering was switched off while it was under way.
    """
    DMA_WRITTEN = 14
    CONNECTED = 15
    """QEMU came."""
    DISCONNECTED = 16
    """QEMU hung up."""
    INCIDENT_BEGINS = 17
    """Written by the host: `value` is the number of the incident in the plan."""
    INCIDENT_ENDS = 18
    """The same; `error` when it could not be done."""
    NOTED = 19
    """What a model of one's own found worth telling; `value` and `address` are its business."""
    CRITICAL_BEGINS = 20
    """From here on a reset corrupts what the function keeps; `value` is what it is about to keep."""
    CRITICAL_ENDS = 21
    """It is kept; `value` as before."""
    CORRUPTED = 22
    """A reset came before that; `value` as before."""
    LOST = 23
    """A reset came that nobody had announced: what the function had yet to keep is lost."""
    LEFT_OVER = 24
    """Software set up anew what every reset takes away, and it was still there from before the last; `value` is what,
    as the address of a queue."""


RESETS: Final = frozenset({Happened.FLR, Happened.BUS_RESET, Happened.WAKE, Happened.SELF_TESTED})
"""After one of these the function has forgotten its state."""
