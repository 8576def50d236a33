"""Did accesses wait exactly while the config lock was held?

Three breaches convict: an access that began and ended inside a window (or waited, where it was promised that
it would not), one that waited though no window was open, and one that woke late after its window had closed.
An access that merely overlaps the edge of a window proves nothing, for it may have been done just outside.

Source: Linux drivers/pci/access.c, `pci_user_read_config_*`, `pci_wait_cfg()`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from harness.history.history import History
from harness.history.windows import TRACE_RESOLUTION, LockWindow, doubts, lock_windows, waited
from harness.judge import findings, words
from harness.judge.findings import Aspect
from harness.judge.meeting import Meetings, Times, meet
from harness.judge.starvation import Starvation, starvation
from harness.judge.steps import Rows, steps_of
from harness.model.operation import Operation, verb
from harness.model.promise import Promise, WindowKind
from harness.model.terms import Terms
from harness.model.units import as_text
from harness.model.verdict import Blame, EventId, Finding

NAME: Final = "reads_blocked"
ACCESSES: Final = ("config-read", "config-write", "attribute-read")

Mask = npt.NDArray[np.bool_]


def reads_blocked(history: History, terms: Terms) -> tuple[Finding, ...]:
    """Hold config accesses and control samples against the lock windows of their function."""
    groups = tuple(steps_of(history).groups(lambda step: verb(step.means) in ACCESSES))
    if not groups:
        return ()
    if reasons := doubts(history):
        return (findings.unknown(NAME, f"The lock windows are not certain: {'; '.join(reasons)}."),)
    windows, slept, starved = lock_windows(history), waited(history), starvation(history)
    return tuple(
        finding
        for function, operation, rows in groups
        for finding in _Group.of(history, windows, function, operation, rows, slept=slept).judge(
            terms, starved
        )
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Group:
    """Equal operations on one function that returned, and what they met; one row an operation."""

    history: History
    alias: str
    operation: Operation
    windows: tuple[LockWindow, ...]
    rows: Rows
    begin: Times
    end: Times
    waited: Mask
    shown: Times
    meetings: Meetings

    @classmethod
    def of(
        cls,
        history: History,
        windows: tuple[LockWindow, ...],
        function: int,
        operation: Operation,
        rows: Rows,
        *,
        slept: Mask,
    ) -> _Group:
        table = history.operations
        rows = rows[table["end_ns"][rows] != 0]  # what never returned is another checker's business
        begin, end = table["begin_ns"][rows], table["end_ns"][rows]
        own = tuple(window for window in windows if window.function == function)
        meetings = meet(own, begin, end)
        # Blocked means until the window ended: who came back inside it did not wait for it.
        held = slept[rows] & (meetings.inside < 0)
        return cls(
            history=history,
            alias=history.plan.functions[function],
            operation=operation,
            windows=own,
            rows=rows,
            begin=begin,
            end=end,
            waited=held,
            shown=words.observed(table["error"][rows], held),
            meetings=meetings,
        )

    def judge(self, terms: Terms, starved: Starvation) -> Iterator[Finding]:
        met = (self.meetings.inside >= 0) | (self.waited & (self.meetings.touched >= 0))
        free = self.meetings.touched < 0
        promises = {kind: terms.promise(self.alias, self.operation, kind) for kind in WindowKind}
        # At the edge of a window either promise may hold; an outcome that neither knows is a breach.
        known = [words.number_of(promise.outcome) for promise in promises.values() if promise]
        stray = ~met & ~free & (self.shown != words.PROMPT) & ~np.isin(self.shown, known)
        locked = met | self._held_up(promises[WindowKind.CONFIG_LOCK])
        for kind, mask in ((WindowKind.CONFIG_LOCK, locked), (WindowKind.NONE, free | stray)):
            if not mask.any():
                continue
            promise = promises[kind]
            if promise is None:
                yield findings.unknown(
                    NAME,
                    f"The contract says nothing on {self.operation} in window {kind!s} on {self.alias}, "
                    f"which {mask.sum()} operations met.",
                    events=[findings.operation(self.rows[np.argmax(mask)])],
                )
                continue
            wrong = mask & (self.shown != words.number_of(promise.outcome))
            late, soon = mask & ~wrong & self._late(promise), mask & ~wrong & self._soon(promise)
            hungry = starved.during(self.begin, self.end)
            breaches = (
                *self._wrong(promise, wrong),
                *self._untimely(promise, late & ~hungry, "longer than", promise.at_most),
                *self._untimely(promise, soon, "less than", promise.at_least),
            )
            yield from breaches
            if (late & hungry).any():
                yield findings.starved(
                    NAME,
                    f"{(late & hungry).sum()} {self.operation} on {self.alias} took longer than "
                    f"{as_text(promise.at_most or 0)}, but {starved.reason}.",
                    promise=promise,
                    events=self._events(late & hungry),
                )
            elif not breaches:
                yield self._kept(promise, int(mask.sum()))

    def _late(self, promise: Promise) -> Mask:
        """Operations that took longer than promised, counted as :class:`Promise` says."""
        if promise.at_most is None:
            return np.zeros(len(self.rows), dtype=np.bool_)
        if promise.window is WindowKind.NONE:
            return self.end - self.begin > promise.at_most
        if words.number_of(promise.outcome) != words.WAITED:
            return self._held_up(promise)
        # Below zero where another waiter had got the lock first: not late.
        return self.end - self.meetings.closed[self.meetings.touched] > promise.at_most

    def _held_up(self, promise: Promise | None) -> Mask:
        """Operations that should not mind the lock, and yet spent more than their time while it was held."""
        if promise is None or promise.at_most is None or words.number_of(promise.outcome) == words.WAITED:
            return np.zeros(len(self.rows), dtype=np.bool_)
        touched = self.meetings.touched
        if not self.windows:
            return touched >= 0
        since = np.maximum(self.begin, self.meetings.opened[touched])
        return (touched >= 0) & (
            np.minimum(self.end, self.meetings.closed[touched]) - since > promise.at_most
        )

    def _soon(self, promise: Promise) -> Mask:
        if promise.at_least is None:
            return np.zeros(len(self.rows), dtype=np.bool_)
        since = self.begin
        if words.number_of(promise.outcome) == words.WAITED:
            since = self.meetings.opened[self.meetings.touched]
        return self.end - since < promise.at_least - TRACE_RESOLUTION

    def _wrong(self, promise: Promise, wrong: Mask) -> Iterator[Finding]:
        if not wrong.any():
            return
        first = int(np.argmax(wrong))
        row = self.rows[first]
        took = as_text(int(self.end[first] - self.begin[first]))
        where = "while the config lock was free"
        if self.meetings.inside[first] >= 0:
            window = self.windows[self.meetings.inside[first]]
            where = (
                f"inside a config lock window, {as_text(int(self.begin[first] - window.opened_ns))} after it "
                f"opened and {as_text(int(window.closed_ns - self.end[first]))} before it closed"
            )
        elif self.meetings.touched[first] >= 0:
            where = "at a config lock window"
        yield findings.failed(
            NAME,
            Blame.MISMATCH,
            f"{wrong.sum()} {self.operation} on {self.alias} did not keep the promise {promise.outcome!s}: "
            f"{self._actor(row)} {words.spoken(int(self.shown[first]))} and returned after {took}, {where}.",
            events=self._events(wrong),
            promise=promise,
            met=int(wrong.sum()),
            weakness=findings.weak(promise, Aspect.OUTCOME),
        )

    def _untimely(self, promise: Promise, mask: Mask, how: str, bound: int | None) -> Iterator[Finding]:
        if not mask.any():
            return
        first = int(np.argmax(mask))
        took, after = as_text(int(self.end[first] - self.begin[first])), ""
        if self.waited[first] and how == "longer than":
            closed = self.meetings.closed[self.meetings.touched[first]]
            after = f" and woke {as_text(int(self.end[first] - closed))} after its window had closed"
        yield findings.failed(
            NAME,
            Blame.TIMEOUT,
            f"{mask.sum()} {self.operation} on {self.alias} took {how} {as_text(bound or 0)}: "
            f"{self._actor(self.rows[first])} took {took}{after}.",
            events=self._events(mask),
            promise=promise,
            met=int(mask.sum()),
        )

    def _kept(self, promise: Promise, met: int) -> Finding:
        if promise.window is WindowKind.NONE:
            how = "found the lock free, and none waited"
        elif words.number_of(promise.outcome) == words.WAITED:
            how = f"met one of {len(self.windows)} config lock windows, and all waited until it closed"
        else:
            how = "ran inside config lock windows, and none waited"
        return findings.passed(
            NAME,
            f"{met} {self.operation} on {self.alias} {how}.",
            promise=promise,
            met=met,
            weakness=findings.weak(promise, Aspect.OUTCOME),
        )

    def _events(self, mask: Mask) -> list[EventId]:
        """The first offender with its window, then a few more."""
        numbers = np.flatnonzero(mask)[:4]
        events = [findings.operation(self.rows[numbers[0]])]
        first = max(self.meetings.inside[numbers[0]], self.meetings.touched[numbers[0]])
        if first >= 0:
            window = self.windows[first]
            late = self.meetings.inside[numbers[0]] < 0 and window.closed_row >= 0
            events += findings.kernel(window.closed_row if late else window.opened_row)
        return events + [findings.operation(row) for row in self.rows[numbers[1:]]]

    def _actor(self, row: int) -> str:
        return self.history.plan.actors[int(self.history.operations["actor"][row])].name


def blocked_accesses(history: History) -> int:
    """How many config accesses waited for a config lock window that they met."""
    steps, windows, slept = steps_of(history), lock_windows(history), waited(history)
    total = 0
    for function, operation, rows in steps.groups(lambda step: verb(step.means) in ACCESSES[:2]):
        group = _Group.of(history, windows, function, operation, rows, slept=slept)
        total += int((group.waited & (group.meetings.touched >= 0)).sum())
    return total
