"""What a guest tells of a stage has its shape and speaks of its plan, or is refused by name."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from harness.errors import AgentLost, HistoryError
from harness.history.columns import OPERATION, Table
from harness.model.observation import (
    ActorRecord,
    Edge,
    FunctionFacts,
    Log,
    LogLine,
    Observation,
    Probe,
    StagedFunction,
    Trace,
    Uevent,
)
from harness.model.pci import Bdf
from harness.model.request import CarryOut, ReadClocks
from harness.model.units import SECOND, Ns
from harness.staging.answer import kernel, operations, refuse_strangers
from harness.staging.part import plan_of
from harness.target.agent import answer_to
from tests.unit.model.test_wire import damages, fields
from tests.unit.staging.functions import IGB

PLAN = plan_of([IGB.reads("sysfs", actors=1), IGB.resets("flr", at="50ms")], title="t", lasting="1s")
ADDRESSES = dict.fromkeys(PLAN.functions, Bdf.parse("0000:01:00.0"))
ASKED = CarryOut(plan=PLAN, addresses=ADDRESSES)
TRACE = """\
# tracer: nop
          python-501     [000] d..1.    10.050020: p0: (pci_cfg_access_lock+0x0/0x50) fn="0000:01:00.0"
"""


def rows(actor: int, step: int = 0) -> bytes:
    table = np.zeros(3, dtype=OPERATION)
    table["actor"], table["step"] = actor, step
    return table.tobytes()


FACTS = FunctionFacts(
    bdf=Bdf.parse("0000:01:00.0"),
    vendor=0x8086,
    device=0x10C9,
    class_code=0x020000,
    driver="igb",
    reset_methods=("flr", "bus"),
    iommu_group="7",
    port=Bdf.parse("0000:00:05.0"),
)
SEEN = Observation(
    begin_ns=Ns(10 * SECOND),
    end_ns=Ns(11 * SECOND),
    records=tuple(rows(actor) for actor in range(len(PLAN.actors))),
    trace=Trace(text=TRACE, lost=0, probes=(Probe(symbol="pci_cfg_access_lock", edge=Edge.ENTRY),)),
    actors=tuple(ActorRecord(name=actor.name, tid=501, rounds=3) for actor in PLAN.actors),
    neighbours=(),
    functions=tuple(
        StagedFunction(alias=alias, facts=FACTS, config_before=bytes(256), config_after=bytes(256))
        for alias in ADDRESSES
    ),
    log=Log(lines=(LogLine(time_us=10_000_000, level=6, text="igb: reset"),), complete=True),
    uevents=(Uevent(time_ns=Ns(10_500_000_000), action="change", path="/devices/x"),),
    taint_before=0,
    taint_after=4096,
    left=("driver of igb0",),
)
"""What an honest agent sees."""


def read(value: object) -> Observation:
    return answer_to(ASKED, {"result": value})


def table(seen: Observation) -> Table:
    refuse_strangers(seen, PLAN, ADDRESSES)
    return operations(seen.records, PLAN)


def test_an_honest_answer_is_read_as_it_is() -> None:
    seen = read(SEEN.to_wire())
    assert seen == SEEN
    assert len(table(seen)) == 3 * len(PLAN.actors)
    hits, lost = kernel(seen, ADDRESSES)
    assert (len(hits), lost) == (1, 0)


@pytest.mark.parametrize("place", list(fields(SEEN)), ids=str)
def test_a_value_of_a_wrong_shape_is_refused_wherever_it_stands(place: tuple[Any, ...]) -> None:
    for named, spoilt in damages(SEEN.to_wire(), *place):
        with pytest.raises(AgentLost, match=r"^reading the answer to CarryOut: ") as raised:
            read(spoilt)
        assert named in str(raised.value)


@pytest.mark.parametrize(
    "value", [None, True, -1, 2.5, "", "x\x1b[2J", b"", [], [None], {}, {"x": 1}, ()], ids=repr
)
def test_an_answer_that_is_none(value: object) -> None:
    with pytest.raises(AgentLost, match="reading the answer to CarryOut"):
        read(value)
    with pytest.raises(AgentLost, match="reading the answer to ReadClocks"):
        answer_to(ReadClocks(), {"result": value})


@pytest.mark.parametrize(
    ("records", "why"),
    [
        (rows(0, step=60_000), "rows of this actor's steps"),
        (rows(1), "rows of this actor's steps"),
        (rows(65_535), "rows of this actor's steps"),
        (rows(0)[:-1], "rows of 40 bytes"),
    ],
)
def test_rows_of_what_is_not_in_the_plan(records: bytes, why: str) -> None:
    with pytest.raises(AgentLost, match=why):
        table(replace(SEEN, records=(records, *SEEN.records[1:])))


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"records": SEEN.records[1:]}, "its records are"),
        ({"actors": SEEN.actors[::-1]}, "its actors are"),
        ({"actors": (*SEEN.actors, SEEN.actors[0])}, "its actors are"),
        ({"functions": ()}, "its functions are"),
        ({"functions": (replace(SEEN.functions[0], alias="nvme0"),)}, "its functions are"),
    ],
)
def test_others_than_those_of_the_plan(more: dict[str, Any], why: str) -> None:
    with pytest.raises(AgentLost, match=why):
        table(replace(SEEN, **copy.copy(more)))


@pytest.mark.parametrize(
    "line",
    [
        "python-501 [000] d..1. 10.050020: p7: (x) ",
        "python-501 [000] d..1. 10.050020: p70000: (x) ",
        "python-99999999999 [000] d..1. 10.050020: p0: (x) ",
        "python-501 [000] d..1. 99999999999999999999.050020: p0: (x) ",
        f"python-501 [000] d..1. {'9' * 5000}.050020: p0: (x) ",
        "python-501 [000] d..1. 10.050020: p0: (x) v=99999999999999999999999",
        "what is this",
    ],
)
def test_a_trace_that_no_kernel_writes(line: str) -> None:
    with pytest.raises(HistoryError, match="kernel trace"):
        kernel(replace(SEEN, trace=replace(SEEN.trace, text=line)), ADDRESSES)
