"""Histories of any size, to measure the judge: readers that collide with one endless resetter for each function.

They are made up from their own description, not recorded; every checker speaks on one with readers, and it passes.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from harness.history.columns import KERNEL, OPERATION, Edge, Table, empty
from harness.history.history import ActorRecord, FunctionRecord, History, LogLine, Probe
from harness.history.windows import LOCK, TRYLOCK, UNLOCK, WAIT
from harness.model.operation import HEARTBEAT, config_read, reset
from harness.model.pci import AccessPath, ResetMethod
from harness.model.plan import Actor, File, Op, Plan, Step
from harness.model.units import MS, US, Ns

_READERS: Final = 4
_READ: Final = 20 * US  # one read, call to return
_PAUSE: Final = 5 * US  # between two reads of one actor
_RESET: Final = 103 * MS
_ACTORS: Final = _READERS + 1  # of one function
_PERIOD: Final = 200 * MS  # from one reset to the next
_FREE: Final = int((_PERIOD - _RESET) // (_READ + _PAUSE))
_BEAT: Final = 10 * MS
_BEGIN: Final = 1_000_000_000
_TID: Final = 100
_FUNCTION: Final = "dut"
_INFO: Final = "vfio-pci 0000:01:00.0: reset done"
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


def synthetic(operations: int, *, functions: int = 1, free: int = _FREE) -> History:
    """Make a history of reads by four actors a function, plus the resets and heartbeats that go with them.

    Args:
        operations: number of reads of each function, at least 4.
        functions: how many, at most 255.
        free: reads of one actor between two resets; each window is met by the last of them.
    """
    each = operations // _READERS
    cycles = -(-each // free)
    starts = _BEGIN + _PERIOD * np.arange(cycles, dtype=np.int64)
    opened = starts + (_PERIOD - _RESET)
    parts = [_reads(reader, each, free, starts, opened) for reader in range(_READERS)]
    parts.append((_resets(opened), _windows(opened)))
    tables = [_moved(table, number, "actor") for table, _ in parts for number in range(functions)]
    hits = [_moved(table, number, "tid", "function") for _, table in parts for number in range(functions)]
    tables.append(_beats(cycles, functions * _ACTORS))
    config = bytes.fromhex("361b10000600100000000000").ljust(256, b"\0")
    end = Ns(int(_BEGIN + _PERIOD * (cycles + 1)))
    return History(
        plan=_plan(end - _BEGIN, functions),
        begin_ns=Ns(_BEGIN),
        end_ns=end,
        operations=_sorted(tables, "begin_ns"),
        kernel=_sorted(hits, "time_ns"),
        probes=tuple(Probe(symbol=symbol, edge=edge) for symbol, edge in _PROBES),
        actors=tuple(
            ActorRecord(name=actor.name, tid=_TID + number)
            for number, actor in enumerate(_plan(0, functions).actors)
        ),
        functions=tuple(
            FunctionRecord(
                alias=alias,
                platform="nvme",
                bdf=f"0000:{number + 1:02x}:00.0",
                vendor=0x1B36,
                device=0x10,
                config_before=config,
                config_after=config,
            )
            for number, alias in enumerate(_aliases(functions))
        ),
        provenance={"kernel.release": "6.12.117"},
    )


def logged(info: int, plain: int) -> History:
    """A history without operations, whose kernel log tells of so many infos, and then of so many details of a report.

    Args:
        info: lines that are events of their own.
        plain: lines that belong to what was reported before; nothing was.
    """
    lines = (
        *(LogLine(time_us=n, level=6, text=_INFO) for n in range(info)),
        *(LogLine(time_us=info + n, level=4, text=f" ? frame_{n}+0x10/0x20") for n in range(plain)),
    )
    return replace(synthetic(_READERS), log=lines)


def _aliases(functions: int) -> tuple[str, ...]:
    return tuple(f"{_FUNCTION}{number or ''}" for number in range(functions))


def _moved(table: Table, number: int, *columns: str) -> Table:
    """The rows of the first function as those of another: each of its actors is so many further on."""
    moved = table.copy()
    for column in columns:
        by = number if column == "function" else number * _ACTORS
        moved[column] = np.where(moved[column] < 0, moved[column], moved[column] + by)
    return moved


def _plan(lasting: int, functions: int) -> Plan:
    actors: list[Actor] = []
    for number, alias in enumerate(_aliases(functions)):
        config, role = File(function=alias, role="config"), File(function=alias, role="reset")
        read = Step(op=Op.READ, means=config_read(AccessPath.SYSFS), file=config, offset=4, width=4)
        write = Step(op=Op.WRITE, means=reset(ResetMethod.FLR), file=role, value=b"1")
        readers = range(number * _READERS, (number + 1) * _READERS)
        actors += [Actor(name=f"reader-{reader}", steps=(read,)) for reader in readers]
        actors.append(Actor(name=f"resetter{number or ''}", steps=(write,)))
    return Plan(
        title="synthetic",
        functions=_aliases(functions),
        actors=(
            *actors,
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


def _beats(cycles: int, actor: int) -> Table:
    count = cycles * _PERIOD // _BEAT
    table = empty(OPERATION, count)
    planned = _BEGIN + _BEAT * np.arange(1, count + 1, dtype=np.int64)
    table["begin_ns"], table["end_ns"], table["value"] = planned - _BEAT, planned + 50 * US, planned
    table["actor"], table["round"] = actor, np.arange(count)
    return table


def _sorted(tables: list[Table], column: str) -> Table:
    whole: Any = np.concatenate(tables)
    ordered: Table = whole[np.argsort(whole[column], kind="stable")]
    ordered.flags.writeable = False
    return ordered


def _number(symbol: str, edge: Edge) -> int:
    return _PROBES.index((symbol, edge))
