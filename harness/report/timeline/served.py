"""What functions that a model of ours serves saw and did: a lane for each, in columns, however many rows there are."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np

from harness.history.columns import Table
from harness.history.history import History
from harness.model.served import Happened
from harness.report.timeline.served_words import CONFIG_REGION, told
from harness.report.timeline.wrongs import Wrong, merged, tracks_of, wrongs_of

COLUMNS: Final = 454
"""Columns of time that a lane is counted in: two pixels of a picture each."""


class Sight(enum.IntEnum):
    """What is drawn of a function, by concern: when many share a place, the largest is shown."""

    READ = 0
    WRITTEN = 1
    NOTED = 2
    CAME = 3
    INTERRUPT = 4
    DMA = 5
    CRITICAL = 6
    KEPT = 7
    ALL_ONES = 8
    REFUSED = 9
    HUNG_UP = 10
    DMA_REFUSED = 11
    INTERRUPT_LOST = 12
    FLR = 13
    BUS_RESET = 14
    WAKE = 15
    SELF_TESTED = 16
    FLR_IGNORED = 17
    LOST = 18
    CORRUPTED = 19
    LEFT_OVER = 20
    MET = 21


LETTERS: Final = {
    Sight.READ: ".",
    Sight.WRITTEN: "w",
    Sight.NOTED: "n",
    Sight.CAME: "c",
    Sight.INTERRUPT: "i",
    Sight.DMA: "d",
    Sight.CRITICAL: "k",
    Sight.KEPT: "K",
    Sight.ALL_ONES: "1",
    Sight.REFUSED: "E",
    Sight.HUNG_UP: "h",
    Sight.DMA_REFUSED: "D",
    Sight.INTERRUPT_LOST: "l",
    Sight.FLR: "f",
    Sight.BUS_RESET: "b",
    Sight.WAKE: "p",
    Sight.SELF_TESTED: "t",
    Sight.FLR_IGNORED: "x",
    Sight.LOST: "L",
    Sight.CORRUPTED: "X",
    Sight.LEFT_OVER: "o",
    Sight.MET: "m",
}
MEANINGS: Final = {
    Sight.READ: "read",
    Sight.WRITTEN: "written",
    Sight.NOTED: "noted",
    Sight.CAME: "QEMU came",
    Sight.INTERRUPT: "interrupt",
    Sight.DMA: "DMA",
    Sight.CRITICAL: "critical section",
    Sight.KEPT: "its end",
    Sight.ALL_ONES: "read all ones",
    Sight.REFUSED: "answered with an error",
    Sight.HUNG_UP: "QEMU hung up",
    Sight.DMA_REFUSED: "DMA refused",
    Sight.INTERRUPT_LOST: "interrupt lost",
    Sight.FLR: "FLR",
    Sight.BUS_RESET: "bus reset",
    Sight.WAKE: "woke, state forgotten",
    Sight.SELF_TESTED: "self-tested",
    Sight.FLR_IGNORED: "FLR ignored",
    Sight.LOST: "state lost, not told",
    Sight.CORRUPTED: "state corrupted",
    Sight.LEFT_OVER: "state not reset",
    Sight.MET: "fault met",
}
ACCESSES: Final = (Sight.READ, Sight.WRITTEN, Sight.ALL_ONES, Sight.REFUSED)
"""What is drawn as density; all else has a mark of its own."""
EPOCHS: Final = (Sight.FLR, Sight.BUS_RESET, Sight.WAKE, Sight.SELF_TESTED)
"""After one of these the function has forgotten its state."""

_SIGHTS: Final = {
    Happened.READ: Sight.READ,
    Happened.WRITTEN: Sight.WRITTEN,
    Happened.FLR: Sight.FLR,
    Happened.BUS_RESET: Sight.BUS_RESET,
    Happened.WAKE: Sight.WAKE,
    Happened.SELF_TESTED: Sight.SELF_TESTED,
    Happened.FLR_IGNORED: Sight.FLR_IGNORED,
    Happened.FAULT_MET: Sight.MET,
    Happened.INTERRUPT: Sight.INTERRUPT,
    Happened.INTERRUPT_LOST: Sight.INTERRUPT_LOST,
    Happened.DMA_READ: Sight.DMA,
    Happened.DMA_WRITTEN: Sight.DMA,
    Happened.CONNECTED: Sight.CAME,
    Happened.DISCONNECTED: Sight.HUNG_UP,
    Happened.NOTED: Sight.NOTED,
    Happened.CRITICAL_BEGINS: Sight.CRITICAL,
    Happened.CRITICAL_ENDS: Sight.KEPT,
    Happened.CORRUPTED: Sight.CORRUPTED,
    Happened.LOST: Sight.LOST,
    Happened.LEFT_OVER: Sight.LEFT_OVER,
}
"""The rest are edges of what is drawn as a bar."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What a function saw or did in one column of time.

    Attributes:
        at: ns after release: of the first of them.
        sight: what.
        config: of accesses, whether they went to config space; else to a BAR.
        count: how many.
        text: the first of them, in words.
    """

    at: int
    sight: Sight
    config: bool
    count: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedLane:
    """One function that a model of ours serves.

    Attributes:
        function: alias.
        accesses: sorted by time: all of :data:`ACCESSES`.
        signs: sorted by time: all else.
        tracks: bars, in as many rows as it takes that none lies over another.
        count: rows of the whole stage.
        marked: does a marked event lie in this lane?
    """

    function: str
    accesses: tuple[Seen, ...]
    signs: tuple[Seen, ...]
    tracks: tuple[tuple[Wrong, ...], ...]
    count: int
    marked: bool = False

    @property
    def name(self) -> str:
        """For the label."""
        return lane_name(self.function)

    @property
    def wrongs(self) -> tuple[Wrong, ...]:
        """All bars."""
        return tuple(wrong for track in self.tracks for wrong in track)


def lane_name(alias: str) -> str:
    """The label of the lane of a served function."""
    return f"model {alias}"


def served_lanes(
    history: History, view: tuple[int, int], marked: Iterable[str] = ()
) -> tuple[ServedLane, ...]:
    """A lane for each function with rows, in the plan's order.

    Args:
        history: what happened.
        view: what is drawn of it, ns after release.
        marked: names of lanes in which a marked event lies.
    """
    chosen, served, lanes = set(marked), history.served, []
    wrongs = wrongs_of(history)
    column = max(1, (view[1] - view[0]) // COLUMNS)
    for number, alias in enumerate(history.plan.functions):
        rows = np.flatnonzero(served["function"] == number)
        if not len(rows):
            continue
        mine = [one for one in wrongs if one.function == alias and _touches(one, view)]
        accesses, signs = _columns(history, rows, view, column)
        lanes.append(
            ServedLane(
                function=alias,
                accesses=accesses,
                signs=signs,
                tracks=tracks_of(merged(mine, column)),
                count=len(rows),
                marked=lane_name(alias) in chosen,
            )
        )
    return tuple(lanes)


def _touches(wrong: Wrong, view: tuple[int, int]) -> bool:
    return wrong.begin <= view[1] and wrong.end >= view[0]


def _columns(
    history: History, rows: np.ndarray[tuple[int], np.dtype[np.intp]], view: tuple[int, int], column: int
) -> tuple[tuple[Seen, ...], tuple[Seen, ...]]:
    """Count the rows of one function that lie in the view: one :class:`Seen` for all alike in a column of time."""
    zero = int(history.begin_ns)
    times = history.served["time_ns"][rows] - zero
    rows = rows[(times >= view[0]) & (times <= view[1])]
    table = history.served[rows]
    sights, config = _sights(table), table["region"] == CONFIG_REGION
    drawn = sights >= 0
    rows, table, sights, config = rows[drawn], table[drawn], sights[drawn], config[drawn]
    columns = (table["time_ns"] - zero - view[0]) // column
    keys = (columns * len(Sight) + sights) * 2 + config
    _, first, counts = np.unique(keys, return_index=True, return_counts=True)
    found = [
        Seen(
            at=int(table["time_ns"][place]) - zero,
            sight=(sight := Sight(int(sights[place]))),
            config=bool(config[place]),
            count=int(count),
            text=_of_many(told(history, int(rows[place])), int(count)) if sight not in ACCESSES else "",
        )
        for place, count in zip(first, counts, strict=True)
    ]
    found.sort(key=lambda seen: (seen.at, seen.sight))
    return (
        tuple(seen for seen in found if seen.sight in ACCESSES),
        tuple(seen for seen in found if seen.sight not in ACCESSES),
    )


def _of_many(text: str, count: int) -> str:
    return f"{text}; {count} such until the next column" if count > 1 else text


def _sights(table: Table) -> np.ndarray[tuple[int], np.dtype[np.int8]]:
    """What is drawn for each row; -1: nothing."""
    words = np.full(256, -1, dtype=np.int8)
    for happened, sight in _SIGHTS.items():
        words[happened] = sight
    sights: np.ndarray[tuple[int], np.dtype[np.int8]] = words[table["what"]]
    bits = np.uint64(64) - np.uint64(8) * np.clip(table["width"], 1, 8).astype(np.uint64)
    ones = np.uint64(2**64 - 1) >> bits
    failed = table["error"] != 0
    sights[(sights == Sight.READ) & (table["value"] == ones)] = Sight.ALL_ONES
    sights[failed & np.isin(table["what"], (Happened.READ, Happened.WRITTEN))] = Sight.REFUSED
    sights[failed & (words[table["what"]] == Sight.DMA)] = Sight.DMA_REFUSED
    return sights
