"""The emulated machine as data, and the QEMU command line that makes it.

Pure: values in, argv out; nothing is started, no file is looked at. One q35 machine with native PCIe
hot-plug, a virtual IOMMU with interrupt remapping, and one root port for every place a function can be. A
template and its clones are the same `Machine` with a different `Memory`; any other difference would break
the restore.

Refuses: two functions in one place, more ports than the root bus has room for, run files that QEMU's
comma syntax cannot name.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from difflib import get_close_matches
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from harness.errors import UsageError
from harness.model.pci import Bdf
from harness.model.request import FindFunction

if TYPE_CHECKING:
    from collections.abc import Mapping

RPC_PORT: Final = "hil.rpc"
PORT_SUFFIX: Final = ".port"
"""What follows a function's alias in the alias of the port above it."""

_ROOT_FUNCTION_DEVICE: Final = 0x04
_FIRST_PORT_DEVICE: Final = 0x05
_LAST_PORT_DEVICE: Final = 0x1B  # 0x1c pvpanic, 0x1e virtio-serial, 0x1f the chipset itself

# With `tsc=reliable` nothing in the guest notices when the TSC was calibrated wrongly, which happens on a
# busy host; the watchdog would notice, but under software emulation it also fires for no reason and then
# every clock read traps.  So the TSC is trusted in the guest and checked from outside: the template's
# builder compares both clocks and boots again when they differ (harness/target/clock.py).
CLOCK_PARAMETERS: Final = ("tsc=reliable", "no_timer_check")

KERNEL_PARAMETERS: Final = (
    "console=ttyS0",
    "quiet",
    "loglevel=4",  # what a reset says at a lower level would be written, slowly, inside the lock window
    "panic=-1",  # reboot at once, which `-action reboot=shutdown` turns into the end of QEMU
    "nokaslr",  # the same addresses in every trace
    "mitigations=off",
    "intel_iommu=on",
    # Self-tests of the kernel's crypto take 3 of 11 seconds of an emulated boot.
    "cryptomgr.notests",
    "initcall_blacklist=jent_mod_init,crypto_kdf108_init",
    *CLOCK_PARAMETERS,
)


class Placement(Enum):
    """When a function comes into being."""

    TEMPLATE = "template"
    """On the command line, frozen and cloned with the rest: only for models that save their whole state."""
    HOT_PLUG = "hot-plug"
    """Added to a running guest, on request."""


class Accelerator(Enum):
    """Who executes the guest's instructions."""

    TCG = "tcg"
    KVM = "kvm"


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """One QEMU device: what `-device` and `device_add` both take.

    Attributes:
        alias: QEMU's id of it.
        model: QEMU's name of the model.
        properties: further properties; strings, integers, booleans.
    """

    alias: str
    model: str
    properties: Mapping[str, str | int | bool] = field(default_factory=dict)

    def arguments(self, **place: str | int | bool) -> dict[str, Any]:
        """Return the arguments of `device_add`, which are also `-device` in JSON."""
        return {"driver": self.model, "id": self.alias, **self.properties, **place}


@dataclass(frozen=True, slots=True, kw_only=True)
class EmulatedFunction:
    """A PCI function that QEMU emulates.

    Attributes:
        alias: its name in tests and reports, and QEMU's id.
        model: QEMU's name of the model.
        port: the root port it sits behind; functions that share a port share a device (and a bus reset).
        function_number: 0 to 7.
        root_device: its device number on the root bus, 0 when it sits behind a root port.
        placement: in the template, or plugged on request.
        properties: properties of the model.
        drives: names of null block devices it needs: readable and writable, without contents.
        before: devices that must be on the command line for it (an NVMe subsystem cannot be hot-plugged).
        after: devices to add once it is there (an NVMe namespace).
        served: the model in Python that serves it, as :func:`harness.lab.models.catalogue.maker` takes it; empty:
            QEMU's own.
    """

    alias: str
    model: str
    port: str = ""
    function_number: int = 0
    root_device: int = 0
    placement: Placement = Placement.TEMPLATE
    properties: Mapping[str, str | int | bool] = field(default_factory=dict)
    drives: tuple[str, ...] = ()
    before: tuple[Device, ...] = ()
    after: tuple[Device, ...] = ()
    served: str = ""

    @property
    def port_name(self) -> str:
        """The root port it sits behind: its own, unless one was named."""
        return self.port or self.alias

    @property
    def number_below(self) -> int:
        """Its function number behind its port, or its device number on the root bus."""
        return self.root_device or self.function_number

    def arguments(self, *, siblings: bool) -> dict[str, Any]:
        """Return the arguments of `device_add` for it.

        Args:
            siblings: whether other functions share its port.
        """
        device = Device(alias=self.alias, model=self.model, properties=self.properties)
        if self.root_device:
            return device.arguments(bus="pcie.0", addr=f"{self.root_device:#x}")
        place: dict[str, str | int | bool] = {
            "bus": port_id(self.port_name),
            "addr": f"0.{self.function_number}",
        }
        if siblings and self.function_number == 0:
            place["multifunction"] = True
        return device.arguments(**place)


def served_function(alias: str, model: str, *, port: str = "", function_number: int = 0) -> EmulatedFunction:
    """A function that a model in Python serves: always hot-plugged, for QEMU saves no state of it."""
    return EmulatedFunction(
        alias=alias,
        model="vfio-user-pci",
        port=port,
        function_number=function_number,
        placement=Placement.HOT_PLUG,
        # Above all delays that are planned: after a late reply QEMU takes every further message for another.
        properties={"x-msg-timeout": 60_000},
        served=model,
    )


def port_id(port: str) -> str:
    """QEMU's id of a root port."""
    return f"port.{port}"


DEFAULT_FUNCTIONS: Final = (
    # No option ROMs: nothing boots from these functions, and a ROM differs between QEMU packages.
    EmulatedFunction(
        alias="nvme0",
        model="nvme",
        properties={"serial": "hil-0", "drive": "nvme0-disk"},
        drives=("nvme0-disk",),
    ),
    EmulatedFunction(alias="igb0", model="igb", properties={"romfile": "", "mac": "52:54:00:00:00:01"}),
    EmulatedFunction(alias="e1000e0", model="e1000e", properties={"romfile": "", "mac": "52:54:00:00:00:02"}),
    EmulatedFunction(
        alias="rng0", model="virtio-rng-pci", properties={"disable-legacy": "on", "romfile": "", "rombar": 0}
    ),
    EmulatedFunction(
        alias="pair0",
        model="nvme",
        port="pair",
        properties={"serial": "hil-1", "drive": "pair0-disk"},
        drives=("pair0-disk",),
    ),
    EmulatedFunction(
        alias="pair1",
        model="nvme",
        port="pair",
        function_number=1,
        properties={"serial": "hil-2", "drive": "pair1-disk"},
        drives=("pair1-disk",),
    ),
    # No port above: nothing can reset its bus.
    EmulatedFunction(
        alias="rngroot",
        model="virtio-rng-pci",
        root_device=_ROOT_FUNCTION_DEVICE,
        properties={"disable-legacy": "on", "romfile": "", "rombar": 0},
    ),
    # QEMU saves no state of edu: in a clone its command register and BAR would read zero.
    EmulatedFunction(alias="edu0", model="edu", placement=Placement.HOT_PLUG),
    served_function("endpoint0", "endpoint"),
    served_function("msix0", "endpoint-msix"),
    served_function("duo0", "endpoint-of-two", port="duo"),
    served_function("duo1", "endpoint-of-two", port="duo", function_number=1),
    served_function("chain0", "chain"),
    served_function("journal0", "journal"),
    served_function("ipr0", "ipr"),
    served_function("ipr64", "ipr-sis64"),
    served_function("iprwarm", "ipr-warm"),
    # An SR-IOV NVMe blocks migration, and its subsystem cannot be hot-plugged.
    EmulatedFunction(
        alias="nvmesriov",
        model="nvme",
        placement=Placement.HOT_PLUG,
        properties={
            "serial": "hil-3",
            "subsys": "nvmesriov-subsys",
            "sriov_max_vfs": 2,
            "max_ioqpairs": 6,
            "msix_qsize": 7,
            "sriov_vq_flexible": 4,
            "sriov_vi_flexible": 4,
        },
        drives=("nvmesriov-disk",),
        before=(Device(alias="nvmesriov-subsys", model="nvme-subsys"),),
        after=(
            Device(
                alias="nvmesriov-ns",
                model="nvme-ns",
                properties={"bus": "nvmesriov", "drive": "nvmesriov-disk", "nsid": 1},
            ),
        ),
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """The machine that a guest runs on.

    Attributes:
        functions: what can be tested on it.
        empty_ports: further root ports, with nothing behind them until a model of one's own is plugged there.
        memory_mib: guest memory; the template takes as much of the disk at most.
        vcpus: at least 2: races need two.
        accelerator: who executes the guest's instructions.
        parameters: the kernel's command line.
    """

    functions: tuple[EmulatedFunction, ...] = DEFAULT_FUNCTIONS
    empty_ports: tuple[str, ...] = ("empty", "empty2")
    memory_mib: int = 512
    vcpus: int = 2
    accelerator: Accelerator = Accelerator.TCG
    parameters: tuple[str, ...] = KERNEL_PARAMETERS

    def __post_init__(self) -> None:
        places = [(one.port_name, one.number_below) for one in self.functions]
        if len(set(places)) < len(places) or len({one.alias for one in self.functions}) < len(places):
            raise UsageError(f"describe a machine with functions at {places}", said="two in one place")
        if len(self.ports) > _LAST_PORT_DEVICE - _FIRST_PORT_DEVICE + 1:
            raise UsageError(
                f"describe a machine with {len(self.ports)} root ports", said="no room on the root bus"
            )

    @property
    def ports(self) -> tuple[str, ...]:
        """Names of all root ports, in the order of their addresses."""
        names = [*(one.port_name for one in self.functions if not one.root_device), *self.empty_ports]
        return tuple(dict.fromkeys(names))

    @property
    def aliases(self) -> tuple[str, ...]:
        """Names of all functions."""
        return tuple(one.alias for one in self.functions)

    def function(self, alias: str) -> EmulatedFunction:
        """Find a function by its alias.

        Raises:
            UsageError: there is none of that name.
        """
        for one in self.functions:
            if one.alias == alias:
                return one
        raise UsageError(
            f"find the emulated function {alias!r}", said="unknown", hint=f"Known: {', '.join(self.aliases)}."
        )

    def refuse_unknown(self, alias: str) -> None:
        """See that something can be tested under this name: a function, or the port above one, as in `igb0.port`.

        Raises:
            UsageError: the machine has no function of that name.
        """
        name = alias.removesuffix(PORT_SUFFIX)
        if name in self.aliases:
            return
        there = f"There are: {', '.join(self.aliases)}"
        if ":" in name:  # 0000:01:00.0
            hint = (
                "Name a function by its alias, not by its address.  Aliases are the same on every machine, and "
                f"`harness functions` says what each can do.  {there}."
            )
        elif close := get_close_matches(name.strip().lower(), self.aliases, n=1):
            hint = f"Did you mean {close[0]}?  {there}."
        else:
            hint = f"{there}; one of your own is named by --model {name}=FILE.py:CALLABLE."
        raise UsageError(f"function {alias!r}", said="not in this lab", hint=hint)

    def port_bdf(self, alias: str) -> str:
        """Return the guest's address of the root port above a function, or of a port named directly.

        The function itself is the child of that port with its `number_below`; bus numbers are the guest's
        business.  Empty for a function on the root bus.
        """
        if alias in self.aliases and self.function(alias).root_device:
            return ""
        port = alias if alias in self.empty_ports else self.function(alias).port_name
        return f"0000:00:{_FIRST_PORT_DEVICE + self.ports.index(port):02x}.0"

    def finding(self, alias: str, *, number: int = -1) -> FindFunction:
        """How the guest's agent is asked for a function, or for one behind a port named directly by its number."""
        port = self.port_bdf(alias)
        below = self.function(alias).number_below if number < 0 else number
        return FindFunction(port=Bdf.parse(port) if port else None, number=below)

    def plugged_with(self, alias: str) -> tuple[EmulatedFunction, ...]:
        """Return what is plugged when a function is: all that are plugged behind its port, function 0 last.

        Function 0 tells the guest that something was plugged, and the guest looks at them all.
        """
        port = self.function(alias).port_name
        beside = [
            one for one in self.functions if one.port_name == port and one.placement is Placement.HOT_PLUG
        ]
        return tuple(sorted(beside, key=lambda one: -one.function_number))

    def plug_arguments(self, alias: str) -> list[dict[str, Any]]:
        """Return the arguments of the `device_add` commands that plug a function, in order."""
        one = self.function(alias)
        return [self._function_arguments(one), *(device.arguments() for device in one.after)]

    def _function_arguments(self, one: EmulatedFunction) -> dict[str, Any]:
        sharing = [other for other in self.functions if other.port_name == one.port_name]
        return one.arguments(siblings=len(sharing) > 1)

    def in_template(self) -> tuple[EmulatedFunction, ...]:
        """Return the functions that live in a template."""
        return tuple(one for one in self.functions if one.placement is Placement.TEMPLATE)

    def devices(self) -> list[dict[str, Any]]:
        """Return every device of the command line, in the order in which QEMU must make them."""
        made: list[dict[str, Any]] = [
            # Without remapping VFIO answers EPERM: an assigned function could forge interrupts.
            {"driver": "intel-iommu", "intremap": "on", "caching-mode": True, "device-iotlb": True},
            {"driver": "virtio-serial-pci", "id": "serial", "bus": "pcie.0", "addr": "0x1e"},
            {
                "driver": "virtserialport",
                "id": "agent",
                "bus": "serial.0",
                "chardev": "rpc",
                "name": RPC_PORT,
                "nr": 1,
            },
            {"driver": "pvpanic-pci", "id": "pvpanic", "bus": "pcie.0", "addr": "0x1c"},
        ]
        for index, port in enumerate(self.ports):
            number = index + 1  # chassis and slot must be unique, or ports share an identity
            place = {"bus": "pcie.0", "addr": f"{_FIRST_PORT_DEVICE + index:#x}"}
            made.append(
                {"driver": "pcie-root-port", "id": port_id(port), "chassis": number, "slot": number, **place}
            )
        for one in self.functions:
            made += [device.arguments() for device in one.before]
        # Function 0 announces a multifunction device: QEMU wants it last, or the others are hidden.
        for one in sorted(self.in_template(), key=lambda one: -one.function_number):
            made.append(self._function_arguments(one))
            made += [device.arguments() for device in one.after]
        return made
