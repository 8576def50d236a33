"""What to do, as data: actors, their steps, when they start, and what is put in place before.

A plan names functions by alias and files by role, never by BDF or path, so that the same plan can be staged
again on another machine.  It is written into every history; :func:`Plan.from_json` reads it back.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any

from harness.errors import HistoryError, UsageError
from harness.model.command import Command
from harness.model.fault import Fault, Incident, PlannedFault
from harness.model.limits import STEPS
from harness.model.operation import Operation
from harness.model.plain import HISTORIES, SINCE, U32, Between, Misfit, OneOf
from harness.model.units import Ns


class Op(enum.StrEnum):
    """What the actor loop can do in one step."""

    READ = "read"
    """`pread` of `width` bytes at `offset`."""
    WRITE = "write"
    """`pwrite` of `value` at `offset`."""
    LOAD = "load"
    """Load of `width` bytes from the mapped file at `offset`."""
    STORE = "store"
    """Store of `value` to the mapped file at `offset`."""
    PAUSE = "pause"
    """Sleep until `time_ns` after the previous pause ended (or after the stage began)."""
    OPEN = "open"
    """`open` of a path, for reading, or for writing when `width` is 1; the descriptor is closed again at once."""
    OPEN_DEVICE = "open-device"
    """VFIO_GROUP_GET_DEVICE_FD on the function's group; the descriptor is this actor's `vfio` from then on."""
    CLOSE = "close"
    """`close` of this actor's descriptor."""
    RESET_DEVICE = "reset-device"
    """VFIO_DEVICE_RESET."""
    HOT_RESET = "hot-reset"
    """VFIO_DEVICE_PCI_HOT_RESET, showing the groups of `owners`."""
    INFO = "info"
    """VFIO_DEVICE_GET_REGION_INFO of the config region."""
    COUNT = "count"
    """`read` of an interrupt's eventfd: how often it was signalled since it was read last; EAGAIN when it was not."""
    UNMASK = "unmask"
    """VFIO_DEVICE_SET_IRQS: let INTx through again, which masks itself each time it is raised."""


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file of a function by its role.

    Roles are names in its sysfs folder (`config`, `reset`, `vendor`, `resource0` …), `proc` for its file in
    /proc/bus/pci, or:

    * `vfio`, `vfio-config`, `vfio-bar0` … `vfio-bar5`: its VFIO device, and that device's regions.  The agent opens the
      device before the stage and gives every actor that uses it a descriptor; an actor that opens it itself
      (:attr:`Op.OPEN_DEVICE`) is given none.
    * `vfio-group`: its VFIO group, in a container.
    * `vfio-intx`, `vfio-msi`, `vfio-msix`: an eventfd for the first of these interrupts of its VFIO device, which the
      agent arms before the stage; one of them at a time.
    * `driver/unbind`, `drivers_probe`, `rescan`: of the driver that owns it when the stage begins; of the PCI bus.
    * `windows`: the control file of the kernel module `hil_windows`.
    * `scsi-host/NAME`: an attribute of the SCSI host that its driver made.
    * `disk`: the first disk behind it, read and written past the page cache; `disk/NAME`: an attribute of that disk.
    """

    function: str
    role: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Retries:
    """How an actor tries again what was refused; every attempt is an operation of the history, of the same round.

    Attributes:
        errnos: errno numbers that may be retried, 1 to 8; any other answer is final.
        attempts: at most this many in all, at least 2.
        first_ns: pause before the second attempt; it doubles for each further one.
        longest_ns: longest pause.
        patience_ns: no attempt is planned later than this after the first began.
    """

    errnos: tuple[int, ...]
    attempts: U32
    first_ns: Ns
    longest_ns: Ns
    patience_ns: Ns

    def __post_init__(self) -> None:
        if not 1 <= len(self.errnos) <= 8 or min(self.errnos) < 1 or self.attempts < 2:
            raise UsageError(
                "retries",
                said=f"errnos {self.errnos}, {self.attempts} attempts",
                hint="Give 1 to 8 errno numbers and at least 2 attempts.",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One access.

    Attributes:
        op: how it is done.
        means: what it is, in the contract's words.
        file: what it is done to; None for a pause.
        offset: in bytes from the start of the file.
        width: in bytes, of a read or load: 1, 2, 4 or 8 (a `READ` may ask for up to 4096, the history then keeps the
            first 8 bytes).
        value: bytes to write or store (little-endian as the device sees them).  `{bdf}` in what is written to a
            file that is not `config`, `proc` or a region stands for the function's address on the target.
        time_ns: length of a pause.
        owners: aliases whose groups a hot reset shows.
        retries: what to do when it is refused; None takes the answer as it is.
    """

    op: Op
    means: Operation
    file: File | None = None
    offset: int = 0
    width: Annotated[int, Between(0, 4096)] = 0
    value: bytes = b""
    time_ns: Ns = Ns(0)
    owners: tuple[str, ...] = field(default=(), metadata={SINCE: 2})
    retries: Retries | None = field(default=None, metadata={SINCE: 2})


class Privilege(enum.StrEnum):
    """What an actor may do."""

    ROOT = "root"
    NONE = "none"
    """It becomes the user nobody, without capabilities, before it opens its files."""
    DROPPED = "dropped"
    """It becomes the user nobody after it has opened its files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """A process with file descriptors of its own that repeats its steps.

    Attributes:
        name: lane of the timeline, unique in a plan: `reader-1`, `resetter`.
        steps: done in this order, again and again.
        starts_ns: when the first round begins, counted from the common release of all actors.
        times: number of rounds, at least 1; None repeats until the stage ends.
        privilege: what it may do.
    """

    name: str
    steps: Annotated[tuple[Step, ...], STEPS]
    starts_ns: Ns = Ns(0)
    times: Annotated[int, Between(1, 0xFFFF_FFFF)] | None = None
    privilege: Privilege = field(default=Privilege.ROOT, metadata={SINCE: 2})


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A sysfs attribute that is written before the stage and put back after it.

    The attribute `driver` binds the driver of that name, and afterwards the one that was bound before;
    `module/NAME/PARAMETER` is a parameter of a kernel module.
    """

    function: str
    attribute: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Oracle:
    """A register that a reset clears and that nobody restores.

    Attributes:
        function: alias of the function.
        resource: file that maps it: `resource0` … `resource5`.
        offset: in bytes from the start of the resource.
        width: in bytes: 1, 2 or 4.
        marker: what is stored before the reset.
        cleared: what the register reads after a reset that really happened.
        mask: bits that count.
        source: where this is written or how it was measured.
    """

    function: str
    resource: str
    offset: U32
    width: Annotated[int, OneOf((1, 2, 4))]
    marker: U32
    cleared: U32
    mask: U32
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One stage.

    Attributes:
        title: for people: the scenario's name.
        functions: aliases of all functions that take part; their config space is recorded before and after.
        actors: who does what.
        lasting_ns: how long rounds may begin, counted from the common release.
        deadline_ns: how long after that every operation must have returned.
        settings: attributes to set before, and to put back after.
        oracles: registers that `oracle/mark` and `oracle/check` steps use.
        modules: kernel modules to load before, in this order.
        ports: for each function whose port takes part too, the alias of that port.
        meets: how many operations must meet a window for a PASS; 0 when the plan opens none.
        seed: of everything random in the plan.
        faults: what functions that a model of ours serves are to do wrong.
        incidents: what the host does to functions meanwhile.
        before: what the target runs before anything else, one after the other.  `{ALIAS}` in a word stands for the
            address of a function of the plan.
    """

    title: str
    functions: tuple[str, ...]
    actors: tuple[Actor, ...]
    lasting_ns: Ns
    deadline_ns: Ns
    settings: tuple[Setting, ...] = ()
    oracles: tuple[Oracle, ...] = ()
    modules: tuple[str, ...] = field(default=(), metadata={SINCE: 2})
    ports: Mapping[str, str] = field(default_factory=dict, metadata={SINCE: 2})
    meets: int = 0
    seed: int = 0
    faults: tuple[PlannedFault, ...] = field(default=(), metadata={SINCE: 4})
    incidents: tuple[Incident, ...] = field(default=(), metadata={SINCE: 4})
    before: tuple[Command, ...] = field(default=(), metadata={SINCE: 5})

    def __post_init__(self) -> None:
        names = [actor.name for actor in self.actors]
        if not names:
            raise UsageError(f"stage {self.title!r}", said="nobody acts", hint="Give it at least one actor.")
        if len(set(names)) != len(names):
            raise UsageError(f"stage {self.title!r}", said=f"two actors share a name: {sorted(names)}")

    def faults_of(self, alias: str) -> tuple[Fault, ...]:
        """The programme of one function, in order."""
        return tuple(one.fault for one in self.faults if one.function == alias)

    def wrongs(self, alias: str) -> frozenset[str]:
        """What is staged to go wrong with one function: words of `Misbehaviour` and of `IncidentKind`."""
        faults = (str(one.what) for one in self.faults_of(alias))
        return frozenset((*faults, *(str(one.kind) for one in self.incidents if one.function == alias)))

    def to_json(self) -> dict[str, Any]:
        """The plan as plain JSON values; bytes become hexadecimal."""
        return {key: _jsonable(value) for key, value in asdict(self).items()}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Plan:
        """Read a plan back.

        Raises:
            HistoryError: a field is missing or has the wrong form.
        """
        try:
            return HISTORIES.read(cls, data)
        except Misfit as error:
            raise HistoryError("plan", said=f"malformed: {error}") from error


def _jsonable(value: Any) -> Any:
    match value:
        case bytes():
            return value.hex()
        case dict():
            return {key: _jsonable(item) for key, item in value.items()}
        case list() | tuple():
            return [_jsonable(item) for item in value]
        case _:
            return value
