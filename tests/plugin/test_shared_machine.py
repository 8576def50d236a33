"""A target that all tests share: what becomes of a lost function when the target is made again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from harness.model.observation import Condition, Conditions, FunctionFacts
from harness.model.pci import Bdf
from harness.model.request import LookAt
from harness.plugin.lab.shared import SharedGuest
from harness.plugin.verdicts import FunctionLost
from harness.target.protocol import Renewed

GOOD = Condition(
    present=True, vendor=0x8086, device=0x10C9, header=bytes.fromhex("8680c910").ljust(64, b"\0")
)
ADDRESSES = {"one": Bdf.parse("0000:01:00.0"), "two": Bdf.parse("0000:02:00.0")}


class Machine:
    """Two functions, of which one can be pulled out; its agent is asked in the words of the wire."""

    console = None
    standing = tuple(ADDRESSES)
    lost = ""

    def __init__(self, renewed: Renewed) -> None:
        self.renewed = renewed
        self.there = dict.fromkeys(ADDRESSES.values(), GOOD)
        self.touched: list[Bdf] = []
        self.agent = self

    def facts(self, alias: str) -> FunctionFacts:
        return FunctionFacts(
            bdf=ADDRESSES[alias],
            vendor=GOOD.vendor,
            device=GOOD.device,
            class_code=0x020000,
            driver="",
            reset_methods=("flr",),
            iommu_group="",
            port=None,
        )

    def ask(self, request: LookAt, *, deadline_s: float) -> Conditions:
        assert deadline_s > 0
        self.touched += request.functions
        return Conditions(taint=0, functions={bdf: self.there[bdf] for bdf in request.functions})

    def mistakes(self) -> tuple[()]:
        return ()

    def check_clock(self) -> None:
        """Right."""


def shared(made: Callable[[], Machine]) -> SharedGuest:
    @contextmanager
    def make(console: Path) -> Iterator[Any]:
        assert console.name == "c.log"
        yield made()

    consoles = iter([Path("c.log")] * 9)
    return SharedGuest(make, consoles=consoles, say=lambda _: None)


def lose(target: SharedGuest, machine: Machine) -> None:
    """A test loses the first function."""

    def test() -> None:
        with target.lent("test_loses"):
            target.borrow("one")
            machine.there[ADDRESSES["one"]] = Condition()

    with pytest.raises(FunctionLost, match="one"):
        test()


def test_the_same_machine_comes_back_with_what_was_lost() -> None:
    """It is in quarantine still, and nobody touches it: whoever does may get stuck."""
    machine = Machine(Renewed.SAME_MACHINE)
    target = shared(lambda: machine)
    lose(target, machine)
    machine.touched.clear()
    target.renew()
    with target.lent("test_needs_it"), pytest.raises(pytest.skip.Exception, match="lost by test_loses"):
        target.borrow("one")
    with target.lent("test_needs_the_other"):
        target.borrow("two")
    assert ADDRESSES["one"] not in machine.touched
    assert ADDRESSES["two"] in machine.touched


def test_another_machine_has_new_functions() -> None:
    machines: list[Machine] = []

    def another() -> Machine:
        machines.append(Machine(Renewed.ANOTHER_MACHINE))
        return machines[-1]

    target = shared(another)
    with target.lent("test_begins"):
        target.borrow("one")
    lose(target, machines[0])
    target.renew()
    with target.lent("test_needs_it"):
        target.borrow("one")
    assert len(machines) == 2
