"""Resets under a bound driver of which nobody told it, for any driver: by the callbacks that the kernel says it has.

The PCI core saves a function before it resets it, and calls `reset_prepare` then, when the driver has it; after the
restore it calls `reset_done`.  So a driver without them hears nothing, and no driver hears of a reset for which nothing
was saved.  That the core calls what is there, its source says; the trace shows that it saved.

What a user asks of VFIO, and the last close, his driver need not be told.  Of drivers whose own
functions are traced :mod:`~harness.judge.questions.driver_told` asks.

Source: Linux drivers/pci/pci.c, `pci_dev_save_and_disable()`, `pci_dev_restore()`.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from harness.history.columns import Edge
from harness.history.history import FunctionRecord
from harness.history.reading import OfFunction
from harness.history.windows import NOBODY
from harness.history.windows.trace import SAVE, TRACE_RESOLUTION, hits, missing
from harness.judge import findings
from harness.judge.evidence.at_hand import below, taken_along
from harness.judge.evidence.evidence import Evidence
from harness.judge.evidence.under_driver import CALLBACKS_KNOWN, bound_until, by_driver
from harness.model.operation import HOT_RESET, SUBORDINATE_RESET, VFIO_CLOSE, Operation, way
from harness.model.verdict import EventId

_VFIO: Final = "vfio-pci"
_BEHIND: Final = "the kernel saved nothing before, and called nobody"


@dataclass(frozen=True, slots=True)
class Untold:
    """Resets of one function of which its driver was not told, for one reason.

    Attributes:
        driver: that was bound.
        name: of the function: its alias, or its address.
        why: half a sentence.
        rows: that show each of them.
    """

    driver: str
    name: str
    why: str
    rows: tuple[EventId, ...]

    @property
    def said(self) -> str:
        """The same for people."""
        count = "1 reset" if len(self.rows) == 1 else f"{len(self.rows)} resets"
        return f"{self.driver} was not told of {count} of {self.name}: {self.why}"


def untold(evidence: Evidence) -> tuple[Untold, ...]:
    """All of the plan's functions, and of those beside them that a call of the plan reset as well."""
    return (*_of_the_plan(evidence), *_beside(evidence))


def _of_the_plan(evidence: Evidence) -> Iterator[Untold]:
    certain = not missing(evidence.history, [(SAVE, Edge.ENTRY)])
    saves: dict[tuple[int, int], list[int]] = {}
    for _, _, tid, number, time, _ in hits(evidence.history, (SAVE,)):
        saves.setdefault((tid, number), []).append(time)
    for function in evidence.functions:
        record = evidence.records.get(function.alias)
        if record is None or not record.driver or record.driver in CALLBACKS_KNOWN:
            continue
        reasons: dict[str, list[EventId]] = {}
        for reset in _resets(evidence, function):
            times = saves.get((reset.tid, function.number), [])
            saved = bisect_left(times, reset.since_ns) < bisect_right(times, reset.until_ns)
            if why := _BEHIND if certain and not saved else _lacks(record):
                reasons.setdefault(why, []).extend(reset.rows)
        for why, rows in reasons.items():
            yield Untold(record.driver, function.alias, why, tuple(rows))


def _beside(evidence: Evidence) -> Iterator[Untold]:
    for record in evidence.history.neighbours or ():
        if not record.driver or not (why := _lacks(record)):
            continue
        calls = [one for one in evidence.calls if one.succeeded and record in taken_along(evidence, one)]
        if calls and not _asked_by_its_user(record.driver, calls[0].operation):
            rows = tuple(findings.operation(one.row) for one in calls)
            yield Untold(record.driver, f"{record.alias}, beside {calls[0].alias}", why, rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reset:
    """One that was asked for by neither the driver nor its user; it was saved for from `since_ns` to `until_ns`."""

    tid: int
    since_ns: int
    until_ns: int
    rows: tuple[EventId, ...]


def _resets(evidence: Evidence, function: OfFunction) -> Iterator[_Reset]:
    """Resets of a function under its driver: its own, those of its bus, and all below a bridge."""
    until, driver = bound_until(function), function.record.driver
    behind = {evidence.numbers[one.alias]: below(evidence, one.port) for one in evidence.history.functions}
    done: dict[int, int] = {}  # when each thread was done with its reset before
    for span in evidence.resets:
        since = done.get(span.tid, 0)
        if span.result == 0:  # of the methods that the core tries one after another, only the last is a reset
            done[span.tid] = span.end_ns
        bus = span.method is None and function.record.bdf in behind.get(span.function, ())
        if not (bus or span.function == function.number) or span.result != 0 or span.end_ns > until:
            continue
        row = evidence.threads.at(span.tid, span.begin_ns)
        means = evidence.steps.behind(row).means if row != NOBODY else VFIO_CLOSE  # as an actor ends
        if _asked_by_its_user(driver, means) or by_driver(span, function.driver_resets):
            continue
        # A hot reset saves all of its bus after the entry of the function that performs it.
        saved_by = span.end_ns if span.method is None else span.begin_ns + TRACE_RESOLUTION
        yield _Reset(tid=span.tid, since_ns=since, until_ns=saved_by, rows=findings.kernel(span.row))
    for call in evidence.calls:
        below_it = call.operation == SUBORDINATE_RESET and function.alias in call.resets
        if below_it and call.succeeded and call.end_ns <= until:
            tid = evidence.history.actors[call.actor].tid
            rows = (findings.operation(call.row),)
            yield _Reset(tid=tid, since_ns=call.begin_ns, until_ns=call.end_ns, rows=rows)


def _asked_by_its_user(driver: str, means: Operation) -> bool:
    return driver == _VFIO and (means == HOT_RESET or way(means).startswith("vfio"))


def _lacks(record: FunctionRecord) -> str:
    """What its driver has not got; empty where it has both, or nobody knows."""
    told = record.callbacks
    if told is None:
        return ""
    lacking = [name for name, has in (("reset_prepare", told.before), ("reset_done", told.after)) if not has]
    return f"it has no {' and no '.join(lacking)}" if lacking else ""
