"""Kernel uevents of PCI functions during a stage, straight from the kernel's netlink source (no udevd)."""

from __future__ import annotations

from typing import Any

import pyudev

from harness.bindings.actor import now
from harness.model.observation import Uevent
from harness.pci.functions import context


class _Observer(pyudev.MonitorObserver):  # type: ignore[misc] # pyudev carries no types
    """One whose thread keeps what it raised for whoever asks."""

    raised: Exception | None = None

    def run(self) -> None:
        """Listen until it is stopped."""
        try:
            super().run()
        except Exception as error:  # noqa: BLE001 - whoever collects raises it
            self.raised = error

    def stop(self) -> None:
        """End its thread; one that raised has left its end of the pipe open."""
        super().stop()
        if self.raised is not None:
            self._stop_event.source.close()


class Uevents:
    """Listen from construction on; :meth:`collect` ends it."""

    def __init__(self, monitor: Any = None) -> None:
        """Begin.

        Args:
            monitor: of pyudev; None: one for the kernel's events of PCI functions.
        """
        self._seen: list[Uevent] = []
        if monitor is None:
            monitor = pyudev.Monitor.from_netlink(context(), source="kernel")
            monitor.filter_by("pci")
        self._observer = _Observer(monitor, callback=self._note, name="uevents")
        self._observer.start()

    def collect(self) -> tuple[Uevent, ...]:
        """Stop listening; what was heard, oldest first, with the time of reception."""
        self._observer.stop()
        self.check()
        return tuple(self._seen)

    def leave(self) -> None:
        """Stop listening, if nobody has collected what was heard."""
        if self._observer.is_alive():
            self._observer.stop()

    def check(self) -> None:
        """Raise what the thread that listens has raised: it hears nothing any more."""
        if self._observer.raised is not None:
            raise self._observer.raised

    def _note(self, device: Any) -> None:
        self._seen.append(Uevent(time_ns=now(), action=device.action or "", path=device.device_path))
