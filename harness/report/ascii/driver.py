"""The row of a driver in a timeline's text: a letter where it came to something new, then how that try ended."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from harness.report.ascii.served import Column
from harness.report.timeline.driver_lane import (
    FATES,
    NOTHING,
    PHASE_LETTERS,
    TOLD,
    TOLD_LETTERS,
    WITHOUT,
    DriverLane,
    Fate,
    Phase,
    Stretch,
)

_RESETS: Final = (Phase.SELF_TEST, Phase.WARM_RESET)
_ENDS: Final = {Fate.DONE: ">", Fate.FAILED: "x", Fate.LEFT: "|"}


def driver_row(lane: DriverLane, column: Column, plot: int, end: int) -> list[str]:
    """A row of `plot` columns, of a view that ends at `end` (ns after release)."""
    row = [" "] * plot
    for stretch in lane.stretches:
        _draw(row, stretch, column)
    for at, stretch in _begun(lane, column).items():
        row[at] = stretch.letter
    for stretch in lane.stretches:
        if stretch.last and stretch.fate in _ENDS and stretch.end <= end:
            row[column(stretch.end)] = _ENDS[stretch.fate]
    for told in lane.tellings:
        row[column(told.at)] = TOLD_LETTERS[told.what]
    return row


def legend(drawn: Iterable[tuple[DriverLane, Column]]) -> list[str]:
    """Only what is really drawn: of lanes, each with where a time lies in it."""
    drawn = tuple(drawn)
    said = {
        stretch.letter: f"{stretch.letter} {stretch.phase}" + (f" {WITHOUT}" if stretch.bare else "")
        for lane, column in drawn
        for stretch in _begun(lane, column).values()
    }
    order = "".join(letter + letter.lower() for letter in PHASE_LETTERS.values())
    parts = [said[letter] for letter in sorted(said, key=order.index)]
    fates = {stretch.fate for lane, _ in drawn for stretch in lane.stretches}
    parts += ["--> done"] if Fate.DONE in fates else []
    parts += [f"~~x {FATES[Fate.FAILED]}, tried again"] if Fate.FAILED in fates else []
    parts += [f"~~ {FATES[Fate.OPEN]}"] if Fate.OPEN in fates else []
    parts += [f"--| {FATES[Fate.LEFT]}"] if Fate.LEFT in fates else []
    told = {telling.what for lane, _ in drawn for telling in lane.tellings}
    return parts + [f"{letter} told: {TOLD[what]}" for what, letter in TOLD_LETTERS.items() if what in told]


def _begun(lane: DriverLane, column: Column) -> dict[int, Stretch]:
    """What has its letter in a column: what begins there last, but nothing hides the reset itself."""
    shown: dict[int, Stretch] = {}
    for stretch in lane.stretches:
        before = shown.get(at := column(stretch.begin))
        if before is None or before.phase not in _RESETS or stretch.phase in _RESETS:
            shown[at] = stretch
    return shown


def _draw(row: list[str], stretch: Stretch, column: Column) -> None:
    first, last = column(stretch.begin), column(stretch.end)
    fill = "/" if stretch.tries else "~" if stretch.fate in NOTHING else "-"
    row[first : last + 1] = fill * (last + 1 - first)
    for words in (f" {words} " for words in stretch.words):
        if len(words) + 4 <= last + 1 - first:
            at = first + 1 + (last - first - len(words)) // 2
            row[at : at + len(words)] = words
            return
