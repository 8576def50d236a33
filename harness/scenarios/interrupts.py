"""How a function interrupts: by messages, or by its pin."""

from typing import Final

import pytest

from harness.history.history import History
from harness.pci.capabilities import find

BY_MESSAGE_AND_BY_PIN: Final = pytest.mark.parametrize(
    "interrupts", ["msi", pytest.param("intx", marks=pytest.mark.hil_slow)]
)
"""For a scenario in which it matters: a driver handles the one and the other in its own way.  Each costs a reset of the
adapter, so that by pin is for who asks: one that every run has goes by pin alone (`test_ipr_race.py`)."""
_CONTROL: Final = 2  # of the MSI capability; its lowest bit switches messages on (PCIe r6.0 §7.7.1.2)


def interrupts_of(history: History, alias: str) -> str:
    """What its driver had switched on when the actors were released: `msi`, or `intx` if it had not."""
    config = history.function(alias).config_before
    return "msi" if any(config[one.offset + _CONTROL] & 1 for one in find(config, "msi")) else "intx"
