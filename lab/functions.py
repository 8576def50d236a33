"""What can be tested here, and what each function can do: said without a guest.

What stands here of QEMU's functions and of ours is what Debian's kernel of the default branch says of them; a test
holds it against a guest.  Of a model of one's own only the model knows.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from harness.lab.qemu.machine import EmulatedFunction, Machine, Placement


@dataclass(frozen=True, slots=True, kw_only=True)
class Ability:
    """What a function can do.

    Attributes:
        kind: what it is, in a few words.
        driver: of Linux, for it; empty where there is none.
        resets: methods that the kernel offers, in the kernel's order.
        interrupts: by which it can interrupt.
    """

    kind: str
    driver: str = ""
    resets: tuple[str, ...] = ()
    interrupts: tuple[str, ...] = ("intx", "msi")


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A function as `harness functions` lists it.

    Attributes:
        alias: its name in tests.
        ability: what it can do; None for a model of one's own.
        served: by what: `QEMU's igb`, `our model ipr`, `FILE.py:CALLABLE`.
        plugged: whether it is hot-plugged when a test first needs it; else it is there from the start.
        beside: functions of the same device.
    """

    alias: str
    ability: Ability | None
    served: str
    plugged: bool
    beside: tuple[str, ...]


_ALL: Final = ("flr", "pm", "bus")
_NVME: Final = Ability(kind="NVMe disk", driver="nvme", resets=("flr", "bus"), interrupts=("intx", "msix"))
_ENDPOINT: Final = Ability(kind="programmable endpoint", resets=_ALL)
_ADAPTER: Final = Ability(kind="SCSI adapter with a disk", driver="ipr", resets=_ALL)
_EVERY: Final = ("intx", "msi", "msix")

ABILITIES: Final = MappingProxyType(
    {
        "nvme0": _NVME,
        "igb0": Ability(kind="network adapter", driver="igb", resets=_ALL, interrupts=_EVERY),
        "e1000e0": Ability(kind="network adapter", driver="e1000e", resets=("pm", "bus"), interrupts=_EVERY),
        "rng0": Ability(
            kind="virtio random numbers", driver="virtio-pci", resets=_ALL, interrupts=("intx", "msix")
        ),
        "pair0": _NVME,
        "pair1": dataclasses.replace(_NVME, resets=("flr",)),
        "rngroot": Ability(
            kind="virtio random numbers, no port above", driver="virtio-pci", interrupts=("intx", "msix")
        ),
        "edu0": Ability(kind="QEMU's teaching device", resets=("bus",)),
        "endpoint0": _ENDPOINT,
        "msix0": dataclasses.replace(_ENDPOINT, interrupts=_EVERY),
        "duo0": _ENDPOINT,
        "duo1": _ENDPOINT,
        "chain0": dataclasses.replace(_ENDPOINT, kind="endpoint with a chain of capabilities"),
        "journal0": dataclasses.replace(_ENDPOINT, kind="device with persistent state"),
        "ipr0": _ADAPTER,
        "ipr64": _ADAPTER,
        "iprwarm": dataclasses.replace(_ADAPTER, kind="SCSI adapter that resets warm"),
        "nvmesriov": dataclasses.replace(_NVME, kind="NVMe disk with SR-IOV"),
    }
)
"""By alias."""


def listed(machine: Machine) -> tuple[Listed, ...]:
    """The functions of a machine, in the order of its aliases."""
    return tuple(
        Listed(
            alias=one.alias,
            ability=ABILITIES.get(one.alias),
            served=_server(one),
            plugged=one.placement is Placement.HOT_PLUG,
            beside=tuple(
                other.alias
                for other in machine.functions
                if not one.root_device and other.port_name == one.port_name and other is not one
            ),
        )
        for one in machine.functions
    )


def _server(one: EmulatedFunction) -> str:
    if not one.served:
        return f"QEMU's {one.model}"
    return one.served if ":" in one.served else f"our model {one.served}"


def table(functions: tuple[Listed, ...]) -> str:
    """The list for people, a line each."""
    rows: list[tuple[str, ...]] = [("alias", "what it is", "driver", "resets", "interrupts", "served by", "")]
    for one in functions:
        can = one.ability or Ability(kind="a model of your own", interrupts=())
        notes = ["hot-plugged"] * one.plugged + [f"beside {' '.join(one.beside)}"] * bool(one.beside)
        words = (can.driver, " ".join(can.resets), " ".join(can.interrupts))
        absent = "-" if one.ability else "?"
        rows.append((one.alias, can.kind, *(word or absent for word in words), one.served, ", ".join(notes)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
    return "\n".join([*lines, "", "The port above one is a function, too: igb0.port."])
