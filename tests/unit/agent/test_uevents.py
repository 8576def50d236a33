"""Uevents: what a message says, and that listening leaves nothing behind."""

from __future__ import annotations

import socket
import threading

import pytest

from harness.agent import threads
from harness.agent.uevents import Uevents, uevent
from harness.model.observation import Uevent
from harness.model.units import Ns
from tests.unit.agent.run import until

GONE = b"remove@/devices/pci0000:00/0000:00:06.0/0000:02:00.0"
"""As the kernel begins it (lib/kobject_uevent.c)."""
VALUES = (b"ACTION=remove", b"DEVPATH=/devices/pci0000:00/0000:00:06.0/0000:02:00.0", b"SEQNUM=1")


@pytest.mark.parametrize("place", range(4))
def test_an_event_of_a_function_is_one_wherever_the_kernel_names_its_subsystem(place: int) -> None:
    values = [*VALUES[:place], b"SUBSYSTEM=pci", *VALUES[place:]]
    said = Uevent(time_ns=Ns(7), action="remove", path="/devices/pci0000:00/0000:00:06.0/0000:02:00.0")
    assert uevent(b"\0".join([GONE, *values, b""]), Ns(7)) == said


@pytest.mark.parametrize(
    "other", [b"SUBSYSTEM=pci_bus", b"SUBSYSTEM=vfio", b"XSUBSYSTEM=pci", b"PCI_ID=8086:10C9"]
)
def test_an_event_of_anything_else_is_none(other: bytes) -> None:
    assert uevent(b"\0".join([GONE, *VALUES, other, b""]), Ns(7)) is None


@pytest.mark.parametrize("message", [b"", b"\0", b"libudev\0\xfe\xed\xca\xfe", b"SUBSYSTEM=pci", bytes(8192)])
def test_what_is_no_event_is_none(message: bytes) -> None:
    assert uevent(message, Ns(7)) is None


def test_a_path_may_be_any_bytes() -> None:
    event = uevent(b"add@/devices/\xff\0SUBSYSTEM=pci\0", Ns(7))
    assert event is not None
    assert event.path == "/devices/\\xff"


def test_what_listens_is_stopped_when_nobody_collects() -> None:
    source, sender = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with sender:
        uevents = Uevents(source)
        uevents.leave()
        assert source.fileno() == -1
        uevents.leave()
        assert uevents.collect() == ()


def test_whoever_listens_again_starts_no_thread() -> None:
    threads.prepare(1)
    before = threading.enumerate()
    for _ in range(3):
        source, sender = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        with sender:
            Uevents(source).leave()
        threads.prepare(1)
    assert threading.enumerate() == before


def test_work_that_nobody_waits_for_is_done_by_a_new_thread() -> None:
    holding, done = threading.Event(), threading.Event()
    threads.prepare(2)
    for _ in range(3):
        threads.begin(holding.wait)
    threads.begin(done.set)
    until(done.is_set)
    holding.set()
