"""A machine that lacks /sys, or hides parts of it, is a machine with fewer facts: no mistake of the agent's."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.agent import machine
from harness.errors import KernelRefusal, TargetError
from harness.model.operation import HEARTBEAT
from harness.model.pci import Bdf
from harness.model.plan import Actor, Op, Plan, Step
from harness.model.promise import Lockdown
from harness.model.request import (
    Bind,
    CarryOut,
    DescribeFunction,
    DescribeFunctions,
    DescribeMachine,
    ReadConfig,
    Warm,
)
from harness.model.units import Ns
from harness.pci import sysfs
from harness.target.port import connect
from tests.unit.target.conftest import Peer

IDLE = Actor(name="idle", steps=(Step(op=Op.PAUSE, means=HEARTBEAT, time_ns=Ns(1)),))
NOTHING = Plan(title="nothing", functions=(), actors=(IDLE,), lasting_ns=Ns(1), deadline_ns=Ns(1))
NOWHERE = Bdf.parse("ffff:ff:1f.7")
APART = ("unshare", "--map-root-user", "--mount", "sh", "-c")
WITHOUT_POWERS = 'exec setpriv --bounding-set=-all --inh-caps=-all "$@"'
MACHINES = {
    "without /sys": "mount -t tmpfs none /sys",
    "that hides its tracefs": "mount -t tmpfs none /sys && mkdir -p -m 0 /sys/kernel/tracing",
    "that hides all of it": "mount -t tmpfs -o mode=0 none /sys",
}


def bare(mounts: str) -> tuple[str, ...]:
    """The command that runs another one on a machine without powers, made bare."""
    words = (*APART, f"{mounts} && {WITHOUT_POWERS}", "sh")
    tried = subprocess.run([*words, "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"nothing can be mounted here, not even in a namespace: {tried.stderr.strip()}")
    return words


@pytest.mark.parametrize("mounts", MACHINES.values(), ids=MACHINES.keys())
def test_an_agent_on_a_bare_machine_answers(peer: Callable[..., Peer], mounts: str) -> None:
    path, _ = peer(*bare(mounts))
    agent = connect(path, deadline_s=20)
    facts = agent.ask(DescribeMachine())
    assert facts.clocksource.startswith("unreadable: ")
    assert facts.release == platform.release()
    assert facts.tracefs is False
    agent.ask(Warm())
    assert agent.ask(DescribeFunctions()) == ()
    with pytest.raises(TargetError):
        agent.ask(DescribeFunction(bdf=NOWHERE))
    with pytest.raises(TargetError):
        agent.ask(ReadConfig(bdf=NOWHERE))
    with pytest.raises(TargetError):
        agent.ask(Bind(bdf=NOWHERE, driver="vfio-pci"))
    agent.close()


def test_a_kernel_that_tells_no_taint_is_a_refusal_that_says_which_option_it_needs(
    peer: Callable[..., Peer],
) -> None:
    path, _ = peer(*bare("mount -t tmpfs none /proc/sys"))
    agent = connect(path, deadline_s=20)
    assert agent.ask(DescribeMachine()).boot_id == "unreadable: No such file or directory"
    with pytest.raises(KernelRefusal, match=r"tainted: ENOENT .*CONFIG_PROC_SYSCTL"):
        agent.ask(CarryOut(plan=NOTHING, addresses={}))
    agent.close()


def test_every_fact_is_stated_where_nothing_is_told(tmp_path: Path) -> None:
    facts = machine.facts(tmp_path, tracing=False)
    for told in (facts.command_line, facts.boot_id, facts.clocksource, facts.lockdown):
        assert told == "unreadable: No such file or directory"
    assert facts.vfio is False


@pytest.mark.parametrize("state", Lockdown)
def test_of_the_states_of_lockdown_that_in_force_is_told(tmp_path: Path, state: str) -> None:
    (tmp_path / "sys/kernel/security").mkdir(parents=True)
    said = " ".join(f"[{one}]" if one is state else one for one in Lockdown)
    (tmp_path / "sys/kernel/security/lockdown").write_text(f"{said}\n")
    assert machine.facts(tmp_path, tracing=False).lockdown == state


def test_a_function_without_a_uio_driver_is_an_error_that_says_so() -> None:
    with pytest.raises(TargetError, match=f"UIO node of {NOWHERE}: there is none. Is a UIO driver bound"):
        sysfs.path_of(NOWHERE, "uio")
