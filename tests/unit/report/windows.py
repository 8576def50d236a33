"""A history made by hand with windows of many kinds: a hot reset whose config lock is stolen, and what comes of it."""

from __future__ import annotations

import errno

import numpy as np

from harness.history.columns import KERNEL, OPERATION, Edge
from harness.history.history import ActorRecord, FunctionRecord, History, LogLine, Probe
from harness.history.windows import HOLD_DEVICE_LOCK, LOCK, UNLOCK, WAIT
from harness.model import operation as words
from harness.model.operation import Operation, config_read
from harness.model.pci import AccessPath
from harness.model.plan import Actor, File, Op, Plan, Step
from harness.model.policy import policy_of
from harness.model.units import Ns
from harness.model.verdict import Blame, EventId, EventKind, Finding, Judgement, Verdict

ZERO = 10_000_000_000
US = 1_000
NAMES = ("reader-1", "reader-2", "mapper", "flr-writer", "port-reader", "resetter", "holder", "thief")
TID = {name: 701 + number for number, name in enumerate(NAMES)}
POINTS = [
    (symbol, edge)
    for symbol in (LOCK, UNLOCK, WAIT, HOLD_DEVICE_LOCK, "pci_reset_bus", "pcie_flr")
    for edge in Edge
]


def step(
    op: Op, means: Operation, role: str, function: str = "igb0", *, width: int = 0, value: bytes = b""
) -> Step:
    retries = policy_of(means).retries_plan()
    file = File(function=function, role=role)
    return Step(op=op, means=means, file=file, width=width, value=value, retries=retries)


READ = step(Op.READ, words.VFIO_READ, "vfio-config", width=4)
STEPS = {
    "reader-1": READ,
    "reader-2": READ,
    "mapper": step(Op.LOAD, words.MAPPED_READ, "vfio-bar0", width=4),
    "flr-writer": step(Op.WRITE, words.VFIO_FLR_BIT, "vfio-config", width=2, value=b"\x10\xa8"),
    "port-reader": step(Op.READ, config_read(AccessPath.SYSFS), "config", "igb0.port", width=4),
    "resetter": step(Op.HOT_RESET, words.HOT_RESET, "vfio"),
    "holder": step(Op.WRITE, words.HOLD_DEVICE, "windows"),
    "thief": step(Op.WRITE, words.STEAL, "windows"),
}
PLAN = Plan(
    title="VFIO readers wait while the bus is reset",
    functions=("igb0", "igb0.port"),
    actors=tuple(Actor(name=name, steps=(STEPS[name],)) for name in NAMES),
    lasting_ns=Ns(300_000 * US),
    deadline_ns=Ns(1_000_000 * US),
    ports={"igb0": "igb0.port"},
    meets=1,
    seed=11,
)
REFUSED_AT = (50_000, 51_050, 53_080, 57_110, 65_140, 81_170)
HEALTHY, ONES = 0x0010_0406, 0xFFFF_FFFF


def stolen_lock() -> tuple[History, Judgement]:
    """A thief gives the lock of a hot reset back too early: reader 2 then sees a function in reset."""
    done = [  # begin and end in us after release, actor, value, error, round
        (20_000, 20_012, "reader-1", HEALTHY, 0, 0),
        (25_000, 25_014, "reader-2", HEALTHY, 0, 0),
        (30_000, 30_002, "mapper", 0x40, 0, 0),
        (35_000, 35_020, "port-reader", HEALTHY, 0, 0),
        (40_000, 100_010, "holder", 0, 0, 0),
        *((at, at + 30, "resetter", 0, errno.EAGAIN, 0) for at in REFUSED_AT),
        (70_000, 70_300, "flr-writer", 0xA810, 0, 0),
        (80_000, 80_013, "reader-1", HEALTHY, 0, 1),
        (113_200, 240_000, "resetter", 0, 0, 0),
        (120_000, 239_650, "port-reader", HEALTHY, 0, 1),
        (130_000, 190_040, "reader-1", ONES, 0, 2),
        (189_990, 190_020, "thief", 0, 0, 0),
        (195_000, 195_013, "reader-2", ONES, 0, 1),
        (210_000, 210_001, "mapper", 0x40, -7, 1),
        (260_000, 260_012, "reader-1", HEALTHY, 0, 3),
        (262_000, 262_012, "reader-2", HEALTHY, 0, 2),
    ]
    done.sort()
    hits = [  # us after release, symbol, edge, actor, function
        (40_004, HOLD_DEVICE_LOCK, Edge.ENTRY, "holder", 0),
        (100_004, HOLD_DEVICE_LOCK, Edge.RETURN, "holder", -1),
        (113_290, "pci_reset_bus", Edge.ENTRY, "resetter", 0),
        (113_300, LOCK, Edge.ENTRY, "resetter", 1),
        (113_302, LOCK, Edge.RETURN, "resetter", -1),
        (113_310, LOCK, Edge.ENTRY, "resetter", 0),
        (113_312, LOCK, Edge.RETURN, "resetter", -1),
        (120_005, WAIT, Edge.ENTRY, "port-reader", 1),
        (130_006, WAIT, Edge.ENTRY, "reader-1", 0),
        (190_000, UNLOCK, Edge.ENTRY, "thief", 0),
        (190_002, UNLOCK, Edge.RETURN, "thief", -1),
        (239_500, UNLOCK, Edge.ENTRY, "resetter", 0),
        (239_502, UNLOCK, Edge.RETURN, "resetter", -1),
        (239_600, UNLOCK, Edge.ENTRY, "resetter", 1),
        (239_602, UNLOCK, Edge.RETURN, "resetter", -1),
        (239_700, "pci_reset_bus", Edge.RETURN, "resetter", -1),
    ]
    history = History(
        plan=PLAN,
        begin_ns=Ns(ZERO),
        end_ns=Ns(ZERO + 310_000 * US),
        operations=np.array(
            [
                (
                    ZERO + begin * US,
                    ZERO + end * US,
                    value,
                    -1 if error else 4,
                    error,
                    NAMES.index(name),
                    0,
                    number,
                )
                for begin, end, name, value, error, number in done
            ],
            dtype=OPERATION,
        ),
        kernel=np.array(
            [
                (ZERO + at * US, 0, TID[name], POINTS.index((symbol, edge)), function)
                for at, symbol, edge, name, function in hits
            ],
            dtype=KERNEL,
        ),
        probes=tuple(Probe(symbol=symbol, edge=edge) for symbol, edge in POINTS),
        actors=tuple(ActorRecord(name=name, tid=TID[name], rounds=1) for name in NAMES),
        functions=(
            FunctionRecord(
                alias="igb0",
                platform="igb",
                bdf="0000:01:00.0",
                vendor=0x8086,
                device=0x10C9,
                driver="vfio-pci",
                reset_methods=("flr", "bus"),
            ),
            FunctionRecord(
                alias="igb0.port", platform="root-port", bdf="0000:00:02.0", vendor=0x1B36, device=0x000C
            ),
        ),
        log=(
            LogLine(time_us=239_500, level=4, text="WARNING: CPU: 1 PID: 706 at drivers/pci/access.c:310"),
            LogLine(
                time_us=239_501, level=4, text="pci_cfg_access_unlock: lock of 0000:01:00.0 was not held"
            ),
        ),
        provenance={"kernel.release": "6.12.117+deb13-amd64"},
    )
    row = next(number for number, one in enumerate(done) if one[2] == "reader-2" and one[3] == ONES)
    finding = Finding(
        checker="access_outcome",
        verdict=Verdict.FAIL,
        claim="reader-2 read all ones from config space of igb0 during a hot reset: its config lock had been "
        "given back by thief, which never held it",
        events=(EventId(EventKind.KERNEL, 9), EventId(EventKind.OPERATION, row)),
        promise="config-read/vfio@hot-reset",
        source="Linux drivers/pci/access.c, pci_cfg_access_unlock()",
        met=2,
        blame=Blame.MISMATCH,
    )
    return history, Judgement(findings=(finding,))
