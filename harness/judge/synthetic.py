"""A history of any length, to measure the judge: readers that collide with one endless resetter.

It is made up from its own description, not recorded; every checker speaks on it and it passes.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from harness.history.columns import KERNEL, OPERATION, Edge, Table, empty
from harness.history.history import ActorRecord, FunctionRecord, History, Probe
from harness.history.windows import LOCK, TRYLOCK, UNLOCK, WAIT
from harness.model.operation import HEARTBEAT, config_read, reset
from harness.model.pci import AccessPath, ResetMethod
from harness.model.plan import Actor, File, Op, Plan, Step
from harness.model.units import MS, US, Ns

_READERS: Final = 4
_READ: Final = 20 * US  # one read, call to return
_PAUSE: Final = 5 * US  # between two reads of one actor
_RESET: Final = 103 * MS
_PERIOD: Final = 200 * MS  # from one reset to the next
_BEAT: Final = 10 * MS
_BEGIN: Final = 1_000_000_000
_TID: Final = 100
_FUNCTION: Final = "dut"
_PROBES: Final = (
    (LOCK, Edge.ENTRY),
    (LOCK, Edge.RETURN),
    (UNLOCK, Edge.ENTRY),
    (UNLOCK, Edge.RETURN),
    (WAIT, Edge.ENTRY),
    ("pcie_flr", Edge.ENTRY),
    ("pcie_flr", Edge.RETURN),
    (TRYLOCK, Edge.ENTRY),
    (TRYLOCK, Edge.RETURN),
)


def synthetic(operations: int) -> History:
    """Make a history of `operations` reads by four actors, plus the resets and heartbeats that go with them.

    Args:
        operations: number of reads, at least 4.
    """
    each = operations // _READERS
    free = (_PERIOD - _RESET) // (_READ + _PAUSE)  # reads of one actor between two resets
    cycles = -(-each // free)
    starts = _BEGIN + _PERIOD * np.arange(cycles, dtype=np.int64)
    opened = starts + (_PERIOD - _RESET)
    tables, hits = [_resets(opened), _beats(cycles)], [_windows(opened)]
    for reader in range(_READERS):
        table, waits = _reads(reader, each, free, starts, opened)
        tables.append(table)
        hits.append(waits)
    config = bytes.fromhex("361b10000600100000000000").ljust(256, b"\0")
    end = Ns(int(_BEGIN + _PERIOD * (cycles + 1)))
    return History(
        plan=_plan(end - _BEGIN),
        begin_ns=Ns(_BEGIN),
        end_ns=end,
        operations=_sorted(tables, "begin_ns"),
        kernel=_sorted(hits, "time_ns"),
        probes=tuple(Probe(symbol=symbol, edge=edge) for symbol, edge in _PROBES),
        actors=tuple(
            ActorRecord(name=name, tid=_TID + number)
            for number, name in enumerate(
                (*(f"reader-{n}" for n in range(_READERS)), "resetter", "heartbeat")
            )
        ),
        functions=(
            FunctionRecord(
                alias=_FUNCTION,
                platform="nvme",
                bdf="0000:01:00.0",
                vendor=0x1B36,
                device=0x10,
                config_before=config,
                config_after=config,
            ),
        ),
        provenance={"kernel.release": "6.12.117"},
    )


def _plan(lasting: int) -> Plan:
    config = File(function=_FUNCTION, role="config")
    read = Step(op=Op.READ, means=config_read(AccessPath.SYSFS), file=config, offset=4, width=4)
    write = Step(
        op=Op.WRITE, means=reset(ResetMethod.FLR), file=File(function=_FUNCTION, role="reset"), value=b"1"
    )
    return Plan(
        title="synthetic",
        functions=(_FUNCTION,),
        actors=(
            *(Actor(name=f"reader-{number}", steps=(read,)) for number in range(_READERS)),
            Actor(name="resetter", steps=(write,)),
            Actor(name="heartbeat", steps=(Step(op=Op.PAUSE, means=HEARTBEAT, time_ns=Ns(_BEAT)),)),
        ),
        lasting_ns=Ns(lasting),
        deadline_ns=Ns(10 * _PERIOD),
        meets=1,
    )


def _reads(
    reader: int, each: int, free: int, starts: npt.NDArray[np.int64], opened: npt.NDArray[np.int64]
) -> tuple[Table, Table]:
    """The reads of one actor, and its waits: the last read before each reset meets the window."""
    number = np.arange(each)
    cycle, place = number // free, number % free
    table = empty(OPERATION, each)
    table["begin_ns"] = starts[cycle] + place * (_READ + _PAUSE) + reader * US
    table["end_ns"] = table["begin_ns"] + _READ
    last = place == free - 1
    table["begin_ns"][last] = opened[cycle[last]] + 10 * US + reader * US
    table["end_ns"][last] = opened[cycle[last]] + _RESET - _PAUSE + reader * US
    table["value"], table["result"], table["actor"], table["round"] = 0x0010_0006, 4, reader, number
    waits = empty(KERNEL, int(last.sum()))
    waits["time_ns"] = table["begin_ns"][last] + 4 * US
    waits["tid"], waits["probe"] = _TID + reader, _number(WAIT, Edge.ENTRY)
    return table, waits


def _resets(opened: npt.NDArray[np.int64]) -> Table:
    table = empty(OPERATION, len(opened))
    table["begin_ns"], table["end_ns"] = opened - 20 * US, opened + _RESET - 10 * US
    table["value"], table["result"], table["actor"], table["round"] = (
        0x31,
        1,
        _READERS,
        np.arange(len(opened)),
    )
    return table


def _windows(opened: npt.NDArray[np.int64]) -> Table:
    moments: tuple[tuple[str, Edge, int, int], ...] = (
        (LOCK, Edge.ENTRY, -2 * US, 0),
        (LOCK, Edge.RETURN, 0, -1),
        ("pcie_flr", Edge.ENTRY, 5 * US, 0),
        ("pcie_flr", Edge.RETURN, _RESET - 40 * US, -1),
        (UNLOCK, Edge.ENTRY, _RESET - 20 * US, 0),
        (UNLOCK, Edge.RETURN, _RESET - 18 * US, -1),
    )
    table = empty(KERNEL, len(opened) * len(moments))
    for place, (symbol, edge, after, function) in enumerate(moments):
        rows = table[place :: len(moments)]
        rows["time_ns"], rows["function"] = opened + after, function
        rows["tid"], rows["probe"] = _TID + _READERS, _number(symbol, edge)
    return table


def _beats(cycles: int) -> Table:
    count = cycles * _PERIOD // _BEAT
    table = empty(OPERATION, count)
    planned = _BEGIN + _BEAT * np.arange(1, count + 1, dtype=np.int64)
    table["begin_ns"], table["end_ns"], table["value"] = planned - _BEAT, planned + 50 * US, planned
    table["actor"], table["round"] = _READERS + 1, np.arange(count)
    return table


def _sorted(tables: list[Table], column: str) -> Table:
    whole: Any = np.concatenate(tables)
    ordered: Table = whole[np.argsort(whole[column], kind="stable")]
    ordered.flags.writeable = False
    return ordered


def _number(symbol: str, edge: Edge) -> int:
    return _PROBES.index((symbol, edge))
