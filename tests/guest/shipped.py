"""The shipped scenarios in two parts, and what must at least be seen in each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tests.guest.invocation import Invocation


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A selection of scenarios.

    Attributes:
        asked: arguments of `harness run`.
        cases: how many there are at least in the report.
        stages: how many of them stage something.
        met: of how many stages a PASS must say what collided.
        used: to how many entries of the contract somebody is held.  Which window an operation meets is a matter of
            milliseconds, so that a few entries are used in one run and not in the next; there may be more every day.
        unseen: claims of used entries that nothing in this part looks at, but the other does.
    """

    asked: tuple[str, ...]
    cases: int
    stages: int
    met: int
    used: int
    unseen: frozenset[str] = frozenset()


_ADAPTER_ONLY = "test_adapter_faults or test_untold_resets or test_silly_root or test_ipr_warm"
PARTS: Final = {
    "most": Part(asked=("-k", f"not ({_ADAPTER_ONLY})"), cases=120, stages=110, met=95, used=105),
    "adapter": Part(
        asked=("-m", "hil_ipr"),
        cases=20,
        stages=20,
        met=4,
        used=30,
        # Functions that are no adapter use these entries as well, and show them.
        unseen=frozenset(
            {
                "config-write/flr-bit@none#config",
                "config-write/self-test@none#config",
                "reset/flr@none:igb+nvme+virtio-rng+hil-endpoint+hil-ipr+hil-ipr-sis64#state",
            }
        ),
    ),
}
"""Everything is in one of them; the race of 2011 and the interrupt handler of UIO are in both."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shipped(Invocation):
    """What became of the run of a part."""

    part: Part
