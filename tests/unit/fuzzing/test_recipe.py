"""A recipe is what an author would have written, and is refused where that would be."""

from __future__ import annotations

import pytest

from harness.errors import UsageError
from harness.fuzzing.recipe import Call, Recipe, cooked
from harness.staging.adapter import Disk
from harness.staging.function import Function
from harness.staging.part import plan_of
from harness.staging.vfio_user import VfioUser
from tests.unit.fuzzing.facts import KNOWN


def recipe(*calls: Call) -> Recipe:
    return Recipe(calls=calls, lasting_ms=500)


def test_it_makes_the_plan_that_an_author_would() -> None:
    cooking = recipe(
        Call(verb="Function.reads", alias="igb0.port", arguments={"path": "proc", "width": 2}),
        Call(verb="VfioUser.hot_resets", alias="pair0", arguments={"at": "5ms", "beside": ["pair1"]}),
        Call(verb="VfioUser.writes_register", alias="igb0", arguments={"value": "0100", "at": 4}),
        Call(verb="Disk.writes_once", alias="nvme0", arguments={"driver": "nvme", "pattern": "ab"}),
        Call(verb="Function.opens_without_privilege", alias="igb0", arguments={"roles": ["config"]}),
    )
    igb, pair = KNOWN["igb0"], KNOWN["pair0"].function
    written = (
        Function(igb.function.port, lambda: KNOWN["igb0"].port or igb.traits).reads("proc", width=2),
        VfioUser(pair).hot_resets(at="5ms", beside=(KNOWN["pair1"].function,)),
        VfioUser(igb.function).writes_register(b"\x01\x00", at=4),
        Disk(KNOWN["nvme0"].function, driver="nvme").writes_once(b"\xab"),
        igb.function.opens_without_privilege("config"),
    )
    assert cooked(cooking, KNOWN, title="t") == plan_of(written, title="t", lasting="500ms")


def test_it_reads_like_a_test() -> None:
    said = str(
        recipe(
            Call(verb="Function.resets", alias="igb0", arguments={"method": "flr", "at": "5ms"}),
            Call(verb="Disk.reads", alias="nvme0", arguments={"driver": "nvme", "every": "1ms"}),
        )
    )
    assert said.splitlines() == [
        "stage(",
        "    igb0.resets(method='flr', at='5ms'),",
        "    Disk(nvme0, driver='nvme').reads(every='1ms'),",
        '    lasting="500ms",',
        ")",
    ]


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (Call(verb="VfioUser.explodes", alias="igb0", arguments={}), "no such verb"),
        (Call(verb="Function.bdf", alias="igb0", arguments={}), "no such verb"),
        (Call(verb="VfioUser.asks", alias="igb9", arguments={}), "no such function"),
        (Call(verb="Function.reads", alias="rngroot.port", arguments={}), "no such function"),
        (Call(verb="VfioUser.resets", alias="igb0", arguments={"when": "5ms"}), "no argument when"),
        (Call(verb="VfioUser.closes", alias="igb0", arguments={}), "missing 1 required"),
        (Call(verb="Function.resets", alias="edu0", arguments={"method": "flr"}), "the kernel offers only"),
    ],
)
def test_mistakes_are_refused_as_an_authors(call: Call, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        cooked(recipe(call), KNOWN, title="t")
