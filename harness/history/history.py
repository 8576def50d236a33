"""The record of one stage: self-contained, so that it can be judged again without a device."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Final

from harness.history.columns import KERNEL, OPERATION, SERVED, Table, empty
from harness.model.command import CommandRecord
from harness.model.limits import LOG_LINES, PROBES, UEVENTS
from harness.model.loss import LossKind
from harness.model.observation import ActorRecord, Callbacks, LogLine, Probe, Uevent
from harness.model.operation import Operation
from harness.model.pci import CONFIG_SPACE_BYTES, EXTENDED_CONFIG_SPACE_BYTES
from harness.model.plain import SINCE, U16, Between, Form, Lengths, OneOf, Span
from harness.model.plan import Plan
from harness.model.units import Ns

__all__ = ["ActorRecord", "FunctionRecord", "History", "LogLine", "Probe", "Uevent"]

LOCKDOWN: Final = "kernel.lockdown"
"""Key of `History.provenance`: the kernel's lockdown (:class:`~harness.model.promise.Lockdown`), or why nobody could
read it; earlier histories have none."""

_ADDRESS: Final = r"[0-9a-f]{4,8}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]"
_LIKE: Final = "0000:01:00.0"
_Config = Annotated[bytes, Lengths((0, CONFIG_SPACE_BYTES, EXTENDED_CONFIG_SPACE_BYTES))]
_Ratio = Annotated[float, Between(0.001, 1000.0)]


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionRecord:
    """Facts on one function when the stage began, and its config space before and after.

    Attributes:
        alias: as in the plan.
        platform: model word that the contract uses (`igb`, `e1000e`, …), or `unknown`.
        bdf: address on the target.
        vendor, device: identity, 16 bits each.
        driver: bound driver or empty.
        reset_methods: as `reset_method` read before the plan's settings.
        iommu_group: number as text, or empty.
        port: address of the port above it, or empty.
        config_before, config_after: config space, 256 or 4096 bytes; empty when it could not be read.
        config_open: the same when all actors were done, and the function still open by those who had armed interrupts;
            empty where nobody had.
        callbacks: by which the driver is told of resets; None without one, and where nobody could tell.
    """

    alias: str
    platform: str
    bdf: Annotated[str, Form(_ADDRESS, _LIKE)]
    vendor: U16
    device: U16
    driver: str = ""
    reset_methods: tuple[str, ...] = ()
    iommu_group: str = ""
    port: Annotated[str, Form(f"({_ADDRESS})?", _LIKE)] = field(default="", metadata={SINCE: 3})
    config_before: _Config = b""
    config_after: _Config = b""
    config_open: _Config = field(default=b"", metadata={SINCE: 5})
    callbacks: Callbacks | None = field(default=None, metadata={SINCE: 6})


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class History:
    """Everything that was seen in one stage.  One is equal to itself alone, so what was worked out of it can be kept.

    Attributes:
        plan: what was to be done.
        begin_ns: common release of all actors, CLOCK_MONOTONIC.
        end_ns: when the stage was over and everything collected; the best guess where the kernel was lost.
        operations: table of :data:`~harness.history.columns.OPERATION`.
        kernel: table of :data:`~harness.history.columns.KERNEL`.
        lost_kernel_events: trace events that the kernel's buffer had to drop.
        probes: what the `probe` column means; absent probes are listed too.
        actors: in the plan's order.
        functions: in the plan's order.
        neighbours: functions at hand that the plan does not name: the others that a reset of a bus takes along, and the
            ports above; each alias is its address.  None: nobody looked.
        log: kernel log between the markers.
        log_complete: False when a marker was not found or the kernel overwrote records.
        uevents: during the stage.
        clock_ratio: guest time passed over host time passed during the stage, 1.0 when both are one clock.
        taint_before, taint_after: `/proc/sys/kernel/tainted`.
        provenance: versions, host, seed … as JSON values; `kernel.release` is always there.
        served: table of :data:`~harness.history.columns.SERVED`: what functions that a model of ours serves saw and
            did, by the host's clock, brought to that of the target.
        served_error_ns: by how much times in it may be wrong.
        served_lost: rows that found no room.
        lost: how the target was lost in the middle of the stage, a word of :class:`~harness.model.loss.LossKind`, or
            empty.  Then of each actor only the operation in flight is known, `log` is the end of the console, and
            there is no trace.
        lost_reason: the kernel's own word for it, or the best piece of evidence.
        commands: what became of the commands of the plan; one that never returned is not in it.
    """

    plan: Plan
    begin_ns: Ns
    end_ns: Ns
    operations: Table = field(default_factory=lambda: empty(OPERATION))
    kernel: Table = field(default_factory=lambda: empty(KERNEL))
    lost_kernel_events: int = 0
    probes: Annotated[tuple[Probe, ...], PROBES] = ()
    actors: tuple[ActorRecord, ...] = ()
    functions: tuple[FunctionRecord, ...] = ()
    neighbours: tuple[FunctionRecord, ...] | None = field(default=None, metadata={SINCE: 6})
    log: Annotated[tuple[LogLine, ...], LOG_LINES] = ()
    log_complete: bool = True
    uevents: Annotated[tuple[Uevent, ...], UEVENTS] = ()
    clock_ratio: _Ratio = 1.0
    taint_before: int = 0
    taint_after: int = 0
    provenance: dict[str, Any] = field(default_factory=dict)
    served: Table = field(default_factory=lambda: empty(SERVED))
    served_error_ns: Span = field(default=0, metadata={SINCE: 4})
    served_lost: int = field(default=0, metadata={SINCE: 4})
    lost: Annotated[str, OneOf(("", *(kind.value for kind in LossKind)))] = field(
        default="", metadata={SINCE: 3}
    )
    lost_reason: str = field(default="", metadata={SINCE: 3})
    commands: tuple[CommandRecord, ...] = field(default=(), metadata={SINCE: 5})

    @property
    def begun(self) -> int:
        """How many operations were begun: those that have rows, and those left out (:mod:`harness.history.gaps`)."""
        return len(self.operations) + sum(actor.thinned for actor in self.actors)

    def means(self, actor: int, step: int) -> Operation:
        """What an operation of `actor` at `step` is, in the contract's words."""
        return self.plan.actors[actor].steps[step].means

    def function(self, alias: str) -> FunctionRecord:
        """The record of one function.

        Raises:
            KeyError: the function took no part.
        """
        for record in self.functions:
            if record.alias == alias:
                return record
        raise KeyError(alias)
