"""Histories of functions that interrupt, and that write to memory."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from harness.history.columns import SERVED
from harness.history.history import History
from harness.model import operation as words
from harness.model.fault import Fault, Misbehaviour, PlannedFault
from harness.model.plan import File, Op, Retries, Step
from harness.model.served import NO_REGION, Happened
from harness.model.units import MS, Ns
from tests.unit.judge.build import ALIAS, Stage, at

ADDRESS = 0x5000_0000
_REFUSED = 19  # ENODEV, as QEMU answers
_PATIENCE = Retries(
    errnos=(errno.EAGAIN,), attempts=9, first_ns=Ns(MS), longest_ns=Ns(MS), patience_ns=Ns(1000 * MS)
)
Told = Sequence[tuple[Happened, int, int, int]]
"""What happened, value, address, error; a millisecond apart."""


def interrupted(
    counts: Sequence[int],
    *,
    after_us: float = 200,
    told: Told = (),
    starved_at: float | None = None,
    refused: int | None = None,
) -> History:
    """A cause every 10 ms, and how many interrupts came of it: what took them asked twice.

    Args:
        counts: how many came of each.
        after_us: how long it took.
        told: what the model wrote down.
        starved_at: when the machine was starved, in microseconds.
        refused: number of the cause that could not be written.
    """
    stage = Stage(platform="hil-endpoint")
    stage.heartbeat(late_at=starved_at)
    ring = Step(
        op=Op.WRITE, means=words.RING, file=File(function=ALIAS, role="vfio-bar0"), offset=0x10, value=b"1234"
    )
    take = Step(
        op=Op.COUNT,
        means=words.TAKE,
        file=File(function=ALIAS, role="vfio-msi"),
        width=8,
        retries=_PATIENCE,
    )
    me = stage.actor("msi-user", ring, take)
    for number, count in enumerate(counts):
        begin = 1_000 + 10_000 * number
        stage.op(me, begin, begin + 20, step=0, error=errno.EIO if number == refused else 0, round_=number)
        stage.op(me, begin + 30, begin + 40, step=1, value=0, error=errno.EAGAIN, round_=number)
        error = 0 if count else errno.EAGAIN
        stage.op(me, begin + after_us - 10, begin + after_us, step=1, value=count, error=error, round_=number)
    return served(stage.history(), told)


def astray(
    error: int = _REFUSED, *, address: int = ADDRESS, what: Misbehaviour = Misbehaviour.STRAY_DMA
) -> History:
    """A write to an address that nobody mapped, as staged.

    Args:
        error: what was answered.
        address: where it went.
        what: what had been staged.
    """
    stage = Stage(platform="hil-endpoint")
    stage.heartbeat()
    stage.reader()
    stage.op(1, 100, 110)
    history = stage.history()
    fault = Fault(what=what, value=ADDRESS, register="" if what is Misbehaviour.STRAY_DMA else "command")
    plan = replace(history.plan, faults=(PlannedFault(function=ALIAS, fault=fault),))
    told = (
        (Happened.FAULT_BEGINS, 0, 0, 0),
        (Happened.FAULT_MET, 0, 0, 0),
        (Happened.DMA_WRITTEN, 0, address, error),
    )
    return served(replace(history, plan=plan), told)


def served(history: History, told: Told) -> History:
    """The same with what a model wrote down."""
    table = np.zeros(len(told), dtype=SERVED)
    for number, (row, (what, value, address, error)) in enumerate(zip(table, told, strict=True)):
        row["time_ns"], row["what"], row["region"] = at(1_000 * (number + 1)), what, NO_REGION
        row["value"], row["address"], row["error"] = value, address, error
    return replace(history, served=table)
