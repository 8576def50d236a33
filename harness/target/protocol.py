"""What staging needs of a place to test in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from harness.model.loss import Loss
from harness.model.pci import Bdf
from harness.target.agent import Agent
from harness.target.served import Model


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

    def model(self, alias: str) -> Model | None:
        """How to tell a function that a model of ours serves what to do; None: it is another kind of function.

        Raises:
            UsageError: the target has no function of that name.
        """

    def provenance(self) -> dict[str, Any]:
        """What a report must name: QEMU, kernel, packages, machine; JSON values."""

    def busybox(self) -> bytes:
        """The ELF file of a busybox that runs on this target.

        Raises:
            SetupError: it could not be had.
        """

    def post_mortem(self, pages: Mapping[int, int]) -> tuple[Loss, dict[int, bytes]]:
        """Find out how this target was lost; it is of no use afterwards.

        Args:
            pages: offset in the memory of the stage to physical address on the target, of pages of 4096 bytes to read
                (:class:`harness.bindings.actor.SharedStage`).

        Returns:
            how it was lost, and by offset the content of those pages that could be read.
        """
