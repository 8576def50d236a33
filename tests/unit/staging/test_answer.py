"""What a guest answers to `stage` has the shape of an answer, or is refused by name: never an error of Python."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import numpy as np
import pytest

from harness.errors import AgentLost, HistoryError
from harness.history.columns import OPERATION
from harness.staging.answer import Answer, read_answer
from harness.staging.lost import Told
from harness.staging.part import plan_of
from harness.target.clock import read as read_clock
from harness.target.facts import function_facts
from tests.unit.staging.functions import IGB

PLAN = plan_of([IGB.reads("sysfs", actors=1), IGB.resets("flr", at="50ms")], title="t", lasting="1s")
ADDRESSES = dict.fromkeys(PLAN.functions, "0000:01:00.0")
TRACE = """\
# tracer: nop
          python-501     [000] d..1.    10.050020: p0: (pci_cfg_access_lock+0x0/0x50) fn="0000:01:00.0"
"""


def rows(actor: int, step: int = 0) -> bytes:
    table = np.zeros(3, dtype=OPERATION)
    table["actor"], table["step"] = actor, step
    return table.tobytes()


def answer() -> dict[str, Any]:
    """What an honest agent sends."""
    return {
        "begin_ns": 10_000_000_000,
        "end_ns": 11_000_000_000,
        "records": [rows(actor) for actor in range(len(PLAN.actors))],
        "trace": {
            "text": TRACE,
            "lost": 0,
            "probes": [
                {"symbol": "pci_cfg_access_lock", "edge": "entry", "present": True, "missed": 0, "reason": ""}
            ],
        },
        "actors": [
            {"name": actor.name, "tid": 501, "rounds": 3, "lost": 0, "end": "done"} for actor in PLAN.actors
        ],
        "functions": [
            {
                "alias": alias,
                "bdf": bdf,
                "vendor": 0x8086,
                "device": 0x10C9,
                "class": 0x020000,
                "driver": "igb",
                "reset_methods": ["flr", "bus"],
                "iommu_group": "7",
                "port": "0000:00:05.0",
                "config_before": bytes(256),
                "config_after": bytes(256),
            }
            for alias, bdf in ADDRESSES.items()
        ],
        "log": {
            "lines": [{"time_us": 10_000_000, "level": 6, "facility": 0, "text": "igb: reset"}],
            "complete": True,
        },
        "uevents": [{"time_ns": 10_500_000_000, "action": "change", "path": "/devices/x"}],
        "taint_before": 0,
        "taint_after": 4096,
        "left": ["driver of igb0"],
    }


def read(value: object) -> Answer:
    return read_answer(value, PLAN, ADDRESSES)


def test_an_honest_answer_is_read_as_it_is() -> None:
    seen = read(answer())
    assert len(seen.operations) == 3 * len(PLAN.actors)
    assert len(seen.kernel) == 1
    assert seen.log[0].text == "igb: reset"
    assert seen.taint_after == 4096
    assert seen.left == ("driver of igb0",)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every value in it."""
    if path:
        yield path
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from places(value[key], (*path, key))


WRONG = [
    None,
    True,
    -1,
    1 << 70,
    2.5,
    float("nan"),
    "",
    "x\x1b[2J",
    b"",
    b"odd",
    [],
    [None],
    {},
    {"x": 1},
    (),
    (1,),
]


@pytest.mark.parametrize("path", list(places(answer())), ids=str)
def test_a_value_of_a_wrong_shape_is_refused_wherever_it_stands(path: tuple[Any, ...]) -> None:
    refused = 0
    for wrong in WRONG:
        spoilt = copy.deepcopy(answer())
        holder = spoilt
        for key in path[:-1]:
            holder = holder[key]
        right, holder[path[-1]] = holder[path[-1]], wrong
        try:
            read(spoilt)
        except (AgentLost, HistoryError):
            refused += 1
        else:
            assert path[-1] == "class" or isinstance(wrong, type(right)), (path, wrong)
    assert refused or path[-1] == "class"


@pytest.mark.parametrize("path", [one for one in places(answer()) if isinstance(one[-1], str)], ids=str)
def test_a_value_that_is_missing_is_named(path: tuple[Any, ...]) -> None:
    spoilt: Any = copy.deepcopy(answer())
    holder = spoilt
    for key in path[:-1]:
        holder = holder[key]
    del holder[path[-1]]
    if path[-1] in ("class", "config_after"):
        read(spoilt)
        return
    with pytest.raises(AgentLost, match=f"'{path[-1]}' is missing"):
        read(spoilt)


@pytest.mark.parametrize("value", WRONG, ids=repr)
def test_an_answer_that_is_none(value: object) -> None:
    with pytest.raises(AgentLost, match="reading the answer to 'stage'"):
        read(value)


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
    spoilt = answer()
    spoilt["records"][0] = records
    with pytest.raises(AgentLost, match=why):
        read(spoilt)


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
    spoilt = answer()
    spoilt["trace"]["text"] = line
    with pytest.raises(HistoryError, match="kernel trace"):
        read(spoilt)


TOLD = {
    "phase": "waiting for the actors",
    "stage": 1 << 63,
    "pages": {0: 4096, 4096: 1 << 40},
    "functions": answer()["functions"],
    "taint": 1,
    "alive_ns": 5,
    "release_ns": 6,
}


@pytest.mark.parametrize("name", TOLD)
def test_what_is_told_meanwhile_has_its_shape_too(name: str) -> None:
    told = Told()
    told.hear(TOLD)
    before = getattr(told, name)
    told.hear({"another": 1})
    wrongs: tuple[object, ...] = (
        *WRONG,
        {"x": 1},
        {0: None},
        {-1: 1},
        {None: 1},
        [{}],
        dict.fromkeys(range(5000), 0),
    )
    for wrong in wrongs:
        with suppress(AgentLost):
            told.hear({name: wrong})
            assert isinstance(wrong, type(before)), wrong
    for wrong in WRONG:
        if not isinstance(wrong, dict):
            with pytest.raises(AgentLost):
                told.hear(wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "value", [*WRONG, {"monotonic_ns": "now"}, {"monotonic_ns": -1}, {"monotonic_ns": True}], ids=repr
)
def test_a_clock_that_is_none(value: object) -> None:
    with pytest.raises(AgentLost, match="answer to 'clocks'"):
        read_clock(lambda _: value)


@pytest.mark.parametrize("bdf", ["", "somewhere", "0000:01:00.0\x1b", "0000:01:1f.9", 5])
def test_an_address_that_is_none(bdf: object) -> None:
    with pytest.raises(AgentLost, match="bdf"):
        function_facts("facts on igb0", {**answer()["functions"][0], "bdf": bdf})
