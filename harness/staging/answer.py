"""What a target saw of a stage, as the tables and records of a history.

Rows that speak of an actor, a step, a probe or a function that is not there would be met much later, by a checker.  So
they are refused here.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from harness.errors import AgentLost, HistoryError
from harness.history.columns import OPERATION, Table
from harness.model.observation import Observation
from harness.model.pci import Bdf
from harness.model.plan import Plan
from harness.staging.trace_text import gaps, parse
from harness.target.agent import misread


def refuse_strangers(seen: Observation, plan: Plan, addresses: Mapping[str, Bdf]) -> None:
    """Refuse what speaks of others than the plan's actors and functions.

    Raises:
        AgentLost: it does.
    """
    for what, told, wanted in (
        ("actors", [one.name for one in seen.actors], [actor.name for actor in plan.actors]),
        ("functions", [one.alias for one in seen.functions], list(addresses)),
        ("records", len(seen.records), len(plan.actors)),
    ):
        if told != wanted:
            raise _wrong(f"its {what} are {told}, and those of the plan {wanted}")


def operations(records: tuple[bytes, ...], plan: Plan) -> Table:
    """What the actors did, sorted by time.

    Raises:
        AgentLost: it is no table, or speaks of another actor or of steps that are not in the plan.
    """
    lanes = []
    for actor, lane in enumerate(records):
        if len(lane) % OPERATION.itemsize:
            raise _wrong(f"records[{actor}] has {len(lane)} bytes, not rows of {OPERATION.itemsize} bytes")
        rows: Table = np.frombuffer(lane, dtype=OPERATION)
        if np.any(rows["actor"] != actor) or np.any(rows["step"] >= len(plan.actors[actor].steps)):
            raise _wrong(f"records[{actor}] has others than rows of this actor's steps")
        lanes.append(rows)
    table: Table = np.concatenate(lanes)
    return table[np.argsort(table["begin_ns"], kind="stable")]


def kernel(seen: Observation, addresses: Mapping[str, Bdf]) -> tuple[Table, int]:
    """What the probes saw, sorted by time, and how many events were lost.

    Raises:
        HistoryError: the trace cannot be understood.
    """
    text, probes = seen.trace.text, len(seen.trace.probes)
    table = parse(text, {str(bdf): index for index, bdf in enumerate(addresses.values())})
    if np.any(table["probe"] >= probes):
        raise HistoryError("kernel trace", said=f"a hit of a probe beyond the {probes} that there are")
    return table, seen.trace.lost + gaps(text)


def _wrong(said: str) -> AgentLost:
    return misread("the answer to CarryOut", said)
