"""Registers of functions by platform: those that tell whether a function answers, and those that make it interrupt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Doorbell:
    """How a function is given cause for an interrupt.

    Attributes:
        trigger: offset in BAR 0 of a register whose write is the cause.
        acknowledge: of one whose write takes the cause of INTx away.
    """

    trigger: int
    acknowledge: int


_OUR_ENDPOINTS: Final = ("hil-endpoint", "hil-endpoint-msix", "hil-endpoint-of-two")

NEVER_ZERO: Final = {"igb": 0xE00, "e1000e": 0xE00, "nvme": 0x08, **dict.fromkeys(_OUR_ENDPOINTS, 0x00)}
"""Offset in BAR 0, by platform, of a register that never reads zero: LEDCTL of the 82576 and the 82574L, VS of NVM
Express, the signature of our endpoints (lab/models/endpoint.py)."""

DOORBELLS: Final = dict.fromkeys(_OUR_ENDPOINTS, Doorbell(trigger=0x10, acknowledge=0x14))
"""By platform (lab/models/endpoint.py)."""
