"""Actors as processes: forked, used again, killed, and asked about afterwards."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from harness.agent.nursery import wait_any
from harness.bindings.actor import LaneState
from harness.errors import AgentLost
from harness.model.units import MS
from tests.unit.agent.conftest import Watched
from tests.unit.agent.run import opening, pause, program, read, rows, staged, until


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "config"
    path.write_bytes(b"\x86\x80\xd3\x10")
    return path


def test_actors_run_side_by_side_in_processes_of_their_own(nursery: Watched, file: Path) -> None:
    programs = [program([read()], opens=[opening(file)], times=3) for _ in range(3)]
    with staged(*programs) as stage:
        actors = nursery.borrow(3)
        for number, actor in enumerate(actors):
            actor.begin(stage, number)
        for actor in actors:
            assert wait_any([actor], 10) == [actor]
            assert actor.ended()
        assert len({actor.pid for actor in actors} | {os.getpid()}) == 4
        for number, actor in enumerate(actors):
            assert stage.lane(number).tid == actor.pid
            assert rows(stage, number)["value"].tolist() == [0x10D38086] * 3


def test_an_actor_that_was_given_back_is_used_again(nursery: Watched, file: Path) -> None:
    (actor,) = nursery.borrow(1)
    for _ in range(3):
        with staged(program([read()], opens=[opening(file)])) as stage:
            actor.begin(stage, 0)
            assert wait_any([actor], 10) == [actor]
            assert actor.ended()
            assert stage.lane(0).state is LaneState.DONE
        nursery.give_back(actor)
        (again,) = nursery.borrow(1)
        assert again is actor
    assert len(nursery.forked) == 1


def test_prepared_actors_are_the_ones_that_are_borrowed(nursery: Watched) -> None:
    nursery.prepare(2)
    prepared = [actor.pid for actor in nursery.forked]
    assert len(prepared) == 2
    assert [actor.pid for actor in nursery.borrow(3)][:2] == prepared
    assert len(nursery.forked) == 3


def test_nobody_ends_before_somebody_does(nursery: Watched) -> None:
    with staged(program([pause(100 * MS)]), lasting=1000 * MS) as stage:
        (actor,) = nursery.borrow(1)
        assert wait_any([actor], 0) == []
        actor.begin(stage, 0)
        assert wait_any([actor], 0.01) == []
        assert wait_any([actor], 10) == [actor]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGXCPU])
def test_the_death_of_an_actor_is_told_in_words(nursery: Watched, number: signal.Signals) -> None:
    with staged(program([pause(20_000 * MS)]), lasting=60_000 * MS) as stage:
        (actor,) = nursery.borrow(1)
        actor.begin(stage, 0)
        until(lambda: stage.lane(0).count == 1)
        os.kill(actor.pid, number)
        assert wait_any([actor], 10) == [actor]
        assert not actor.ended()
        assert nursery.fate(actor.pid) == f"killed by {number.name}"
        assert rows(stage, 0)["end_ns"].tolist() == [0]  # what it was doing can still be read


def test_the_cause_of_death_is_known_as_soon_as_the_death_is(nursery: Watched) -> None:
    """The socket of a dying process closes a moment before its parent can collect it."""
    for _ in range(20):
        (actor,) = nursery.borrow(1)
        os.kill(actor.pid, signal.SIGKILL)
        assert wait_any([actor], 10) == [actor]
        assert nursery.fate(actor.pid) == "killed by SIGKILL"


def test_who_lives_is_still_there(nursery: Watched) -> None:
    (actor,) = nursery.borrow(1)
    assert nursery.fate(actor.pid) == "still there"


def test_an_idle_actor_leaves_when_nobody_can_order_any_more(nursery: Watched) -> None:
    (actor,) = nursery.borrow(1)
    actor.control.close()
    until(lambda: nursery.fate(actor.pid) == "exited with status 0")


def test_actors_outlive_the_death_of_another(nursery: Watched, file: Path) -> None:
    victim, survivor = nursery.borrow(2)
    os.kill(victim.pid, signal.SIGKILL)
    with staged(program([read()], opens=[opening(file)])) as stage:
        survivor.begin(stage, 0)
        assert wait_any([survivor], 10) == [survivor]
        assert survivor.ended()


def test_a_nursery_that_is_gone_is_an_agent_that_is_lost(nursery: Watched) -> None:
    (actor,) = nursery.borrow(1)
    parent = int(Path(f"/proc/{actor.pid}/stat").read_text().rpartition(")")[2].split()[1])
    assert parent != os.getpid()
    os.kill(parent, signal.SIGKILL)
    until(lambda: _dead(parent))
    with pytest.raises(AgentLost, match="forking an actor"):
        nursery.borrow(1)


def test_interrupting_the_runner_does_not_end_the_nursery(nursery: Watched) -> None:
    """Ctrl-C goes to the whole foreground group; the agent still has to give everything back."""
    (actor,) = nursery.borrow(1)
    parent = int(Path(f"/proc/{actor.pid}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(parent, signal.SIGINT)
    before = time.monotonic()
    nursery.prepare(1)
    assert time.monotonic() - before < 10


def _dead(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
