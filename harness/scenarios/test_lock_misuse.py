"""A lock stolen, unlocked twice, never unlocked: the harness must notice, and name the culprit and not its victims.

These tests break a kernel's rules on purpose, with our own module, and expect the verdict FAIL.
"""

import pytest

from harness.model.verdict import Blame, Verdict
from harness.plugin.staging import Run, Stage
from harness.staging.function import Function
from harness.staging.locks import Locks


def convicts(run: Run, culprit: str) -> None:
    """The verdict is FAIL, it is about the locks, and it names `culprit`."""
    run.names(Blame.DRIVER_FAULT, culprit)
    assert run.judgement.decisive is not None
    assert run.judgement.decisive.checker == "lock_discipline"


@pytest.mark.dut("igb0")
def test_a_stolen_lock_convicts_the_thief(dut: Function, stage: Stage, locks: type[Locks]) -> None:
    """Readers that get through afterwards are no breach: the thief let them in."""
    run = stage(
        locks(dut).holds("config", at="50ms", lasting="600ms"),
        locks(dut).steals(at="350ms"),
        dut.reads("sysfs", actors=2),
        lasting="800ms",
        meets=1,
    )
    convicts(run, "thief")
    assert not [
        one
        for one in run.judgement.findings
        if one.checker == "access_outcome" and one.verdict is Verdict.FAIL
    ]


@pytest.mark.dut("igb0")
def test_an_unlock_too_many_is_attributed(dut: Function, stage: Stage, locks: type[Locks]) -> None:
    """The kernel warns; the warning is that of the one who unlocked twice."""
    run = stage(
        locks(dut).unlocks_twice(at="50ms", lasting="100ms"), dut.reads("sysfs"), lasting="300ms", meets=1
    )
    convicts(run, "double-unlocker")
    assert any("WARNING" in line.text for line in run.history.log)


@pytest.mark.dut("igb0")
def test_a_lock_never_given_back_convicts_its_owner(dut: Function, stage: Stage, locks: type[Locks]) -> None:
    """Readers sleep for ever; the stage ends all the same, and says for whom they wait."""
    run = stage(
        locks(dut).never_unlocks(at="50ms"),
        dut.reads("sysfs", actors=2),
        lasting="200ms",
        deadline="3s",
    )
    convicts(run, "keeper")
    assert [actor.end for actor in run.history.actors].count("abandoned") == 2
