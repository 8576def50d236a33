"""The rows of a served function in a timeline's text: bars of what was wrong, then what it saw and did."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from harness.report.timeline.served import LETTERS, MEANINGS, ServedLane, Sight
from harness.report.timeline.wrongs import Origin, Wrong

Column = Callable[[int], int]
"""Where a time lies."""
_NAMES: Final = {Origin.FUNCTION: "wrong", Origin.HOST: "host"}
_FILLS: Final = {Origin.FUNCTION: "~", Origin.HOST: "#"}
_ORIGINS: Final = {Origin.FUNCTION: "<~~> staged fault", Origin.HOST: "<##> done by the host"}


def served_rows(lane: ServedLane, column: Column, plot: int) -> Iterator[tuple[str, list[str]]]:
    """Names and rows of `plot` columns."""
    for track in lane.tracks:
        yield _name(lane, track), _bars(track, column, plot)
    row, rank = [" "] * plot, [-1] * plot
    for seen in (*lane.accesses, *lane.signs):
        at = column(seen.at)
        if seen.sight > rank[at]:
            rank[at], row[at] = seen.sight, LETTERS[seen.sight]
    yield lane.name, row


def names(lanes: Iterable[ServedLane]) -> list[str]:
    """Names of all rows."""
    return [name for lane in lanes for name in (lane.name, *(_name(lane, track) for track in lane.tracks))]


def legend(lanes: Iterable[ServedLane]) -> tuple[list[str], list[str]]:
    """Bars, then letters: only what is really drawn."""
    lanes = tuple(lanes)
    origins = {wrong.origin for lane in lanes for wrong in lane.wrongs}
    sights: set[Sight] = {seen.sight for lane in lanes for seen in (*lane.accesses, *lane.signs)}
    bars = [words for origin, words in _ORIGINS.items() if origin in origins]
    return bars, [f"{LETTERS[sight]} {MEANINGS[sight]}" for sight in sorted(sights)]


def _name(lane: ServedLane, track: tuple[Wrong, ...]) -> str:
    return f"{_NAMES[track[0].origin]} {lane.function}"


def _bars(track: tuple[Wrong, ...], column: Column, plot: int) -> list[str]:
    row = [" "] * plot
    for wrong, after in itertools.zip_longest(track, track[1:]):
        first, last = column(wrong.begin), column(wrong.end)
        free = column(after.begin) if after else plot
        row[first : last + 1] = _FILLS[wrong.origin] * (last + 1 - first)
        row[last], row[first] = ">", "<"
        words = wrong.label
        if len(words) + 4 <= last + 1 - first:
            _write(row, first + (last + 1 - first - len(words) - 2) // 2, f" {words} ")
        elif last + 2 + len(words) < free:
            _write(row, last + 2, words)
        elif len(words) + 2 <= first and not "".join(row[first - len(words) - 2 : first]).strip():
            _write(row, first - len(words) - 1, words)
    return row


def _write(row: list[str], at: int, text: str) -> None:
    row[at : at + len(text)] = text
