"""Kernel truth: probes in a tracefs instance of our own, on the target's CLOCK_MONOTONIC.

A probe that the kernel does not have is listed as absent with what the kernel said; nothing fails here, the
judge decides what cannot be said without it.  Only the functions of the plan pass the kernel's own filter.

Source: Linux Documentation/trace/kprobetrace.rst; probe points of drivers/pci/access.c and pci.c.
"""

from __future__ import annotations

import errno
import os
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from harness.agent import callbacks
from harness.agent.btf import Btf
from harness.agent.modules import loaded
from harness.errors import KernelRefusal
from harness.model.observation import Callbacks, Edge, Probe, Trace
from harness.model.pci import Bdf
from harness.model.probe import NO_SUCH_FUNCTION
from harness.pci import sysfs

TRACEFS: Final = Path("/sys/kernel/tracing")
_TYPES: Final = Path("/sys/kernel/btf")
_PIECE: Final = 1 << 16
_BUFFER_KB: Final = 4096  # for each CPU: some 40,000 events
_INSTANCES: Final = 64  # of each return probe: as many threads can sleep inside the function at once
_UNKNOWN: Final = "Invalid probed address or symbol"
"""What tracefs notes in its `error_log`, where the errno is EINVAL for every mistake (kernel/trace/trace_probe.h)."""


Steps = tuple[tuple[tuple[str, str], ...], ...]
"""From a pointer to a text: in each group members (structure, name) that lie in one another; a pointer leads from the
last one of a group to the next group, and from the last group to the text."""

_DEVICE: Final = (("device", "kobj"), ("kobject", "name"))
OF_PCI_DEV: Final[Steps] = ((("pci_dev", "dev"), *_DEVICE),)
OF_IPR_COMMAND: Final[Steps] = (
    (("ipr_cmnd", "ioa_cfg"),),
    (("ipr_ioa_cfg", "pdev"),),
    (("pci_dev", "dev"), *_DEVICE),
)
OF_IPR_ADAPTER: Final[Steps] = OF_IPR_COMMAND[1:]
OF_VFIO_DEVICE: Final[Steps] = ((("vfio_device", "dev"),), _DEVICE)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbePoint:
    """A place in the kernel.

    Attributes:
        symbol: the function.
        returns: at its return; else at its entry.
        value: what to fetch: `$retval` at a return, at an entry the name of the second argument, a bool; empty for
            nothing.
        device: name of the first argument, which leads to the function's address.
        steps: how it leads there.
        module: the module that the function belongs to; empty for the kernel itself.
    """

    symbol: str
    returns: bool = False
    value: str = ""
    device: str = "dev"
    steps: Steps = OF_PCI_DEV
    module: str = ""


def _method(symbol: str, *, probing: bool = True) -> tuple[ProbePoint, ProbePoint]:
    """Entry and return of a reset function; `probing` when it has the argument that only asks."""
    return (
        ProbePoint(symbol=symbol, value="probe" if probing else ""),
        ProbePoint(symbol=symbol, returns=True, value="$retval"),
    )


def _hold(symbol: str) -> tuple[ProbePoint, ProbePoint]:
    """Entry and return of the function in which our own module sleeps while it holds a lock (lab/kmod)."""
    return (
        ProbePoint(symbol=symbol, module="hil_windows"),
        ProbePoint(symbol=symbol, module="hil_windows", returns=True),
    )


def _job(symbol: str) -> ProbePoint:
    """A step of the job in which ipr resets its adapter."""
    return ProbePoint(symbol=symbol, device="ipr_cmd", steps=OF_IPR_COMMAND, module="ipr")


POINTS: Final[tuple[ProbePoint, ...]] = (
    ProbePoint(symbol="pci_cfg_access_lock"),
    ProbePoint(symbol="pci_cfg_access_lock", returns=True),
    ProbePoint(symbol="pci_cfg_access_trylock"),
    ProbePoint(symbol="pci_cfg_access_trylock", returns=True, value="$retval"),
    ProbePoint(symbol="pci_cfg_access_unlock"),
    ProbePoint(symbol="pci_cfg_access_unlock", returns=True),
    ProbePoint(symbol="pci_wait_cfg"),
    *_method("pcie_flr", probing=False),
    *_method("pci_af_flr"),
    *_method("pci_pm_reset"),
    *_method("pci_reset_bus_function"),
    *_method("cxl_reset_bus_function"),
    *_method("pci_dev_specific_reset"),
    *_method("pci_dev_acpi_reset"),
    # Waits until nobody has the function open any more; called when its driver is taken away, under device_lock.
    ProbePoint(symbol="vfio_unregister_group_dev", device="device", steps=OF_VFIO_DEVICE, module="vfio"),
    ProbePoint(symbol="vfio_unregister_group_dev", returns=True, module="vfio"),
    ProbePoint(symbol="pci_reset_bus", device="pdev"),
    ProbePoint(symbol="pci_reset_bus", returns=True, value="$retval"),
    # Saves config space before a reset and tells the driver, when it has the callback.
    ProbePoint(symbol="pci_dev_save_and_disable"),
    *_hold("hil_hold_config_lock"),
    *_hold("hil_hold_device_lock"),
    # What a driver hears of a reset that it did not ask for.
    ProbePoint(symbol="nvme_reset_prepare", device="pdev", module="nvme"),
    ProbePoint(symbol="nvme_reset_done", device="pdev", module="nvme"),
    # The same of a patched driver: a stock one has neither.
    ProbePoint(symbol="ipr_reset_prepare", device="pdev", module="ipr"),
    ProbePoint(symbol="ipr_reset_done", device="pdev", module="ipr"),
    # What a driver does to reset its adapter.
    ProbePoint(symbol="_ipr_initiate_ioa_reset", device="ioa_cfg", steps=OF_IPR_ADAPTER, module="ipr"),
    _job("ipr_reset_shutdown_ioa"),
    _job("ipr_reset_alert"),
    _job("ipr_reset_start_bist"),
    _job("ipr_reset_slot_reset"),
    _job("ipr_reset_bist_done"),
    _job("ipr_reset_restore_cfg_space"),
    _job("ipr_reset_enable_ioa"),
    _job("ipr_ioa_reset_done"),
)
"""What every stage asks for: the locks, those who wait for them, the functions that reset, and what drivers do."""


class KernelTrace:
    """Probes and buffer of one agent.

    Setting probes costs a second in an emulated guest, so they are set once (:meth:`arm`) and a stage only chooses
    its functions and turns recording on.  Probes in a frozen guest are there in every clone.
    """

    def __init__(self) -> None:
        self._name = f"hil_{os.getpid()}"
        self._instance = TRACEFS / "instances" / self._name
        self._reasons: list[str] = []  # of each point: why it is absent; empty when it is there
        self._unknown: set[int] = set()  # points whose symbol the kernel does not know
        self._modules: frozenset[str] = frozenset()  # that were loaded when it was asked last
        self._offsets: dict[Steps, list[int]] = {}
        self._tells = False  # whether the probe is there that tells of drivers' callbacks
        self._condition = ""  # that every probe which names a function filters by
        self._missed_before: dict[str, int] = {}
        self._held = self._lost = 0  # events in the buffer, and dropped ones, when recording ended last

    def arm(self) -> None:
        """Set all probes, recording nothing yet; does nothing the second time.

        Raises:
            KernelRefusal: tracefs refused something else than a probe.
        """
        if self._reasons:
            return
        if refused := refusal():
            self._reasons = [refused] * len(POINTS)
            return
        _sweep()
        self._instance.mkdir()
        self._set("tracing_on", "0")
        self._set("trace_clock", "mono")
        self._set("buffer_size_kb", str(_BUFFER_KB))
        self._modules = loaded()
        self._unknown = set()
        self._condition, self._held, self._lost = "", 0, 0
        self._reasons = [self._define(number, point) for number, point in enumerate(POINTS)]
        self._tells = self._define_callbacks()
        self._enable()

    def warm(self) -> None:
        """Arm, and work out what a module of ours will need, whose probes are set when a stage has loaded it.

        It may have no type information; then the kernel's own, some megabytes, tells how `struct pci_dev` is laid out.
        """
        self.arm()
        with suppress(LookupError, ValueError, OSError):  # such a kernel refuses those probes later
            self._offsets.setdefault(OF_PCI_DEV, _offsets(OF_PCI_DEV, ""))

    def disarm(self) -> None:
        """Leave nothing behind in the kernel."""
        if self._is_there():
            _remove(self._name)
        self._reasons = []

    def callbacks(self, functions: Sequence[Bdf]) -> dict[Bdf, Callbacks]:
        """By which of its functions the driver of each is told of resets; what has no driver is not in it.

        Empty where this kernel does not show it.  To be asked before :meth:`begin`.
        """
        self.arm()
        if not self._is_there() or not self._tells:
            return {}
        event = f"events/{self._name}/{callbacks.EVENT}/enable"
        self._set(event, "1")
        self._set("tracing_on", "1")
        for bdf in functions:
            _read_a_byte(bdf)
        self._set("tracing_on", "0")
        found = callbacks.read(self._taken())
        self._set(event, "0")
        return {bdf: found[str(bdf)] for bdf in functions if str(bdf) in found}

    def begin(self, functions: Sequence[Bdf]) -> None:
        """Empty the buffer and record, from now on, what happens to these functions and to no other.

        Probes whose symbol was unknown are tried again when their module was loaded meanwhile.
        """
        if not self._is_there():
            self._reasons = []  # somebody took tracefs or our instance away: what was set is gone
        self.arm()
        if not self._is_there():
            return
        self._try_again()
        self._filter(" || ".join(f'fn == "{bdf}"' for bdf in functions))
        if self._held:  # emptying takes a grace period of RCU, and touches every page of the buffer
            self._set("trace", "")
            self._held, self._lost = self._buffer()
        self._missed_before = self._missed()
        self._set("tracing_on", "1")

    def end(self) -> Trace:
        """Record no more, and say what was recorded."""
        if not self._is_there():  # since when, nobody can say: what was to be recorded was not
            self._reasons = [refusal() or f"{self._instance} is gone"] * len(POINTS)
            return Trace(text="", lost=0, probes=self._probes())
        self._set("tracing_on", "0")
        text, lost_before = self._text(), self._lost
        self._held, self._lost = self._buffer()  # nobody records until the next begin
        return Trace(text=text, lost=max(0, self._lost - lost_before), probes=self._probes())

    def _taken(self) -> str:
        """What was recorded, which is in the buffer no more: emptying that takes a grace period of RCU."""
        taken = []
        pipe = os.open(self._instance / "trace_pipe", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            while some := os.read(pipe, _PIECE):
                taken.append(some)
        except BlockingIOError:
            pass  # there is no more
        finally:
            os.close(pipe)
        return b"".join(taken).decode(errors="backslashreplace")

    def _text(self) -> str:
        text = self._instance.joinpath("trace")
        return text.read_text(errors="backslashreplace")  # any bytes name a thread

    def _is_there(self) -> bool:
        return not refusal() and sysfs.is_there(self._instance)

    def _probes(self) -> tuple[Probe, ...]:
        missed = Counter(self._missed())
        missed.subtract(self._missed_before)
        return tuple(
            Probe(
                symbol=point.symbol,
                edge=Edge.RETURN if point.returns else Edge.ENTRY,
                present=not reason,
                missed=max(0, missed[f"p{number}"]),  # a module that was loaded anew counts from 0
                reason=reason,
            )
            for number, (point, reason) in enumerate(zip(POINTS, self._reasons, strict=True))
        )

    def _try_again(self) -> None:
        before, self._modules = self._modules, loaded()
        new = self._modules - before
        again = [number for number in sorted(self._unknown) if POINTS[number].module in new]
        for number in again:
            self._reasons[number] = self._define(number, POINTS[number])
        if again:
            self._condition = ""
            self._enable()

    def _filter(self, condition: str) -> None:
        """Have every probe that names a function record those alone.

        One write for all of them: each ends with a grace period of RCU, 16 ms in an emulated guest.  Return probes have
        no field `fn`, so the kernel leaves them as they are (Documentation/trace/events.rst, subsystem filters).
        """
        if condition != self._condition and self._any_present:
            self._set(f"events/{self._name}/filter", condition or "0")  # 0: none
            self._condition = condition

    def _enable(self) -> None:
        if self._any_present:
            self._set(f"events/{self._name}/enable", "1")
            if self._tells:
                self._set(f"events/{self._name}/{callbacks.EVENT}/enable", "0")

    def _define_callbacks(self) -> bool:
        event = f"p:{self._name}/{callbacks.EVENT} {callbacks.SYMBOL}"
        refused, _ = _try(f"{event} {callbacks.by_name()}")
        if refused:  # before 6.6
            try:
                refused, _ = _try(f"{event} {callbacks.by_offset(_types(''))}")
            except (LookupError, ValueError, OSError):
                return False
        return not refused

    @property
    def _any_present(self) -> bool:
        return not all(self._reasons)

    def _define(self, number: int, point: ProbePoint) -> str:
        """Define one probe; returns why it could not be, or an empty text."""
        event = f"{self._name}/p{number} {point.symbol}"
        if point.returns:
            value = f" v={point.value}:s32" if point.value else ""
            refused, said = _try(f"r{_INSTANCES}:{event}{value}")
        else:
            refused, said = _try(f"p:{event} {_by_name(point)}")
        unknown = bool(refused) and self._is_unknown(point.symbol)
        if refused and not unknown and not point.returns:  # before 6.6, or a module without type information
            try:
                fetched = self._by_offset(point)
            except (LookupError, ValueError, OSError) as error:
                said = f"{said}; {error}"
            else:
                refused, said = _try(f"p:{event} {fetched}")
        if unknown:
            self._unknown.add(number)
        else:
            self._unknown.discard(number)
        if unknown and point.module:
            return f"{point.symbol}: " + (
                f"{NO_SUCH_FUNCTION} {point.module}"
                if point.module in self._modules
                else f"module {point.module} is not loaded"
            )
        return said

    def _is_unknown(self, symbol: str) -> bool:
        """Whether the kernel knows no function of that name; what it says of arguments does not tell."""
        event = f"{self._name}/unknown"
        refused, _ = _try(f"p:{event} {symbol}")
        if not refused:
            _append(TRACEFS / "dynamic_events", f"-:{event}")
        return refused == errno.ENOENT or (refused == errno.EINVAL and _UNKNOWN in _last_error(symbol))

    def _by_offset(self, point: ProbePoint) -> str:
        """What a point fetches, in the syntax that every kernel knows.

        Raises:
            LookupError, ValueError, OSError: this kernel does not say how its structures are laid out.
        """
        if point.steps not in self._offsets:
            self._offsets[point.steps] = _offsets(point.steps, point.module)
        place = "$arg1"
        for offset in self._offsets[point.steps]:
            place = f"+{offset}({place})"
        value = " v=$arg2:u8" if point.value else ""
        return f"fn=+0({place}):string{value}"

    def _set(self, name: str, value: str) -> None:
        path = self._instance / name
        try:
            path.write_text(value)
        except OSError as error:
            raise KernelRefusal(f"writing {value!r} to {path}", errno=error.errno or 0) from error

    def _buffer(self) -> tuple[int, int]:
        """Events that the buffers of all CPUs hold, and those that they overwrote or dropped."""
        held = lost = 0
        for cpu in (self._instance / "per_cpu").iterdir():
            for line in (cpu / "stats").read_text().splitlines():
                name, _, count = line.partition(":")
                if name == "entries":
                    held += int(count)
                elif name in ("overrun", "commit overrun", "dropped events"):
                    lost += int(count)
        return held, lost

    def _missed(self) -> dict[str, int]:
        """Hits of our probes that the kernel missed, by event name."""
        profile = TRACEFS / "kprobe_profile"
        if refusal() or not sysfs.is_there(profile):
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


def _by_name(point: ProbePoint) -> str:
    """What a point fetches, by the names of arguments and members."""
    place = point.device
    for group in point.steps:
        place += "->" + ".".join(member for _, member in group)
    value = f" v={point.value}:s64" if point.value else ""
    return f"fn={place}:string{value}"


def _read_a_byte(bdf: Bdf) -> None:
    try:
        fd = os.open(sysfs.path_of(bdf, "config"), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return  # it has left
    try:
        os.pread(fd, 1, 0)
    finally:
        os.close(fd)


def _types(module: str) -> Btf:
    types = Btf((_TYPES / "vmlinux").read_bytes())
    own = _TYPES / module
    return Btf(own.read_bytes(), types) if module and sysfs.is_there(own) else types


def _offsets(steps: Steps, module: str) -> list[int]:
    types = _types(module)
    return [sum(types.offset(structure, member) for structure, member in group) for group in steps]


def _last_error(symbol: str) -> str:
    """What tracefs noted when it refused a probe; empty when that was another one."""
    log = TRACEFS / "error_log"
    said = log.read_text().rpartition("error: ")[2] if sysfs.is_there(log) else ""
    return said if symbol in said else ""


def refusal() -> str:
    """Why this user cannot set or read the kernel's probes; empty when he can.

    It is opened, and nothing is written: a kernel that is locked down refuses what the permissions of the file allow
    (Linux kernel/trace/trace.c, tracing_check_open_get_tr(): LOCKDOWN_TRACEFS), and may be locked down at any time.
    """
    path = TRACEFS / "dynamic_events"
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_APPEND))
    except OSError as error:
        return f"{path}: {error.strerror}"
    return ""


def _try(definition: str) -> tuple[int, str]:
    """Define a probe; returns errno and words of a refusal, or 0 and an empty text."""
    try:
        _append(TRACEFS / "dynamic_events", definition)
    except OSError as error:
        return error.errno or errno.EIO, f"{definition}: {os.strerror(error.errno or errno.EIO)}"
    return 0, ""


def _sweep() -> None:
    """Remove what agents left behind that were killed."""
    for instance in TRACEFS.joinpath("instances").glob("hil_*"):
        if not sysfs.is_there(Path("/proc", instance.name.removeprefix("hil_"))):
            _remove(instance.name)


def _remove(name: str) -> None:
    instance = TRACEFS / "instances" / name
    if sysfs.is_there(instance / "events" / name):
        (instance / "events" / name / "enable").write_text("0")
    instance.rmdir()
    for line in TRACEFS.joinpath("dynamic_events").read_text().splitlines():
        event = line.split(maxsplit=1)[0].partition(":")[2]
        if event.startswith(f"{name}/"):
            _append(TRACEFS / "dynamic_events", f"-:{event}")


def _append(path: Path, line: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_APPEND)
    try:
        os.write(fd, line.encode() + b"\n")
    finally:
        os.close(fd)
