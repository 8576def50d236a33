"""Other builds of the programmable endpoint: one with MSI-X, and one of two functions of a device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from harness.lab.models.declared import AER, MSI, PCI_EXPRESS, POWER_MANAGEMENT, msix
from harness.lab.models.endpoint import Endpoint, endpoint
from harness.lab.models.function import INTX_AND_MSI
from harness.lab.models.interface import MSIX

WITH_MSIX: Final = 0x10F8
"""Device id; both lie in the range that is set aside for such use."""
OF_TWO: Final = 0x10F9
VECTORS: Final = 2
TABLE, PENDING = 0x800, 0xC00
"""Offsets in BAR 0, behind the registers."""


def with_msix(clock: Callable[[], int]) -> Endpoint:
    """One with two vectors of MSI-X besides MSI; a trigger sends the first.

    Args:
        clock: CLOCK_MONOTONIC, nanoseconds.
    """
    vectors = msix(vectors=VECTORS, bar=0, table=TABLE, pending=PENDING)
    return endpoint(
        clock,
        device=WITH_MSIX,
        capabilities=(POWER_MANAGEMENT, MSI, vectors, PCI_EXPRESS, AER),
        vectors={**INTX_AND_MSI, MSIX: VECTORS},
    )


def of_two(clock: Callable[[], int]) -> Endpoint:
    """One function of two; that it has a sibling is QEMU's to say (Header Type, bit 7).

    Args:
        clock: CLOCK_MONOTONIC, nanoseconds.
    """
    return endpoint(clock, device=OF_TWO)
