"""What a function's own driver did, as values of a timeline: stretches of its resets, and the calls that tell it."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

from harness.history.windows import Callback


class Phase(enum.StrEnum):
    """What a driver is at while it resets its function; called after the step with which it begins."""

    ASKED = "asked"
    SHUTDOWN = "shutdown"
    ALERT = "alert"
    TRIES = "tries for the lock"
    """It asks for the config lock again and again, and does not get it."""
    SELF_TEST = "self-test"
    WARM_RESET = "warm reset"
    RESTORE = "restore"
    """The time of the reset is over; config space is written back."""
    BRING_UP = "bring-up"


class Fate(enum.Enum):
    """What became of one try to reset a function."""

    DONE = enum.auto()
    FAILED = enum.auto()
    """It was tried again."""
    OPEN = enum.auto()
    """Not done when the stage ended."""
    LEFT = enum.auto()
    """The last that a driver does to a function that it gives up; nothing is brought up again."""


PHASE_LETTERS: Final = {
    Phase.ASKED: "q",
    Phase.SHUTDOWN: "h",
    Phase.ALERT: "a",
    Phase.TRIES: "t",
    Phase.SELF_TEST: "S",
    Phase.WARM_RESET: "W",
    Phase.RESTORE: "r",
    Phase.BRING_UP: "u",
}
"""In a line of text; of a reset itself without the lock the small letter."""
TOLD: Final = {Callback.PREPARE: "prepare", Callback.DONE: "done"}
TOLD_LETTERS: Final = {Callback.PREPARE: "P", Callback.DONE: "D"}
FATES: Final = {
    Fate.FAILED: "not done",
    Fate.OPEN: "not done when the stage ended",
    Fate.LEFT: "then the driver left",
}
"""What is said of a try that was not done."""
NOTHING: Final = (Fate.FAILED, Fate.OPEN)
"""What came to nothing."""
WITHOUT: Final = "without the lock"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """From one step of a driver's reset to the next.

    Attributes:
        phase: what the driver was at.
        begin, end: ns after release.
        fate: of the whole try.
        last: nothing of this try comes after it.
        bare: the reset itself, begun while the driver did not hold the config lock.
        tries: how often the driver asked for the lock in vain; 0 in any other phase.
        text: all that is known of it.
    """

    phase: Phase
    begin: int
    end: int
    fate: Fate
    last: bool
    bare: bool
    tries: int
    text: str

    @property
    def letter(self) -> str:
        """For a line of text."""
        letter = PHASE_LETTERS[self.phase]
        return letter.lower() if self.bare else letter

    @property
    def words(self) -> tuple[str, ...]:
        """What it is, in full and shorter."""
        if self.tries:
            return (
                f"{self.phase}, {self.tries} {'times' if self.tries > 1 else 'time'}",
                f"{self.tries} tries",
            )
        if self.bare:
            return (f"{self.phase} {WITHOUT}", f"{self.phase}, no lock", "no lock")
        return (str(self.phase),)


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A call by which the PCI core told the driver of a reset.

    Attributes:
        at: ns after release.
        what: before it, or after.
        text: all that is known of it.
    """

    at: int
    what: Callback
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverLane:
    """The driver of one function.

    Attributes:
        function: alias.
        stretches: sorted by begin, never overlapping.
        tellings: sorted by time.
        marked: does a marked event lie in this lane?
    """

    function: str
    stretches: tuple[Stretch, ...]
    tellings: tuple[Told, ...]
    marked: bool = False

    @property
    def name(self) -> str:
        """For the label."""
        return driver_lane_name(self.function)


def driver_lane_name(alias: str) -> str:
    """The label of the lane of a function's driver."""
    return f"driver {alias}"
