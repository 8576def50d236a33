"""Actors as processes: forked, used again, killed, and asked about afterwards."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from harness.agent.nursery import ActorProcess, wait_any
from harness.bindings.actor import Code, Instruction, LaneState
from harness.errors import AgentLost
from harness.history.columns import Table
from harness.model.units import MS
from tests.unit.agent.conftest import Watched
from tests.unit.agent.run import Program, close, opening, pause, program, read, rows, staged, try_open, until


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


def test_nobody_ends_before_somebody_does(nursery: Watched, tmp_path: Path) -> None:
    """A FIFO opens for a reader when a writer comes, and no sooner."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with staged(program([try_open(fifo)])) as stage:
        (actor,) = nursery.borrow(1)
        assert wait_any([actor], 0) == []
        actor.begin(stage, 0)
        until(lambda: stage.lane(0).count == 1)
        assert wait_any([actor], 0.01) == []
        writer = os.open(fifo, os.O_WRONLY)
        assert wait_any([actor], 10) == [actor]
        os.close(writer)


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


def held(pid: int) -> set[str]:
    """Descriptors that a process has open."""
    return {link.name for link in Path(f"/proc/{pid}/fd").iterdir()}


def order(actor: ActorProcess, what: Program, granted: dict[int, int]) -> Table:
    """Let an actor run a program with these descriptors, to its end."""
    with staged(what) as stage:
        actor.begin(stage, 0, granted)
        assert wait_any([actor], 10) == [actor]
        assert actor.ended()
        return rows(stage, 0).copy()


def taking(number: int, slot: int = 0) -> Instruction:
    return Instruction(op=Code.TAKE, slot=slot, width=number)


def test_descriptors_come_with_an_order_under_their_numbers(
    nursery: Watched, file: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.write_bytes(b"\x44\x33\x22\x11")
    with file.open("rb") as first, other.open("rb") as second:
        granted = {107: second.fileno(), 100: first.fileno()}
        steps = [read(slot=0), read(slot=1)]
        (actor,) = nursery.borrow(1)
        table = order(actor, program(steps, opens=[taking(100), taking(107, slot=1)]), granted)
    assert table["value"].tolist() == [0x10D38086, 0x11223344]


def test_descriptors_are_the_actors_for_one_order_only(nursery: Watched, file: Path) -> None:
    (actor,) = nursery.borrow(1)
    order(actor, program([pause(1)]), {})  # a fresh one has yet to close what it was forked with
    before = held(actor.pid)
    with file.open("rb") as granted:
        numbers = {number: granted.fileno() for number in (100, 101, 102)}
        for steps in ([read()], [read(), close(step=1)]):  # the program may close its own, and never take one
            table = order(actor, program(steps, opens=[taking(100)]), numbers)
            assert table["error"].tolist() == [0] * len(steps)
            assert held(actor.pid) == before
        assert os.pread(granted.fileno(), 2, 0) == b"\x86\x80"  # ours is still open
    with staged(program([read()], opens=[taking(100)])) as stage:
        actor.begin(stage, 0)
        assert wait_any([actor], 10) == [actor]
        assert stage.lane(0).state is LaneState.REFUSED


def test_an_actor_has_its_descriptors_while_it_runs(nursery: Watched, file: Path) -> None:
    """When everybody else has closed a function, it is open as long as the actor has it."""
    (actor,) = nursery.borrow(1)
    with staged(program([pause(20_000 * MS)]), lasting=60_000 * MS) as stage:
        with file.open("rb") as granted:
            actor.begin(stage, 0, {100: granted.fileno()})
        until(lambda: stage.lane(0).count == 1)
        assert Path(f"/proc/{actor.pid}/fd/100").readlink() == file
        os.kill(actor.pid, signal.SIGKILL)


def test_a_refused_actor_gives_its_descriptors_back_too(nursery: Watched, file: Path) -> None:
    (actor,) = nursery.borrow(1)
    order(actor, program([pause(1)]), {})  # a fresh one has yet to close what it was forked with
    before = held(actor.pid)
    with file.open("rb") as granted:
        table = order(actor, program([read()], opens=[taking(113)]), {100: granted.fileno()})
    assert len(table) == 0
    assert held(actor.pid) == before


def test_thirty_two_descriptors_come_with_one_order(nursery: Watched, file: Path) -> None:
    (actor,) = nursery.borrow(1)
    with file.open("rb") as granted:
        numbers = {100 + number: granted.fileno() for number in range(32)}
        table = order(actor, program([read()], opens=[taking(131)]), numbers)
    assert table["value"].tolist() == [0x10D38086]


def test_an_actor_that_was_dismissed_is_gone_without_a_trace(nursery: Watched) -> None:
    dismissed, other = nursery.borrow(2)
    nursery.give_back(other)
    nursery.dismiss(dismissed)
    assert not Path(f"/proc/{dismissed.pid}").exists()  # a zombie would still be there
    assert dismissed not in nursery.borrow(3)


def _dead(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
