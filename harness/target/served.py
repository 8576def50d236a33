"""How the host tells a function that a model of ours serves what to do, and learns what it saw."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from harness.errors import ModelError
from harness.model.fault import Fault, Incident


class Model(Protocol):
    """One function, as the host reaches it from outside; the guest has no part in it."""

    def load(self, faults: Sequence[Fault], *, anew: bool = True) -> None:
        """Replace its programme of faults.

        Args:
            faults: what it is to do wrong; empty: nothing any more.
            anew: whether its log begins anew.

        Raises:
            UsageError: it has no such register.
            GuestError: it is gone.
            ModelError: it made a mistake, see :meth:`mistake`.
        """

    def release(self, release_ns: int) -> None:
        """The actors were released at that time of the host's CLOCK_MONOTONIC, which may be past.

        Raises:
            GuestError: it is gone.
        """

    def perform(self, incident: Incident) -> None:
        """Do something to it; returns when that is over.

        Raises:
            GuestError: it could not be done.
        """

    def mistake(self) -> ModelError | None:
        """What it did that no model may: it raised, did not return, or ended; the same one every time.

        Returns:
            None: it serves, or an incident ended it.
        """

    def log(self) -> tuple[bytes, int]:
        """What it saw and did since its log began: rows of `harness.model.served`, and how many found no room.

        Times are those of the host's CLOCK_MONOTONIC.

        Raises:
            GuestError: it cannot be read.
        """
