"""Did every driver hold the config lock when it began to reset its function?

A driver that may not sleep can only try for the lock.  One that goes on without it resets a function which another has
locked because it is at work there: both may lose what they do.

Source: Linux drivers/scsi/ipr.c, `ipr_reset_block_config_access_wait()`; drivers/pci/access.c,
`pci_cfg_access_trylock()`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from harness.history.reading import OfFunction
from harness.history.windows import TRACE_RESOLUTION, DriverReset, LockTry, LockWindow, StepTaken
from harness.judge import findings
from harness.judge.evidence import Evidence
from harness.judge.evidence.culprit import doer
from harness.judge.findings import Aspect
from harness.model.operation import DRIVER_LOCK
from harness.model.outcome import Outcome
from harness.model.promise import WindowKind
from harness.model.terms import Terms
from harness.model.units import Ns, as_text
from harness.model.verdict import Blame, Finding

NAME: Final = "driver_locked"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Start:
    """The moment in which a driver began the reset itself.

    Attributes:
        alias: of the function.
        taken: the step.
        own: the driver's window; None: it held no lock.
        other: that of somebody else, which it met when it first tried; None: the lock was free.
        tries: how often it had tried for the lock.
        tried_ns: when it did so first; the start itself if it never did.
    """

    alias: str
    taken: StepTaken
    own: LockWindow | None
    other: LockWindow | None
    tries: int
    tried_ns: Ns

    @property
    def shown(self) -> Outcome:
        """The word for it."""
        return Outcome.LOCKED if self.own else Outcome.FREE

    def kind(self, terms: Terms) -> WindowKind:
        """What it met, as an entry must speak of it: what was over before a driver's patience makes no difference."""
        if self.other is None:
            return WindowKind.NONE
        promise = terms.promise(self.alias, DRIVER_LOCK, self.other.kind)
        patience = promise.at_least if promise and promise.at_least else 0
        return self.other.kind if self.other.closed_ns - self.tried_ns >= patience else WindowKind.NONE


def driver_locked(evidence: Evidence, terms: Terms) -> tuple[Finding, ...]:
    """Hold every reset by a driver against its promise."""
    starts = [
        start
        for reset in evidence.driver_resets
        for start in _starts(evidence.of(reset.function), reset, evidence.lock_tries)
    ]
    groups: dict[tuple[str, WindowKind], list[_Start]] = {}
    for start in starts:
        groups.setdefault((start.alias, start.kind(terms)), []).append(start)
    if groups and (reasons := evidence.doubts):
        what = f"Whether drivers held the config lock is not certain: {'; '.join(reasons)}."
        return (findings.unknown(NAME, what),)
    return tuple(_judge(evidence, group, terms, kind) for (_, kind), group in groups.items())


def _starts(function: OfFunction, reset: DriverReset, tries: Sequence[LockTry]) -> Iterator[_Start]:
    taken = reset.start
    if taken is None:
        return
    tried = [
        one.asked_ns
        for one in tries
        if one.function == function.number and reset.begin_ns <= one.asked_ns <= taken.time_ns
    ]
    first = tried[0] if tried else taken.time_ns
    own = (w for w in function.windows if w.kind is WindowKind.DRIVER_RESET and _open(w, taken.time_ns))
    others = (w for w in function.windows if w.kind is not WindowKind.DRIVER_RESET and _open(w, first))
    yield _Start(
        alias=function.alias,
        taken=taken,
        own=next(own, None),
        other=next(others, None),
        tries=len(tried),
        tried_ns=first,
    )


def _open(window: LockWindow, moment: int) -> bool:
    return window.opened_ns <= moment + TRACE_RESOLUTION and window.closed_ns >= moment - TRACE_RESOLUTION


def _judge(evidence: Evidence, group: Sequence[_Start], terms: Terms, kind: WindowKind) -> Finding:
    first = group[0]
    promise = terms.promise(first.alias, DRIVER_LOCK, kind)
    events = findings.kernel(first.taken.row)
    if first.other is not None:
        events = (*events, *findings.kernel(first.other.opened_row))
    if promise is None:
        return findings.unknown(
            NAME,
            f"The contract does not say whether the driver of {first.alias} needs the config lock in window {kind!s}.",
            events=events,
        )
    wrong = [start for start in group if start.shown is not promise.outcome]
    if not wrong:
        return findings.passed(
            NAME,
            _told(evidence, first) + (f" ({len(group) - 1} more times)" if len(group) > 1 else "") + ".",
            promise=promise,
            met=len(group),
            weakness=findings.weak(promise, Aspect.OUTCOME),
        )
    return findings.failed(
        NAME,
        Blame.DRIVER_FAULT,
        f"{_told(evidence, wrong[0])}.",
        events=events,
        promise=promise,
        met=len(wrong),
        weakness=findings.weak(promise, Aspect.OUTCOME),
    )


def _told(evidence: Evidence, start: _Start) -> str:
    """What happened, as a sentence without its full stop."""
    what = f"The driver of {start.alias} began its {start.taken.step}"
    if start.own:
        return f"{what} with the config lock held"
    trying = as_text(Ns(start.taken.time_ns - start.tried_ns))
    tried = f" after {start.tries} tries in {trying}" if start.tries else ""
    if start.other is None:
        return f"{what} without the config lock{tried}"
    who = doer(evidence, start.other.tid, start.other.opened_ns)
    left = as_text(Ns(start.other.closed_ns - start.taken.time_ns))
    return f"{what} without the config lock{tried}: {who} held it, and for {left} more"
