"""How much shared memory the records of a stage get, and what becomes of a stage for which that is not enough.

An actor that paces itself has room for all that it can do.  One that runs freely may do more than any memory holds: a
read takes 1 µs on a quick machine.  Its lane is thinned from when a quarter of it is full (cdefs/actor.csrc.c): of the
accesses of a step that are alike, the first and the last of :attr:`Room.thin_ns` keep their rows.

**It lasts.**  A step takes two rows in that time, and one more whenever an access took longer than it.  So of S steps
whose accesses are alike at most 2 S + 1 rows are begun in it, and R rows last for R / (2 S + 1) times as long: it is
the shortest time that lets what is left of the lane last as long as the stage, but no less than :data:`SHORTEST` and no
more than :data:`LONGEST`.  One reader of one register fills 450,000 rows at 1 ms in 150 s, eight of them their 112,500
each at 1.6 ms in 60 s; at 20 ms that is 50 minutes, and 12.  After that, or where no two values are alike, operations
are lost, and the history says how many, and since when.

**It is bounded.**  All lanes together have no more than :data:`MOST` rows, however many actors there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from harness.agent.program import RECORDED
from harness.bindings.actor import Alike, Code, Instruction, Room
from harness.model.units import MS, Ns

LARGEST_LANE: Final = 600_000
"""Records of one actor, 24 MB: 1 us apart for 0.6 s, 10 us apart for 6 s."""
MOST: Final = 2 * LARGEST_LANE
"""Records of all actors together, 48 MB.  The agent copies them twice for its answer, in a guest of 512 MB."""
SHORTEST: Final = Ns(1 * MS)
"""Nothing that the contract promises a config access to wait for is as short."""
LONGEST: Final = Ns(20 * MS)
"""As long as the shortest reset that it waits for: twice 10 ms of D3hot (PCI PM 1.2 §5.4, Linux `pci_pm_reset()`)."""

_SMALLEST_LANE: Final = 64
_FASTEST: Final = Ns(1_000)  # no config access takes less


def rooms(programs: Sequence[Sequence[Instruction]], lasting: Ns) -> list[Room]:
    """Room for each program: what it can need, as far as there is so much; the least demanding are served first.

    Args:
        programs: of the actors.
        lasting: how long rounds may begin.
    """
    wanted = [_wanted(program, lasting) for program in programs]
    left, given = MOST, [0] * len(programs)
    for served, number in enumerate(sorted(range(len(programs)), key=wanted.__getitem__)):
        given[number] = min(wanted[number], LARGEST_LANE, left // (len(programs) - served))
        left -= given[number]
    return [
        Room(records, records, Ns(0)) if records == most else _thinned(records, program, lasting)
        for records, most, program in zip(given, wanted, programs, strict=True)
    ]


def _thinned(records: int, program: Sequence[Instruction], lasting: Ns) -> Room:
    whole = records // 4
    alike = sum(instruction.alike is not Alike.NEVER for instruction in program)
    return Room(
        records, whole, Ns(min(max(SHORTEST, (2 * alike + 1) * lasting // (records - whole)), LONGEST))
    )


def _wanted(program: Sequence[Instruction], lasting: Ns) -> int:
    """How many records an actor can need: its slowest possible pace is not known, its fastest is."""
    recorded = [i for i in program if i.op in RECORDED]
    most = len(recorded) + sum(i.times for i in program if i.op is Code.RETRY)  # records of one round
    if times := program[-1].times:
        return max(times * most, _SMALLEST_LANE)
    pause = sum(i.time_ns for i in recorded)
    rounds = lasting // (pause or _FASTEST * len(recorded)) + 2
    return max(rounds * most, _SMALLEST_LANE)
