"""What a target runs before a stage: the commands of the plan, one after the other, and what each came to."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Final

from harness.errors import StagingError
from harness.model.command import BUSYBOX, Command, CommandRecord
from harness.model.pci import Bdf
from harness.model.plan import Plan
from harness.model.request import BringBusybox, RunCommand
from harness.model.units import SECOND
from harness.target.protocol import Target

_OVERHEAD_S: Final = 60.0


def prepared(plan: Plan, target: Target, addresses: Mapping[str, Bdf]) -> Iterator[CommandRecord]:
    """Run the commands of a plan; what became of each.

    `{ALIAS}` in a word stands for the address of a function of the plan.  Busybox is brought when a command names it.

    Raises:
        StagingError: a command failed that may not; with all that it said.
        UsageError: the target has no such program; says which it has.
        SetupError: busybox could not be had.
        TargetError, AgentError: as :meth:`harness.target.agent.Agent.ask`.
    """
    if any(command.argv[0] == BUSYBOX for command in plan.before):
        target.agent.ask(BringBusybox(program=target.busybox()))
    for command in plan.before:
        there = dataclasses.replace(command, argv=tuple(_with(addresses, word) for word in command.argv))
        record = target.agent.ask(
            RunCommand(command=there), deadline_s=command.within_ns / SECOND + _OVERHEAD_S
        )
        yield record
        if record.status != 0 and not command.may_fail:
            raise _failed(there, record)


def _with(addresses: Mapping[str, Bdf], word: str) -> str:
    for alias, bdf in addresses.items():
        word = word.replace(f"{{{alias}}}", str(bdf))
    return word


def _failed(command: Command, record: CommandRecord) -> StagingError:
    return StagingError(
        f"running {command} on the target before the stage",
        said=record.said,
        hint="What it said is below. Where it may fail: Command(…, may_fail=True).",
        evidence=record.output,
    )
