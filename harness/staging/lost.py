"""A target that was lost in the middle of a stage: what it told before, and what its loss comes to.

A kernel under test that stopped itself or makes no progress any more is data, and judged.  Anything else is trouble of
the lab, an error of a kind of its own that blames nobody else.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, assert_never

import numpy as np

from harness.bindings.actor import seen_from_outside
from harness.errors import AgentLost, EmulatorLost, GuestError, HarnessError
from harness.history.columns import OPERATION, Table, empty
from harness.history.console import read_console
from harness.history.history import ActorRecord, FunctionRecord, History
from harness.model.command import CommandRecord
from harness.model.loss import Loss, LossKind, doing
from harness.model.observation import Beat, FunctionFacts, Progress, Reached, Ready, StagedFunction
from harness.model.plan import Plan
from harness.model.units import Ns, as_text
from harness.staging.serving import Witnessed
from harness.target.clock import ClockReading

PlatformOf = Callable[[str, FunctionFacts], str]
"""The contract's word for the model of a function, by its alias and what its kernel knows of it."""

_ERRORS: Final[Mapping[LossKind, tuple[type[HarnessError], str, str]]] = {
    LossKind.EMULATOR: (EmulatorLost, "its QEMU ended", "What QEMU said and its console are below."),
    LossKind.FROZEN: (
        GuestError,
        "the guest was stopped from outside",
        "Who sent a signal to QEMU, or `stop`?",
    ),
    LossKind.REBOOT: (
        GuestError,
        "the guest started anew, without a panic",
        "Its console ends with the reason.",
    ),
    LossKind.AGENT: (AgentLost, "the agent's process ended in a living guest", "Its console says how."),
    LossKind.SILENT: (
        AgentLost,
        "the agent says nothing, in a living guest",
        "The stacks of blocked tasks on its console tell where it is stuck.",
    ),
}
"""What is raised for a loss that is no fault of the kernel under test: class, words, and what to do next."""

_OUR_NMI: Final = re.compile(r"^Uhhuh\. NMI received|^Kernel panic - not syncing: NMI: Not continuing")
"""What the console shows from here on is our doing (Linux arch/x86/kernel/nmi.c, `unknown_nmi_error()`)."""


@dataclass(slots=True)
class Told:
    """What the agent said of a stage before its answer, and what the host knew of its clock.

    Attributes:
        stage: id of the shared memory; 0 before there was one.
        pages: offset in it to physical address.
        functions: those that take part.
        taint: before the stage.
        phase: what the agent was doing when it was last heard; empty: it had not begun.
        alive_ns: CLOCK_MONOTONIC of the target when it was last heard.
        release_ns: when the stage began, on the same clock; 0: not yet, or not heard.
        clock: of the target, against the host's.
        commands: what became of those that ran before.
        witnessed: what models of ours saw, of a stage whose agent was lost.
    """

    stage: int = 0
    pages: Mapping[int, int] = field(default_factory=dict)
    functions: tuple[StagedFunction, ...] = ()
    taint: int = 0
    phase: str = ""
    alive_ns: int = 0
    release_ns: int = 0
    clock: ClockReading | None = None
    commands: tuple[CommandRecord, ...] = ()
    witnessed: Witnessed = field(default_factory=Witnessed)

    def hear(self, progress: Progress) -> None:
        """Take in one message of the agent."""
        match progress:
            case Reached():
                self.phase, self.alive_ns = progress.phase, progress.alive_ns
            case Ready():
                self.stage, self.pages = progress.stage, progress.pages
                self.functions, self.taint = progress.functions, progress.taint
            case Beat():
                self.alive_ns, self.release_ns = progress.alive_ns, progress.release_ns
                self.pages = progress.pages
            case _:
                assert_never(progress)


def examined(loss: Loss, pages: Mapping[int, bytes], told: Told) -> Loss:
    """Add to a loss what the pages of the shared memory say."""
    release, in_flight = seen_from_outside(pages, told.stage)
    return dataclasses.replace(loss, release_ns=release or told.release_ns, in_flight=in_flight)


def last_history(
    plan: Plan, loss: Loss, told: Told, platform_of: PlatformOf, provenance: Mapping[str, Any]
) -> History:
    """The history of a stage whose target was lost: operations in flight, and the end of its console.

    Of a kernel that hangs the backtraces that we made it write are part of it; of one that lives they would look like
    its own doing.
    """
    console = read_console(loss.console).of_stage()
    log = console.lines
    if not loss.kind.kernel_fault:
        log = tuple(itertools.takewhile(lambda line: not _OUR_NMI.match(line.text), log))
    return History(
        plan=plan,
        begin_ns=Ns(loss.release_ns),
        end_ns=Ns(_when(loss, told)),
        operations=_rows(loss),
        actors=tuple(
            ActorRecord(
                name=plan.actors[one.actor].name,
                tid=one.tid,
                rounds=one.round + 1 if one.count else 0,
                end="lost",
            )
            for one in loss.in_flight
        ),
        functions=tuple(function_record(one, platform_of) for one in told.functions),
        log=log,
        log_complete=console.complete,
        taint_before=told.taint,
        taint_after=told.taint,
        provenance=dict(provenance),
        lost=loss.kind.value,
        lost_reason=loss.said,
        served=told.witnessed.table,
        served_error_ns=told.witnessed.error_ns,
        served_lost=told.witnessed.lost,
        commands=told.commands,
    )


def error_of(plan: Plan, loss: Loss, told: Told, cause: AgentLost, *, console: Path | None) -> HarnessError:
    """The error for a loss that is no fault of the kernel under test, with everything that was found.

    Args:
        plan: what was staged.
        loss: how the target was lost.
        told: what the agent said before.
        cause: how the host noticed.
        console: where the whole console is; None: nobody recorded it.
    """
    kind, words, hint = _ERRORS[loss.kind]
    hint = f"{hint} Console: {console}" if console is not None else hint
    after = ""
    if loss.release_ns:
        last = "" if loss.in_flight or loss.host_ns else "last heard "
        after = f", {last}{as_text(_when(loss, told) - loss.release_ns)} into the stage"
    said = [f"{words}{after}: {loss.said}"]
    if told.phase and loss.kind is LossKind.SILENT:
        said.append(f"it was last heard {told.phase}")
    said.append(doing(plan, _flying(loss)) if loss.in_flight else "what the actors were doing is not known")
    return kind(
        f"staging {plan.title!r}", said="; ".join(said), hint=hint, evidence=evidence(plan, loss, cause)
    )


def evidence(plan: Plan, loss: Loss, cause: AgentLost) -> str:
    """Everything that was found on a loss, for people: actors, events, registers, console."""
    parts = [f"loss: {loss.kind.value}: {loss.said}\nthe host noticed: {cause.said}"]
    if loss.in_flight:
        parts.append("\n".join(["in flight, from shared memory:", *_lines(plan, loss)]))
    if loss.events:
        parts.append("\n".join(["QEMU told:", *loss.events]))
    if loss.registers:
        parts.append(f"registers:\n{loss.registers.strip()}")
    parts.append(f"console ends with:\n{loss.console.strip()}" if loss.console else "the console is empty")
    return "\n\n".join(parts)


def function_record(one: StagedFunction, platform_of: PlatformOf) -> FunctionRecord:
    """A function that took part, as a history has it."""
    facts = one.facts
    return FunctionRecord(
        alias=one.alias,
        platform=platform_of(one.alias, facts),
        bdf=str(facts.bdf),
        vendor=facts.vendor,
        device=facts.device,
        driver=facts.driver,
        reset_methods=facts.reset_methods,
        iommu_group=facts.iommu_group,
        port=str(facts.port or ""),
        config_before=one.config_before,
        config_after=one.config_after,
        config_open=one.config_open,
        callbacks=one.callbacks,
    )


def _lines(plan: Plan, loss: Loss) -> list[str]:
    """One line an actor."""
    lines = []
    for one in loss.in_flight:
        actor = plan.actors[one.actor]
        if one.step is None:
            what = "had not begun"
        else:
            step = actor.steps[one.step]
            on = f" of {step.file.function}" if step.file else ""
            since = (
                f", since {as_text(one.begin_ns - loss.release_ns)} after the release"
                if one.begin_ns and loss.release_ns and not one.returned
                else ""
            )
            what = (
                f"{'had returned from' if one.returned else 'in'} {step.means}{on}, round {one.round}{since}"
            )
        lines.append(f"  {actor.name} (thread {one.tid}): {what}; {one.count} operations begun")
    return lines


def _flying(loss: Loss) -> list[tuple[int, int]]:
    return [(one.actor, one.step) for one in loss.in_flight if one.step is not None and not one.returned]


def _rows(loss: Loss) -> Table:
    flying = [one for one in loss.in_flight if one.step is not None and not one.returned]
    table = empty(OPERATION, len(flying))
    for row, one in enumerate(flying):
        table[row] = (one.begin_ns or loss.release_ns, 0, 0, 0, 0, one.actor, one.step, one.round)
    return table[np.argsort(table["begin_ns"], kind="stable")]


def _when(loss: Loss, told: Told) -> int:
    """CLOCK_MONOTONIC of the target when it was lost: by QEMU's word, else the last sign of life."""
    signs = [told.alive_ns, loss.release_ns, *(one.begin_ns for one in loss.in_flight)]
    if loss.host_ns and told.clock is not None:
        signs.append(loss.host_ns + told.clock.offset_ns)
    return max(signs)
