"""Which files the actors of a plan need, where they are, and who holds descriptors of them."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from harness.agent import files as module
from harness.agent.files import Extent, Files, descriptor_of, is_granted, needed
from harness.errors import HarnessError, KernelRefusal, UsageError
from harness.model import operation as interrupt
from harness.model.fault import Fault, Misbehaviour, PlannedFault
from harness.model.operation import (
    ATTRIBUTE_READ,
    BIND,
    CHECK,
    FLR_BIT,
    HEARTBEAT,
    HOT_RESET,
    MAPPED_READ,
    UNBIND,
    UNPRIVILEGED_OPEN,
    VFIO_CLOSE,
    VFIO_INFO,
    VFIO_OPEN,
    VFIO_READ,
    VFIO_RESET,
    config_read,
)
from harness.model.pci import AccessPath, Bdf
from harness.model.plan import Actor, File, Op, Plan, Step
from harness.model.units import Ns
from tests.unit.agent import vfio
from tests.unit.agent.vfio import is_open

WHERE = {"igb0": Bdf.parse("0000:ff:1e.0"), "igb1": Bdf.parse("0000:ff:1f.0")}
DEVICE = File(function="igb0", role="vfio")
GROUP = File(function="igb0", role="vfio-group")
CONFIG = File(function="igb0", role="vfio-config")
BAR = File(function="igb0", role="vfio-bar0")

READ = Step(op=Op.READ, means=VFIO_READ, file=CONFIG, width=4)
LOAD = Step(op=Op.LOAD, means=MAPPED_READ, file=BAR, width=4)
INFO = Step(op=Op.INFO, means=VFIO_INFO, file=DEVICE)
RESET = Step(op=Op.RESET_DEVICE, means=VFIO_RESET, file=DEVICE)
HOT = Step(op=Op.HOT_RESET, means=HOT_RESET, file=DEVICE, owners=("igb0", "igb1"))
OPEN = Step(op=Op.OPEN_DEVICE, means=VFIO_OPEN, file=DEVICE)
CLOSE = Step(op=Op.CLOSE, means=VFIO_CLOSE, file=DEVICE)
ELSEWHERE = Step(op=Op.READ, means=VFIO_READ, file=File(function="igb1", role="vfio-config"), width=4)
SYSFS = Step(
    op=Op.READ, means=config_read(AccessPath.SYSFS), file=File(function="igb0", role="config"), width=4
)


def actor(name: str, *steps: Step) -> Actor:
    return Actor(name=name, steps=steps)


def plan(*actors: Actor) -> Plan:
    return Plan(title="t", functions=("igb0", "igb1"), actors=actors, lasting_ns=Ns(1), deadline_ns=Ns(1))


@pytest.fixture
def container(monkeypatch: pytest.MonkeyPatch) -> vfio.Container:
    """What a plan opens, as soon as it does."""
    made = vfio.Container()
    monkeypatch.setattr(module, "Container", lambda: made)
    return made


def only_group(container: vfio.Container) -> vfio.Group:
    (group,) = container.groups.values()
    return group


@pytest.mark.parametrize(
    ("steps", "wanted"),
    [
        ((READ, SYSFS, INFO, READ), (DEVICE, SYSFS.file)),
        ((LOAD,), (DEVICE,)),
        ((OPEN, READ, CLOSE), (GROUP, DEVICE)),
        ((HOT,), (DEVICE,)),
        ((Step(op=Op.PAUSE, means=HEARTBEAT, time_ns=Ns(1)),), ()),
        ((Step(op=Op.OPEN, means=UNPRIVILEGED_OPEN, file=SYSFS.file),), ()),
    ],
)
def test_every_file_is_kept_open_once_in_the_order_of_the_steps(
    steps: tuple[Step, ...], wanted: tuple[File, ...]
) -> None:
    assert needed(actor("a", *steps)) == wanted


@pytest.mark.parametrize("role", ["vfio-config", *(f"vfio-bar{bar}" for bar in range(6))])
def test_regions_share_the_descriptor_of_their_device(role: str) -> None:
    assert descriptor_of(File(function="igb0", role=role)) == DEVICE


@pytest.mark.parametrize("role", ["vfio", "vfio-group", "config", "proc", "resource0", "windows"])
def test_other_files_have_a_descriptor_of_their_own(role: str) -> None:
    assert descriptor_of(File(function="igb0", role=role)) == File(function="igb0", role=role)


def test_devices_and_groups_are_granted_and_nothing_else() -> None:
    assert is_granted(DEVICE)
    assert is_granted(GROUP)
    assert not any(is_granted(File(function="igb0", role=role)) for role in ("config", "windows", "rescan"))


@pytest.mark.parametrize(
    ("role", "path"),
    [
        ("config", "/sys/bus/pci/devices/0000:ff:1e.0/config"),
        ("driver/unbind", "/sys/bus/pci/devices/0000:ff:1e.0/driver/unbind"),
        ("driver_override", "/sys/bus/pci/devices/0000:ff:1e.0/driver_override"),
        ("proc", "/proc/bus/pci/ff/1e.0"),
        ("drivers_probe", "/sys/bus/pci/drivers_probe"),
        ("rescan", "/sys/bus/pci/rescan"),
        ("windows", "/dev/hil_windows"),
    ],
)
def test_a_role_is_a_path(role: str, path: str) -> None:
    with Files(plan(actor("a", SYSFS)), WHERE) as files:
        assert files.path(File(function="igb0", role=role)) == Path(path)


def test_a_plan_without_vfio_opens_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "Container", None)  # whoever calls it fails
    steps = (
        SYSFS,
        Step(op=Op.WRITE, means=UNBIND, file=File(function="igb0", role="driver/unbind"), value=b"{bdf}"),
        Step(op=Op.WRITE, means=BIND, file=File(function="igb0", role="drivers_probe"), value=b"{bdf}"),
        Step(op=Op.LOAD, means=CHECK, file=File(function="igb0", role="resource0"), width=4),
        Step(op=Op.READ, means=ATTRIBUTE_READ, file=File(function="igb0", role="vendor"), width=8),
    )
    with Files(plan(actor("a", *steps)), WHERE) as files:
        assert files.granted(actor("a", *steps)) == {}


def test_a_function_that_cannot_be_opened_is_an_error_of_ours() -> None:
    """Without VFIO the container is refused, with it the function is found to be missing."""
    with pytest.raises(HarnessError):
        Files(plan(actor("a", READ)), WHERE)


def test_every_actor_that_uses_a_device_is_given_it_under_the_same_number(container: vfio.Container) -> None:
    reader, resetter, other = actor("a", READ), actor("b", SYSFS, RESET), actor("c", SYSFS)
    with Files(plan(reader, resetter, other), WHERE) as files:
        (device,) = only_group(container).devices
        assert files.granted(reader) == files.granted(resetter) == {files.number(DEVICE): device.fd}
        assert files.granted(other) == {}
        assert files.number(DEVICE) >= 100


def test_a_region_has_its_place_on_the_descriptor(container: vfio.Container) -> None:
    with Files(plan(actor("a", READ), actor("b", LOAD)), WHERE) as files:
        assert files.extent(CONFIG) == Extent(offset=7 << 40, size=256)
        assert files.extent(BAR) == Extent(offset=0, size=4096)
        assert files.extent(DEVICE) == files.extent(File(function="igb0", role="config")) == Extent()
    assert len(only_group(container).devices) == 1


def test_our_descriptors_of_devices_are_closed_when_they_are_handed_over(container: vfio.Container) -> None:
    with Files(plan(actor("a", READ)), WHERE) as files:
        group = only_group(container)
        (fd,) = (device.fd for device in group.devices)
        assert is_open(fd)
        files.hand_over()
        assert not is_open(fd)
        assert is_open(group.fd)
    assert not is_open(group.fd)


def test_what_was_not_handed_over_is_closed_at_the_end(container: vfio.Container) -> None:
    with Files(plan(actor("a", READ)), WHERE) as files:
        held = [*files.granted(actor("a", READ)).values(), only_group(container).fd]
        assert all(map(is_open, held))
    assert not any(map(is_open, held))


def test_who_opens_a_device_itself_is_given_its_group_alone(container: vfio.Container) -> None:
    opener, holder = actor("a", OPEN, READ, CLOSE), actor("b", READ)
    with Files(plan(opener, holder), WHERE) as files:
        group = only_group(container)
        assert files.granted(opener) == {files.number(GROUP): group.fd}
        assert files.granted(holder) == {files.number(DEVICE): group.devices[0].fd}


def test_a_device_that_nobody_is_given_was_opened_once_and_is_closed_again(
    container: vfio.Container,
) -> None:
    """The first user turns decode on and says where regions are; who opens it in the stage is not the first."""
    with Files(plan(actor("a", OPEN, READ, CLOSE)), WHERE) as files:
        assert [device.fd for device in only_group(container).devices] == [-1]
        assert files.extent(CONFIG).offset == 7 << 40
        with pytest.raises(UsageError, match=r"file vfio of igb0.*no actor is given"):
            files.number(DEVICE)


def test_who_resets_a_bus_is_given_the_groups_it_shows(container: vfio.Container) -> None:
    resetter = actor("a", HOT)
    with Files(plan(resetter), WHERE) as files:
        granted = files.granted(resetter)
        groups = [files.number(File(function=alias, role="vfio-group")) for alias in WHERE]
        assert [granted[number] for number in groups] == [group.fd for group in container.groups.values()]
        assert set(granted) == {*groups, files.number(DEVICE)}
        assert len(set(granted.values())) == 3


def test_functions_that_share_a_group_share_its_descriptor(container: vfio.Container) -> None:
    near = {"igb0": WHERE["igb0"], "igb1": Bdf.parse("0000:ff:1e.1")}
    reader = actor("a", READ, ELSEWHERE)
    with Files(plan(reader, actor("b", HOT)), near) as files:
        assert len(only_group(container).devices) == 2
        assert len(set(files.granted(reader).values())) == 2


def test_what_was_opened_is_closed_when_something_else_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(bdf: Bdf) -> None:
        if bdf == WHERE["igb1"]:
            raise KernelRefusal(f"opening {bdf}", errno=16)

    made = vfio.Container(refuse)
    monkeypatch.setattr(module, "Container", lambda: made)
    with pytest.raises(KernelRefusal, match="EBUSY"):
        Files(plan(actor("a", READ, ELSEWHERE)), WHERE)
    group = only_group(made)
    assert not is_open(group.fd)
    assert [device.fd for device in group.devices] == [-1]


RING = Step(op=Op.WRITE, means=interrupt.RING, file=BAR, offset=0x10, value=b"\x01\0\0\0")
MSI = File(function="igb0", role="vfio-msi")
TAKE = Step(op=Op.COUNT, means=interrupt.TAKE, file=MSI, width=8)


def test_an_interrupt_signals_an_eventfd_that_the_actor_is_given(
    container: vfio.Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    armed: list[tuple[int, int, list[int]]] = []
    monkeypatch.setattr("harness.bindings.vfio.arm_irqs", lambda *how: armed.append(how))
    user = actor("a", RING, TAKE)
    with Files(plan(user), WHERE) as files:
        (device,) = next(iter(container.groups.values())).devices
        assert device.read_config(4, 2) & 4, "no message is sent by who may not be master of the bus"
        ((fd, kind, (eventfd,)),) = armed
        assert (fd, kind) == (device.fd, 1)
        granted = files.granted(user)
        assert granted[files.number(MSI)] == eventfd
        assert granted[files.number(DEVICE)] == device.fd
        os.eventfd_write(eventfd, 3)
        files.hand_over()
        assert os.eventfd_read(eventfd) == 3
        with pytest.raises(BlockingIOError):
            os.eventfd_read(eventfd)
    assert not is_open(eventfd)


@pytest.mark.parametrize(
    ("more", "kept"),
    [
        ((READ, RESET), True),
        ((CLOSE,), False),
        ((HOT,), True),
        ((replace(HOT, file=File(function="igb1", role="vfio"), owners=("igb1",)),), False),
        (
            (Step(op=Op.WRITE, means=UNBIND, file=File(function="igb0", role="driver/unbind"), value=b"1"),),
            False,
        ),
        ((Step(op=Op.WRITE, means=FLR_BIT, file=File(function="igb0", role="config"), value=b"1"),), False),
    ],
)
def test_what_is_armed_stays_open_until_it_was_looked_at_unless_that_keeps_anybody_waiting(
    container: vfio.Container, monkeypatch: pytest.MonkeyPatch, more: tuple[Step, ...], *, kept: bool
) -> None:
    monkeypatch.setattr("harness.bindings.vfio.arm_irqs", lambda *_: None)
    with Files(plan(actor("a", RING, TAKE), actor("b", *more), actor("c", ELSEWHERE)), WHERE) as files:
        near, far = (group.devices[0] for group in container.groups.values())
        files.hand_over()
        assert files.kept == (("igb0",) if kept else ())
        assert (near.fd >= 0, far.fd) == (kept, -1)
        files.let_go()
        assert (near.fd, files.kept) == (-1, ())
    unarmed = plan(actor("a", READ))
    with Files(unarmed, WHERE) as files:
        files.hand_over()
        assert files.kept == ()
    wrong = replace(
        plan(actor("a", RING, TAKE)),
        faults=(PlannedFault(function="igb0", fault=Fault(what=Misbehaviour.NEVER_READY)),),
    )
    with Files(wrong, WHERE) as files:
        files.hand_over()
        assert files.kept == ()


def test_who_takes_no_interrupts_arms_none(
    container: vfio.Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.bindings.vfio.arm_irqs", pytest.fail)
    with Files(plan(actor("a", READ)), WHERE):
        assert container.groups
