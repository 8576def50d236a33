"""What tests/guest/test_kill_matrix.py runs: stages in which something breaks, and healthy ones between them.

Whatever breaks things is another process than those of the stage: in the guest one that was forked before and waits
until the stage resets the function; on the host a thread of the runner that waits for such a process's word on the
console.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable

import pytest

from harness.contract import Contract
from harness.judge import judge
from harness.lab.guest.guest import Guest
from harness.lab.place import GuestTarget
from harness.model.operation import Operation
from harness.model.plan import File, Op, Step
from harness.model.request import LoadModule
from harness.model.verdict import Verdict
from harness.plugin.lab.guests import TargetSource
from harness.plugin.staging import Stage, carry_out
from harness.staging.acting import acting
from harness.staging.function import Function
from harness.staging.part import plan_of
from harness.target.protocol import Target

AFTER_S = 0.15
"""From the first hit of a probe, which a reset of the stage is, to the fault."""
WITHIN_S = 60.0
NOW = "hil-test: now"

IN_THE_GUEST = """
import ctypes, os, pathlib, select, signal
after_s, todo = channel.receive(), channel.receive()
(instance,) = pathlib.Path("/sys/kernel/tracing/instances").iterdir()
buffers, recording = list(instance.glob("per_cpu/cpu*/stats")), instance / "tracing_on"
faults, console = os.open("/dev/hil_faults", os.O_WRONLY), os.open("/dev/ttyS0", os.O_WRONLY)
libc, agent = ctypes.CDLL(None, use_errno=True), os.getpid()
if os.fork() == 0:
    seen = 0  # in a row: before a stage some drivers are asked for their callbacks, which is recorded, too
    while seen < 3:
        some = "1" in recording.read_text() and any("entries: 0" not in one.read_text() for one in buffers)
        seen = seen + 1 if some else 0
        select.select([], [], [], 0.02)
    select.select([], [], [], after_s)
    try:
        exec(todo)
    finally:
        os._exit(0)
channel.send(True)
"""
OOPS = 1 << 7

Breaks = Callable[[str], None]
Signals = Callable[[Callable[[Guest], object]], None]

igb = pytest.mark.dut("igb0")


@pytest.fixture
def breaks(hil_source: TargetSource) -> Breaks:
    """Run Python source in another process of the guest, in the middle of the next stage."""

    def prepare(todo: str) -> None:
        agent = hil_source.target.agent
        agent.ask(LoadModule(name="hil_faults"))
        agent.run_source(IN_THE_GUEST, AFTER_S, todo)

    return prepare


@pytest.fixture
def signals(hil_source: TargetSource, breaks: Breaks) -> Signals:
    """Do something to QEMU in the middle of the next stage."""

    def prepare(what: Callable[[Guest], object]) -> None:
        target = hil_source.target
        assert isinstance(target, GuestTarget)
        guest = target.guest

        def wait() -> None:
            end = time.monotonic() + WITHIN_S
            while NOW not in guest.console_text() and time.monotonic() < end:
                time.sleep(0.02)
            what(guest)

        breaks(f"os.write(console, b'{NOW}\\n')")
        threading.Thread(target=wait, daemon=True).start()

    return prepare


def fault(words: str) -> str:
    """What lab/kmod/hil_faults.c is to do."""
    return f"os.write(faults, {words.encode()!r})"


def busy(dut: Function, stage: Stage, lasting: str = "20s") -> None:
    """Readers and resets all the time."""
    stage(dut.reads("sysfs", actors=2), dut.resets("flr", times=None, every="40ms"), lasting=lasting)


@pytest.fixture
def healthy(
    dut: Function, hil_source: TargetSource, hil_contract: Contract, request: pytest.FixtureRequest
) -> None:
    """A guest that was not fresh would not do; that the machine is too busy for a verdict is none of its business."""
    parts = (dut.reads("sysfs"), dut.resets("flr", at="30ms"))
    plan = plan_of(parts, title="healthy", lasting="150ms")
    history = carry_out(plan, hil_source, hil_contract, request.node)
    judgement = judge(history, hil_contract.terms_of(history))
    assert judgement.verdict is not Verdict.FAIL, judgement
    assert [actor.end for actor in history.actors] == ["done"] * 3
    assert not history.taint_after & OOPS
    assert history.lost == ""


@igb
@pytest.mark.usefixtures("healthy")
def test_healthy_0() -> None: ...


@igb
def test_panic(dut: Function, stage: Stage, breaks: Breaks) -> None:
    breaks(fault("panic"))
    busy(dut, stage)


@igb
@pytest.mark.usefixtures("healthy")
def test_healthy_1() -> None: ...


@igb
def test_hang(dut: Function, stage: Stage, breaks: Breaks) -> None:
    breaks(fault("hang"))
    busy(dut, stage)


@igb
@pytest.mark.usefixtures("healthy")
def test_healthy_2() -> None: ...


@igb
def test_oops(dut: Function, stage: Stage, breaks: Breaks) -> None:
    breaks(fault("oops"))
    busy(dut, stage, lasting="2s")


@igb
def test_oops_of_an_actor(dut: Function, stage: Stage, breaks: Breaks) -> None:
    breaks("pass")  # the module is there
    step = Step(
        op=Op.WRITE,
        means=Operation("misuse/oops"),
        file=File(function=dut.alias, role="/dev/hil_faults"),
        value=b"oops",
    )
    victim = acting([dut.alias], "victim", [step], times=1, starting="100ms")
    stage(victim, dut.reads("sysfs"), dut.resets("flr", at="30ms"), lasting="300ms")


@igb
def test_frozen(dut: Function, stage: Stage, signals: Signals) -> None:
    signals(lambda guest: os.kill(guest.pid, signal.SIGSTOP))
    busy(dut, stage)


@igb
@pytest.mark.usefixtures("healthy")
def test_healthy_3() -> None: ...


@igb
def test_reboot(dut: Function, stage: Stage, breaks: Breaks) -> None:
    breaks("pathlib.Path('/proc/sysrq-trigger').write_text('b')")
    busy(dut, stage)


@igb
def test_qemu_killed(dut: Function, stage: Stage, signals: Signals) -> None:
    signals(lambda guest: os.kill(guest.pid, signal.SIGKILL))
    busy(dut, stage)


@igb
@pytest.mark.usefixtures("healthy")
def test_healthy_4() -> None: ...


@igb
def test_agent_killed(dut: Function, stage: Stage, breaks: Breaks) -> None:
    breaks("os.kill(agent, signal.SIGKILL)")
    busy(dut, stage)


@igb
def test_agent_stuck(dut: Function, stage: Stage, breaks: Breaks, hil_source: TargetSource) -> None:
    """Somebody locks config space for ever when the actors are done: the agent cannot read it any more."""
    hil_source.target.agent.ask(LoadModule(name="hil_windows"))
    breaks(f"os.write(os.open('/dev/hil_windows', os.O_WRONLY), b'forever {dut.bdf}')")
    stage(dut.reads_attribute(), dut.resets("flr", at="30ms"), lasting="2s")


@igb
@pytest.mark.usefixtures("healthy")
def test_healthy_5() -> None: ...


@igb
def test_flood(dut: Function, stage: Stage, breaks: Breaks) -> None:
    breaks(fault("flood 400"))
    busy(dut, stage, lasting="2s")


@igb
def test_wild_clock(
    dut: Function, stage: Stage, signals: Signals, hil_source: TargetSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The guest's clock stands still for a while: pauses that are too short for anybody to call it lost."""

    def pause(guest: Guest) -> None:
        for _ in range(20):
            guest.monitor.execute("stop")
            time.sleep(0.1)
            guest.monitor.execute("cont")

    renew = hil_source.renew

    def renew_and_break() -> Target:  # the fresh guest of the second try is no better
        target = renew()
        signals(pause)
        return target

    monkeypatch.setattr(hil_source, "renew", renew_and_break)
    hil_source.renew()
    busy(dut, stage, lasting="2s")


@igb
@pytest.mark.usefixtures("healthy")
def test_healthy_6() -> None: ...
