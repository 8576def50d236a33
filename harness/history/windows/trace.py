"""The kernel's trace, hit by hit: names of probe points, order, and how far it can be trusted."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Final

import numpy as np

from harness.history.columns import Edge
from harness.history.history import History, Probe
from harness.model.units import Ns

TRACE_RESOLUTION: Final = Ns(1_000)
"""The kernel prints trace times in whole microseconds, rounded: an edge is known to this length."""

LOCK: Final = "pci_cfg_access_lock"
TRYLOCK: Final = "pci_cfg_access_trylock"
UNLOCK: Final = "pci_cfg_access_unlock"
WAIT: Final = "pci_wait_cfg"
UNREGISTER: Final = "vfio_unregister_group_dev"
"""Runs with the function's device_lock held, and sleeps while the function is open
(Linux drivers/vfio/vfio_main.c)."""
HOLD_DEVICE_LOCK: Final = "hil_hold_device_lock"
"""Our kernel module sleeps in it with the function's device_lock held (lab/kmod/hil_windows.c)."""

SAVE: Final = "pci_dev_save_and_disable"
"""Called before a reset that the PCI core performs: tells the driver, when it has the callback."""

Point = tuple[str, Edge]
"""A place in the kernel: symbol and edge."""

Hit = tuple[int, Point, int, int, Ns, int]
"""One hit of a probe: row of `History.kernel`, point, tid, function, time, value."""


def hits(history: History, symbols: Collection[str]) -> Iterator[Hit]:
    """The hits of the probes on some kernel functions, in order of time."""
    points = {
        number: (probe.symbol, probe.edge)
        for number, probe in enumerate(history.probes)
        if probe.symbol in symbols
    }
    kernel = history.kernel
    rows = np.flatnonzero(np.isin(kernel["probe"], list(points)))
    found = kernel[rows]
    named = [points[number] for number in found["probe"].tolist()]
    columns = (found[name].tolist() for name in ("tid", "function", "time_ns", "value"))
    return zip(rows.tolist(), named, *columns, strict=True)


def untraced(probes: Iterable[Probe]) -> str:
    """Why there is no trace at all: all of its probes are absent for one and the same reason; else empty."""
    reasons = {"" if probe.present else probe.reason for probe in probes}
    return reasons.pop() if len(reasons) == 1 else ""


def missing(history: History, points: Iterable[Point]) -> tuple[str, ...]:
    """Reasons why the trace may not show every hit of `points`; empty when it does."""
    if reason := untraced(history.probes):
        return (f"the kernel could not be traced ({reason})",)
    reasons = []
    if history.lost_kernel_events:
        reasons.append(f"{history.lost_kernel_events} trace events were lost")
    known = {(probe.symbol, probe.edge): probe for probe in history.probes}
    for symbol, edge in points:
        probe = known.get((symbol, edge))
        if probe is None or not probe.present:
            why = f" ({probe.reason})" if probe and probe.reason else ""
            reasons.append(f"no probe on {edge} of {symbol}{why}")
        elif probe.missed:
            reasons.append(f"{probe.missed} hits on {edge} of {symbol} were missed")
    return tuple(reasons)


def signed(value: int) -> int:
    """Return value of a kernel function of type int, whatever width the probe printed it in."""
    low = value & 0xFFFF_FFFF
    return low - 0x1_0000_0000 if low & 0x8000_0000 else low
