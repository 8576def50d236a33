"""Kernel uevents of PCI functions during a stage, straight from the kernel's netlink source (no udevd)."""

from __future__ import annotations

from typing import Any

import pyudev

from harness.bindings.actor import now
from harness.pci.functions import context


class Uevents:
    """Listen from construction on; :meth:`collect` ends it."""

    def __init__(self) -> None:
        self._seen: list[dict[str, Any]] = []
        monitor = pyudev.Monitor.from_netlink(context(), source="kernel")
        monitor.filter_by("pci")
        self._observer = pyudev.MonitorObserver(monitor, callback=self._note, name="uevents")
        self._observer.start()

    def collect(self) -> list[dict[str, Any]]:
        """Stop listening; what was heard, oldest first: `time_ns` of reception, `action`, `path`."""
        self._observer.stop()
        return self._seen

    def _note(self, device: Any) -> None:
        self._seen.append({"time_ns": now(), "action": device.action or "", "path": device.device_path})
