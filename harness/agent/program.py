"""From the actor of a plan to the instructions of the C loop."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Final

from harness.agent.files import DEVICE, GROUP, Files, descriptor_of, is_granted, needed, opens_itself
from harness.bindings import vfio
from harness.bindings.actor import Alike, Code, Instruction, patience
from harness.errors import StagingError
from harness.model.operation import SELF_TEST_RESULT, WAIT, verb
from harness.model.plan import Actor, File, Op, Privilege, Step
from harness.pci.storage import DISK

_CODES: Final = {
    Op.READ: Code.READ,
    Op.WRITE: Code.WRITE,
    Op.LOAD: Code.LOAD,
    Op.STORE: Code.STORE,
    Op.PAUSE: Code.PAUSE,
    Op.OPEN: Code.TRY_OPEN,
    Op.OPEN_DEVICE: Code.IOCTL,
    Op.CLOSE: Code.CLOSE,
    Op.RESET_DEVICE: Code.IOCTL,
    Op.HOT_RESET: Code.IOCTL,
    Op.INFO: Code.IOCTL,
    Op.COUNT: Code.COUNT,
    Op.UNMASK: Code.IOCTL,
}
RECORDED: Final = frozenset(_CODES.values())
"""Instructions that leave a row in the history."""

_ALIKE: Final = {
    "config-read": Alike.EQUAL,
    "attribute-read": Alike.EQUAL,
    "bar-read": Alike.DATA,  # no promise speaks of what a register holds, but for what is made up in its place
    verb(WAIT): Alike.ALWAYS,
}
"""By verb: what is looked at as columns, not one by one.  Heartbeats, writes and calls are never left out."""

_SLOTS: Final = 16  # SLOTS of cdefs/actor.csrc.c
_MAPPED: Final = (Op.LOAD, Op.STORE)
_RAW: Final = ("config", "proc", DISK)  # what is written there is data, never text with an address in it


def compile_actor(plan: Actor, files: Files) -> list[Instruction]:
    """Open every file once, meet the others, then repeat the plan's steps.

    Raises:
        StagingError: more than 16 files or mappings, or a mapping of a device that a step opens.
    """
    slots, program = _opened(plan, files)
    if plan.privilege is Privilege.NONE:
        program.insert(0, Instruction(op=Code.DROP))
    maps = _mapped(plan)
    for file, number in maps.items():
        if descriptor_of(file).role == DEVICE and opens_itself(plan, file.function):
            raise StagingError(
                f"actor {plan.name!r}", said=f"maps {file.role} of {file.function}, which it only opens later"
            )
        extent = files.extent(file)
        program.append(
            Instruction(
                op=Code.MAP,
                slot=number,
                width=slots[descriptor_of(file)],
                offset=extent.offset,
                time_ns=extent.size,
            )
        )
    if max(len(slots), len(maps)) > _SLOTS:
        raise StagingError(f"actor {plan.name!r}", said=f"opens or maps more than {_SLOTS} files")
    if plan.privilege is Privilege.DROPPED:
        program.append(Instruction(op=Code.DROP))
    program.append(Instruction(op=Code.RENDEZVOUS))
    program.append(Instruction(op=Code.BEGIN, time_ns=plan.starts_ns))
    first = len(program)
    for number, step in enumerate(plan.steps):
        again = len(program)
        program.append(replace(_instruction(step, number, files, slots, maps), alike=_alike(step)))
        if step.retries is not None:
            retries = step.retries
            program.append(
                Instruction(
                    op=Code.RETRY,
                    slot=again,
                    times=retries.attempts,
                    time_ns=retries.patience_ns,
                    data=patience(retries.first_ns, retries.longest_ns, retries.errnos),
                )
            )
    program.append(Instruction(op=Code.REPEAT, slot=first, times=plan.times or 0))
    return program


def _alike(step: Step) -> Alike:
    """Which accesses of a step are alike: of one that is tried again, or looked at in its round, none."""
    if step.retries is not None or step.means == SELF_TEST_RESULT:
        return Alike.NEVER
    return _ALIKE.get(verb(step.means), Alike.NEVER)


def _opened(plan: Actor, files: Files) -> tuple[dict[File, int], list[Instruction]]:
    """The slot of each file that the actor keeps open, and how it comes by it."""
    slots: dict[File, int] = {}
    program: list[Instruction] = []
    for file in needed(plan):
        slots[file] = len(slots)
        if not is_granted(file):
            ops = {step.op for step in plan.steps if step.file == file}
            path = os.fsencode(files.path(file))
            program.append(
                Instruction(op=Code.OPEN, slot=slots[file], width=_flags(file.role, ops), data=path)
            )
        elif not (file.role == DEVICE and opens_itself(plan, file.function)):
            program.append(Instruction(op=Code.TAKE, slot=slots[file], width=files.number(file)))
    return slots, program


def _mapped(plan: Actor) -> dict[File, int]:
    mapped = dict.fromkeys(step.file for step in plan.steps if step.file is not None and step.op in _MAPPED)
    return {file: number for number, file in enumerate(mapped)}


def _instruction(
    step: Step, number: int, files: Files, slots: dict[File, int], maps: dict[File, int]
) -> Instruction:
    code = _CODES[step.op]
    file = step.file
    if file is None:
        return Instruction(op=code, time_ns=step.time_ns, step=number)
    if step.op is Op.OPEN:
        flags = os.O_WRONLY if step.width else os.O_RDONLY
        return Instruction(op=code, width=flags, step=number, data=os.fsencode(files.path(file)))
    if step.op in _MAPPED:
        width = len(step.value) or step.width
        return Instruction(
            op=code, slot=maps[file], offset=step.offset, width=width, step=number, data=step.value
        )
    slot = slots[descriptor_of(file)]
    if code is Code.IOCTL:
        return _request(step, number, file, files, slots)
    data = step.value
    if step.op is Op.WRITE and file.role not in _RAW and descriptor_of(file) == file:
        data = data.replace(b"{bdf}", str(files.address(file.function)).encode())
    return Instruction(
        op=code,
        slot=slot,
        offset=files.extent(file).offset + step.offset,
        width=len(data) if step.op is Op.WRITE else step.width,
        step=number,
        data=data,
    )


def _request(step: Step, number: int, file: File, files: Files, slots: dict[File, int]) -> Instruction:
    slot, argument, result = slots[descriptor_of(file)], b"", 0
    match step.op:
        case Op.OPEN_DEVICE:
            request = vfio.REQUEST_GET_DEVICE_FD
            slot = slots[File(function=file.function, role=GROUP)]
            result = slots[File(function=file.function, role=DEVICE)] + 1
            argument = str(files.address(file.function)).encode() + b"\0"
        case Op.HOT_RESET:
            request = vfio.REQUEST_HOT_RESET
            groups = [files.number(File(function=owner, role=GROUP)) for owner in step.owners]
            argument = vfio.hot_reset_bytes(groups)
        case Op.INFO:
            request = vfio.REQUEST_REGION_INFO
            argument = vfio.region_info_bytes(vfio.CONFIG_REGION)
        case Op.UNMASK:
            request = vfio.REQUEST_SET_IRQS
            argument = vfio.unmask_bytes(vfio.Irq.INTX)
        case _:
            request = vfio.REQUEST_DEVICE_RESET
    return Instruction(
        op=Code.IOCTL,
        slot=slot,
        offset=request,
        width=len(argument),
        times=result,
        step=number,
        data=argument,
    )


def _flags(role: str, ops: set[Op]) -> int:
    """Least access that the steps need: a reset file can only be written, a mapping needs both.

    A disk is asked itself, past the page cache.
    """
    if role == DISK:
        return os.O_RDWR | os.O_DIRECT
    if ops & set(_MAPPED) or {Op.READ, Op.WRITE} <= ops:
        return os.O_RDWR
    return os.O_WRONLY if Op.WRITE in ops else os.O_RDONLY
