"""One guest from start to kill: how it dies, what is known about it then, and that nothing is left."""

from __future__ import annotations

import dataclasses
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness.errors import ClockError, GuestError, UsageError
from harness.lab.guest.guest import Guest
from harness.lab.guest.post_mortem import post_mortem, started
from harness.lab.image import cpio
from harness.lab.qemu.machine import EmulatedFunction, Machine
from harness.lab.template.template import clone, cold
from harness.model.loss import LossKind
from harness.model.request import Bind, DescribeMachine, LoadModule, ReadConfig
from tests.guest.found import found

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from harness.lab.place import Place
    from harness.lab.template.template import Recipe


@pytest.fixture
def guest(place: Place, console: Path) -> Iterator[Guest]:
    with clone(place.template, console=console) as started:
        yield started


def with_machine(recipe: Recipe, machine: Machine) -> Recipe:
    return dataclasses.replace(recipe, machine=machine)


def with_parameters(recipe: Recipe, *added: str) -> Recipe:
    machine = recipe.machine
    return with_machine(recipe, dataclasses.replace(machine, parameters=(*machine.parameters, *added)))


# --- life and death ---------------------------------------------------------------------------------------


@pytest.mark.cold
def test_a_cold_boot_answers_like_a_clone(place: Place, console: Path) -> None:
    with cold(place.recipe, console=console) as booted:
        assert booted.agent.ask(DescribeMachine()).cpus == place.recipe.machine.vcpus
        assert booted.check_clock().is_believable


@pytest.mark.cold
def test_a_kernel_that_panics_at_boot_is_an_error_with_its_reason_and_no_timeout(
    place: Place, console: Path
) -> None:
    # The kernel finds neither an init nor a root to mount.
    recipe = with_parameters(place.recipe, "rdinit=/absent")
    before_s = time.monotonic()
    with (
        pytest.raises(GuestError, match=r"its kernel panicked: (VFS|No working init)") as caught,
        cold(recipe, console=console),
    ):
        pass
    assert time.monotonic() - before_s < recipe.boot_timeout_s / 2
    assert "Kernel panic" in caught.value.evidence
    assert "-kernel" in caught.value.evidence
    assert str(console) in str(caught.value)


@pytest.mark.cold
def test_an_agent_that_cannot_run_ends_the_guest_soon(place: Place, tmp_path: Path) -> None:
    boot = place.recipe.boot
    broken = tmp_path / "guest.cpio"
    # The kernel unpacks one archive after the other; the later file wins.
    broken.write_bytes(
        boot.root.read_bytes() + cpio.archive([cpio.file("python/bin/python3", b"#!/absent\n", 0o755)])
    )
    recipe = dataclasses.replace(place.recipe, boot=dataclasses.replace(boot, root=broken))
    with (
        pytest.raises(GuestError, match="its kernel panicked: Attempted to kill init") as caught,
        cold(recipe),
    ):
        pass
    assert "the agent does not stay" in caught.value.evidence


@pytest.mark.cold
def test_a_clock_that_runs_wild_is_an_error(place: Place) -> None:
    # The guest is told that its TSC is several times slower than any TSC is.
    recipe = with_parameters(place.recipe, "tsc_early_khz=500000")

    def watch(guest: Guest) -> None:
        guest.awaken(recipe.boot_timeout_s)  # may be too short a time to be sure
        guest.monitor.wait_closed(0.5)
        guest.check_clock()

    with started(recipe.start()) as guest, pytest.raises(ClockError, match="the guest's ran at"):
        watch(guest)


def test_a_model_that_qemu_does_not_have_is_an_error_in_qemus_words(place: Place, tmp_path: Path) -> None:
    machine = Machine(functions=(EmulatedFunction(alias="x0", model="no-such-model"),))
    with (
        pytest.raises(GuestError, match=r"QEMU ended with status 1: .*no-such-model") as caught,
        cold(with_machine(place.recipe, machine)),
    ):
        pass
    # What the error shows can be typed by hand, and says the same.
    command = caught.value.evidence.partition("\n")[0].removeprefix("command: ")
    shell = ["sh", "-c", command]
    replayed = subprocess.run(shell, cwd=tmp_path, capture_output=True, text=True, timeout=20, check=False)
    assert "no-such-model" in replayed.stderr


def test_killing_leaves_no_process_and_no_run_folder(place: Place) -> None:
    with clone(place.template) as guest:
        folder, pid = guest.rpc_socket.parent, guest.pid
        assert folder.exists()
        assert Path(f"/proc/{pid}").exists()
    guest.kill()  # a second time does nothing
    assert not folder.exists()
    assert not Path(f"/proc/{pid}").exists()


_RUNNER = """
import sys
from harness.lab.cache.store import Cache
from harness.lab.place import prepare
from harness.lab.template.template import clone
with Cache() as cache, clone(prepare(cache).template) as guest:
    print(guest.pid, flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("stopped", [False, True])
@pytest.mark.usefixtures("place")  # prepared, so that the runner finds everything in the cache
def test_no_guest_outlives_a_runner_that_is_killed(*, stopped: bool) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _RUNNER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as runner:
        assert runner.stdout is not None
        qemu = int(runner.stdout.readline())
        descriptor = os.pidfd_open(qemu)
        if stopped:
            os.kill(qemu, signal.SIGSTOP)
        runner.send_signal(signal.SIGKILL)
        ready, _, _ = select.select([descriptor], [], [], 10.0)
        os.close(descriptor)
    assert ready, f"QEMU {qemu} still runs 10 s after its runner was killed"


# --- panics and hangs -------------------------------------------------------------------------------------


def test_a_panic_is_noticed_and_its_console_is_complete(guest: Guest) -> None:
    assert not guest.panicked
    guest.inject_nmi()
    assert guest.wait_panic(20.0)
    assert guest.panicked
    assert "NMI" in guest.panic_reason
    assert not guest.running
    assert guest.qemu.lives, "its memory is gone"
    assert guest.cause_of_death.startswith("its kernel panicked: NMI")
    # Written after the panic notifiers, where a stopped or ended QEMU would have cut the text.
    assert "Kernel Offset: disabled" in guest.console_text()


def test_a_guest_that_says_nothing_is_asked_for_registers_and_backtraces_of_all_processors(
    guest: Guest,
) -> None:
    loss, _ = post_mortem(guest, "it said nothing", {})
    assert loss.kind is LossKind.SILENT
    assert loss.said.startswith("it said nothing; no task is stuck")
    assert loss.registers.count("RIP=") == guest.machine.vcpus
    assert "Kernel panic - not syncing: NMI" in loss.console
    assert loss.console.count("NMI backtrace for cpu") == guest.machine.vcpus


def test_memory_can_be_read_where_there_is_any(guest: Guest) -> None:
    size = guest.machine.memory_mib << 20
    assert len(guest.read_physical(size - 4096, 4096)) == 4096
    # The kernel's own image: its first megabyte is never all zeros.
    assert any(guest.read_physical(16 << 20, 1 << 20))
    for address in (size - 2048, size, 1 << 40):
        with pytest.raises(GuestError, match="no memory"):
            guest.read_physical(address, 4096)
    assert guest.agent.ask(DescribeMachine()).cpus, "reading does not disturb"


def test_a_guest_that_was_paused_says_so_and_what_it_was_doing(place: Place, console: Path) -> None:
    def pause_and_connect() -> None:
        with started(dataclasses.replace(place.template.start(), console=console)) as stopped:
            assert stopped.monitor.wait_event(lambda event: event.name == "RESUME", 30.0)
            stopped.monitor.execute("stop")
            stopped.connect(30.0)

    with pytest.raises(GuestError, match=r"the guest was stopped \(paused\)") as caught:
        pause_and_connect()
    assert "RIP=" in caught.value.evidence


def test_what_the_monitor_refuses_is_an_error_in_qemus_words(guest: Guest) -> None:
    with pytest.raises(GuestError, match="no-such-command"):
        guest.monitor.execute("no-such-command")


def test_a_monitor_without_qemu_is_an_error_at_once(guest: Guest) -> None:
    os.kill(guest.pid, signal.SIGKILL)
    assert guest.monitor.wait_closed(10.0)
    with pytest.raises(GuestError, match="query-status in the monitor"):
        guest.monitor.execute("query-status")


# --- the agent and its functions --------------------------------------------------------------------------


def test_an_agent_that_ends_is_started_again_and_says_so(place: Place, console: Path) -> None:
    start = dataclasses.replace(place.template.start(), console=console)
    with started(start) as guest:
        line = guest.connect(30.0)
        first = line.hello.pid
        guest.disconnect()
        with socket.socket(socket.AF_UNIX) as host:
            host.connect(str(guest.rpc_socket))
            host.sendall(json.dumps({"ask": "execnet"}).encode() + b"\n")
            assert b"execnet" in host.recv(100)
        ports = "VSERPORT_CHANGE"
        assert _until(
            lambda: [one.data["open"] for one in guest.events if one.name == ports][-2:] == [False, True],
            guest,
        )
        assert "init: agent ended" in guest.console_text()
        assert guest.connect(30.0).hello.pid != first


def _openings(guest: Guest) -> list[bool]:
    """Whether the agent's port was opened or closed, oldest first."""
    return [one.data["open"] for one in guest.events if one.name == "VSERPORT_CHANGE"]


def _until(condition: Callable[[], bool], guest: Guest, timeout_s: float = 30.0) -> bool:
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        guest.monitor.wait_closed(0.05)
    return True


def test_the_empty_port_has_nothing_behind_it_and_every_template_function_is_where_it_was_put(
    guest: Guest,
) -> None:
    for one in guest.machine.in_template():
        facts = found(guest, one.alias)
        assert found is not None
        assert facts.driver == "", f"{one.alias} came up bound"
        assert facts.iommu_group
    assert guest.agent.ask(guest.machine.finding("empty", number=0)) is None


@pytest.mark.parametrize("alias", ["edu0", "nvmesriov"])
def test_a_hot_plugged_function_appears_unbound_and_with_a_bus_reset(guest: Guest, alias: str) -> None:
    wanted = guest.machine.finding(alias)
    assert guest.agent.ask(wanted) is None
    guest.slots.plug(alias)
    assert _until(lambda: guest.agent.ask(wanted) is not None, guest)
    facts = found(guest, alias)
    assert facts.driver == ""
    assert "bus" in facts.reset_methods


def test_the_hot_plugged_nvme_can_have_virtual_functions(guest: Guest) -> None:
    wanted = guest.machine.finding("nvmesriov")
    guest.slots.plug("nvmesriov")
    assert _until(lambda: guest.agent.ask(wanted) is not None, guest)
    space = guest.agent.ask(ReadConfig(bdf=found(guest, "nvmesriov").bdf))
    assert 0x0010 in _extended_capabilities(space), "no SR-IOV capability"


def _extended_capabilities(space: bytes) -> list[int]:
    """Walk the list that begins at 0x100.  Source: PCIe r6.0 7.6.3."""
    found, at = [], 0x100
    while at:
        header = int.from_bytes(space[at : at + 4], "little")
        found.append(header & 0xFFFF)
        at = header >> 20
    return found


def test_a_shipped_driver_loads_with_what_it_needs_and_binds(guest: Guest) -> None:
    bdf = found(guest, "igb0").bdf
    guest.agent.ask(LoadModule(name="igb"))
    guest.agent.ask(Bind(bdf=bdf, driver="igb"))
    assert found(guest, "igb0").driver == "igb"


def test_plugging_an_unknown_function_names_the_known_ones(guest: Guest) -> None:
    with pytest.raises(UsageError, match="igb0"):
        guest.slots.plug("igb9")


def test_plugging_twice_plugs_once(guest: Guest) -> None:
    guest.slots.plug("edu0")
    guest.slots.plug("edu0")
    (found,) = [
        one for one in guest.monitor.execute("query-pci")[0]["devices"] if one.get("qdev_id") == "port.edu0"
    ]
    assert [one["qdev_id"] for one in found["pci_bridge"]["devices"]] == ["edu0"]


def test_gdb_can_be_asked_for(place: Place, tmp_path: Path) -> None:
    path = tmp_path / "gdb"
    with clone(place.template, gdb=f"unix:{path},server=on,wait=off"), socket.socket(socket.AF_UNIX) as gdb:
        gdb.connect(str(path))
        gdb.sendall(b"$qSupported#37")
        gdb.settimeout(5.0)
        assert b"+" in gdb.recv(100)
