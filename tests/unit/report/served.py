"""A history made by hand in which a served function is late after its reset, and its server stands still afterwards."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from harness.history.columns import SERVED, Table
from harness.history.history import FunctionRecord, History
from harness.model.fault import Fault, Incident, IncidentKind, Misbehaviour, Occasion, PlannedFault
from harness.model.served import NO_REGION, Happened
from harness.model.units import MS, Ns
from harness.model.verdict import Blame, EventId, EventKind, Finding, Judgement, Verdict
from tests.unit.report.histories import US, ZERO, read_in_lock_window

CONFIG, ONES, HEALTHY = 7, 0xFFFF_FFFF, 0x0010_0406
NOT_READY = Fault(what=Misbehaviour.NOT_READY, when=Occasion.FLR, lasting_ns=Ns(80 * MS))
WRONG_VALUE = Fault(what=Misbehaviour.WRONG_VALUE, register="device", when=Occasion.TIME, at_ns=Ns(300 * MS))
STALLED = Incident(
    function="igb0", kind=IncidentKind.SERVER_STALLED, at_ns=Ns(200 * MS), lasting_ns=Ns(40 * MS)
)
Row = tuple[int, Happened, int, int, int, int, int]


def row(
    at_us: int,
    what: Happened,
    value: int = 0,
    *,
    address: int = 0,
    region: int = NO_REGION,
    width: int = 0,
    error: int = 0,
) -> Row:
    """A row, its time in microseconds after the release."""
    return at_us, what, value, address, region, width, error


def read(at_us: int, value: int = HEALTHY, *, error: int = 0) -> Row:
    """A read of four bytes of config space."""
    return row(at_us, Happened.READ, value, address=4, region=CONFIG, width=4, error=error)


def table(*rows: Row, function: int = 0) -> Table:
    """Rows of one function, sorted."""
    return np.array(
        [
            (ZERO + at * US, value, address, function, what, region, width, error)
            for at, what, value, address, region, width, error in sorted(rows, key=lambda one: one[0])
        ],
        dtype=SERVED,
    )


def late_after_reset() -> tuple[History, Judgement]:
    """Its FLR is followed by 80 ms of all-ones, then comes a stall, then a register is wrong until the end."""
    history, _ = read_in_lock_window()
    rows = table(
        row(-500_000, Happened.CONNECTED),
        *(read(10_000 * number) for number in range(5)),
        row(50_100, Happened.WRITTEN, 0x8000, address=0x48, region=CONFIG, width=2),
        row(50_101, Happened.FLR, 3),
        row(50_102, Happened.FAULT_BEGINS, 0),
        row(61_210, Happened.FAULT_MET, 0),
        *(read(at, ONES) for at in (61_211, 70_000, 90_000, 120_000)),
        *(read(at) for at in (150_000, 160_000, 199_000, 245_000, 280_000)),
        row(165_000, Happened.WRITTEN, 1, address=0x10, region=0, width=4),
        row(170_000, Happened.INTERRUPT, 0),
        row(172_000, Happened.DMA_WRITTEN, address=0x1000, width=64),
        row(174_000, Happened.DMA_WRITTEN, address=0xDEAD_0000, width=64, error=14),
        row(180_000, Happened.INTERRUPT_LOST, 0),
        row(200_500, Happened.INCIDENT_BEGINS, 0),
        row(240_700, Happened.INCIDENT_ENDS, 0),
        row(300_000, Happened.FAULT_BEGINS, 1),
        read(350_000, error=5),
    )
    plan = replace(
        history.plan,
        title="readers wait for a function that is late",
        faults=(
            PlannedFault(function="igb0", fault=NOT_READY),
            PlannedFault(function="igb0", fault=WRONG_VALUE),
        ),
        incidents=(STALLED,),
    )
    function = FunctionRecord(
        alias="igb0", platform="hil-endpoint", bdf="0000:01:00.0", vendor=0x1AF4, device=0x10F0
    )
    history = replace(
        history, plan=plan, served=rows, served_error_ns=300_000, functions=(function,), log=(), uevents=()
    )
    begun = int(np.flatnonzero(rows["what"] == Happened.FAULT_BEGINS)[0])
    finding = Finding(
        checker="values_sane",
        verdict=Verdict.FAIL,
        claim="reader-1 read all ones from config space of igb0, which was not back from its reset",
        events=(EventId(EventKind.OPERATION, 4), EventId(EventKind.SERVED, begun)),
        promise="config-read/sysfs@sysfs-reset",
        source="Linux drivers/pci/pci.c, pci_dev_wait()",
        met=2,
        blame=Blame.RESET_FAILED,
    )
    return history, Judgement(findings=(finding,))
