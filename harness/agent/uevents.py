"""Kernel uevents of PCI functions during a stage, straight from the kernel's netlink source (no udevd).

Source: Linux lib/kobject_uevent.c: a message is `ACTION@PATH` and then `KEY=VALUE`s, each ended by a zero byte;
netlink(7), NETLINK_KOBJECT_UEVENT.
"""

from __future__ import annotations

import os
import select
import socket
import threading
from typing import Final

from harness.agent import threads
from harness.bindings.actor import now
from harness.model.observation import Uevent
from harness.model.units import Ns

_KOBJECT_UEVENT: Final = 15  # linux/netlink.h
_OF_THE_KERNEL: Final = 1  # the group that it sends to; udevd sends to the second
_KERNEL: Final = 0  # the port that it sends from
_MOST_BYTES: Final = 8192  # UEVENT_BUFFER_SIZE is 2048 (linux/kobject.h), and the first line comes on top
_PCI: Final = b"SUBSYSTEM=pci"


class Uevents:
    """Listen from construction on; :meth:`collect` ends it."""

    def __init__(self, source: socket.socket | None = None) -> None:
        """Begin.

        Args:
            source: of the messages, this object's from now on; None: the kernel's.
        """
        self._seen: list[Uevent] = []
        self._raised: Exception | None = None
        self._source = _the_kernels() if source is None else source
        self._bell = os.eventfd(0, os.EFD_CLOEXEC)
        self._ended = threading.Event()
        threads.begin(self._listen)

    def collect(self) -> tuple[Uevent, ...]:
        """Stop listening; what was heard, oldest first, with the time of reception."""
        self.leave()
        self.check()
        return tuple(self._seen)

    def leave(self) -> None:
        """Stop listening; does nothing the second time."""
        if self._bell >= 0:
            os.eventfd_write(self._bell, 1)
            self._ended.wait()
            self._source.close()
            os.close(self._bell)
            self._bell = -1

    def check(self) -> None:
        """Raise what the thread that listens has raised: it hears nothing any more."""
        if self._raised is not None:
            raise self._raised

    def _listen(self) -> None:
        try:
            ready = select.poll()
            ready.register(self._source, select.POLLIN)
            ready.register(self._bell, select.POLLIN)
            # What has come is taken before the bell is heard: it came before somebody rang.
            while {descriptor for descriptor, _ in ready.poll()} != {self._bell}:
                self._take()
        except Exception as error:  # noqa: BLE001 - whoever collects raises it
            self._raised = error
        finally:
            self._ended.set()

    def _take(self) -> None:
        message, (sender, _) = self._source.recvfrom(_MOST_BYTES)
        if (event := uevent(message, now())) and sender == _KERNEL:
            self._seen.append(event)


def uevent(message: bytes, at: Ns) -> Uevent | None:
    """What a message says that was received at a time; None when it is of no PCI function."""
    headline, *values = message.split(b"\0")
    action, _, path = headline.decode(errors="backslashreplace").partition("@")
    return Uevent(time_ns=at, action=action, path=path) if _PCI in values else None


def _the_kernels() -> socket.socket:
    source = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, _KOBJECT_UEVENT)
    source.bind((0, _OF_THE_KERNEL))
    return source
