"""An exception in the agent that nobody expected is told, whichever of its processes and threads raised it."""

from __future__ import annotations

import json
from typing import cast

import pytest

from harness.agent import worker
from harness.agent.mistake import mistake
from harness.agent.nursery import wait_any
from harness.agent.stage import _wait
from harness.agent.uevents import Uevents
from harness.errors import AgentError, AgentLost
from harness.model.operation import HEARTBEAT
from harness.model.pci import Bdf
from harness.model.plan import Actor, Op, Plan, Step
from harness.model.units import MS, SECOND, Ns
from harness.pci.condition import conditions
from tests.unit.agent.conftest import Watched
from tests.unit.agent.run import pause, program, staged, until
from tests.unit.agent.uevents import Source


def test_an_actor_that_raises_is_told_with_its_traceback(nursery: Watched) -> None:
    (actor,) = nursery.borrow(1)
    actor.control.send(b"no order")
    assert wait_any([actor], 10) == [actor]
    with pytest.raises(AgentError, match=r"running an actor: struct\.error") as raised:
        actor.ended()
    assert "_act" in raised.value.evidence


def test_a_nursery_that_raised_says_so_to_whoever_asks_next(nursery: Watched) -> None:
    nursery._control.send(b"wnobody")
    with pytest.raises(AgentError, match="ValueError: invalid literal for int") as raised:
        nursery.borrow(1)
    assert "_nurse" in raised.value.evidence
    with pytest.raises(AgentLost, match="forking an actor"):
        nursery.borrow(1)


def test_a_thread_that_listens_and_raises_is_told_while_the_stage_waits(
    nursery: Watched,
) -> None:
    with Source() as source:
        uevents = Uevents(source)
        source.stammers()
        step = Step(op=Op.PAUSE, means=HEARTBEAT, time_ns=Ns(1))
        plan = Plan(
            title="",
            functions=(),
            actors=(Actor(name="one", steps=(step,)),),
            lasting_ns=Ns(60_000 * MS),
            deadline_ns=Ns(60_000 * MS),
        )
        programs = [program([pause(60_000 * MS)])]
        with staged(*programs, lasting=60_000 * MS) as stage:
            (actor,) = nursery.borrow(1)
            actor.begin(stage, 0)
            with pytest.raises(json.JSONDecodeError):
                _wait(plan, programs, stage, [actor], nursery, check=uevents.check)
        with pytest.raises(json.JSONDecodeError):
            uevents.collect()


def test_a_thread_that_looks_at_a_function_and_raises_is_told() -> None:
    with pytest.raises(ValueError, match="null"):
        conditions([cast(Bdf, "\0")], Ns(10 * SECOND))


def test_an_agent_that_could_not_begin_says_why_to_whoever_asks() -> None:
    unfit = worker.Unfit(OSError(24, "Too many open files"))
    assert b'"hello"' in worker.answer_line(b'{"ask": "hello"}', unfit)
    error = json.loads(worker.answer_line(b'{"ask": "Warm"}', unfit))["error"]
    assert error["kind"] == "AgentError"
    assert "Too many open files" in error["said"]
    unfit.close()


def test_a_very_long_traceback_keeps_its_end() -> None:
    def deep() -> None:
        try:
            deep()
        except RecursionError as error:
            raise KeyError("x" * 50) from error

    with pytest.raises(KeyError) as raised:
        deep()
    told = mistake("this", raised.value)
    assert len(told.evidence) <= 32_000
    assert told.evidence.rstrip().endswith(f"KeyError: '{'x' * 50}'")
    assert told.said == f"KeyError: '{'x' * 50}'"


def test_a_process_that_raised_is_waited_for(nursery: Watched) -> None:
    (actor,) = nursery.borrow(1)
    actor.control.send(b"no order")
    until(lambda: nursery.fate(actor.pid) == "exited with status 1")
