"""Programs on temporary files, run by the real loop: what the tests of the agent share."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
from tenacity import Retrying, retry_if_result, stop_after_delay, wait_fixed

from harness.bindings.actor import Code, Instruction, Room, SharedStage, act, patience
from harness.history.columns import OPERATION, Table
from harness.model.units import MS, Ns

Program = list[Instruction]

LONG = 60_000 * MS
"""How long a stage lasts unless a test says so: a program that ends by itself is never cut short by a busy machine."""


def opening(path: Path | str, flags: int = os.O_RDONLY, slot: int = 0) -> Instruction:
    return Instruction(op=Code.OPEN, slot=slot, width=flags, data=os.fsencode(path))


def read(offset: int = 0, width: int = 4, *, slot: int = 0, step: int = 0) -> Instruction:
    return Instruction(op=Code.READ, slot=slot, offset=offset, width=width, step=step)


def write(data: bytes, offset: int = 0, *, slot: int = 0, step: int = 0) -> Instruction:
    return Instruction(op=Code.WRITE, slot=slot, offset=offset, width=len(data), data=data, step=step)


def pause(time_ns: int, *, step: int = 0) -> Instruction:
    return Instruction(op=Code.PAUSE, time_ns=time_ns, step=step)


def mapping(slot: int = 0, *, file: int = 0, offset: int = 0, size: int = 0) -> Instruction:
    return Instruction(op=Code.MAP, slot=slot, width=file, offset=offset, time_ns=size)


def load(offset: int = 0, width: int = 4, *, slot: int = 0, step: int = 0) -> Instruction:
    return Instruction(op=Code.LOAD, slot=slot, offset=offset, width=width, step=step)


def store(data: bytes, offset: int = 0, *, slot: int = 0, step: int = 0) -> Instruction:
    return Instruction(op=Code.STORE, slot=slot, offset=offset, width=len(data), data=data, step=step)


def try_open(path: Path | str, flags: int = os.O_RDONLY, *, step: int = 0) -> Instruction:
    return Instruction(op=Code.TRY_OPEN, width=flags, data=os.fsencode(path), step=step)


def ioctl(
    request: int, argument: bytes = b"", *, slot: int = 0, into: int | None = None, step: int = 0
) -> Instruction:
    """Ask `slot`; what it returns is a descriptor for slot `into`."""
    return Instruction(
        op=Code.IOCTL,
        slot=slot,
        offset=request,
        width=len(argument),
        data=argument,
        times=0 if into is None else into + 1,
        step=step,
    )


def close(slot: int = 0, *, step: int = 0) -> Instruction:
    return Instruction(op=Code.CLOSE, slot=slot, step=step)


def retry(
    *errnos: int,
    attempts: int = 2**31,
    first: int = MS,
    longest: int | None = None,
    within: int = LONG,
) -> Instruction:
    """Try the step before again; :func:`program` fills in which one that is."""
    data = patience(Ns(first), Ns(first if longest is None else longest), errnos)
    return Instruction(op=Code.RETRY, times=attempts, time_ns=within, data=data)


def program(
    steps: Sequence[Instruction],
    *,
    opens: Sequence[Instruction] = (),
    times: int = 1,
    starts_ns: int = 0,
) -> Program:
    """Open, meet the others, begin, and repeat the steps."""
    head = [*opens, Instruction(op=Code.RENDEZVOUS), Instruction(op=Code.BEGIN, time_ns=starts_ns)]
    body = [
        replace(step, slot=len(head) + place - 1) if step.op is Code.RETRY else step
        for place, step in enumerate(steps)
    ]
    return [*head, *body, Instruction(op=Code.REPEAT, slot=len(head), times=times)]


@contextmanager
def staged(
    *programs: Program, lasting: int = LONG, room: int = 1000, thinned: tuple[int, int] | None = None
) -> Iterator[SharedStage]:
    """The memory of a stage; nobody runs yet, and at the end nobody begins anything more.

    Args:
        programs: one an actor.
        lasting: how long rounds may begin.
        room: for the records of each.
        thinned: from how many records on, and over how long a time.
    """
    thin_from, thin_ns = thinned or (room, 0)
    stage = SharedStage(programs, Ns(lasting), [Room(room, thin_from, Ns(thin_ns))] * len(programs))
    try:
        yield stage
    finally:
        stage.stop()
        stage.close()


def begin(stage: SharedStage, number: int) -> Thread:
    """Run one lane in a thread of this process; the loop gives the interpreter's lock away."""
    thread = Thread(target=act, args=(stage.fd, stage.size_bytes, stage.lane_at(number)), daemon=True)
    thread.start()
    return thread


def run(*programs: Program, lasting: int = LONG, room: int = 1000) -> list[Table]:
    """Run all programs to their end; the rows of each."""
    with staged(*programs, lasting=lasting, room=room) as stage:
        threads = [begin(stage, number) for number in range(len(programs))]
        for thread in threads:
            thread.join(20)
            assert not thread.is_alive()
        return [rows(stage, number) for number in range(len(programs))]


def rows(stage: SharedStage, number: int) -> Table:
    """What an actor has begun so far."""
    table: Table = np.frombuffer(stage.records(number), dtype=OPERATION)
    return table


def descriptors() -> set[tuple[str, str]]:
    """What this process has open; the descriptor that lists them is gone when it is asked for.

    What earlier tests left in cycles is closed first, or it would be closed at some moment of the test's.
    """
    gc.collect()
    found = set()
    for link in Path("/proc/self/fd").iterdir():
        try:
            found.add((link.name, str(link.readlink())))
        except FileNotFoundError:
            continue
    return found


def until(condition: Any, seconds: float = 10.0) -> None:
    """Wait for a condition.

    Raises:
        tenacity.RetryError: it did not come true in time.
    """
    Retrying(
        retry=retry_if_result(lambda met: not met), stop=stop_after_delay(seconds), wait=wait_fixed(0.002)
    )(condition)
