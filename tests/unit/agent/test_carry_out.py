"""A whole stage on temporary files: what is put back after it, and what is left alone behind a stuck actor."""

from __future__ import annotations

import gc
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import pytest

from harness.agent import stage as module
from harness.agent.kernel_log import KernelLog
from harness.agent.program import compile_actor
from harness.agent.stage import Tell, carry_out, untold
from harness.agent.trace import KernelTrace
from harness.bindings.actor import now
from harness.errors import StagingError
from harness.model.observation import (
    Beat,
    Callbacks,
    FunctionFacts,
    Observation,
    Phase,
    Progress,
    Reached,
    Ready,
    Trace,
)
from harness.model.operation import ATTRIBUTE_READ, BAR_READ, TAKE
from harness.model.pci import Bdf
from harness.model.plan import Actor, File, Op, Plan, Setting, Step
from harness.model.units import MS, SECOND, Ns
from tests.unit.agent import vfio
from tests.unit.agent.conftest import Watched
from tests.unit.agent.gate import guarded
from tests.unit.agent.run import descriptors, until

FACTS = FunctionFacts(
    bdf=Bdf.parse("0000:ff:1f.7"),
    vendor=0x8086,
    device=0x10C9,
    class_code=0x20000,
    driver="",
    reset_methods=(),
    iommu_group="",
    port=None,
)


class Anywhere(dict[str, Bdf]):
    """No function at all, and an address for every alias: absolute paths stand for files in its folder."""

    def __missing__(self, alias: str) -> Bdf:
        return Bdf.parse("0000:ff:1f.7")


class Silence:
    """A trace of a kernel in which nothing happens."""

    def callbacks(self, functions: list[Bdf]) -> dict[Bdf, Callbacks]:
        assert functions == []
        return {}

    def begin(self, functions: list[Bdf]) -> None:
        assert functions == []

    def end(self) -> Trace:
        return Trace(text="", lost=0, probes=())


@contextmanager
def log_of_our_own() -> Iterator[Callable[[Ns], KernelLog]]:
    """A log in which nobody says anything, and no alarm: those of this machine are not ours."""
    ours, kernel = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    with ours, kernel:
        yield lambda _: KernelLog(descriptor=ours.detach())


@pytest.fixture
def attribute(tmp_path: Path) -> Path:
    path = tmp_path / "attribute"
    path.write_text("before")
    return path


@pytest.fixture
def left() -> Iterator[list[Any]]:
    """What stages could not put back; a test does it for them."""
    yield module._LEFT
    while module._LEFT:
        module._LEFT.pop().close()


def carried_out(
    nursery: Watched,
    setting: Path,
    *files: Path,
    modules: tuple[str, ...] = (),
    tell: Tell = untold,
    starts_ms: int = 0,
    deadline_ms: int = 20_000,
) -> tuple[Observation, list[str]]:
    """One actor reads these files once; what was seen, and which modules were loaded.

    Nobody waits for the deadline but whoever is to be abandoned at it, and says a shorter one.
    """
    steps = tuple(
        Step(op=Op.READ, means=ATTRIBUTE_READ, file=File(function="igb0", role=str(file)), width=8)
        for file in files
    )
    plan = Plan(
        title="files",
        functions=(),
        actors=(Actor(name="reader", steps=steps, times=1, starts_ns=Ns(starts_ms * MS)),),
        lasting_ns=Ns(starts_ms * MS + 50 * MS),
        deadline_ns=Ns(deadline_ms * MS),
        settings=(Setting(function="igb0", attribute=str(setting), value="during"),),
        modules=modules,
    )
    loaded: list[str] = []
    with log_of_our_own() as listen:
        trace = cast(KernelTrace, Silence())
        seen = carry_out(plan, Anywhere(), nursery, trace, loaded.append, tell=tell, listen=listen)
    return seen, loaded


def test_settings_are_there_during_the_stage_and_put_back_after_it(
    nursery: Watched, attribute: Path, left: list[Any]
) -> None:
    seen, _ = carried_out(nursery, attribute, attribute)
    assert seen.records[0][16:22] == b"during"
    assert attribute.read_text() == "before"
    assert (seen.left, left) == ((), [])
    assert [actor.end for actor in seen.actors] == ["done"]


def test_nothing_is_left_open(nursery: Watched, attribute: Path) -> None:
    def kept() -> set[tuple[str, str]]:
        carried_out(nursery, attribute, attribute)
        gc.collect()
        return descriptors()

    assert kept() == kept()


def test_modules_are_loaded_in_their_order(nursery: Watched, attribute: Path) -> None:
    _, loaded = carried_out(nursery, attribute, attribute, modules=("vfio_pci", "hil_windows"))
    assert loaded == ["vfio_pci", "hil_windows"]


def test_nothing_is_put_back_behind_a_stuck_actor(
    nursery: Watched, attribute: Path, left: list[Any], tmp_path: Path
) -> None:
    """Whoever writes to an attribute behind a lock that nobody gives back sleeps there for ever."""
    locked = tmp_path / "config"
    locked.write_bytes(bytes(64))
    with guarded(locked) as gate:
        rehearsal = threading.Thread(target=lambda: gate.admit(gate.arrival(10)))
        rehearsal.start()
        seen, _ = carried_out(nursery, attribute, locked, deadline_ms=2000)
        rehearsal.join()
        gc.collect()
        assert [actor.end for actor in seen.actors] == ["abandoned"]
        assert seen.left == (f"{attribute} of igb0",)
        assert attribute.read_text().startswith("during")
        assert len(left) == 1
        (stuck,) = nursery.forked
        assert stuck not in nursery.borrow(1)
    left.pop().close()
    assert attribute.read_text().startswith("before")


def test_settings_are_put_back_when_an_actor_is_refused(
    nursery: Watched, attribute: Path, left: list[Any], tmp_path: Path
) -> None:
    with pytest.raises(StagingError, match="ENOENT"):
        carried_out(nursery, attribute, tmp_path / "absent")
    assert attribute.read_text() == "before"
    assert left == []


def test_the_host_is_told_what_the_agent_is_at_and_where_its_memory_lies(
    nursery: Watched, attribute: Path, left: list[Any]
) -> None:
    heard: list[Progress] = []
    before = now()
    carried_out(nursery, attribute, attribute, tell=heard.append)
    reached = [one for one in heard if isinstance(one, Reached)]
    assert [one.phase for one in reached] == list(Phase)
    (ready,) = [one for one in heard if isinstance(one, Ready)]
    running = heard[heard.index(ready) + 1]
    assert isinstance(running, Reached)
    assert running.phase is Phase.RUNNING
    assert before < ready.stage < running.alive_ns < now()
    assert len(ready.pages) == (2 if os.geteuid() == 0 else 0)
    assert left == []


def test_the_agent_says_once_a_second_that_it_lives(
    nursery: Watched, attribute: Path, left: list[Any]
) -> None:
    """Never sooner, and on a busy machine later: so it is staged until each came in its second."""

    def in_time() -> bool:
        heard: list[tuple[int, Progress]] = []
        carried_out(
            nursery, attribute, attribute, tell=lambda one: heard.append((now(), one)), starts_ms=2600
        )
        beats = [(at, one) for at, one in heard if isinstance(one, Beat) and one.release_ns]
        (release,) = {one.release_ns for _, one in beats}
        for (_, before), (_, after) in pairwise(beats):
            assert after.alive_ns - before.alive_ns >= SECOND
        assert left == []
        return (
            len(beats) == 3
            and all(after - before < 1.9 * SECOND for (before, _), (after, _) in pairwise(beats))
            # the host counts from there, and cannot wait for a beat
            and abs(beats[0][0] - release) < 0.9 * SECOND
        )

    until(in_time, seconds=60)


def test_an_actor_that_never_comes_back_from_its_set_up_is_data(
    nursery: Watched, attribute: Path, left: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It sleeps in the kernel before the rendezvous; where, and behind what, is told like that of any other."""
    monkeypatch.setattr(module, "_ARRIVAL", Ns(2000 * MS))
    locked = tmp_path / "config"
    locked.write_bytes(bytes(64))
    with guarded(locked):  # nobody admits even the rehearsal
        seen, _ = carried_out(nursery, attribute, locked)
        (actor,) = seen.actors
        assert (actor.end, actor.detail) == ("abandoned", "rehearsing its first read")
        assert "fanotify" in actor.wchan + actor.stack
        assert seen.records == (b"",)
        assert 0 < seen.begin_ns < seen.end_ns
        assert len(left) == 1
    left.pop().close()


@pytest.mark.parametrize(("taint", "kept"), [(1 << 7, True), (1 << 12, False)])
def test_nothing_is_put_back_where_the_kernel_gave_an_actor_up(
    nursery: Watched,
    attribute: Path,
    left: list[Any],
    monkeypatch: pytest.MonkeyPatch,
    taint: int,
    *,
    kept: bool,
) -> None:
    """It may have held locks; one that was killed from outside has given them back."""
    taints = iter([0, taint, taint, taint])
    monkeypatch.setattr(module, "taint", lambda: next(taints))

    def kill_when_released(told: Progress) -> None:
        if isinstance(told, Beat) and told.release_ns:
            (actor,) = nursery.forked
            os.kill(actor.pid, signal.SIGKILL)

    seen, _ = carried_out(nursery, attribute, attribute, starts_ms=5000, tell=kill_when_released)
    assert [actor.end for actor in seen.actors] == ["died"]
    assert attribute.read_text().strip() == ("during" if kept else "before")
    assert len(left) == kept
    while left:
        left.pop().close()


def test_config_space_is_read_when_whoever_waits_for_a_file_has_it(
    nursery: Watched, attribute: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk comes when its driver has set the function up: before that config space is not what it will be."""
    order: list[str] = []
    modules: list[str] = []

    class Anything(Silence):
        def begin(self, functions: list[Bdf]) -> None:
            assert len(functions) == 1

    def compiled(*arguments: Any) -> Any:
        order.append("file")
        return compile_actor(*arguments)

    def read(_: Bdf) -> bytes:
        order.append("config")
        return b""

    monkeypatch.setattr(module, "compile_actor", compiled)
    monkeypatch.setattr("harness.pci.sysfs.read_config", read)
    monkeypatch.setattr("harness.pci.functions.facts", lambda _: FACTS)
    step = Step(op=Op.READ, means=ATTRIBUTE_READ, file=File(function="igb0", role=str(attribute)), width=8)
    plan = Plan(
        title="order",
        functions=("igb0",),
        actors=(Actor(name="reader", steps=(step,), times=1),),
        lasting_ns=Ns(50 * MS),
        deadline_ns=Ns(300 * MS),
    )
    addresses = Anywhere(igb0=Bdf.parse("0000:ff:1f.7"))
    with log_of_our_own() as listen:
        carry_out(plan, addresses, nursery, cast(KernelTrace, Anything()), modules.append, listen=listen)
    assert order == ["file", "config"]


def test_what_is_armed_is_read_while_it_is_open_and_once_more_when_it_is_closed(
    nursery: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The actor has ended by then: its function is still open, and the trace is not over before it is closed."""
    made = vfio.Container()

    def opened() -> list[bool]:
        return [device.fd >= 0 for group in made.groups.values() for device in group.devices]

    class Witness(Silence):
        def begin(self, functions: list[Bdf]) -> None:
            assert len(functions) == 1

        def end(self) -> Trace:
            assert opened() == [False]
            return super().end()

    monkeypatch.setattr("harness.agent.files.Container", lambda: made)
    monkeypatch.setattr("harness.bindings.vfio.arm_irqs", lambda *_: None)
    monkeypatch.setattr("harness.pci.sysfs.is_there", lambda _: True)
    monkeypatch.setattr("harness.pci.sysfs.read_config", lambda _: b"open" if any(opened()) else b"shut")
    monkeypatch.setattr("harness.pci.functions.facts", lambda _: FACTS)
    ring = Step(op=Op.READ, means=BAR_READ, file=File(function="igb0", role="vfio-bar0"), width=4)
    take = Step(op=Op.COUNT, means=TAKE, file=File(function="igb0", role="vfio-msi"), width=8)
    plan = Plan(
        title="armed",
        functions=("igb0",),
        actors=(Actor(name="user", steps=(ring, take), times=1),),
        lasting_ns=Ns(50 * MS),
        deadline_ns=Ns(20 * SECOND),
    )
    addresses = Anywhere(igb0=Bdf.parse("0000:ff:1f.7"))
    with log_of_our_own() as listen:
        seen = carry_out(plan, addresses, nursery, cast(KernelTrace, Witness()), print, listen=listen)
    (one,) = seen.functions
    assert [actor.end for actor in seen.actors] == ["done"]
    assert (one.config_before, one.config_open, one.config_after) == (b"open", b"open", b"shut")
