"""What a function and whoever serves it say to each other: numbers as vfio has them, rows of the log, refusals.

Here, and not with the function, because those who speak for a dead one, or write down what it tells, know no function.
"""

from __future__ import annotations

import errno
from typing import Final, NamedTuple, Protocol

from harness.model.served import NO_REGION, Happened

CONFIG_REGION: Final = 7
"""Number of config space among the regions; 0 to 5 are the BARs (vfio)."""
INTX, MSI, MSIX = 0, 1, 2
"""Numbers of the kinds of interrupt (vfio)."""


class Refused(Exception):
    """The access is answered with an error.

    Attributes:
        errno: which.
    """

    def __init__(self, number: int) -> None:
        super().__init__(errno.errorcode.get(number, str(number)))
        self.errno: Final = number


class Told(NamedTuple):
    """What a function tells of; see :mod:`harness.model.served` for what the fields hold."""

    what: Happened
    at_ns: int
    value: int = 0
    address: int = 0
    region: int = NO_REGION
    width: int = 0
    error: int = 0


class Outlets(Protocol):
    """What a function can do to the machine that it sits in."""

    def signal(self, kind: int, vector: int) -> bool:
        """Signal an interrupt; whether anybody listens."""

    def dma_read(self, address: int, count: int) -> bytes:
        """Read guest memory at a bus address.

        Raises:
            OSError: the machine refused, or is gone.
        """

    def dma_write(self, address: int, data: bytes) -> None:
        """Write guest memory, likewise.

        Raises:
            OSError: the machine refused, or is gone.
        """
