"""How parts are put together, and who may not act."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from harness.errors import UsageError
from harness.model.operation import ATTRIBUTE_READ, WAIT
from harness.model.plan import Actor, File, Op, Privilege, Setting, Step
from harness.model.units import MS, Ns
from harness.staging.acting import acting, pause
from tests.unit.staging.functions import ORACLE

STEP = Step(op=Op.READ, means=ATTRIBUTE_READ, file=File(function="igb0", role="vendor"), width=64)


def test_equal_actors_do_the_same_until_the_end() -> None:
    part = acting(("igb0", "igb1"), "reader", [STEP, STEP], actors=3)
    assert part.functions == ("igb0", "igb1")
    assert part.actors == (Actor(name="reader", steps=(STEP, STEP)),) * 3
    assert (part.settings, part.oracles, part.modules) == ((), (), ())


def test_what_is_said_is_passed_on() -> None:
    setting = Setting(function="igb0", attribute="reset_method", value="flr")
    part = acting(
        ("igb0",),
        "writer",
        (STEP,),
        starting="1.5ms",
        times=4,
        privilege=Privilege.DROPPED,
        settings=(setting,),
        oracles=(ORACLE,),
        modules=("hil_windows",),
    )
    assert part.actors == (
        Actor(name="writer", steps=(STEP,), starts_ns=Ns(1_500_000), times=4, privilege=Privilege.DROPPED),
    )
    assert (part.settings, part.oracles, part.modules) == ((setting,), (ORACLE,), ("hil_windows",))


@pytest.mark.parametrize("length", ["20ms", Ns(20 * MS)])
def test_a_pause_is_a_step(length: str | Ns) -> None:
    assert pause(length) == (Step(op=Op.PAUSE, means=WAIT, time_ns=Ns(20 * MS)),)


@pytest.mark.parametrize("length", ["0s", Ns(0)])
def test_no_pause_is_no_step(length: str | Ns) -> None:
    assert pause(length) == ()


@pytest.mark.parametrize(
    ("mistake", "answer"),
    [
        (
            lambda: acting(("a", "b"), "x", (STEP,), actors=0),
            "0 actors on a, b: nobody acts.  Use 1 or more.",
        ),
        (lambda: acting(("a",), "x", (STEP,), actors=-2), "-2 actors on a: nobody acts"),
        (
            lambda: acting(("a",), "x", (STEP,), times=0),
            "0 rounds on a: nothing happens.  Use 1 or more, or None.",
        ),
        (lambda: acting(("a",), "x", ()), "x on a: nothing happens.  Give it at least one thing to do."),
        (lambda: acting(("a",), "x", (STEP,), starting="soon"), "duration 'soon': not understood.  Write a"),
        (lambda: pause("1 minute"), "duration '1 minute': not understood"),
        (lambda: pause(Ns(-1)), "duration -1 ns: below zero.  Durations are 0 or longer."),
    ],
)
def test_a_mistake_is_answered_when_it_is_made(mistake: Callable[[], object], answer: str) -> None:
    with pytest.raises(UsageError, match="^" + re.escape(" ".join(answer.split()))):
        mistake()
