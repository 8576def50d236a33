"""Histories made by hand of drivers that reset their functions, and of one that is told of a reset."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from harness.history.columns import INTERRUPT, KERNEL, OPERATION, Edge
from harness.history.history import ActorRecord, FunctionRecord, History, LogLine, Probe
from harness.history.windows import CALLBACKS, DRIVER_STEPS, LOCK, TRYLOCK, UNLOCK, WAIT
from harness.model.operation import HOST_RESET, config_read, reset
from harness.model.pci import AccessPath, ResetMethod
from harness.model.plan import Actor, File, Op, Plan, Step
from harness.model.units import Ns
from harness.model.verdict import Blame, EventId, EventKind, Finding, Judgement, Verdict

ZERO = 10_000_000_000
MS = 1_000_000
NAMES = ("host-resetter", "resetter", "reader")
TID = {"": INTERRUPT, **{name: 801 + number for number, name in enumerate(NAMES)}}
POINTS = [
    *((symbol, edge) for symbol in (LOCK, TRYLOCK, UNLOCK, WAIT, "pcie_flr") for edge in Edge),
    *((symbol, Edge.ENTRY) for symbol in (*DRIVER_STEPS, *CALLBACKS)),
]
STEPS = {
    "host-resetter": Step(
        op=Op.WRITE, means=HOST_RESET, file=File(function="ipr0", role="scsi-host/reset_host"), value=b"1"
    ),
    "resetter": Step(
        op=Op.WRITE, means=reset(ResetMethod.FLR), file=File(function="ipr0", role="reset"), value=b"1"
    ),
    "reader": Step(
        op=Op.READ, means=config_read(AccessPath.SYSFS), file=File(function="ipr0", role="config"), width=4
    ),
}
PLAN = Plan(
    title="a driver that resets its adapter, and a user that resets it too",
    functions=("ipr0",),
    actors=tuple(Actor(name=name, steps=(STEPS[name],)) for name in NAMES),
    lasting_ns=Ns(20_000 * MS),
    deadline_ns=Ns(30_000 * MS),
    meets=1,
    seed=5,
)
Hit = tuple[int, str, Edge, str, int, int]
"""Ms after release, symbol, edge, actor or nobody (an interrupt), function, value."""
ENTRY, RETURN = Edge.ENTRY, Edge.RETURN
VAIN = range(1_200, 3_200, 100)
BEGUN: tuple[Hit, ...] = (
    (100, "_ipr_initiate_ioa_reset", ENTRY, "host-resetter", 0, 0),
    (101, "ipr_reset_shutdown_ioa", ENTRY, "host-resetter", 0, 0),
    (300, "ipr_reset_alert", ENTRY, "", 0, 0),
)
AFTER: tuple[Hit, ...] = (
    (5_200, "ipr_reset_bist_done", ENTRY, "", 0, 0),
    (5_201, "ipr_reset_restore_cfg_space", ENTRY, "", 0, 0),
    (6_400, "ipr_reset_enable_ioa", ENTRY, "", 0, 0),
)


def tried(at: int, taken: int) -> tuple[Hit, Hit]:
    """A trylock of the driver and its answer."""
    return (at, TRYLOCK, ENTRY, "", 0, 0), (at, TRYLOCK, RETURN, "", -1, taken)


def again(begin: int, *, locked: bool = True, warm: bool = False) -> tuple[Hit, ...]:
    """A try that comes to its end."""
    start = "ipr_reset_slot_reset" if warm else "ipr_reset_start_bist"
    return (
        (begin, "_ipr_initiate_ioa_reset", ENTRY, "", 0, 0),
        (begin + 1, "ipr_reset_alert", ENTRY, "", 0, 0),
        *(tried(begin + 500, 1) if locked else ()),
        (begin + 501, start, ENTRY, "", 0, 0),
        (begin + 2_500, "ipr_reset_bist_done", ENTRY, "", 0, 0),
        *(((begin + 2_500, UNLOCK, ENTRY, "", 0, 0),) if locked else ()),
        (begin + 2_501, "ipr_reset_restore_cfg_space", ENTRY, "", 0, 0),
        (begin + 2_550, "ipr_reset_enable_ioa", ENTRY, "", 0, 0),
        (begin + 2_900, "ipr_ioa_reset_done", ENTRY, "", 0, 0),
    )


def history_of(*hits: Hit, operations: tuple[tuple[int, int, str, int], ...] = ()) -> History:
    """A history of these hits; operations are begin and end in ms after release, actor and value."""
    rows = sorted(hits, key=lambda hit: hit[0])
    return History(
        plan=PLAN,
        begin_ns=Ns(ZERO),
        end_ns=Ns(ZERO + 20_000 * MS),
        operations=np.array(
            [
                (ZERO + begin * MS, ZERO + end * MS, value, 4, 0, NAMES.index(name), 0, number)
                for number, (begin, end, name, value) in enumerate(sorted(operations))
            ],
            dtype=OPERATION,
        ),
        kernel=np.array(
            [
                (ZERO + at * MS, value, TID[name], POINTS.index((symbol, edge)), function)
                for at, symbol, edge, name, function, value in rows
            ],
            dtype=KERNEL,
        ),
        probes=tuple(Probe(symbol=symbol, edge=edge) for symbol, edge in POINTS),
        actors=tuple(ActorRecord(name=name, tid=TID[name], rounds=1) for name in NAMES),
        functions=(
            FunctionRecord(
                alias="ipr0",
                platform="hil-ipr",
                bdf="0000:06:00.0",
                vendor=0x1014,
                device=0x0339,
                driver="ipr",
                reset_methods=("flr",),
            ),
        ),
        log=(
            LogLine(
                time_us=3_200_000,
                level=3,
                text="ipr 0000:06:00.0: Timed out waiting to lock config access. Resetting anyway.",
            ),
        ),
        provenance={"kernel.release": "6.12.117+deb13-amd64"},
    )


def race() -> tuple[History, Judgement]:
    """A user's FLR holds the lock longer than the driver is patient: it goes on without it, and must try again."""
    history = history_of(
        *BEGUN,
        (1_000, LOCK, ENTRY, "resetter", 0, 0),
        (1_001, LOCK, RETURN, "resetter", -1, 0),
        (1_002, "pcie_flr", ENTRY, "resetter", 0, 0),
        (1_010, WAIT, ENTRY, "reader", 0, 0),
        *(hit for at in VAIN for hit in tried(at, 0)),
        (3_200, "ipr_reset_start_bist", ENTRY, "", 0, 0),
        *AFTER,
        (9_000, "pcie_flr", RETURN, "resetter", -1, 0),
        (9_001, UNLOCK, ENTRY, "resetter", 0, 0),
        *again(15_000),
        operations=(
            (99, 17_901, "host-resetter", 0),
            (999, 9_002, "resetter", 0),
            (10, 10, "reader", 0x0010_0406),
            (1_009, 9_003, "reader", 0x0010_0406),
        ),
    )
    symbols = [(history.probes[int(row["probe"])].symbol, int(row["tid"])) for row in history.kernel]
    finding = Finding(
        checker="driver_locked",
        verdict=Verdict.FAIL,
        claim="The driver of ipr0 began its self-test without the config lock after 20 tries in 2 s: resetter held "
        "it, and for 5.8 s more.",
        events=(
            EventId(EventKind.KERNEL, symbols.index(("ipr_reset_start_bist", INTERRUPT))),
            EventId(EventKind.KERNEL, symbols.index((LOCK, TID["resetter"])) + 1),
        ),
        promise="driver-lock@sysfs-reset",
        source="Linux drivers/scsi/ipr.c",
        met=1,
        blame=Blame.MISMATCH,
    )
    return history, Judgement(findings=(finding,))


def told() -> History:
    """A driver with callbacks, beside a reset by the user."""
    history = history_of(
        (1_000, "nvme_reset_prepare", ENTRY, "resetter", 0, 0),
        (1_010, LOCK, ENTRY, "resetter", 0, 0),
        (1_011, LOCK, RETURN, "resetter", -1, 0),
        (1_150, UNLOCK, ENTRY, "resetter", 0, 0),
        (1_160, "nvme_reset_done", ENTRY, "resetter", 0, 0),
        operations=((999, 1_170, "resetter", 0),),
    )
    return replace(history, log=())
