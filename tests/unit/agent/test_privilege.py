"""Actors that may do less: what they are refused, what they keep, and that nobody uses their process again."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from harness.agent.files import Files
from harness.agent.nursery import wait_any
from harness.agent.program import compile_actor
from harness.agent.stage import _wait
from harness.bindings.actor import Code, Instruction
from harness.errors import StagingError
from harness.history.columns import Table
from harness.model.operation import KEPT_READ, UNPRIVILEGED_OPEN
from harness.model.pci import Bdf
from harness.model.plan import Actor, File, Op, Plan, Privilege, Step
from harness.model.units import MS, Ns
from tests.unit.agent.conftest import Watched
from tests.unit.agent.run import pause, program, rows, staged, until

NOBODY = "65534"
WHERE = {"igb0": Bdf.parse("0000:ff:1f.7")}

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become nobody; run it as root")


@pytest.fixture
def secret() -> Iterator[Path]:
    """A file of root in a folder that everybody may enter; pytest's own are root's alone."""
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        path = Path(folder, "config")
        path.write_bytes(b"\x86\x80\xd3\x10")
        path.chmod(0o600)
        yield path


def opens(path: Path, *, writing: bool = False) -> Step:
    """An absolute path stands for a file in the folder of the function."""
    return Step(
        op=Op.OPEN, means=UNPRIVILEGED_OPEN, file=File(function="igb0", role=str(path)), width=writing
    )


def reads(path: Path) -> Step:
    return Step(op=Op.READ, means=KEPT_READ, file=File(function="igb0", role=str(path)), width=4)


def _plan(privilege: Privilege, *steps: Step) -> Plan:
    return Plan(
        title="files",
        functions=tuple(WHERE),
        actors=(Actor(name="nobody", steps=steps, privilege=privilege, times=1),),
        lasting_ns=Ns(1000 * MS),
        deadline_ns=Ns(10_000 * MS),
    )


def carried_out(nursery: Watched, privilege: Privilege, *steps: Step) -> Table:
    plan = _plan(privilege, *steps)
    with Files(plan, WHERE) as files:
        programs = [compile_actor(actor, files) for actor in plan.actors]
        with staged(*programs, lasting=1000 * MS) as stage:
            actors = nursery.borrow(1)
            actors[0].begin(stage, 0, files.granted(plan.actors[0]))
            assert [one.end for one in _wait(plan, programs, stage, actors, nursery)] == ["done"]
            return rows(stage, 0).copy()


def test_root_may_open_it(nursery: Watched, secret: Path) -> None:
    table = carried_out(nursery, Privilege.ROOT, opens(secret), opens(secret, writing=True), reads(secret))
    assert table["error"].tolist() == [0, 0, 0]


def test_an_actor_without_privilege_is_refused_with_eacces(nursery: Watched, secret: Path) -> None:
    table = carried_out(nursery, Privilege.NONE, opens(secret), opens(secret, writing=True))
    assert table["result"].tolist() == [-1, -1]
    assert table["error"].tolist() == [errno.EACCES, errno.EACCES]


def test_an_actor_without_privilege_does_what_everybody_may(nursery: Watched, secret: Path) -> None:
    secret.chmod(0o644)
    table = carried_out(nursery, Privilege.NONE, opens(secret), opens(secret, writing=True), reads(secret))
    assert table["error"].tolist() == [0, errno.EACCES, 0]
    assert int(table["value"][2]) == 0x10D38086


def test_an_actor_without_privilege_cannot_have_the_file_before_the_stage(
    nursery: Watched, secret: Path
) -> None:
    with pytest.raises(StagingError, match=f"'nobody'.*opening {secret}: EACCES"):
        carried_out(nursery, Privilege.NONE, reads(secret))


def test_an_actor_that_dropped_its_privilege_reads_what_it_opened_before(
    nursery: Watched, secret: Path
) -> None:
    table = carried_out(nursery, Privilege.DROPPED, reads(secret), opens(secret))
    assert table["result"].tolist() == [4, -1]
    assert int(table["value"][0]) == 0x10D38086
    assert table["error"].tolist() == [0, errno.EACCES]


@pytest.mark.parametrize("privilege", [Privilege.NONE, Privilege.DROPPED])
def test_its_process_is_never_used_again_and_leaves_no_zombie(
    nursery: Watched, secret: Path, privilege: Privilege
) -> None:
    carried_out(nursery, privilege, opens(secret))
    (spent,) = nursery.forked
    assert not Path(f"/proc/{spent.pid}").exists()
    table = carried_out(nursery, Privilege.ROOT, reads(secret))
    assert table["error"].tolist() == [0]
    assert len(nursery.forked) == 2


def test_the_process_of_an_actor_that_was_refused_is_not_used_again_either(
    nursery: Watched, secret: Path
) -> None:
    with pytest.raises(StagingError):
        carried_out(nursery, Privilege.NONE, reads(secret))
    (spent,) = nursery.forked
    assert not Path(f"/proc/{spent.pid}").exists()
    assert spent not in nursery.borrow(1)


def test_nothing_of_root_is_left(nursery: Watched) -> None:
    dropping = program([pause(20_000 * MS)], opens=[Instruction(op=Code.DROP)])
    with staged(dropping, lasting=60_000 * MS) as stage:
        (actor,) = nursery.borrow(1)
        actor.begin(stage, 0)
        until(lambda: stage.lane(0).count == 1)
        status = Path(f"/proc/{actor.pid}/status").read_text().splitlines()
        os.kill(actor.pid, signal.SIGKILL)
    facts = {line.partition(":")[0]: line.partition(":")[2].split() for line in status}
    assert facts["Uid"] == facts["Gid"] == [NOBODY] * 4
    assert facts["Groups"] == []
    assert [int(facts[which][0], 16) for which in ("CapPrm", "CapEff", "CapAmb")] == [0, 0, 0]


def test_what_was_given_up_cannot_be_given_up_again(nursery: Watched) -> None:
    """Such a process is another one than the plan asks for: its next program is refused, by name."""
    dropping = program([pause(1)], opens=[Instruction(op=Code.DROP)])
    (actor,) = nursery.borrow(1)
    with staged(dropping) as stage:
        actor.begin(stage, 0)
        assert wait_any([actor], 10) == [actor]
        assert actor.ended()
    with staged(dropping) as stage:
        actor.begin(stage, 0)
        with pytest.raises(StagingError, match="becoming the user nobody: EPERM"):
            _wait(_plan(Privilege.NONE), [dropping], stage, [actor], nursery)
