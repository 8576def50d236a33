"""From the actor of a plan to the instructions of the C loop."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from harness.bindings.actor import Code, Instruction
from harness.errors import StagingError
from harness.model.plan import Actor, File, Op

_CODES: Final = {
    Op.READ: Code.READ,
    Op.WRITE: Code.WRITE,
    Op.LOAD: Code.LOAD,
    Op.STORE: Code.STORE,
    Op.PAUSE: Code.PAUSE,
}
_SLOTS: Final = 16  # SLOTS of cdefs/actor.csrc.c


def compile_actor(plan: Actor, resolve: Callable[[File], Path]) -> list[Instruction]:
    """Open every file once, meet the others, then repeat the plan's steps.

    Raises:
        StagingError: more than 16 files.
    """
    program: list[Instruction] = []
    slots: dict[File, int] = {}
    for file in dict.fromkeys(step.file for step in plan.steps if step.file is not None):
        ops = {step.op for step in plan.steps if step.file == file}
        slots[file] = len(slots)
        if len(slots) > _SLOTS:
            raise StagingError(f"actor {plan.name!r}", said=f"opens more than {_SLOTS} files")
        program.append(
            Instruction(op=Code.OPEN, slot=slots[file], width=_flags(ops), data=os.fsencode(resolve(file)))
        )
        if ops & {Op.LOAD, Op.STORE}:
            program.append(Instruction(op=Code.MAP, slot=slots[file]))
    program.append(Instruction(op=Code.RENDEZVOUS))
    program.append(Instruction(op=Code.BEGIN, time_ns=plan.starts_ns))
    first = len(program)
    for number, step in enumerate(plan.steps):
        program.append(
            Instruction(
                op=_CODES[step.op],
                slot=slots[step.file] if step.file is not None else 0,
                offset=step.offset,
                width=len(step.value) if step.op in (Op.WRITE, Op.STORE) else step.width,
                time_ns=step.time_ns,
                step=number,
                data=step.value,
            )
        )
    program.append(Instruction(op=Code.REPEAT, slot=first, times=plan.times or 0))
    return program


def _flags(ops: set[Op]) -> int:
    """Least access that the steps need: a reset file can only be written, a mapping needs both."""
    if ops & {Op.LOAD, Op.STORE} or {Op.READ, Op.WRITE} <= ops:
        return os.O_RDWR
    return os.O_WRONLY if Op.WRITE in ops else os.O_RDONLY
