"""Every way to lose a guest, for real: it is noticed at once, told from the others, and says all it knows.

The fault is made by another process: one in the guest, or this one to QEMU.
"""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING, Final

import pytest

from harness.errors import AgentLost, GuestError
from harness.model.loss import Loss, LossKind
from harness.model.request import DescribeMachine, LoadModule, ReadConfig

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from harness.lab.place import GuestTarget, Place

ABOUT_TO: Final = "hil-test: about to break"
TOLD_WITHIN_S: Final = 20.0
"""A guest that QEMU tells about is noticed in a fraction of a second; of a busy machine no more is asked."""
PAGES: Final = {0: 0x10_0000, 4096: 0x20_0000, 8192: 1 << 40}
"""The last one is beyond the end of memory."""


@pytest.fixture
def target(place: Place, console: Path) -> Iterator[GuestTarget]:
    with place.clone(console) as one:
        yield one


def fork_in_guest(target: GuestTarget, source: str) -> None:
    """Run a statement in a process of its own, a second later: by then this has returned, or it would be lost too."""
    child = f"time.sleep(1.0)\n    {source}\n    os._exit(0)"
    target.agent.run_source(f"import os, time\nif os.fork() == 0:\n    {child}\nchannel.send(0)")


def fault(target: GuestTarget, command: str, module: str = "hil_faults") -> None:
    """Have one fault; on the console it is told when it is about to happen."""
    target.agent.ask(LoadModule(name=module))
    says = f"open('/dev/kmsg', 'w').write('<0>{ABOUT_TO}\\n')"
    fork_in_guest(target, f"{says}; open('/dev/{module}', 'w').write({command!r})")


def until_lost(target: GuestTarget, deadline_s: float) -> float:
    """Ask until nothing answers; seconds that the last question took."""
    begun_s = time.monotonic()
    while (asked_s := time.monotonic()) < begun_s + 60.0:
        try:
            target.agent.ask(DescribeMachine(), deadline_s=deadline_s)
        except AgentLost:
            return time.monotonic() - asked_s
    pytest.fail("the agent still answers after a minute")


def lose(target: GuestTarget) -> Loss:
    """Wait for the loss that QEMU tells about, and look at it: its memory can still be read."""
    assert until_lost(target, 60.0) < TOLD_WITHIN_S
    loss, pages = target.post_mortem(PAGES)
    assert {key: len(page) for key, page in pages.items()} == {0: 4096, 4096: 4096}
    assert loss.registers.count("RIP=") == target.guest.machine.vcpus
    return loss


def test_a_panic(target: GuestTarget) -> None:
    fault(target, "panic")
    loss = lose(target)
    assert loss.kind is LossKind.PANIC
    assert loss.said == "hil_faults: a panic on request"
    assert "stop_the_kernel" in loss.console
    assert "Kernel Offset: disabled" in loss.console, "the end of it is missing"
    assert "GUEST_PANICKED (action run)" in loss.events
    assert loss.host_ns > 0
    assert not target.guest.running
    assert target.post_mortem({})[0] is loss, "looking twice finds the same"


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("open('/proc/sysrq-trigger', 'w').write('b')", "sysrq: Resetting"),
        ("open('/proc/sysrq-trigger', 'w').write('o')", "reboot: Power down"),
    ],
)
def test_a_guest_that_goes_down_by_itself(target: GuestTarget, source: str, said: str) -> None:
    fork_in_guest(target, source)
    loss = lose(target)
    assert loss.kind is LossKind.REBOOT
    assert said in loss.said


def test_an_agent_that_is_killed(target: GuestTarget) -> None:
    fork_in_guest(target, "os.kill(os.getppid(), 9)")
    loss = lose(target)
    assert loss.kind is LossKind.AGENT
    assert loss.said == "the agent's process ended: killed by SIGKILL"
    assert "init: agent ended" in loss.console


def test_a_guest_that_somebody_pauses(target: GuestTarget) -> None:
    target.guest.monitor.execute("stop")
    loss = lose(target)
    assert loss.kind is LossKind.FROZEN
    assert "paused" in loss.said


def test_a_guest_that_is_paused_for_a_moment_is_not_lost(target: GuestTarget) -> None:
    target.guest.monitor.execute("stop")
    target.guest.monitor.wait_closed(0.05)  # the shorter, the longer a busy machine may take for the rest
    target.guest.monitor.execute("cont")
    target.guest.monitor.wait_closed(1.2)
    assert target.agent.ask(DescribeMachine()).cpus


def test_a_qemu_that_is_stopped_is_woken_to_tell_what_it_knows(target: GuestTarget) -> None:
    os.kill(target.guest.pid, signal.SIGSTOP)
    loss = lose(target)
    assert loss.kind is LossKind.FROZEN
    assert "SIGSTOP" in loss.said
    target.guest.kill()


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (signal.SIGKILL, "QEMU was killed by SIGKILL"),
        (signal.SIGSEGV, "QEMU died of SIGSEGV"),
        (signal.SIGTERM, "terminating on signal 15"),
    ],
)
def test_a_qemu_that_ends(target: GuestTarget, number: signal.Signals, said: str) -> None:
    os.kill(target.guest.pid, number)
    assert until_lost(target, 60.0) < TOLD_WITHIN_S
    loss, pages = target.post_mortem(PAGES)
    assert loss.kind is LossKind.EMULATOR
    assert said in loss.said
    assert pages == {}
    with pytest.raises(GuestError):
        target.guest.read_physical(0x10_0000, 4096)


@pytest.mark.parametrize(("command", "spinning"), [("nmi-hang", 1), ("hang", 2)])
def test_a_kernel_that_hangs_with_interrupts_off(target: GuestTarget, command: str, spinning: int) -> None:
    fault(target, command)
    assert target.guest.wait_console(lambda text: ABOUT_TO in text, 60.0)
    target.guest.monitor.wait_closed(4.0)  # an agent on the other processor may answer for a long time
    loss, pages = target.post_mortem(PAGES)
    assert loss.kind is LossKind.HANG
    assert "with interrupts off in spin_for_ever [hil_faults]" in loss.said
    assert loss.said.startswith("processor " if spinning == 1 else "processors 0 and 1 ")
    assert loss.registers.count("RIP=") == target.guest.machine.vcpus
    assert loss.console.count("NMI backtrace for cpu") == target.guest.machine.vcpus
    assert len(pages) == 2


def test_an_agent_that_is_stuck_in_the_kernel(target: GuestTarget) -> None:
    bdf = target.address("igb0")
    target.agent.ask(LoadModule(name="hil_windows"))
    target.agent.run_source(f"open('/dev/hil_windows', 'w').write('forever {bdf}')\nchannel.send(0)")
    with pytest.raises(AgentLost):
        target.agent.ask(ReadConfig(bdf=bdf), deadline_s=6.0)
    loss, pages = target.post_mortem(PAGES)
    assert loss.kind is LossKind.SILENT
    assert loss.said.startswith("the agent (python3, pid ")
    assert "is stuck in the kernel, in pci_wait_cfg" in loss.said
    assert loss.console.count("NMI backtrace for cpu") == target.guest.machine.vcpus
    assert len(pages) == 2


def test_an_agent_that_sleeps_for_ever_is_silent_and_nothing_is_stuck(target: GuestTarget) -> None:
    fork_in_guest(target, "os.kill(os.getppid(), 19)")
    until_lost(target, 3.0)
    loss, _ = target.post_mortem({})
    assert loss.kind is LossKind.SILENT
    assert "no task is stuck in the kernel" in loss.said


def test_a_flood_on_the_console_stops_nobody_and_its_end_is_kept(target: GuestTarget, console: Path) -> None:
    fault(target, "flood 2000")
    assert target.guest.wait_console(lambda text: "flood 00000100" in text, 30.0)
    assert target.agent.ask(DescribeMachine(), deadline_s=60.0).cpus, (
        "a guest that writes a lot still answers"
    )
    target.guest.inject_nmi()
    assert target.guest.wait_panic(30.0)
    target.guest.kill()
    text = console.read_text()
    assert "flood 00000001" in text
    assert text.rstrip().endswith("Kernel Offset: disabled")


def test_a_guest_whose_console_nobody_records_any_more_goes_on(
    target: GuestTarget, console: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.lab.guest.console._ENDS_WITHIN_S", 0.1)
    recorder = target.guest._recorder
    assert recorder is not None
    recorder.close()
    size = console.stat().st_size
    write = "for _ in range(300): open('/dev/kmsg', 'w').write('<0>' + 'x' * 900)"
    target.agent.run_source(f"{write}\nchannel.send(0)")
    assert target.agent.ask(DescribeMachine()).cpus
    assert console.stat().st_size == size
