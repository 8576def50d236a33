"""Carrying a plan out: who ends how, how much room, and what is put back."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import pytest

from harness.agent.stage import _refused, _wait
from harness.bindings.actor import Code, Instruction, SharedStage
from harness.errors import StagingError
from harness.model.observation import ActorRecord
from harness.model.operation import HEARTBEAT
from harness.model.plan import Actor, Op, Plan, Step
from harness.model.units import MS, Ns
from tests.unit.agent.conftest import Watched
from tests.unit.agent.gate import guarded
from tests.unit.agent.run import (
    Program,
    load,
    mapping,
    opening,
    pause,
    program,
    read,
    rows,
    staged,
    until,
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "config"
    path.write_bytes(b"\x86\x80\xd3\x10" * 64)
    return path


def plan(count: int, *, lasting: int = 50 * MS, deadline: int = 20_000 * MS) -> Plan:
    """A plan with so many actors; what they do is in their programs.

    Nobody waits for the deadline but whoever is to be abandoned at it, and says a shorter one: long enough for the
    others to end on a busy machine.
    """
    step = Step(op=Op.PAUSE, means=HEARTBEAT, time_ns=Ns(1))
    return Plan(
        title="files",
        functions=(),
        actors=tuple(Actor(name=f"actor-{number}", steps=(step,)) for number in range(count)),
        lasting_ns=Ns(lasting),
        deadline_ns=Ns(deadline),
    )


def run(what: Plan, stage: SharedStage, programs: list[Program], nursery: Watched) -> tuple[ActorRecord, ...]:
    actors = nursery.borrow(len(programs))
    for number, actor in enumerate(actors):
        actor.begin(stage, number)
    return _wait(what, programs, stage, actors, nursery)


def test_actors_that_end_are_done_and_used_again(nursery: Watched, file: Path) -> None:
    programs = [program([read()], opens=[opening(file)], times=times) for times in (1, 5, 0)]
    for _ in range(2):
        with staged(*programs, lasting=1000 * MS, room=600_000) as stage:
            assert [one.end for one in run(plan(3), stage, programs, nursery)] == ["done"] * 3
            assert [len(rows(stage, number)) for number in (0, 1)] == [1, 5]
    assert len(nursery.forked) == 3


def test_an_actor_that_dies_is_named_with_its_signal_and_the_others_go_on(
    nursery: Watched, file: Path
) -> None:
    programs = [program([pause(30_000 * MS)]), program([read()], opens=[opening(file)], times=2)]
    with staged(*programs, lasting=60_000 * MS) as stage:

        def kill() -> None:
            until(lambda: stage.lane(0).count == 1)
            os.kill(stage.lane(0).tid, signal.SIGKILL)

        killing = threading.Thread(target=kill)
        killing.start()
        ends = run(plan(2, lasting=60_000 * MS), stage, programs, nursery)
        killing.join()
        assert [(one.end, one.detail) for one in ends] == [("died", "killed by SIGKILL"), ("done", "")]
        assert rows(stage, 0)["end_ns"].tolist() == [0]
        assert len(rows(stage, 1)) == 2


def test_a_register_that_is_gone_is_an_outcome_and_the_actor_is_used_again(
    nursery: Watched, file: Path
) -> None:
    """Loads from beyond the end of a mapped file raise SIGBUS, as loads from a dead device can."""
    target = file.with_name("resource0")
    target.write_bytes(bytes(4096))
    dying = program(
        [load(0), load(4096 + 8), load(8)],
        opens=[opening(target, os.O_RDWR), mapping(size=8192)],
    )
    with staged(dying) as stage:
        assert [one.end for one in run(plan(1), stage, [dying], nursery)] == ["done"]
        table = rows(stage, 0)
    assert table["error"].tolist() == [0, -int(signal.SIGBUS), 0]
    assert table["value"].tolist() == [0, 4096 + 8, 0]
    assert nursery.borrow(1) == nursery.forked


def test_an_actor_that_never_returns_is_abandoned_at_the_deadline(nursery: Watched, file: Path) -> None:
    """A stopped process stands for one that sleeps in the kernel: nobody can make it return."""
    programs = [program([pause(30_000 * MS)]), program([read()], opens=[opening(file)])]
    with staged(*programs) as stage:

        def stop() -> None:
            until(lambda: stage.lane(0).count == 1)
            os.kill(stage.lane(0).tid, signal.SIGSTOP)

        stopping = threading.Thread(target=stop)
        stopping.start()
        ends = run(plan(2, deadline=2000 * MS), stage, programs, nursery)
        stopping.join()
        assert [one.end for one in ends] == ["abandoned", "done"]
        assert ends[0].wchan + ends[0].stack
        assert not ends[0].detail
        assert rows(stage, 0)["end_ns"].tolist() == [0]
    stuck = nursery.forked[0]
    assert stuck not in nursery.borrow(2)  # never used again


def test_a_read_that_sleeps_in_the_kernel_is_abandoned_with_the_place_it_sleeps_in(
    nursery: Watched, file: Path
) -> None:
    programs = [program([read()], opens=[opening(file)])]
    with guarded(file) as gate, staged(*programs) as stage:
        gatekeeper = threading.Thread(target=lambda: gate.admit(gate.arrival(10)))  # the rehearsal, no more
        gatekeeper.start()
        (end,) = run(plan(1, deadline=2000 * MS), stage, programs, nursery)
        gatekeeper.join()
        assert end.end == "abandoned"
        assert "fanotify" in end.wchan + end.stack
        table = rows(stage, 0)
        assert (len(table), table["end_ns"][0]) == (1, 0)


def test_a_file_that_cannot_be_opened_is_named_with_errno_and_advice(
    nursery: Watched, tmp_path: Path
) -> None:
    programs = [program([pause(1)]), program([read()], opens=[opening(tmp_path / "reset", os.O_WRONLY)])]
    with staged(*programs) as stage, pytest.raises(StagingError) as refused:
        run(plan(2), stage, programs, nursery)
    assert str(refused.value) == (
        f"actor 'actor-1': opening {tmp_path}/reset: ENOENT (No such file or directory). "
        "The function has no such file on this kernel."
    )


def test_after_a_refusal_everybody_can_be_used_again(nursery: Watched, tmp_path: Path) -> None:
    programs = [program([pause(1)]), program([read()], opens=[opening(tmp_path / "absent")])]
    with staged(*programs) as stage, pytest.raises(StagingError):
        run(plan(2), stage, programs, nursery)
    assert len(nursery.borrow(2)) == len(nursery.forked) == 2


def test_what_cannot_be_mapped_is_named_and_not_what_was_opened_last(
    nursery: Watched, file: Path, tmp_path: Path
) -> None:
    register = tmp_path / "resource0"
    register.touch()
    opens = [opening(file), opening(register, os.O_RDWR, slot=1), opening(file, slot=2), mapping(file=1)]
    programs = [program([read()], opens=opens)]
    with staged(*programs) as stage, pytest.raises(StagingError, match=f"mapping {register}: EINVAL"):
        run(plan(1), stage, programs, nursery)


def test_a_descriptor_that_did_not_come_is_named_by_what_it_was_to_be(nursery: Watched) -> None:
    programs = [program([read()], opens=[Instruction(op=Code.TAKE, width=100)])]
    with staged(*programs) as stage, pytest.raises(StagingError, match=r"opening a VFIO device.*EBADF"):
        run(plan(1), stage, programs, nursery)


def test_nothing_is_refused_where_all_is_well(file: Path) -> None:
    programs = [program([read()], opens=[opening(file)])]
    with staged(*programs) as stage:
        assert _refused(stage, programs) is None
