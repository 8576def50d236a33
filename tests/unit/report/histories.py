"""A small history made by hand: a read that completed inside a lock window, and its judgement."""

from __future__ import annotations

import numpy as np

from harness.history.columns import KERNEL, OPERATION, Edge
from harness.history.history import ActorRecord, FunctionRecord, History, LogLine, Probe, Uevent
from harness.history.windows import LOCK, TRYLOCK, UNLOCK, WAIT
from harness.model.operation import config_read, reset
from harness.model.pci import AccessPath, ResetMethod
from harness.model.plan import Actor, File, Op, Plan, Step
from harness.model.units import Ns
from harness.model.verdict import Blame, EventId, EventKind, Finding, Judgement, Verdict

ZERO = 10_000_000_000
US = 1_000
READER_1, READER_2, RESETTER = 501, 502, 503

READ = Step(
    op=Op.READ,
    means=config_read(AccessPath.SYSFS),
    file=File(function="igb0", role="config"),
    offset=0x04,
    width=4,
)
FLR = Step(
    op=Op.WRITE, means=reset(ResetMethod.FLR), file=File(function="igb0", role="reset"), value=b"1", width=1
)
PLAN = Plan(
    title="readers block while the function resets",
    functions=("igb0",),
    actors=(
        Actor(name="reader-1", steps=(READ,)),
        Actor(name="reader-2", steps=(READ,)),
        Actor(name="resetter", steps=(FLR,), starts_ns=Ns(50_000 * US), times=1),
    ),
    lasting_ns=Ns(400_000 * US),
    deadline_ns=Ns(1_000_000 * US),
    meets=1,
    seed=7,
)
PROBES = (
    Probe(symbol=LOCK, edge=Edge.ENTRY),
    Probe(symbol=LOCK, edge=Edge.RETURN),
    Probe(symbol=UNLOCK, edge=Edge.ENTRY),
    Probe(symbol=WAIT, edge=Edge.ENTRY),
    Probe(symbol="pcie_flr", edge=Edge.ENTRY),
    Probe(symbol="pcie_flr", edge=Edge.RETURN),
    Probe(symbol=TRYLOCK, edge=Edge.ENTRY),
    Probe(symbol=TRYLOCK, edge=Edge.RETURN),
)


def read_in_lock_window() -> tuple[History, Judgement]:
    """Reader 1 reads in the middle of the window, reader 2 waits as it should."""
    operations = [  # begin and end in us after release, actor, value
        (10_000, 10_012, 0, 0x0010_0406),
        (20_000, 20_011, 1, 0x0010_0406),
        (30_000, 30_013, 0, 0x0010_0406),
        (50_004, 153_460, 2, 0x31),
        (61_204, 61_218, 0, 0xFFFF_FFFF),
        (70_000, 153_430, 1, 0x0010_0406),
        (160_000, 160_012, 0, 0x0010_0406),
        (300_000, 0, 1, 0),
    ]
    kernel = [  # us after release, probe, thread, function
        (50_020, 0, RESETTER, 0),
        (50_024, 1, RESETTER, -1),
        (50_090, 4, RESETTER, 0),
        (70_003, 3, READER_2, 0),
        (152_000, 5, RESETTER, -1),
        (153_400, 2, RESETTER, 0),
    ]
    history = History(
        plan=PLAN,
        begin_ns=Ns(ZERO),
        end_ns=Ns(ZERO + 410_000 * US),
        operations=np.array(
            [
                (ZERO + begin * US, ZERO + end * US if end else 0, value, 4 if end else 0, 0, actor, 0, row)
                for row, (begin, end, actor, value) in enumerate(operations)
            ],
            dtype=OPERATION,
        ),
        kernel=np.array(
            [(ZERO + at * US, 0, thread, probe, function) for at, probe, thread, function in kernel],
            dtype=KERNEL,
        ),
        probes=PROBES,
        actors=(
            ActorRecord(name="reader-1", tid=READER_1, rounds=4),
            ActorRecord(name="reader-2", tid=READER_2, rounds=3, end="abandoned", wchan="pci_wait_cfg"),
            ActorRecord(name="resetter", tid=RESETTER, rounds=1),
        ),
        functions=(
            FunctionRecord(
                alias="igb0",
                platform="igb",
                bdf="0000:01:00.0",
                vendor=0x8086,
                device=0x10C9,
                reset_methods=("flr", "bus"),
            ),
        ),
        log=(
            LogLine(time_us=12, level=4, text="igb 0000:01:00.0: timed out waiting for pending transaction"),
        ),
        uevents=(Uevent(time_ns=Ns(ZERO + 200_000 * US), action="change", path="/devices/pci0000:00"),),
        provenance={"kernel.release": "6.12.117+deb13-amd64"},
    )
    finding = Finding(
        checker="access_outcome",
        verdict=Verdict.FAIL,
        claim="reader-1 read config space of igb0 while its config lock was held: "
        "the read took 14 us and should have slept until the lock was given back",
        events=(EventId(EventKind.OPERATION, 4), EventId(EventKind.KERNEL, 1)),
        promise="config-read/sysfs@config-lock",
        source="Linux drivers/pci/access.c, pci_wait_cfg()",
        met=2,
        blame=Blame.MISMATCH,
    )
    clean = Finding(checker="kernel_log", verdict=Verdict.PASS, claim="nothing worse than a warning")
    return history, Judgement(findings=(clean, finding))
