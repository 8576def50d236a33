"""Kernel truth: probes in a tracefs instance of our own, on the target's CLOCK_MONOTONIC.

A probe that the kernel does not have is listed as absent with what the kernel said; nothing fails here, the
judge decides what cannot be said without it.  Only the functions of the plan pass the kernel's own filter.

Source: Linux Documentation/trace/kprobetrace.rst; probe points of drivers/pci/access.c and pci.c.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from harness.errors import KernelRefusal
from harness.model.pci import Bdf

TRACEFS: Final = Path("/sys/kernel/tracing")
_BUFFER_KB: Final = 4096  # for each CPU: some 40,000 events
_INSTANCES: Final = 64  # of each return probe: as many threads can sleep inside the function at once


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbePoint:
    """A place in the kernel.

    Attributes:
        symbol: the function.
        returns: at its return; else at its entry.
        value: what to fetch, in the kernel's probe syntax; empty for nothing.
        device: expression for the `struct pci_dev` argument at an entry; empty at returns.
    """

    symbol: str
    returns: bool = False
    value: str = ""
    device: str = "dev"


def _method(symbol: str, *, probing: bool = True) -> tuple[ProbePoint, ProbePoint]:
    """Entry and return of a reset function; `probing` when it has the argument that only asks."""
    return (
        ProbePoint(symbol=symbol, value="probe" if probing else ""),
        ProbePoint(symbol=symbol, returns=True, value="$retval"),
    )


POINTS: Final[tuple[ProbePoint, ...]] = (
    ProbePoint(symbol="pci_cfg_access_lock"),
    ProbePoint(symbol="pci_cfg_access_lock", returns=True),
    ProbePoint(symbol="pci_cfg_access_trylock"),
    ProbePoint(symbol="pci_cfg_access_trylock", returns=True, value="$retval"),
    ProbePoint(symbol="pci_cfg_access_unlock"),
    ProbePoint(symbol="pci_wait_cfg"),
    *_method("pcie_flr", probing=False),
    *_method("pci_af_flr"),
    *_method("pci_pm_reset"),
    *_method("pci_reset_bus_function"),
    *_method("cxl_reset_bus_function"),
    *_method("pci_dev_specific_reset"),
    *_method("pci_dev_acpi_reset"),
)
"""What every stage asks for: the lock, those who wait for it, and the functions that reset."""


class KernelTrace:
    """Probes and buffer of one stage; a context manager that leaves nothing behind."""

    def __init__(self, functions: Sequence[Bdf]) -> None:
        self._name = f"hil_{uuid.uuid4().hex[:12]}"
        self._filter = " || ".join(f'fn == "{bdf}"' for bdf in functions)
        self._instance = TRACEFS / "instances" / self._name
        self._reasons: list[str] = []  # of each point: why it is absent; empty when it is there

    def __enter__(self) -> KernelTrace:
        if not TRACEFS.joinpath("dynamic_events").exists():
            self._reasons = ["tracefs is not there or has no kprobe events"] * len(POINTS)
            return self
        self._instance.mkdir()
        try:
            self._set("trace_clock", "mono")
            self._set("buffer_size_kb", str(_BUFFER_KB))
            self._reasons = [self._define(number, point) for number, point in enumerate(POINTS)]
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if not self._instance.exists():
            return
        self._switch("0")
        self._instance.rmdir()
        events = TRACEFS / "dynamic_events"
        for number, reason in enumerate(self._reasons):
            if not reason:
                _append(events, f"-:{self._name}/p{number}")

    def start(self) -> None:
        """Record from now on."""
        self._switch("1")

    def stop(self) -> dict[str, Any]:
        """Record no more, and say what was recorded.

        Returns:
            `text`: the trace as the kernel prints it; `lost`: events that the buffer dropped; `probes`: for each
            point `symbol`, `edge`, `present`, `missed`, `reason`, in the order of the `pN` in the text.
        """
        self._switch("0")
        present = self._instance.exists()
        return {
            "text": self._instance.joinpath("trace").read_text() if present else "",
            "lost": self._lost() if present else 0,
            "probes": self._probes(),
        }

    def _probes(self) -> list[dict[str, Any]]:
        missed = self._missed()
        return [
            {
                "symbol": point.symbol,
                "edge": "return" if point.returns else "entry",
                "present": not reason,
                "missed": missed.get(f"p{number}", 0),
                "reason": reason,
            }
            for number, (point, reason) in enumerate(zip(POINTS, self._reasons, strict=True))
        ]

    def _define(self, number: int, point: ProbePoint) -> str:
        """Define and filter one probe; returns why it could not be, or an empty text."""
        value = f" v={point.value}:s64" if point.value and point.value != "$retval" else ""
        if point.returns:
            value = f" v={point.value}:s32" if point.value else ""
            definition = f"r{_INSTANCES}:{self._name}/p{number} {point.symbol}{value}"
        else:
            definition = (
                f"p:{self._name}/p{number} {point.symbol} fn={point.device}->dev.kobj.name:string{value}"
            )
        try:
            _append(TRACEFS / "dynamic_events", definition)
        except OSError as error:
            return f"{definition}: {os.strerror(error.errno or 0)}"
        if not point.returns:
            self._set(f"events/{self._name}/p{number}/filter", self._filter)
        return ""

    def _switch(self, on: str) -> None:
        if any(not reason for reason in self._reasons):
            self._set(f"events/{self._name}/enable", on)

    def _set(self, name: str, value: str) -> None:
        path = self._instance / name
        try:
            path.write_text(value)
        except OSError as error:
            raise KernelRefusal(f"writing {value!r} to {path}", errno=error.errno or 0) from error

    def _lost(self) -> int:
        """Events that any CPU's ring buffer overwrote or dropped."""
        lost = 0
        for stats in self._instance.glob("per_cpu/cpu*/stats"):
            for line in stats.read_text().splitlines():
                name, _, count = line.partition(":")
                if name in ("overrun", "commit overrun", "dropped events"):
                    lost += int(count)
        return lost

    def _missed(self) -> dict[str, int]:
        """Hits of our probes that the kernel missed, by event name."""
        profile = TRACEFS / "kprobe_profile"
        if not profile.exists():
            return {}
        missed = {}
        for line in profile.read_text().splitlines():
            fields = line.split()
            if len(fields) == 3 and fields[0].removeprefix(f"{self._name}/") in self._own:
                missed[fields[0].removeprefix(f"{self._name}/")] = int(fields[2])
        return missed

    @property
    def _own(self) -> set[str]:
        return {f"p{number}" for number in range(len(POINTS))}


def _append(path: Path, line: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_APPEND)
    try:
        os.write(fd, line.encode() + b"\n")
    finally:
        os.close(fd)
