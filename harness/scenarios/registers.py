"""Registers that tell whether a function answers."""

from typing import Final

NEVER_ZERO: Final = {"igb": 0xE00, "nvme": 0x08}
"""Offset in BAR 0, by platform, of a register that never reads zero: LEDCTL of the 82576, VS of NVM Express."""
