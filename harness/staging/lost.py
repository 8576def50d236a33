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
from typing import Any, Final

import numpy as np

from harness.bindings.actor import seen_from_outside
from harness.errors import AgentLost, EmulatorLost, GuestError, HarnessError
from harness.history.columns import OPERATION, Table, empty
from harness.history.console import read_console
from harness.history.history import ActorRecord, FunctionRecord, History
from harness.model.limits import SENTENCE
from harness.model.loss import Loss, LossKind, doing
from harness.model.plan import Plan
from harness.model.units import Ns, as_text
from harness.staging.serving import Witnessed
from harness.target.clock import ClockReading
from harness.target.facts import function_facts
from harness.target.shapes import Fields, wrong

PlatformOf = Callable[[int, int], str]
"""Vendor and device id to the contract's word for the model."""

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

_MOST_PAGES: Final = 1024  # one for each actor, and one more; reading each stops the guest for a moment
_MOST_NS: Final = 1 << 60  # 36 years of uptime

_OUR_NMI: Final = re.compile(r"^Uhhuh\. NMI received|^Kernel panic - not syncing: NMI: Not continuing")
"""What the console shows from here on is our doing (Linux arch/x86/kernel/nmi.c, `unknown_nmi_error()`)."""


@dataclass(slots=True)
class Told:
    """What the agent said of a stage before its answer, and what the host knew of its clock.

    Attributes:
        stage: id of the shared memory; 0 before there was one.
        pages: offset in it to physical address.
        functions: facts on each, as `harness.agent.stage.carry_out` tells them.
        taint: before the stage.
        phase: what the agent was doing when it was last heard; empty: it had not begun.
        alive_ns: CLOCK_MONOTONIC of the target when it was last heard.
        release_ns: when the stage began, on the same clock; 0: not yet, or not heard.
        clock: of the target, against the host's.
        witnessed: what models of ours saw, of a stage whose agent was lost.
    """

    stage: int = 0
    pages: dict[int, int] = field(default_factory=dict)
    functions: list[dict[str, Any]] = field(default_factory=list)
    taint: int = 0
    phase: str = ""
    alive_ns: int = 0
    release_ns: int = 0
    clock: ClockReading | None = None
    witnessed: Witnessed = field(default_factory=Witnessed)

    def hear(self, progress: dict[str, Any]) -> None:
        """Take in one message of the agent.

        Raises:
            AgentLost: what it says has another shape.
        """
        said = Fields("what the agent told of the stage", progress)
        for name, read in _TOLD.items():
            if name in said:
                setattr(self, name, read(said, name))


def _pages(said: Fields, name: str) -> dict[int, int]:
    found = said.numbers(name)
    if len(found) > _MOST_PAGES:
        raise wrong(f"{name!r} of {said.where}", found, f"at most {_MOST_PAGES} pages")
    return found


def _functions(said: Fields, name: str) -> list[dict[str, Any]]:
    parts = said.parts(name)
    for one in parts:
        one.text("alias")
        one.data("config_before")
    return [function_facts(one.where, one.raw) for one in parts]


def _time(said: Fields, name: str) -> int:
    return said.number(name, 0, _MOST_NS)


_TOLD: Final[Mapping[str, Callable[[Fields, str], object]]] = {
    "stage": lambda said, name: said.number(name, 0, (1 << 64) - 1),
    "pages": _pages,
    "functions": _functions,
    "taint": lambda said, name: said.number(name, 0),
    "phase": lambda said, name: said.text(name)[: SENTENCE.most],
    "alive_ns": _time,
    "release_ns": _time,
}
"""What is taken from the agent's messages, and as what; anything else is for hosts that are newer."""


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
    )


def error_of(plan: Plan, loss: Loss, told: Told, cause: AgentLost, *, console: str) -> HarnessError:
    """The error for a loss that is no fault of the kernel under test, with everything that was found.

    Args:
        plan: what was staged.
        loss: how the target was lost.
        told: what the agent said before.
        cause: how the host noticed.
        console: where the whole console is.
    """
    kind, words, hint = _ERRORS[loss.kind]
    hint = f"{hint} Console: {console}"
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


def function_record(one: dict[str, Any], platform_of: PlatformOf) -> FunctionRecord:
    """Facts on a function, as the agent tells them, as a record."""
    return FunctionRecord(
        alias=one["alias"],
        platform=platform_of(one["vendor"], one["device"]),
        bdf=one["bdf"],
        vendor=one["vendor"],
        device=one["device"],
        driver=one["driver"],
        reset_methods=tuple(one["reset_methods"]),
        iommu_group=one["iommu_group"],
        port=one["port"],
        config_before=one["config_before"],
        config_after=one.get("config_after", b""),
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
