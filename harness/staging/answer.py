"""The agent's answer to `stage`, read as what :func:`harness.agent.stage.carry_out` returns.

Rows that speak of an actor, a step, a probe or a function that is not there would be met much later, by a checker.  So
they are refused here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from harness.errors import HistoryError
from harness.history.columns import OPERATION, Edge, Table
from harness.history.history import MOST_FACILITY, ActorRecord, LogLine, Probe, Uevent
from harness.model.plan import Plan
from harness.model.units import Ns
from harness.staging.trace_text import gaps, parse
from harness.target.facts import function_facts
from harness.target.shapes import Fields, wrong

_MOST_TID: Final = (1 << 31) - 1
_MOST_COUNT: Final = (1 << 32) - 1
_MOST_LEVEL: Final = 7
_WHERE: Final = "the answer to 'stage'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What happened, as the target tells it.

    Attributes:
        functions: facts on each, in the plan's order.
        left: settings that were not put back.

    The others are those of a :class:`~harness.history.history.History`.
    """

    begin_ns: Ns
    end_ns: Ns
    operations: Table
    kernel: Table
    lost_kernel_events: int
    probes: tuple[Probe, ...]
    actors: tuple[ActorRecord, ...]
    functions: tuple[dict[str, Any], ...]
    log: tuple[LogLine, ...]
    log_complete: bool
    uevents: tuple[Uevent, ...]
    taint_before: int
    taint_after: int
    left: tuple[str, ...]


def read_answer(value: object, plan: Plan, addresses: Mapping[str, str]) -> Answer:
    """Read the answer.

    Args:
        value: what the agent sent.
        plan: what it carried out.
        addresses: alias to BDF, in the plan's order.

    Raises:
        AgentLost: it has another shape, or speaks of what is not in the plan.
        HistoryError: the kernel's trace cannot be understood.
    """
    seen = Fields(_WHERE, value)
    trace, log = seen.part("trace"), seen.part("log")
    text, probes = trace.text("text"), tuple(_probe(one) for one in trace.parts("probes"))
    return Answer(
        begin_ns=Ns(seen.number("begin_ns", 0)),
        end_ns=Ns(seen.number("end_ns", 0)),
        operations=_operations(seen.items("records", len(plan.actors)), plan),
        kernel=_kernel(text, addresses, len(probes)),
        lost_kernel_events=trace.number("lost", 0) + gaps(text),
        probes=probes,
        actors=tuple(
            _actor(one, actor.name)
            for one, actor in zip(seen.parts("actors", len(plan.actors)), plan.actors, strict=True)
        ),
        functions=tuple(
            _function(one, alias)
            for one, alias in zip(seen.parts("functions", len(addresses)), addresses, strict=True)
        ),
        log=tuple(
            LogLine(
                time_us=one.number("time_us"),
                level=one.number("level", 0, _MOST_LEVEL),
                text=one.text("text"),
                facility=one.number("facility", 0, MOST_FACILITY),
            )
            for one in log.parts("lines")
        ),
        log_complete=log.flag("complete"),
        uevents=tuple(
            Uevent(time_ns=Ns(one.number("time_ns", 0)), action=one.text("action"), path=one.text("path"))
            for one in seen.parts("uevents")
        ),
        taint_before=seen.number("taint_before", 0),
        taint_after=seen.number("taint_after", 0),
        left=seen.texts("left"),
    )


def _probe(one: Fields) -> Probe:
    one.only("symbol", "edge", "present", "missed", "reason")
    edge = one.text("edge")
    if edge not in list(Edge):
        raise wrong(f"'edge' of {one.where}", edge, "entry or return")
    return Probe(
        symbol=one.text("symbol"),
        edge=Edge(edge),
        present=one.flag("present"),
        missed=one.number("missed"),
        reason=one.text("reason"),
    )


def _actor(one: Fields, name: str) -> ActorRecord:
    one.only("name", "tid", "rounds", "lost", "end", "detail", "wchan", "stack")
    _same(one, "name", name)
    return ActorRecord(
        name=name,
        tid=one.number("tid", 0, _MOST_TID),
        rounds=one.number("rounds", 0, _MOST_COUNT),
        lost=one.number("lost", 0),
        end=one.text("end"),
        detail=one.text("detail", ""),
        wchan=one.text("wchan", ""),
        stack=one.text("stack", ""),
    )


def _function(one: Fields, alias: str) -> dict[str, Any]:
    _same(one, "alias", alias)
    one.data("config_before")
    return function_facts(one.where, one.raw)


def _same(one: Fields, name: str, wanted: str) -> None:
    if one.text(name) != wanted:
        raise wrong(f"{name!r} of {one.where}", one.text(name), f"{wanted!r}, as in the plan")


def _operations(records: list[Any], plan: Plan) -> Table:
    lanes = []
    for actor, lane in enumerate(records):
        where = f"'records' of {_WHERE}, {actor}"
        if not isinstance(lane, bytes) or len(lane) % OPERATION.itemsize:
            raise wrong(where, lane, f"rows of {OPERATION.itemsize} bytes")
        rows: Table = np.frombuffer(lane, dtype=OPERATION)
        if np.any(rows["actor"] != actor) or np.any(rows["step"] >= len(plan.actors[actor].steps)):
            raise wrong(where, lane, "rows of this actor's steps")
        lanes.append(rows)
    table: Table = np.concatenate(lanes)
    return table[np.argsort(table["begin_ns"], kind="stable")]


def _kernel(text: str, addresses: Mapping[str, str], probes: int) -> Table:
    table = parse(text, {bdf: index for index, bdf in enumerate(addresses.values())})
    if np.any(table["probe"] >= probes):
        raise HistoryError("kernel trace", said=f"a hit of a probe beyond the {probes} that there are")
    return table
