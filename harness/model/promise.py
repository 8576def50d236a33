"""What Linux, or an emulated platform, promises for one operation in one window."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from harness.model.kernel import KernelRange
from harness.model.operation import Operation
from harness.model.outcome import Outcome
from harness.model.units import Ns


class WindowKind(enum.StrEnum):
    """What was held while the operation ran."""

    NONE = "none"
    """Nothing: the function was free."""
    CONFIG_LOCK = "config-lock"
    """The config access lock of the function (`pci_cfg_access_lock`), seen in the kernel's own trace; who holds it
    and why is not known or makes no difference."""
    DEVICE_LOCK = "device-lock"
    """The function's device_lock alone; config access is free."""
    UNBIND = "unbind"
    """The same, held by an unbind that waits until the function's user closes it; the group opens nothing new."""
    PORT_LOCK = "port-lock"
    """Another holds the locks of the port above; those of the function itself are free."""
    SYSFS_RESET = "sysfs-reset"
    """A write to sysfs `reset` holds both locks."""
    VFIO_RESET = "vfio-reset"
    """`VFIO_DEVICE_RESET` or a write of the FLR bit through VFIO holds both locks and `memory_lock`."""
    HOT_RESET = "hot-reset"
    """`VFIO_DEVICE_PCI_HOT_RESET` holds all of these, of every function behind the port, and of the port."""
    VFIO_OPEN = "vfio-open"
    """The first open or the last close of the function through VFIO resets it."""
    SRIOV = "sriov"
    """A write to `sriov_numvfs` holds both locks; the function itself is alive."""
    DRIVER_RESET = "driver-reset"
    """The function's own driver has taken the config lock, by trylock and in no thread of its own, to reset it."""

    @property
    def wider(self) -> WindowKind | None:
        """What an entry must speak of to apply to this window too, when none speaks of it by name."""
        match self:
            case WindowKind.NONE | WindowKind.CONFIG_LOCK | WindowKind.DEVICE_LOCK:
                return None
            case WindowKind.UNBIND:
                return WindowKind.DEVICE_LOCK
            case WindowKind.PORT_LOCK:
                return WindowKind.NONE
            case _:
                return WindowKind.CONFIG_LOCK


class DeviceState(enum.StrEnum):
    """What a reset does to state inside the function that nobody restores."""

    CLEARED = "cleared"
    KEPT = "kept"


class ConfigSpace(enum.StrEnum):
    """What config space looks like after a reset."""

    RESTORED = "restored"
    LOST = "lost"
    COMMAND_LOST = "command-lost"
    """COMMAND alone: base addresses and MSI of a function that is served over vfio-user are QEMU's own copy, which does
    not know what the function forgets by itself."""


class Lockdown(enum.StrEnum):
    """What the kernel refuses to root himself (Linux security/lockdown/lockdown.c; Secure Boot turns it on)."""

    NONE = "none"
    INTEGRITY = "integrity"
    """Whatever could change the running kernel: config space from user space, mappings of BARs through sysfs."""
    CONFIDENTIALITY = "confidentiality"
    """And whatever could read it, kernel probes for one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """One entry of the contract.

    Attributes:
        id: stable name, `operation × window` and what sets it apart, e.g. `config-read/sysfs@config-lock`.
        operation: whose outcome is promised.
        window: in which window.
        kernels: which kernels promise it.
        platforms: function models (`igb`, `e1000e`, `nvme`, `virtio-rng`, …) or `*` for all.
        outcome: what the operation must show.
        at_least: shortest time allowed, or None.  For a blocked operation counted from the opening of the
            window it met, for a reset from entry to return of the traced reset function, else from call to return.
        at_most: longest time allowed, or None.  For a blocked operation counted from the *close* of the window.
        state: for resets: what happens to the oracle register, or None when nothing is promised.
        config: for resets: what happens to config space, or None when nothing is promised.
        faults: what must go wrong with the function for the entry to apply: any of these words of `Misbehaviour` and
            `IncidentKind`; empty for a function that behaves.
        lockdown: states of the kernel's lockdown in which the entry applies, and then wins; empty for any.
        source: where the promise is written: kernel function, specification section, or measurement.
        weakness: a sentence when this entry describes a known weakness rather than a virtue: seeing it is an
            expected failure, not seeing it any more is a failure; None otherwise.
    """

    id: str
    operation: Operation
    window: WindowKind
    kernels: KernelRange
    platforms: tuple[str, ...]
    outcome: Outcome
    source: str
    at_least: Ns | None = None
    at_most: Ns | None = None
    state: DeviceState | None = None
    config: ConfigSpace | None = None
    weakness: str | None = None
    faults: tuple[str, ...] = ()
    lockdown: tuple[Lockdown, ...] = ()
