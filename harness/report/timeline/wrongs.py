"""When a served function did wrong, and when its host did something to it."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from harness.history.history import History
from harness.model.fault_words import named
from harness.model.served import Happened
from harness.model.units import as_text
from harness.report.timeline.served_words import errno_of, incident_named


class Origin(enum.Enum):
    """Who does the wrong."""

    FUNCTION = enum.auto()
    HOST = enum.auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrong:
    """A time in which a function did wrong, or the host did something to it.

    Attributes:
        function: alias.
        origin: a fault of the function, or an incident.
        word: what, as short as can be.
        begin, end: ns after release; the end of the stage where it did not end before.
        bounded: how long that is, in words; empty where only the end of the stage bounds it.
        count: how many such times are drawn as this one.
        text: all that is known of it.
    """

    function: str
    origin: Origin
    word: str
    begin: int
    end: int
    bounded: str
    count: int
    text: str

    @property
    def label(self) -> str:
        """The word, with how often it was drawn over if it was."""
        return f"{self.word}, {self.count} times" if self.count > 1 else self.word

    @property
    def since(self) -> str:
        """The word, and when it began."""
        return f"{self.word} since {_moment(self.begin)}"


def wrongs_of(history: History) -> tuple[Wrong, ...]:
    """Every time in which a served function did wrong or something was done to it, sorted by beginning."""
    found = [wrong for alias in history.plan.functions for wrong in _faults(history, alias)]
    found += _incidents(history)
    return tuple(sorted(found, key=lambda wrong: (wrong.begin, wrong.end)))


def merged(wrongs: Iterable[Wrong], column: int) -> list[Wrong]:
    """Times of one fault that a picture could not keep apart become one."""
    last: dict[tuple[Origin, str], Wrong] = {}
    done = []
    for wrong in wrongs:
        key = (wrong.origin, wrong.word)
        before = last.get(key)
        if before is not None and wrong.begin - before.end < column:
            count = before.count + wrong.count
            text = f"{wrong.function}: {wrong.word}, {count} times"
            end = max(before.end, wrong.end)
            last[key] = replace(before, end=end, bounded=as_text(end - before.begin), count=count, text=text)
            continue
        if before is not None:
            done.append(before)
        last[key] = wrong
    return sorted([*done, *last.values()], key=lambda wrong: (wrong.begin, wrong.end))


def tracks_of(wrongs: Iterable[Wrong]) -> tuple[tuple[Wrong, ...], ...]:
    """Put each into the first row of its origin that is free when it begins; rows of faults come first."""
    tracks: dict[Origin, list[list[Wrong]]] = {origin: [] for origin in Origin}
    for wrong in wrongs:
        mine = tracks[wrong.origin]
        free = next((track for track in mine if track[-1].end < wrong.begin), None)
        if free is None:
            mine.append([wrong])
        else:
            free.append(wrong)
    return tuple(tuple(track) for mine in tracks.values() for track in mine)


def _faults(history: History, alias: str) -> Iterator[Wrong]:
    served, function, zero = history.served, history.plan.functions.index(alias), int(history.begin_ns)
    mine = served["function"] == function
    over = int(history.end_ns) - zero
    for number, fault in enumerate(history.plan.faults_of(alias)):
        fits = mine & (served["value"] == number)
        begun, met, ended = (
            np.sort(served["time_ns"][fits & (served["what"] == what)]) - zero
            for what in (Happened.FAULT_BEGINS, Happened.FAULT_MET, Happened.FAULT_ENDS)
        )
        begun = begun[begun < over]  # what is timed is told of before it begins
        ends = np.minimum(over if fault.lasting_ns is None else begun + fault.lasting_ns, over)
        ends = np.minimum(ends, np.append(begun[1:], over))
        ends = np.minimum(ends, _next(ended, begun, over)).tolist()
        firsts = _next(met, begun, -1).tolist()
        for begin, end, first in zip(begun.tolist(), ends, firsts, strict=True):
            how = f"first met {_at(first)}" if begin <= first <= end else "met by nobody"
            until = "the end of the stage" if end == over else _moment(end)
            when = f"from {_moment(begin)} to {until}" if end >= 0 else "before the release only"
            yield Wrong(
                function=alias,
                origin=Origin.FUNCTION,
                word=named(fault),
                begin=begin,
                end=end,
                bounded="" if end == over else as_text(end - begin),
                count=1,
                text=f"{alias}: {named(fault)} {when}, {how}",
            )


def _next(
    times: np.ndarray[tuple[int], np.dtype[np.int64]],
    after: np.ndarray[tuple[int], np.dtype[np.int64]],
    none: int,
) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """For each moment the first time that is not before it, `none` where there is none."""
    return np.append(times, none)[np.searchsorted(times, after)]


def _incidents(history: History) -> Iterator[Wrong]:
    served, zero = history.served, int(history.begin_ns)
    for number, incident in enumerate(history.plan.incidents):
        word = incident_named(history, number)
        fits = served["value"] == number
        begun = np.flatnonzero(fits & (served["what"] == Happened.INCIDENT_BEGINS))
        ended = np.flatnonzero(fits & (served["what"] == Happened.INCIDENT_ENDS))
        if not len(begun):
            continue
        begin = int(served["time_ns"][begun[0]]) - zero
        end = int(served["time_ns"][ended[0]]) - zero if len(ended) else int(history.end_ns) - zero
        took = f"took {as_text(end - begin)}" if len(ended) else "was not over when the stage ended"
        if len(ended) and served["error"][ended[0]]:
            took = f"could not be done ({errno_of(served[ended[0]])})"
        yield Wrong(
            function=incident.function,
            origin=Origin.HOST,
            word=word,
            begin=begin,
            end=max(begin, end),
            bounded=as_text(end - begin) if len(ended) else "",
            count=1,
            text=f"{incident.function}: {word} by the host {_at(begin)}, {took}",
        )


def _at(at: int) -> str:
    return f"at {_moment(at)}" if at >= 0 else _moment(at)


def _moment(at: int) -> str:
    return f"{at / 1e6:.3f} ms" if at >= 0 else "before the release"
