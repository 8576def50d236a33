"""Did accesses end as promised: at once where they are free, after waiting exactly while a lock was held?

Three breaches convict: an access that ended inside the window in which it began, or in which the trace shows it waiting
(or that waited, where it was promised that it would not), one that waited though no window was open, and one that woke
late after its window had closed.
An access that merely overlaps the edge of a window proves nothing, for it may have been done just outside.

Source: Linux drivers/pci/access.c, `pci_user_read_config_*`, `pci_wait_cfg()`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from harness.history.windows import NOBODY, TRACE_RESOLUTION
from harness.judge import findings
from harness.judge.evidence import Evidence, words
from harness.judge.evidence.accesses import EDGE, KINDS, VERBS, Accesses, Kinds, Mask
from harness.judge.evidence.incidents import standstill
from harness.judge.evidence.meeting import Times
from harness.judge.evidence.memory_lock import WAITING, Spans, held_by_command
from harness.judge.evidence.starvation import Starvation
from harness.judge.findings import Aspect
from harness.model.cause import Cause
from harness.model.operation import UNPRIVILEGED_READ, verb
from harness.model.promise import Promise, WindowKind
from harness.model.terms import Terms
from harness.model.units import as_text
from harness.model.verdict import Blame, EventId, Finding

NAME: Final = "access_outcome"
_NONE: Final = KINDS.index(WindowKind.NONE)
_LOCKED: Final = tuple(kind for kind in WindowKind if kind is not WindowKind.NONE)
_ON_DEVICE: Final = (WindowKind.DEVICE_LOCK, WindowKind.UNBIND)
_CALLED: Final = {
    WindowKind.SYSFS_RESET: "sysfs reset",
    WindowKind.VFIO_RESET: "VFIO reset",
    WindowKind.HOT_RESET: "hot reset",
    WindowKind.VFIO_OPEN: "VFIO open",
    WindowKind.SRIOV: "SR-IOV",
    WindowKind.DRIVER_RESET: "driver reset",
    WindowKind.DEVICE_LOCK: "device lock",
    WindowKind.UNBIND: "unbind",
}
"""What people call a window, before the word "window"; any other is a "config lock window"."""


def access_outcome(evidence: Evidence, terms: Terms) -> tuple[Finding, ...]:
    """Hold accesses and control samples against the windows of their function."""
    if not len(evidence.steps.rows(lambda step: step.file is not None and verb(step.means) in VERBS)):
        return ()
    if reasons := evidence.window_doubts:
        return (findings.unknown(NAME, f"The lock windows are not certain: {'; '.join(reasons)}."),)
    return tuple(
        finding
        for group in evidence.accesses
        for finding in _Judged.of(evidence, group, terms).judge(evidence.starvation)
    )


@dataclass(frozen=True, slots=True)
class _Judged:
    """Accesses, and what they are held against.

    Attributes:
        evidence: of which they are a part.
        terms: of the contract.
        group: the accesses.
        promises: for each kind of window; absent where the contract is silent.
        shown: what they showed, as :mod:`~harness.judge.evidence.words` numbers it.
        against: number of the kind of window whose promise counts, or :data:`EDGE` where either may hold.
        locked: when the accesses waited for another lock, which the user's own write held: no bound counts that time.
    """

    evidence: Evidence
    terms: Terms
    group: Accesses
    promises: Mapping[WindowKind, Promise]
    shown: Times
    against: Kinds
    locked: Spans

    @classmethod
    def of(cls, evidence: Evidence, group: Accesses, terms: Terms) -> _Judged:
        found = {kind: terms.promise(group.alias, group.promised_as, kind) for kind in WindowKind}
        promises = {kind: promise for kind, promise in found.items() if promise is not None}
        held = group.held
        if not group.traced:
            # Begin and end do not tell waiting from being slow; where nobody promised to wait, only time convicts.
            silent = [KINDS.index(k) for k in WindowKind if k not in promises or _waits(promises[k])]
            held = np.where(np.isin(held, silent), held, EDGE).astype(np.int8)
        shown = words.observed(group.error, group.waited if group.traced else held != EDGE)
        if group.promised_as == UNPRIVILEGED_READ:
            shown[group.short & (shown == words.PROMPT)] = words.TRUNCATED
        against = np.where(held == EDGE, group.kind, held).astype(np.int8)
        locked = held_by_command(evidence.accesses if group.operation in WAITING else (), group.alias)
        for kind, promise in promises.items():
            against[_held_up(group, kind, promise, locked)] = KINDS.index(kind)
        # At the edge of a window either promise may hold; an outcome that neither knows is a breach.
        known = [words.number_of(promise.outcome) for promise in promises.values()]
        stray = (against == EDGE) & (shown != words.PROMPT) & ~np.isin(shown, known)
        # The trace shows waits for the config lock alone: near no window of that, no window explains one.
        baseless = group.traced & (group.config.touched < 0) & (shown == words.WAITED)
        against[stray | baseless] = _NONE
        return cls(evidence, terms, group, promises, shown, against, locked)

    def judge(self, starved: Starvation) -> Iterator[Finding]:
        for kind in (*_LOCKED, WindowKind.NONE):
            mask = self.against == KINDS.index(kind)
            if not mask.any():
                continue
            if kind in self.promises:
                yield from self._hold(self.promises[kind], kind, mask, starved)
            else:
                yield findings.unknown(
                    NAME,
                    f"The contract says nothing on {self.group.promised_as} in window {kind!s} on "
                    f"{self.group.alias}, which {mask.sum()} operations met.",
                    events=[findings.operation(self.group.rows[np.argmax(mask)])],
                )

    def _hold(self, promise: Promise, kind: WindowKind, mask: Mask, starved: Starvation) -> Iterator[Finding]:
        wrong = mask & (self.shown != words.number_of(promise.outcome))
        if (perhaps := self.terms.if_locked_down(self.group.alias, self.group.promised_as, kind)) is not None:
            refused = wrong & (self.shown == words.number_of(perhaps.outcome))
            yield from self._locked_down(perhaps, refused)
            wrong, mask = wrong & ~refused, mask & ~refused
            if not mask.any():
                return
        late, soon = mask & ~wrong & self._late(promise, kind), mask & ~wrong & self._soon(promise)
        hungry = starved.during(self.group.begin, self.group.end)
        breaches = (
            *self._wrong(promise, wrong),
            *self._untimely(promise, late & ~hungry, "longer than", promise.at_most),
            *self._untimely(promise, soon, "less than", promise.at_least),
        )
        yield from breaches
        if (late & hungry).any():
            yield findings.starved(
                NAME,
                f"{(late & hungry).sum()} {self.group.operation} on {self.group.alias} took longer than "
                f"{as_text(promise.at_most or 0)}, but {starved.reason}.",
                promise=promise,
                events=self._events(late & hungry),
            )
        elif not breaches:
            yield self._kept(promise, kind, int(mask.sum()))

    def _locked_down(self, promise: Promise, refused: Mask) -> Iterator[Finding]:
        if refused.any():
            yield findings.unknown(
                NAME,
                f"{refused.sum()} {self.group.operation} on {self.group.alias} were refused ({promise.outcome!s}), as "
                "by a kernel that is locked down, and nobody could read whether it is.",
                promise=promise,
                events=self._events(refused),
            )

    def _late(self, promise: Promise, kind: WindowKind) -> Mask:
        """Operations that took longer than promised, counted as :class:`Promise` says."""
        group = self.group
        if promise.at_most is None:
            return np.zeros(len(group.rows), dtype=np.bool_)
        if kind is WindowKind.NONE or kind in _ON_DEVICE:
            waited = self.locked.within(group.begin, group.end)
            return group.end - group.begin - waited > promise.at_most
        if not _waits(promise):
            return _held_up(group, kind, promise, self.locked)
        # Below zero where another waiter had got the lock first: not late.  When a window closed of which nothing
        # is certain is not known.
        opened, closed = (edge[group.config.touched] for edge in (group.config.opened, group.config.closed))
        return (closed > opened) & (group.end - closed > promise.at_most)

    def _soon(self, promise: Promise) -> Mask:
        group = self.group
        if promise.at_least is None:
            return np.zeros(len(group.rows), dtype=np.bool_)
        since = group.config.opened[group.config.touched] if _waits(promise) else group.begin
        return group.end - since < promise.at_least - TRACE_RESOLUTION

    def _wrong(self, promise: Promise, wrong: Mask) -> Iterator[Finding]:
        if not wrong.any():
            return
        group, first = self.group, int(np.argmax(wrong))
        took = as_text(int(group.end[first] - group.begin[first]))
        hasty = _waits(promise) and bool((self.shown[wrong] == words.PROMPT).any())
        yield findings.failed(
            NAME,
            Blame.MISMATCH,
            f"{wrong.sum()} {group.operation} on {group.alias} did not keep the promise {promise.outcome!s}: "
            f"{self._actor(first)} {self._did(first)} and returned after {took}, "
            f"{self._where(first)}.",
            events=self._events(wrong),
            promise=promise,
            met=int(wrong.sum()),
            weakness=findings.weak(promise, Aspect.OUTCOME),
            cause=Cause.DID_NOT_WAIT if hasty else Cause.BROKEN_RULE,
        )

    def _did(self, number: int) -> str:
        shown = int(self.shown[number])
        let_through = shown == words.PROMPT and self.group.slept[number] != NOBODY
        return "was let through" if let_through else words.spoken(shown)

    def _where(self, number: int) -> str:
        group = self.group
        if group.removed:
            return "after its removal"
        inside, on_device = group.config.inside[number], group.device.inside[number]
        if inside >= 0 or (group.config.touched[number] < 0 and on_device >= 0):
            window = group.windows[inside] if inside >= 0 else group.devices[on_device]
            since, before = int(group.begin[number]), as_text(int(window.closed_ns - group.end[number]))
            if since > window.opened_ns:
                after = as_text(since - window.opened_ns)
                return (
                    f"inside a {_called(window.kind)}, {after} after it opened and {before} before it closed"
                )
            slept = int(group.history.kernel["time_ns"][group.slept[number]])
            return (
                f"{before} before the close of a {_called(window.kind)}, in which it waited from "
                f"{as_text(slept - window.opened_ns)} after it opened"
            )
        if group.config.touched[number] >= 0:
            return f"at a {_called(group.windows[group.config.touched[number]].kind)}"
        return "while the config lock was free"

    def _untimely(self, promise: Promise, mask: Mask, how: str, bound: int | None) -> Iterator[Finding]:
        if not mask.any():
            return
        group, first = self.group, int(np.argmax(mask))
        took, after = as_text(int(group.end[first] - group.begin[first])), ""
        if group.waited[first] and _waits(promise) and how == "longer than":
            closed = group.config.closed[group.config.touched[first]]
            after = f" and woke {as_text(int(group.end[first] - closed))} after its window had closed"
        yield findings.failed(
            NAME,
            Blame.TIMEOUT,
            f"{mask.sum()} {group.operation} on {group.alias} took {how} {as_text(bound or 0)}: "
            f"{self._actor(first)} took {took}{after}"
            f"{standstill(self.evidence.incidents, int(group.begin[first]), int(group.end[first]))}.",
            events=self._events(mask),
            promise=promise,
            met=int(mask.sum()),
        )

    def _kept(self, promise: Promise, kind: WindowKind, met: int) -> Finding:
        group = self.group
        kinds = [*(window.kind for window in group.windows), *(window.kind for window in group.devices)]
        if group.removed:
            how = f"came after its removal, and each ended as promised: {promise.outcome!s}"
        elif kind is WindowKind.NONE:
            how = "found the lock free, and none waited"
        elif _waits(promise):
            how = f"met one of {kinds.count(kind)} {_called(kind)}s, and all waited until it closed"
        elif self.shown[np.argmax(self.against == KINDS.index(kind))] == words.PROMPT:
            how = f"ran inside {_called(kind)}s, and none waited"
        else:
            how = f"ran inside {_called(kind)}s, and each ended as promised: {promise.outcome!s}"
        return findings.passed(
            NAME,
            f"{met} {group.operation} on {group.alias} {how}.",
            promise=promise,
            met=met,
            weakness=findings.weak(promise, Aspect.OUTCOME),
        )

    def _events(self, mask: Mask) -> list[EventId]:
        """The first offender with its window, then a few more."""
        group, numbers = self.group, np.flatnonzero(mask)[:4]
        number = numbers[0]
        events = [findings.operation(group.rows[number])]
        inside, touched = group.config.inside[number], group.config.touched[number]
        if touched >= 0 or inside >= 0:
            window = group.windows[max(inside, touched)]
            late = inside < 0 and window.closed_row >= 0
            events += findings.kernel(window.closed_row if late else window.opened_row)
            if inside >= 0 and group.config.began[number] != inside:
                events += findings.kernel(int(group.slept[number]))
        elif group.device.inside[number] >= 0:
            events += findings.kernel(group.devices[group.device.inside[number]].opened_row)
        return events + [findings.operation(row) for row in group.rows[numbers[1:]]]

    def _actor(self, number: int) -> str:
        table = self.group.history.operations
        return self.group.history.plan.actors[int(table["actor"][self.group.rows[number]])].name


def _waits(promise: Promise) -> bool:
    return words.number_of(promise.outcome) == words.WAITED


def _held_up(group: Accesses, kind: WindowKind, promise: Promise, locked: Spans) -> Mask:
    """Operations that should not mind the lock, and yet spent more than their time while it was held."""
    touched = group.config.touched
    if promise.at_most is None or _waits(promise) or not group.windows:
        return np.zeros(len(group.rows), dtype=np.bool_)
    since = np.maximum(group.begin, group.config.opened[touched])
    until = np.minimum(group.end, group.config.closed[touched])
    spent = until - since - locked.within(since, until)
    return group.touched(kind) & (spent > promise.at_most)


def _called(kind: WindowKind) -> str:
    return f"{_CALLED.get(kind, 'config lock')} window"
