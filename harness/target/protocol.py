"""What a place to test in is: all that staging and plugins know of it.

A guest is one, and so will be this machine, or another behind ssh.  What not every target has is None where it is
lacking, and what differs has a name; nobody asks what kind of target it is.  What each of these must do is stated, and
tried on each kind, in tests/guest/conformance/target.py.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from harness.errors import ModelError
from harness.model.loss import Loss
from harness.model.observation import FunctionFacts
from harness.model.pci import Bdf, Nature
from harness.target.agent import Agent
from harness.target.clock import Rate
from harness.target.served import Model
from harness.target.silence import Starved


class Renewed(enum.Enum):
    """What one gets who closes a target and has it made again."""

    ANOTHER_MACHINE = enum.auto()
    """One like it, whose functions are new: what was done to the first ended with it."""
    SAME_MACHINE = enum.auto()
    """It with all that was done to it, and a new agent: it cannot be thrown away."""


class Target(Protocol):
    """A machine whose kernel owns the functions under test, with an agent on it.

    What needs no agent answers when the target is lost, too: all but `address`, `facts`, `model` of a function that
    nobody asked for before, and `check_clock`.
    """

    @property
    def agent(self) -> Agent:
        """Its agent."""

    # --- its functions ------------------------------------------------------------------------------------

    @property
    def standing(self) -> tuple[str, ...]:
        """Aliases of the functions that are there from the start; others are plugged at their first use."""

    def address(self, alias: str) -> Bdf:
        """Where a function is on this target, plugging it first if need be; the same every time.

        Raises:
            UsageError: the target has no function of that name; it says which it has.
        """

    def facts(self, alias: str) -> FunctionFacts:
        """What a function is, as the target's kernel knew it when it was first asked for; plugs it like `address`.

        Raises:
            UsageError: the target has no function of that name; it says which it has.
        """

    def nature(self, name: str | Bdf) -> Nature:
        """What answers under an alias, or at the address of a function that has none: silicon, or a model.

        Raises:
            UsageError: the target has no function of that name; it says which it has.
        """

    def model(self, alias: str) -> Model | None:
        """How to tell a function that a model of ours serves what to do; None: it is another kind of function.

        Raises:
            UsageError: the target has no function of that name; it says which it has.
        """

    def mistakes(self) -> tuple[ModelError, ...]:
        """What models of ours did that no model may, told or not; the same objects every time."""

    # --- the machine --------------------------------------------------------------------------------------

    def provenance(self) -> dict[str, Any]:
        """What a report must name: QEMU, kernel (`kernel.release`), packages, machine; JSON values."""

    @property
    def by_hand(self) -> str:
        """How somebody looks at it by hand while it is kept, in lines for people."""

    @property
    def console(self) -> Path | None:
        """The file to which all goes that its kernel prints; None: nobody records that."""

    def busybox(self) -> bytes:
        """The ELF file of a busybox that runs on this target.

        Raises:
            SetupError: it could not be had.
        """

    def starvation(self) -> Starved:
        """Begin to ask how long a busy host kept it from running: what of its silence says nothing."""

    def check_clock(self) -> Rate:
        """Compare its clock with ours over the whole time of its use.

        Raises:
            ClockError: it ran wild: what was timed cannot be believed.
            TargetError: it does not answer.
        """

    # --- its end ------------------------------------------------------------------------------------------

    @property
    def lost(self) -> str:
        """Why it is of no use any more, as far as that is known without asking it; empty while it lives."""

    def post_mortem(self, pages: Mapping[int, int]) -> tuple[Loss, dict[int, bytes]]:
        """Find out how this target was lost; it is of no use afterwards.  Looking again finds the same.

        Args:
            pages: offset in the memory of the stage to physical address on the target, of pages of 4096 bytes to read
                (:class:`harness.bindings.actor.SharedStage`).

        Returns:
            how it was lost, and by offset the content of those pages that could be read.
        """

    @property
    def renewed(self) -> Renewed:
        """What one gets who has it made again."""


class Waiting(Target, Protocol):
    """A target that can be made ahead, and wait for whoever needs it."""

    def hand_over(self, console: Path) -> None:
        """Make it as fit for use as one that was made just now: console in its place, time of day and clock set.

        Args:
            console: where its console goes from now on, with all that it holds; on the same file system.

        Raises:
            GuestError: it was lost while it waited, or its console cannot be moved.
            ClockError: its clock ran wild while it waited.
            TargetError: it does not answer.
        """


Make = Callable[[Path], AbstractContextManager[Target]]
"""Makes a target for the length of a block; the path is where its console goes, if it has one."""
MakeWaiting = Callable[[Path], AbstractContextManager[Waiting]]
"""Makes one that may wait."""
