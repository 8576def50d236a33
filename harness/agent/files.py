"""The files that the actors of a plan use: paths for those in sysfs, descriptors for those of VFIO.

A VFIO group opens only once, so the agent opens it and hands descriptors to the actors.  Of a device it then keeps
none: the function is open as long as an actor has it open, and an unbind waits for the actors alone.

Source: Linux drivers/vfio/group.c, `vfio_group_fops_open()`, `vfio_group_ioctl_get_device_fd()`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from harness.bindings import vfio
from harness.errors import UsageError
from harness.model.operation import RAW_RESETS, verb
from harness.model.pci import COMMAND, Bdf
from harness.model.plan import Actor, File, Op, Plan
from harness.pci import sysfs
from harness.vfio.container import Container
from harness.vfio.device import Device
from harness.vfio.step import Step, doing

DEVICE: Final = "vfio"
GROUP: Final = "vfio-group"
CONFIG: Final = "vfio-config"
_BAR: Final = "vfio-bar"
_REGIONS: Final = {CONFIG: vfio.CONFIG_REGION, **{f"{_BAR}{bar}": bar for bar in range(6)}}
_INTERRUPTS: Final = {
    "vfio-intx": vfio.Irq.INTX,
    "vfio-msi": vfio.Irq.MSI,
    "vfio-msix": vfio.Irq.MSIX,
}
_BY_MESSAGE: Final = ("vfio-msi", "vfio-msix")
_TAKES_AWAY: Final = ("driver", "topology", "sriov")
"""Verbs of operations that wait for the user of a function, or end his having it."""
_BUS_MASTER: Final = 0x0004  # of COMMAND (PCIe r6.0 §7.5.1.1.3)
_WINDOWS: Final = "windows"
_OF_THE_BUS: Final = ("drivers_probe", "rescan")
_FIRST_NUMBER: Final = 100  # of the descriptors that come with an order: above all that an actor opens itself


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """Where a file lies in its descriptor: offset and size in bytes, size 0 for all of it."""

    offset: int = 0
    size: int = 0


def descriptor_of(file: File) -> File:
    """The file whose descriptor an access to `file` uses: regions share that of their device."""
    return File(function=file.function, role=DEVICE) if file.role in _REGIONS else file


def is_granted(file: File) -> bool:
    """Whether the agent opens the file and gives actors a descriptor."""
    return file.role in (DEVICE, GROUP, *_INTERRUPTS)


def needed(actor: Actor) -> tuple[File, ...]:
    """The files that an actor keeps open, each once, in the order of its steps."""
    found: dict[File, None] = {}
    for step in actor.steps:
        if step.file is None or step.op is Op.OPEN:
            continue
        if step.op is Op.OPEN_DEVICE:
            found[File(function=step.file.function, role=GROUP)] = None
        found[descriptor_of(step.file)] = None
    return tuple(found)


def opens_itself(actor: Actor, function: str) -> bool:
    """Whether an actor opens the VFIO device of a function with a step of its own."""
    return any(
        step.op is Op.OPEN_DEVICE and step.file is not None and step.file.function == function
        for step in actor.steps
    )


def _stays_armed(plan: Plan, alias: str) -> bool:
    """Whether a user has interrupts by message of a function armed, and keeps them until the actors are done."""
    every = [(step, step.file) for actor in plan.actors for step in actor.steps if step.file]
    steps = [(step, file) for step, file in every if file.function == alias]
    unowned = any(step.op is Op.HOT_RESET and alias not in step.owners for step, _ in every)
    changes = any(
        step.op in (Op.OPEN_DEVICE, Op.CLOSE) or verb(step.means) in _TAKES_AWAY or step.means in RAW_RESETS
        for step, _ in steps
    )
    asked = any(file.role in _BY_MESSAGE for _, file in steps)
    return asked and not (changes or unowned or plan.wrongs(alias))


class Files:
    """All files of one plan, on this machine.  A context manager: whatever is still open is closed at its end."""

    def __init__(self, plan: Plan, addresses: Mapping[str, Bdf]) -> None:
        """Open groups and devices that the plan uses.

        Raises:
            KernelRefusal, TargetError: a function cannot be opened through VFIO; which one, and why.
        """
        self._plan, self._addresses = plan, addresses
        self._closing = ExitStack()
        self._devices: dict[str, Device] = {}
        self._extents: dict[File, Extent] = {}
        self._open: dict[File, int] = {}
        try:
            self._open_all()
        except BaseException:
            self._closing.close()
            raise
        self._numbers = {file: _FIRST_NUMBER + place for place, file in enumerate(self._open)}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._closing.close()

    def _open_all(self) -> None:
        used = {
            (step.file.function, step.file.role)
            for actor in self._plan.actors
            for step in actor.steps
            if step.file
        }
        used |= {
            (owner, GROUP) for actor in self._plan.actors for step in actor.steps for owner in step.owners
        }
        ours = (DEVICE, GROUP, *_REGIONS, *_INTERRUPTS)
        aliases = sorted({alias for alias, role in used if role in ours})
        if not aliases:
            return
        container = self._closing.enter_context(Container())
        for alias in aliases:
            group = container.attach(self._addresses[alias])
            self._open[File(function=alias, role=GROUP)] = group.fd
            regions = [role for role in _REGIONS if (alias, role) in used]
            mine = File(function=alias, role=DEVICE)
            given = [a for a in self._plan.actors if mine in needed(a) and not opens_itself(a, alias)]
            # Opened in any case: the first user of a function turns its decode on, and closing leaves that so.
            device = group.open(self._addresses[alias])
            for role in regions:
                region = device.region(_REGIONS[role])
                self._extents[File(function=alias, role=role)] = Extent(
                    offset=region.offset, size=region.size
                )
            for role in _INTERRUPTS:
                if (alias, role) in used:
                    self._open[File(function=alias, role=role)] = self._armed(device, _INTERRUPTS[role])
            if given:
                self._devices[alias] = device
                self._open[mine] = device.fd
            else:
                device.close()

    def _armed(self, device: Device, kind: vfio.Irq) -> int:
        """Let the first interrupt of a kind signal an eventfd of ours, until the last actor closes the device."""
        eventfd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._closing.callback(os.close, eventfd)
        # An interrupt by message is a write to memory: who may not be master of the bus sends none.
        device.config.write(COMMAND, 2, device.read_config(COMMAND, 2) | _BUS_MASTER)
        with doing(Step.ARM_IRQS, device.bdf):
            vfio.arm_irqs(device.fd, kind, [eventfd])
        return eventfd

    def path(self, file: File) -> Path:
        """Where a file is that actors open by its path."""
        if file.role == _WINDOWS:
            return Path("/dev/hil_windows")
        if file.role in _OF_THE_BUS:
            return sysfs.DEVICES.parent / file.role
        return sysfs.path_of(self._addresses[file.function], file.role)

    def extent(self, file: File) -> Extent:
        """Where a region lies in its device's descriptor; the whole file for everything else."""
        return self._extents.get(file, Extent())

    def number(self, file: File) -> int:
        """The number by which every actor knows a descriptor that it is given.

        Raises:
            UsageError: the plan gives it to nobody.
        """
        if file not in self._numbers:
            raise UsageError(
                f"file {file.role} of {file.function}", said="no actor is given a descriptor of it"
            )
        return self._numbers[file]

    def address(self, alias: str) -> Bdf:
        """Where a function is."""
        return self._addresses[alias]

    def granted(self, actor: Actor) -> dict[int, int]:
        """The descriptors that an actor is given: number there to descriptor here."""
        wanted = set(needed(actor))
        wanted |= {File(function=owner, role=GROUP) for step in actor.steps for owner in step.owners}
        return {
            self._numbers[file]: fd
            for file, fd in self._open.items()
            if file in wanted and not (file.role == DEVICE and opens_itself(actor, file.function))
        }

    def hand_over(self) -> None:
        """Close our descriptors of devices: from now on they are the actors' alone.

        But for those with armed interrupts whose actors neither open nor close them, and that nobody takes away: these
        stay open until :meth:`let_go`, so that what is armed can be looked at when the actors are done.
        """
        for alias in [alias for alias in self._devices if not _stays_armed(self._plan, alias)]:
            self._devices.pop(alias).close()

    @property
    def kept(self) -> tuple[str, ...]:
        """The functions of which we have a descriptor ourselves."""
        return tuple(self._devices)

    def let_go(self) -> None:
        """Close what is left of them: where all actors have ended, this is the last close."""
        while self._devices:
            self._devices.popitem()[1].close()
