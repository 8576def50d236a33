"""What a target tells: of itself, of its functions, of a stage.  Pure; the agent builds it and the host reads it.

The parts that a history keeps are the history's own records.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Final

from harness.errors import HarnessError
from harness.model.limits import LOG_LINES, MESSAGE, PAGES, PROBES, UEVENTS
from harness.model.pci import Bdf
from harness.model.plain import SINCE, U16, U64, Between, OneOf, Span, Thread
from harness.model.units import Ns
from harness.model.wire import Message

KERNEL_FACILITY: Final = 0
"""The syslog facility of what the kernel says; a program that writes to /dev/kmsg gets any other."""
MOST_FACILITY: Final = 127
"""The kernel keeps seven bits of what a program says (`LOG_FACILITY()`)."""

BARS_AT: Final = 0x10
"""Where base address registers begin in config space: six of them, two for a bridge (PCIe r6.0 §7.5.1.2.1)."""
_HEADER_TYPE: Final = 0x0E

_End = Annotated[str, OneOf(("done", "abandoned", "died", "refused", "lost"))]
_Cpus = Annotated[int, Between(1, 1 << 20)]


# --- the target, and its functions ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Greeting(Message):
    """The first words of an agent.

    Attributes:
        hello: who it is: `hil-agent`.
        protocol: which version of the wire it speaks.
        pid: of its process.
        monotonic_ns: CLOCK_MONOTONIC of its machine.
    """

    hello: Annotated[str, OneOf(("hil-agent",))] = "hil-agent"
    protocol: int
    pid: Thread
    monotonic_ns: Ns


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine(Message):
    """Kernel, boot and Python of a target: what a report must name.

    Attributes:
        release, version, machine, host: as uname(2) has them.
        command_line: the kernel's.
        boot_id: different after each boot.
        python: its version.
        cpus: processors.
        root: whether the agent is root.
        tracefs: whether kernel probes can be set.
        modules: that are loaded, in order of their names.
        vfio: whether /dev/vfio/vfio is there.
        clocksource: the kernel's.
        lockdown: what /sys/kernel/security/lockdown says is in force: `none`, `integrity` or `confidentiality`; else
            `unreadable:` and why.
    """

    release: str
    version: str
    machine: str
    host: str
    command_line: str
    boot_id: str
    python: str
    cpus: _Cpus
    root: bool
    tracefs: bool
    modules: tuple[str, ...]
    vfio: bool
    clocksource: str
    lockdown: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Clocks(Message):
    """CLOCK_MONOTONIC and CLOCK_REALTIME of a target, nanoseconds."""

    monotonic_ns: Ns
    realtime_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionFacts(Message):
    """What is known of a function.

    Attributes:
        bdf: its address.
        vendor, device: identity, 16 bits each.
        class_code: 24 bits.
        driver: that is bound, or empty.
        reset_methods: as `reset_method` reads.
        iommu_group: number as text, or empty.
        port: address of the port above it; None on a root bus.
    """

    bdf: Bdf
    vendor: U16
    device: U16
    class_code: Annotated[int, Between(0, 0xFF_FFFF)]
    driver: str
    reset_methods: tuple[str, ...]
    iommu_group: str
    port: Bdf | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedFunction(Message):
    """A function that was opened through VFIO: how many regions and interrupts it has, COMMAND and STATUS."""

    regions: int
    irqs: int
    command: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition(Message):
    """A function at one moment.

    Attributes:
        present: whether it is in sysfs, at the address where it was.
        vendor, device: as the kernel read them when it found the function.
        virtual: whether it is a virtual function, whose first dword reads all-ones.
        driver: bound driver, or empty.
        override: its `driver_override`, or empty.
        resources: the addresses that the kernel has given it, as sysfs prints them.
        header: the first 64 bytes of config space as they read now.
    """

    present: bool = False
    vendor: U16 = 0
    device: U16 = 0
    virtual: bool = False
    driver: str = ""
    override: str = ""
    resources: str = ""
    header: bytes = b""

    @property
    def bars(self) -> bytes:
        """Its base address registers."""
        bridge = bool(self.header) and self.header[_HEADER_TYPE] & 0x7F == 1
        return self.header[BARS_AT : BARS_AT + (8 if bridge else 24)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions(Message):
    """The kernel's taint, and functions by their addresses; None for one that did not answer in time."""

    taint: int
    functions: Mapping[Bdf, Condition | None]


# --- a stage ----------------------------------------------------------------------------------------------


class Edge(enum.StrEnum):
    """Where in a kernel function a probe sits."""

    ENTRY = "entry"
    RETURN = "return"


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """A kernel probe that was asked for.

    Attributes:
        symbol: kernel function, as `pci_cfg_access_lock`.
        edge: entry or return.
        present: False when this kernel has no such probe point; why is in `reason`.
        missed: hits that the kernel had to drop.
        reason: what the kernel said when the probe could not be set.
    """

    symbol: str
    edge: Edge
    present: bool = True
    missed: int = 0
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ActorRecord:
    """What became of an actor.

    Attributes:
        name: as in the plan.
        tid: its thread id on the target.
        rounds: how many rounds it began.
        lost: operations that found no room in the shared memory and are missing from the table.
        lost_ns: since when, CLOCK_MONOTONIC; 0 where none was, and in earlier histories.
        thinned: operations that have no row because they were like those around them (:mod:`harness.history.gaps`).
        thinned_ns: no longer lies between the call before and the return after such ones; 0 where there are none.
        end: `done`, `abandoned` (stuck past the deadline), `died` (a signal), `refused` (a file could not be opened) or
            `lost` (with the kernel that ran it).
        detail: for `refused` the file and errno, for `died` the signal, for `abandoned` what of its set-up it was doing
            (empty: it was past that).
        wchan: for `abandoned`: the kernel function it sleeps in (`/proc/TID/wchan`).
        stack: for `abandoned`: its kernel stack (`/proc/TID/stack`).
    """

    name: str
    tid: Thread
    rounds: int = 0
    lost: int = 0
    lost_ns: Span = field(default=0, metadata={SINCE: 6})
    thinned: int = field(default=0, metadata={SINCE: 6})
    thinned_ns: Span = field(default=0, metadata={SINCE: 6})
    end: _End = "done"
    detail: str = ""
    wchan: str = ""
    stack: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """One record of /dev/kmsg between the stage's markers.

    Attributes:
        time_us: CLOCK_MONOTONIC, as well as the markers of the stage tell how far the log's own clock is behind it
            (histories of earlier harnesses, and consoles: the log's own clock, some milliseconds off); order within
            the log is exact.
        level: syslog level 0 (emergency) … 7 (debug).
        text: without the prefix, continuation lines joined by newline.
        facility: who speaks, :data:`KERNEL_FACILITY` or a program; the kernel where it was not recorded (histories of
            earlier harnesses, and consoles).
    """

    time_us: int
    level: Annotated[int, Between(0, 7)]
    text: str
    facility: Annotated[int, Between(KERNEL_FACILITY, MOST_FACILITY)] = field(
        default=KERNEL_FACILITY, metadata={SINCE: 5}
    )

    @property
    def of_the_kernel(self) -> bool:
        """Whether it is the kernel's word: what programs write beside it proves nothing."""
        return self.facility == KERNEL_FACILITY


@dataclass(frozen=True, slots=True, kw_only=True)
class Uevent:
    """A kernel uevent during the stage."""

    time_ns: Ns
    action: str
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """What the kernel's probes saw.

    Attributes:
        text: the trace as the kernel prints it.
        lost: events that the buffer dropped.
        probes: of each point, in the order of the `pN` in the text.
    """

    text: str
    lost: int
    probes: Annotated[tuple[Probe, ...], PROBES]


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """The kernel log between two markers; not complete when one is missing or the kernel overwrote records."""

    lines: Annotated[tuple[LogLine, ...], LOG_LINES]
    complete: bool


@dataclass(frozen=True, slots=True)
class Callbacks:
    """By which kernel functions a bound driver is told of a reset that it did not ask for.

    Attributes:
        before, after: `reset_prepare` and `reset_done` of its error handlers; empty: it has none.
    """

    before: str = ""
    after: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StagedFunction:
    """A function that takes part.

    Attributes:
        alias: as in the plan.
        facts: when the stage began.
        config_before, config_after: config space; empty where it could not be read, or was not yet.
        config_open: when all actors were done, before a function with armed interrupts was closed; else empty.
        callbacks: of its driver when the stage began; None without one, and where the kernel does not show them.
    """

    alias: str
    facts: FunctionFacts
    config_before: bytes
    config_after: bytes = b""
    config_open: bytes = b""
    callbacks: Callbacks | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation(Message):
    """Everything that a target saw of a stage.

    Attributes:
        begin_ns: common release of all actors, or when they were started.
        end_ns: when everything was collected.
        records: of each actor its rows (`harness.history.columns.OPERATION`), as bytes.
        actors, functions: in the plan's order.
        neighbours: functions at hand that the plan does not name (:mod:`harness.pci.neighbours`); each alias is its
            address.
        trace, log, uevents: of the kernel.
        taint_before, taint_after: `/proc/sys/kernel/tainted`.
        left: settings that were not put back, because an actor was stuck.
    """

    begin_ns: Ns
    end_ns: Ns
    records: tuple[Annotated[bytes, MESSAGE], ...]
    actors: tuple[ActorRecord, ...]
    functions: tuple[StagedFunction, ...]
    neighbours: tuple[StagedFunction, ...]
    trace: Trace
    log: Log
    uevents: Annotated[tuple[Uevent, ...], UEVENTS]
    taint_before: int
    taint_after: int
    left: tuple[str, ...]


# --- before the answer ------------------------------------------------------------------------------------


class Phase(enum.StrEnum):
    """What the agent is at, said when it begins: the last one that was heard tells where it got stuck."""

    SETTING_UP = "loading modules and putting settings in place"
    OPENING = "opening files and reading config space"
    OBSERVING = "setting probes and starting actors"
    RUNNING = "waiting for the actors"
    COLLECTING = "collecting what was seen"
    PUTTING_BACK = "reading config space and putting settings back"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached(Message):
    """The agent begins a phase.

    Attributes:
        phase: which.
        alive_ns: CLOCK_MONOTONIC.
    """

    phase: Phase
    alive_ns: Span


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready(Message):
    """All is ready, and the actors begin: what the host must know should the target be lost.

    Attributes:
        stage: id of the shared memory.
        pages: offset in it to physical address.
        functions: that take part.
        taint: before the stage.
    """

    stage: U64
    pages: Annotated[Mapping[U64, U64], PAGES]
    functions: tuple[StagedFunction, ...]
    taint: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Beat(Message):
    """About once a second: the agent lives.

    Attributes:
        alive_ns: CLOCK_MONOTONIC.
        release_ns: when the actors were released; 0: not yet.
        pages: where the kernel has moved the pages to.
    """

    alive_ns: Span
    release_ns: Span
    pages: Annotated[Mapping[U64, U64], PAGES]


Progress = Reached | Ready | Beat
"""What is said of a stage before its answer."""


# --- instead of an answer ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure(Message):
    """What the agent raised, part by part: see :class:`~harness.errors.HarnessError`.

    Attributes:
        kind: name of its class.
        errno: of a refusal of the kernel, else 0.
    """

    kind: str
    tried: str
    said: str
    hint: str
    evidence: str
    errno: Annotated[int, Between(0, 4095)]  # Linux include/linux/err.h, MAX_ERRNO

    @classmethod
    def of(cls, error: HarnessError) -> Failure:
        """The parts of an error."""
        return cls(
            kind=type(error).__name__,
            tried=error.tried,
            said=error.said,
            hint=error.hint,
            evidence=error.evidence,
            errno=getattr(error, "errno", 0),
        )
