"""Everything that a host can ask an agent.  Pure; the host builds a request and the agent reads it.

The set is closed: :data:`AnyRequest` is the only list, and the agent's service has one case for each.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Final, Generic, TypeVar, get_args

from harness.model.command import Command, CommandRecord
from harness.model.limits import PROGRAM
from harness.model.observation import (
    Clocks,
    Condition,
    Conditions,
    FunctionFacts,
    Machine,
    Observation,
    OpenedFunction,
    Progress,
)
from harness.model.pci import Bdf
from harness.model.plain import Between, Misfit, shown
from harness.model.plan import Plan
from harness.model.units import Ns
from harness.model.wire import WIRE, Message

Answer = TypeVar("Answer")


class Request(Message, Generic[Answer]):
    """A request, and in brackets the type of its answer."""

    __slots__ = ()

    def read_answer(self, value: object) -> Answer:
        """Read the answer to it.

        Raises:
            Misfit: it is another thing.
        """
        (kind,) = get_args(type(self).__orig_bases__[0])  # type: ignore[attr-defined] # what stands in brackets
        answer: Answer = WIRE.read(kind, value)
        return answer


# --- the machine ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Warm(Request[None]):
    """Do once what is slow the first time, so that a frozen guest has done it: fork actors, set probes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribeMachine(Request[Machine]):
    """What a report must name of the machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadClocks(Request[Clocks]):
    """CLOCK_MONOTONIC and CLOCK_REALTIME."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SetRealtime(Request[None]):
    """Set CLOCK_REALTIME: a clone of a frozen guest lives in the past."""

    realtime_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadModule(Request[None]):
    """Load a kernel module and what it needs, by the index that a guest's root image carries."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunCommand(Request[CommandRecord]):
    """Run a command to its end, or as long as it may take; a program that is not there is an error."""

    command: Command


@dataclass(frozen=True, slots=True, kw_only=True)
class BringBusybox(Request[None]):
    """Let commands, and a shell, find busybox and its small programs from now on.

    Attributes:
        program: its ELF file, which needs no library.
    """

    program: Annotated[bytes, PROGRAM]


# --- functions --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribeFunctions(Request[tuple[FunctionFacts, ...]]):
    """Facts on every PCI function of the machine, in order of their addresses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribeFunction(Request[FunctionFacts]):
    """Facts on one function."""

    bdf: Bdf


@dataclass(frozen=True, slots=True, kw_only=True)
class FindFunction(Request[FunctionFacts | None]):
    """Facts on the function with this number right below a port; None while there is none.

    Without a port: on the function with this device number on the root bus.
    """

    port: Bdf | None
    number: Annotated[int, Between(0, 31)]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadConfig(Request[bytes]):
    """Config space of a function, 256 or 4096 bytes."""

    bdf: Bdf


@dataclass(frozen=True, slots=True, kw_only=True)
class Bind(Request[None]):
    """Bind a driver to a function by `driver_override`."""

    bdf: Bdf
    driver: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unbind(Request[None]):
    """Take a function from its driver."""

    bdf: Bdf


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenFunction(Request[OpenedFunction]):
    """Open a function that is bound to vfio-pci; it stays open."""

    bdf: Bdf


@dataclass(frozen=True, slots=True, kw_only=True)
class CloseFunction(Request[None]):
    """Close a function that :class:`OpenFunction` opened; closing resets it."""

    bdf: Bdf


@dataclass(frozen=True, slots=True, kw_only=True)
class LookAt(Request[Conditions]):
    """The condition of functions, each looked at in a thread of its own; all together may take so long."""

    functions: tuple[Bdf, ...]
    patience_ns: Ns


@dataclass(frozen=True, slots=True, kw_only=True)
class PutBack(Request[None]):
    """Give a function back to the driver that it had; see :func:`harness.pci.condition.put_back`."""

    bdf: Bdf
    before: Condition
    patience_ns: Ns


# --- a stage ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class CarryOut(Request[Observation]):
    """Carry out a plan on the functions at these addresses; before the answer it tells :data:`Progress`."""

    plan: Plan
    addresses: Mapping[str, Bdf]


AnyRequest = (
    Warm
    | DescribeMachine
    | ReadClocks
    | SetRealtime
    | LoadModule
    | RunCommand
    | BringBusybox
    | DescribeFunctions
    | DescribeFunction
    | FindFunction
    | ReadConfig
    | Bind
    | Unbind
    | OpenFunction
    | CloseFunction
    | LookAt
    | PutBack
    | CarryOut
)

REQUESTS: Final[Mapping[str, type[AnyRequest]]] = {kind.__name__: kind for kind in get_args(AnyRequest)}
_PROGRESS: Final[Mapping[str, type[Progress]]] = {kind.__name__: kind for kind in get_args(Progress)}


def read_request(name: object, fields: object) -> AnyRequest:
    """Read a request, by its name and its fields.

    Raises:
        Misfit: there is no such request, or its fields are others.
    """
    if not isinstance(name, str) or name not in REQUESTS:
        raise Misfit(f"request {shown(name)} is not known: there are {', '.join(REQUESTS)}")
    return REQUESTS[name].from_wire(fields)


def read_progress(value: object) -> Progress:
    """Read what is said before an answer: `{NAME: FIELDS}`.

    Raises:
        Misfit: it is none of :data:`~harness.model.observation.Progress`.
    """
    if isinstance(value, dict) and len(value) == 1:
        ((name, fields),) = value.items()
        if name in _PROGRESS:
            return _PROGRESS[name].from_wire(fields)
    raise Misfit(f"progress is {shown(value)}, not one of {', '.join(_PROGRESS)}")
