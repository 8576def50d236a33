"""Traces of the kernel written by hand, a line a hit, for the tests of windows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from harness.history.columns import KERNEL, OPERATION, Edge
from harness.history.history import ActorRecord, History, Probe
from harness.history.windows import (
    CALLBACKS,
    DRIVER_STEPS,
    HOLD_DEVICE_LOCK,
    LOCK,
    RESET_FUNCTIONS,
    TRYLOCK,
    UNLOCK,
    UNREGISTER,
    WAIT,
)
from harness.model.operation import Operation, config_read
from harness.model.pci import AccessPath
from harness.model.plan import Actor, File, Op, Plan, Step
from harness.model.units import US, Ns

ENTRY, RETURN = Edge.ENTRY, Edge.RETURN
END = Ns(1_000_000 * US)
PROBES = tuple(
    Probe(symbol=symbol, edge=edge)
    for symbol in (LOCK, TRYLOCK, UNLOCK, WAIT, *RESET_FUNCTIONS, UNREGISTER, HOLD_DEVICE_LOCK)
    for edge in Edge
    if (symbol, edge) != (WAIT, RETURN)
) + tuple(Probe(symbol=symbol, edge=Edge.ENTRY) for symbol in (*DRIVER_STEPS, *CALLBACKS))
READ = Step(op=Op.READ, means=config_read(AccessPath.SYSFS), width=4)


def write(means: str, role: str = "windows") -> Step:
    """A write that means `means`."""
    return Step(op=Op.WRITE, means=Operation(means), file=File(function="igb0", role=role), value=b"1")


Hit = tuple[int, int, str, Edge] | tuple[int, int, str, Edge, int] | tuple[int, int, str, Edge, int, int]
"""Microseconds, thread, symbol, edge, function (0 at entries, -1 at returns), value (0)."""


def history(
    hits: Sequence[Hit],
    operations: Sequence[tuple[int, int, int]] = (),
    *,
    probes: tuple[Probe, ...] = PROBES,
    tids: Sequence[int] = (501, 502),
    steps: Sequence[Step] = (READ, READ),
    lost: int = 0,
) -> History:
    """A history of two functions.

    Args:
        hits: of the kernel's probes.
        operations: begin and end in microseconds (end 0: never returned), and the actor.
        probes: that were asked for.
        tids: thread of each actor.
        steps: the only step of each actor.
        lost: trace events.
    """
    numbers = {(probe.symbol, probe.edge): number for number, probe in enumerate(PROBES)}
    rows = []
    for us, tid, symbol, edge, *rest in hits:
        function = int(rest[0]) if rest else (0 if edge is ENTRY else -1)
        value = int(rest[1]) if len(rest) > 1 else 0
        rows.append((us * US, value, tid, numbers[symbol, edge], function))
    return History(
        plan=Plan(
            title="by hand",
            functions=("igb0", "igb1"),
            actors=tuple(
                Actor(name=f"reader-{tid}", steps=(step,)) for tid, step in zip(tids, steps, strict=False)
            ),
            lasting_ns=END,
            deadline_ns=END,
        ),
        begin_ns=Ns(0),
        end_ns=END,
        operations=np.array(
            [(begin * US, end * US, 0, 4, 0, actor, 0, 0) for begin, end, actor in operations],
            dtype=OPERATION,
        ),
        kernel=np.array(rows, dtype=KERNEL),
        probes=probes,
        lost_kernel_events=lost,
        actors=tuple(ActorRecord(name=f"reader-{tid}", tid=tid) for tid in tids),
    )
