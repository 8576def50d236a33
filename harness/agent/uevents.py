"""Kernel uevents of PCI functions during a stage, straight from the kernel's netlink source (no udevd)."""

from __future__ import annotations

import os
import select
import threading
from functools import cache
from typing import Any

import pyudev

from harness.agent import threads
from harness.bindings.actor import now
from harness.model.observation import Uevent


class Uevents:
    """Listen from construction on; :meth:`collect` ends it.

    pyudev's own observer starts a thread for each: see :mod:`harness.agent.threads`.
    """

    def __init__(self, monitor: Any = None) -> None:
        """Begin.

        Args:
            monitor: of pyudev; None: one for the kernel's events of PCI functions.
        """
        self._seen: list[Uevent] = []
        self._raised: Exception | None = None
        self._monitor = _the_kernels() if monitor is None else monitor
        self._monitor.start()
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
            self._monitor = None  # whose socket goes with it
            os.close(self._bell)
            self._bell = -1

    def check(self) -> None:
        """Raise what the thread that listens has raised: it hears nothing any more."""
        if self._raised is not None:
            raise self._raised

    def _listen(self) -> None:
        try:
            ready = select.poll()
            ready.register(self._monitor.fileno(), select.POLLIN)
            ready.register(self._bell, select.POLLIN)
            # What has come is taken before the bell is heard: it came before somebody rang.
            while {descriptor for descriptor, _ in ready.poll()} != {self._bell}:
                device = self._monitor.poll(timeout=0)
                if device is not None:
                    self._seen.append(
                        Uevent(time_ns=now(), action=device.action or "", path=device.device_path)
                    )
        except Exception as error:  # noqa: BLE001 - whoever collects raises it
            self._raised = error
        finally:
            self._ended.set()


@cache
def _context() -> pyudev.Context:
    """Pyudev's way to libudev, which making one looks for with a child process: so there is only one."""
    return pyudev.Context()


def _the_kernels() -> pyudev.Monitor:
    monitor = pyudev.Monitor.from_netlink(_context(), source="kernel")
    monitor.filter_by("pci")
    return monitor
