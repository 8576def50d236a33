"""`release_skew`: how far apart as many actors as vCPUs start, beside `threading.Barrier` in the same guest."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np

from harness.history.columns import OPERATION
from harness.lab.figures.row import Row, median
from harness.lab.place import GuestTarget, Place
from harness.model.operation import ATTRIBUTE_READ
from harness.model.plan import Actor, File, Op, Plan, Step
from harness.model.request import CarryOut
from harness.model.units import MS, SECOND, Ns

_ROUNDS: Final = 15
_BARRIER: Final = """
import threading, time
parties, rounds = channel.receive(), channel.receive()
barrier, starts = threading.Barrier(parties), [[0] * parties for _ in range(rounds)]
def act(number):
    for row in starts:
        barrier.wait()
        row[number] = time.monotonic_ns()
threads = [threading.Thread(target=act, args=(number,)) for number in range(parties)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
channel.send([max(row) - min(row) for row in starts])
"""


def measure(place: Place, folder: Path) -> list[Row]:
    """Both in one guest, several starts each."""
    with place.clone(folder / "release_skew.console.log") as target:
        parties = place.recipe.machine.vcpus
        ours = [_our_skew(target, parties) for _ in range(_ROUNDS)]
        theirs = target.agent.run_source(_BARRIER, parties, 4 * _ROUNDS)
    return [
        Row(
            name="release_skew",
            ours=median(ours) / 1e3,
            peer=median(theirs) / 1e3,
            peer_name="threading.Barrier",
            better="low",
            unit="us, p50",
        )
    ]


def _our_skew(target: GuestTarget, parties: int) -> float:
    step = Step(op=Op.READ, means=ATTRIBUTE_READ, file=File(function="igb0", role="vendor"), width=64)
    plan = Plan(
        title="release_skew",
        functions=("igb0",),
        actors=tuple(Actor(name=f"actor-{number}", steps=(step,), times=1) for number in range(parties)),
        lasting_ns=Ns(20 * MS),
        deadline_ns=Ns(10 * SECOND),
    )
    request = CarryOut(plan=plan, addresses={"igb0": target.address("igb0")})
    seen = target.agent.ask(request, deadline_s=60)
    first = [int(np.frombuffer(lane, dtype=OPERATION)["begin_ns"][0]) for lane in seen.records]
    return float(max(first) - min(first))
