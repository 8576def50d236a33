"""Is everything recorded that the other questions look at?

Two things are not.  Accesses that were left out because they were like those around them (:mod:`harness.history.gaps`)
are shown by the rows on both sides: unless a window in which something else is promised opened *and* closed among them,
or one closed and the next one opened, for then neither row need have met what one between them met; or the trace shows
that one of them waited for a lock while nobody held it.  And operations that found no room any more are lost: that is
no matter where the actor only looked, and nothing happened any more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from harness.history.history import ActorRecord
from harness.history.steps import Rows
from harness.history.windows import TRACE_RESOLUTION, DeviceWindow, LockWindow
from harness.judge import findings
from harness.judge.evidence import Evidence
from harness.judge.evidence.accesses import Accesses, Mask
from harness.judge.evidence.meeting import Times, Window, possible
from harness.model.operation import HEARTBEAT, WAIT, verb
from harness.model.outcome import Outcome
from harness.model.promise import WindowKind
from harness.model.served import Happened
from harness.model.terms import Terms
from harness.model.units import Ns, as_text
from harness.model.verdict import Finding

NAME: Final = "recorded"
_LOOKS: Final = ("config-read", "attribute-read", "bar-read", "info", *map(verb, (WAIT, HEARTBEAT)))


def recorded(evidence: Evidence, terms: Terms) -> tuple[Finding, ...]:
    """Say where something may have happened that no row shows, and what was lost since when."""
    return (
        *(finding for group in evidence.accesses for finding in _between(evidence, group, terms)),
        *(
            finding
            for number, record in enumerate(evidence.history.actors)
            for finding in _lost(evidence, number, record)
        ),
    )


def _between(evidence: Evidence, group: Accesses, terms: Terms) -> Iterator[Finding]:
    table, own = evidence.history.operations, np.isin(evidence.gaps.before, group.rows)
    if not own.any():
        return
    before, after, count = evidence.gaps.before[own], evidence.gaps.after[own], evidence.gaps.count[own]
    since, until = table["begin_ns"][before] - TRACE_RESOLUTION, table["end_ns"][after] + TRACE_RESOLUTION
    unseen = _passed(_of_consequence(group, terms), since, until)
    if unseen.any():
        first = int(np.argmax(unseen))
        yield findings.unknown(
            NAME,
            f"{count[unseen].sum()} {group.operation} on {group.alias} were left out where lock windows opened and "
            f"closed among them: {_who(evidence, before[first])} did {count[first]} of them within "
            f"{as_text(int(until[first] - since[first]))}.",
            events=[findings.operation(before[first]), findings.operation(after[first])],
        )
    if group.traced and (waited := _baseless(evidence, group, before, after)):
        yield findings.unknown(
            NAME,
            f"{waited} {group.operation} on {group.alias} that were left out waited for the config lock, and nobody "
            "held it.",
        )


def _of_consequence(group: Accesses, terms: Terms) -> list[LockWindow | DeviceWindow]:
    """The windows in which something else is promised to an access than elsewhere, or nothing."""

    def promised(kind: WindowKind) -> Outcome | None:
        promise = terms.promise(group.alias, group.promised_as, kind)
        return promise.outcome if promise is not None else None

    free = promised(WindowKind.NONE)
    windows: tuple[LockWindow | DeviceWindow, ...] = (*group.windows, *group.devices)
    return [one for one in windows if free is None or promised(one.kind) is not free]


def _passed(windows: Sequence[Window], since: Times, until: Times) -> Mask:
    """Where more than one edge passed: what neither end of an interval need show."""
    edges = np.sort(
        np.array([edge for one in windows for edge in (one.opened_ns, one.closed_ns)], dtype=np.int64)
    )
    many: Mask = np.searchsorted(edges, until, "right") - np.searchsorted(edges, since, "left") > 1
    return many


def _baseless(evidence: Evidence, group: Accesses, before: Rows, after: Rows) -> int:
    """How often the trace shows a thread in one of its gaps waiting outside of all windows."""
    table, count = evidence.history.operations, 0
    for number, record in enumerate(evidence.history.actors):
        own = table["actor"][before] == number
        times = np.array(evidence.sleeps.get((record.tid, evidence.numbers[group.alias]), ()), dtype=np.int64)
        if not own.any() or not len(times):
            continue
        since = table["end_ns"][before[own]] - TRACE_RESOLUTION // 2
        until = table["begin_ns"][after[own]] + TRACE_RESOLUTION // 2
        count += int((_within(times, since, until) & ~_held(group, times)).sum())
    return count


def _held(group: Accesses, times: Times) -> Mask:
    """Moments at which the config lock may have been held."""
    if not group.windows:
        return np.zeros(len(times), dtype=np.bool_)
    return _within(times, *possible(group.windows))


def _within(times: Times, since: Times, until: Times) -> Mask:
    """Which moments lie in one of some closed intervals."""
    order = np.argsort(since, kind="stable")
    last = np.searchsorted(since[order], times, "right") - 1
    inside: Mask = (last >= 0) & (np.maximum.accumulate(until[order])[last] >= times)
    return inside


def _lost(evidence: Evidence, number: int, record: ActorRecord) -> Iterator[Finding]:
    if not record.lost:
        return
    history = evidence.history
    claim = f"{record.lost} operations of {record.name} were not recorded"
    if not record.lost_ns:  # of an earlier history
        yield findings.unknown(NAME, f"{claim}.")
        return
    since = as_text(Ns(record.lost_ns - history.begin_ns))
    looks = all(verb(step.means) in _LOOKS for step in history.plan.actors[number].steps)
    if looks and _last_event(evidence) < record.lost_ns:
        yield findings.passed(
            NAME, f"{claim}: from {since} after the release on, it looked at what nobody touched any more."
        )
    else:
        yield findings.unknown(
            NAME, f"{claim}: from {since} after the release on there was no room for more that differ."
        )


def _last_event(evidence: Evidence) -> int:
    """When something happened last, other than that somebody looked: nothing that is still going on has an end."""
    history, table = evidence.history, evidence.history.operations
    done = evidence.steps.rows(lambda step: verb(step.means) not in _LOOKS)
    ends = np.where(table["end_ns"][done] == 0, history.end_ns, table["end_ns"][done])
    served = history.served[~np.isin(history.served["what"], (Happened.READ, Happened.WRITTEN))]
    times = (
        ends,
        history.kernel["time_ns"],
        np.array([window.closed_ns for window in evidence.windows], dtype=np.int64),
        served["time_ns"] + history.served_error_ns,
        np.array([line.time_us * 1000 for line in history.log], dtype=np.int64),
        np.array([event.time_ns for event in history.uevents], dtype=np.int64),
    )
    return max(int(column.max(initial=history.begin_ns)) for column in times)


def _who(evidence: Evidence, row: int) -> str:
    return evidence.history.actors[int(evidence.history.operations["actor"][row])].name
