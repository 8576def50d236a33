"""How a target was lost in the middle of a stage, and what it left behind.

A guest can be asked much when it is gone: QEMU's monitor, its console, its memory.  What is found decides who is
to blame: a kernel that stopped itself or that makes no progress is the kernel under test's fault, and judged as
data; anything else is trouble of the lab, an error without a verdict.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from harness.model.operation import HEARTBEAT, RENDEZVOUS, SET_UP, WAIT
from harness.model.plan import Plan

OURS: Final = frozenset({HEARTBEAT, WAIT, RENDEZVOUS, SET_UP})
"""The harness's own business: an actor is not stuck in one of these, and nothing is to blame for them."""


class LossKind(enum.StrEnum):
    """How a target was lost."""

    PANIC = "panic"
    """Its kernel stopped itself."""
    HANG = "hang"
    """Its kernel makes no progress: a processor has its interrupts off and stays where it is."""
    REBOOT = "reboot"
    """It started anew, or switched itself off, without a panic."""
    FROZEN = "frozen"
    """It was stopped from outside: paused, or its QEMU was."""
    EMULATOR = "emulator"
    """Its QEMU ended without the guest's doing."""
    AGENT = "agent"
    """Its kernel lives, and the agent's process ended."""
    SILENT = "silent"
    """Its kernel lives, the agent is there and does not answer: it may be stuck in the kernel."""

    @property
    def kernel_fault(self) -> bool:
        """Whether the kernel under test did it."""
        return self in (LossKind.PANIC, LossKind.HANG)

    @property
    def target_lives(self) -> bool:
        """Whether the kernel goes on, and only the agent was lost."""
        return self in (LossKind.AGENT, LossKind.SILENT)


@dataclass(frozen=True, slots=True, kw_only=True)
class InFlight:
    """What one actor was doing when its target was lost, as its shared memory tells.

    Attributes:
        actor: number of the actor in the plan.
        step: number of its step in the plan; None outside of a step, as in the rendezvous.
        tid: of its thread on the target.
        round: of the step, from 0.
        begin_ns: CLOCK_MONOTONIC of the target when it began, 0 when it is not known.
        count: operations that it had begun in the stage.
        returned: whether the operation had returned.
    """

    actor: int
    step: int | None
    tid: int
    round: int
    begin_ns: int
    count: int
    returned: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """A lost target.

    Attributes:
        kind: how it was lost.
        said: one line, the best single piece of evidence: the reason of a panic, how QEMU ended.
        console: the end of its console, with the backtraces of all processors where they could be had.
        registers: of all processors, as QEMU prints them; empty when QEMU was gone.
        events: what QEMU told about, oldest first: name and data.
        host_ns: CLOCK_MONOTONIC of the host when it was told of it (QEMU's event); 0 when nobody told.
        release_ns: CLOCK_MONOTONIC of the target when the stage began; 0 when it had not, or is not known.
        in_flight: what the actors were doing; empty when that could not be read.
    """

    kind: LossKind
    said: str
    console: str = ""
    registers: str = ""
    events: tuple[str, ...] = ()
    host_ns: int = 0
    release_ns: int = 0
    in_flight: tuple[InFlight, ...] = ()


def doing(plan: Plan, places: Iterable[tuple[int, int]]) -> str:
    """What actors were in the middle of, in words: `reader 1 was in config-read/sysfs of igb0, resetter in reset/flr`.

    Args:
        plan: what was carried out.
        places: number of the actor and of its step, of each operation that had not returned.

    Returns:
        `no actor was in an operation` when there is none but the harness's own.
    """
    parts: list[str] = []
    last = ""
    for actor, number in sorted(places):
        step = plan.actors[actor].steps[number]
        if step.means in OURS:
            continue
        alias = step.file.function if step.file else ""
        of = f" of {alias}" if alias and alias != last else ""
        parts.append(f"{plan.actors[actor].name} {'in' if parts else 'was in'} {step.means}{of}")
        last = alias or last
    return ", ".join(parts) or "no actor was in an operation"
