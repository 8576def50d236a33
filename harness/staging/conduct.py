"""Stage a plan on a target and write down what happened."""

from __future__ import annotations

from typing import Any, Final

import harness
from harness.errors import AgentLost
from harness.history.history import LOCKDOWN, History
from harness.history.windows.trace import untraced
from harness.model.observation import Machine, Observation, Progress
from harness.model.plan import Plan
from harness.model.request import CarryOut, DescribeMachine
from harness.model.units import SECOND
from harness.staging.answer import kernel, operations, refuse_strangers
from harness.staging.lost import PlatformOf, Told, function_record
from harness.staging.preparing import prepared
from harness.staging.serving import Serving
from harness.target import clock
from harness.target.protocol import Target
from harness.target.silence import PATIENT, Patience

_OVERHEAD_S: Final = 60.0  # probes, actors and transfer on a slow, busy, emulated machine


def conduct(
    plan: Plan,
    target: Target,
    platform_of: PlatformOf,
    *,
    told: Told | None = None,
    patience: Patience = PATIENT,
) -> History:
    """Stage `plan` on `target`.

    Args:
        plan: what to do.
        target: where.
        platform_of: names the model of a function, by its alias and what its kernel knows of it.
        told: is filled with what the agent says meanwhile, for whoever wants to know when it says no more.
        patience: how long the agent may say nothing.

    Raises:
        StagingError: it could not be staged as written, or a command before it failed.
        ClockError: the target's clock ran wild meanwhile: what was timed cannot be believed.
        TargetError: the agent failed, is gone, or answers what no agent answers.
        AgentError: the agent raised what nobody expected.
        HistoryError: the kernel's trace cannot be understood.
        UsageError: what only a model of ours can do is asked of another function.
        GuestError: an incident could not be carried out.
        ModelError: a model of a function raised, ended, or did not return; at once.
    """
    addresses = {alias: target.address(alias) for alias in plan.functions}
    told = told or Told()
    for record in prepared(plan, target, addresses):
        told.commands = (*told.commands, record)
    told.clock = before = clock.read(target.agent.ask)
    budget_s = (plan.lasting_ns + plan.deadline_ns) / SECOND + _OVERHEAD_S
    serving = Serving(plan, target.model)

    def hear(progress: Progress) -> None:
        told.hear(progress)
        if told.release_ns:
            serving.released(told.release_ns, before)

    try:
        with serving:
            seen = target.agent.ask(
                CarryOut(plan=plan, addresses=addresses),
                deadline_s=budget_s,
                observe=hear,
                meanwhile=serving.check,
                patience=patience,
            )
    except AgentLost:
        serving.check()
        told.witnessed = serving.witnessed(before, before)
        raise
    if serving.failed is not None:
        raise serving.failed
    refuse_strangers(seen, plan, addresses)
    rows, (hits, lost_hits) = operations(seen.records, plan), kernel(seen, addresses)
    after = clock.read(target.agent.ask)
    rate = clock.check(before, after, where=f"stage {plan.title!r}")
    machine = target.agent.ask(DescribeMachine())
    witnessed = serving.witnessed(before, after)
    return History(
        plan=plan,
        begin_ns=seen.begin_ns,
        end_ns=seen.end_ns,
        operations=rows,
        kernel=hits,
        lost_kernel_events=lost_hits,
        probes=seen.trace.probes,
        actors=seen.actors,
        functions=tuple(function_record(one, platform_of) for one in seen.functions),
        neighbours=tuple(function_record(one, platform_of) for one in seen.neighbours),
        log=seen.log.lines,
        log_complete=seen.log.complete,
        uevents=seen.uevents,
        clock_ratio=round(rate.middle, 4),
        taint_before=seen.taint_before,
        taint_after=seen.taint_after,
        provenance=_provenance(machine, target, seen),
        served=witnessed.table,
        served_error_ns=witnessed.error_ns,
        served_lost=witnessed.lost,
        commands=told.commands,
    )


def _provenance(machine: Machine, target: Target, seen: Observation) -> dict[str, Any]:
    """What was there, why nobody could trace, and which settings could not be put back because an actor was stuck."""
    reason = untraced(seen.trace.probes)
    return {
        **_modules(target.provenance(), machine.modules),
        **({"settings.left": ", ".join(seen.left)} if seen.left else {}),
        **({"kernel.no_trace": reason} if reason else {}),
        "kernel.release": machine.release,
        "kernel.build": machine.version,
        "kernel.command_line": machine.command_line,
        LOCKDOWN: machine.lockdown,
        "target.boot_id": machine.boot_id,
        "target.cpus": machine.cpus,
        "target.clocksource": machine.clocksource,
        "harness.version": harness.__version__,
    }


def _modules(provenance: dict[str, Any], loaded: tuple[str, ...]) -> dict[str, Any]:
    """Tell modules of the user's own that were loaded from those that no part of the stage asked for."""
    named = str(provenance.get("kernel.own_modules", "")).split()
    used = [own for own in named if own.rpartition("-")[0] in loaded]
    told = {"kernel.own_modules": used, "kernel.unused_modules": [own for own in named if own not in used]}
    kept = {key: value for key, value in provenance.items() if key not in told}
    return {**kept, **{key: " ".join(words) for key, words in told.items() if words}}
