"""What staging needs of a place to test in."""

from __future__ import annotations

from typing import Any, Protocol

from harness.model.pci import Bdf
from harness.target.agent import Agent


class Target(Protocol):
    """A machine whose kernel owns the functions under test, with an agent on it."""

    @property
    def agent(self) -> Agent:
        """Its agent."""

    def address(self, alias: str) -> Bdf:
        """Where a function is on this target, plugging it first if need be.

        Raises:
            UsageError: the target has no function of that name.
        """

    def provenance(self) -> dict[str, Any]:
        """What a report must name: QEMU, kernel, packages, machine; JSON values."""
