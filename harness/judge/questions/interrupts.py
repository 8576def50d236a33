"""Did every interrupt that a function had cause for come, and no other?

Whoever gives cause for one waits for it before the next cause: so none can be merged with another, and what comes can
be counted.  What a model wrote down tells on which side one got lost.  Of a cause that reached nobody, or that a reset
forgot, none is due: :mod:`~harness.judge.evidence.causes_given`.

Source: Linux drivers/vfio/pci/vfio_pci_intrs.c, `vfio_msihandler()`, `vfio_intx_handler()`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from harness.history.reading import OfFunction
from harness.history.steps import Rows
from harness.judge import findings
from harness.judge.evidence import Evidence
from harness.judge.evidence.causes_given import Cause, Fate, fates
from harness.model.operation import RING, TAKE
from harness.model.outcome import Outcome
from harness.model.promise import Promise, WindowKind
from harness.model.served import Happened
from harness.model.terms import Terms
from harness.model.units import MS, SECOND, Ns, as_text
from harness.model.verdict import Blame, EventId, Finding

NAME: Final = "interrupts"
STORM: Final = 100
"""So many without a cause a second are a storm; fewer are strays."""
_EXCUSED: Final = (Fate.UNHEARD, Fate.FORGOTTEN, Fate.CUT_OFF)


@dataclass(frozen=True, slots=True)
class _Round:
    """One cause, and what came of it.

    Attributes:
        ring, take: rows of `History.operations`; of several attempts to take it the last.
        count: how many came.
        begin_ns, end_ns: from the cause to the end of that attempt.
        given_ns: when the write that is the cause had returned: it may have waited for a reset.
    """

    ring: int
    take: int
    count: int
    begin_ns: Ns
    end_ns: Ns
    given_ns: Ns

    @property
    def outcome(self) -> Outcome:
        """In the contract's words."""
        return Outcome.OK if self.count else Outcome.EAGAIN

    @property
    def events(self) -> tuple[EventId, ...]:
        return findings.operation(self.ring), findings.operation(self.take)


def interrupts(evidence: Evidence, terms: Terms) -> tuple[Finding, ...]:
    """Hold what came against what there was cause for."""
    return tuple(
        finding
        for function in evidence.functions
        if (rounds := _rounds(function))
        for finding in _judge(evidence, terms, function, rounds)
    )


def _rounds(function: OfFunction) -> list[_Round]:
    table = function.whole.history.operations
    last: dict[tuple[int, int], int] = {}
    for row in function.rows(TAKE).tolist():
        if table["end_ns"][row]:  # what never returned is another checker's business
            last[int(table["actor"][row]), int(table["round"][row])] = row
    found = []
    for ring in function.rows(RING).tolist():
        take = last.get((int(table["actor"][ring]), int(table["round"][ring])))
        if take is None or table["error"][ring]:
            continue
        count = int(table["value"][take])  # 0 when it was refused
        begin, given = Ns(int(table["begin_ns"][ring])), Ns(int(table["end_ns"][ring]))
        found.append(_Round(ring, take, count, begin, Ns(int(table["end_ns"][take])), given))
    return found


def _judge(evidence: Evidence, terms: Terms, function: OfFunction, rounds: list[_Round]) -> Iterator[Finding]:
    alias = function.alias
    promise = terms.promise(alias, TAKE, WindowKind.NONE)
    if promise is None:
        yield findings.unknown(NAME, f"The contract says nothing on interrupts of {alias}.")
        return
    became = _fates(function, rounds)
    excused = [one for one in rounds if became.get(one) in _EXCUSED]
    wrong = [one for one in rounds if one.outcome is not promise.outcome and one not in excused]
    unsettled = [one for one in wrong if became.get(one) is Fate.OPEN]
    wrong = [one for one in wrong if one not in unsettled]
    late = [one for one in rounds if one.count and _is_late(evidence, promise, one)]
    came = sum(one.count for one in rounds)
    many = came > len(rounds)
    if many:
        yield _too_many(promise, function, rounds, came)
    if lost := [one for one in wrong if not one.count]:
        unwritten = became[lost[0]] is Fate.UNWRITTEN
        yield _lost(evidence, promise, function, lost, len(rounds), unwritten=unwritten)
    elif wrong:
        yield findings.failed(
            NAME,
            Blame.MISMATCH,
            f"{len(wrong)} interrupts of {alias} came, promised is {promise.outcome!s}.",
            events=wrong[0].events,
            promise=promise,
            met=len(wrong),
        )
    if late:
        yield findings.failed(
            NAME,
            Blame.TIMEOUT,
            f"{len(late)} of {len(rounds)} interrupts of {alias} came late, the first after "
            f"{as_text(Ns(late[0].end_ns - late[0].begin_ns))}.",
            events=late[0].events,
            promise=promise,
            met=len(late),
        )
    if unsettled and not wrong:
        yield findings.unknown(
            NAME,
            f"{len(unsettled)} of {len(rounds)} causes for an interrupt of {alias} {Fate.OPEN.value}.",
            promise=promise,
            met=len(unsettled),
            events=unsettled[0].events,
        )
    elif not (many or wrong or late):
        yield _kept(promise, alias, rounds, [(one, became[one]) for one in excused])


def _fates(function: OfFunction, rounds: list[_Round]) -> dict[_Round, Fate | None]:
    """What became of causes of which no interrupt came."""
    steps = function.whole.steps
    causes = [
        Cause(
            begin_ns=one.begin_ns,
            end_ns=one.given_ns,
            until_ns=one.end_ns,
            region=int(file.role[-1]) if (file := steps.behind(one.ring).file) else 0,
            offset=steps.behind(one.ring).offset,
            came=bool(one.count),
        )
        for one in rounds
    ]
    return dict(zip(rounds, fates(function, causes), strict=True))


def _kept(
    promise: Promise, alias: str, rounds: list[_Round], excused: list[tuple[_Round, Fate | None]]
) -> Finding:
    told = [one for one in rounds if one.count]
    aside = "".join(
        f"; {sum(fate is why for _, fate in excused)} more causes {why.value}"
        for why in _EXCUSED
        if any(fate is why for _, fate in excused)
    )
    if excused and not told:
        first = excused[0][0].events
        return findings.unknown(
            NAME, f"No cause for an interrupt of {alias} counts{aside}.", promise=promise, events=first
        )
    slowest = max(one.end_ns - one.begin_ns for one in told or rounds)
    return findings.passed(
        NAME,
        f"{sum(one.count for one in told)} interrupts of {alias} came, one for each cause, each within "
        f"{as_text(Ns(slowest))}{aside}.",
        promise=promise,
        met=sum(one.count for one in told),
    )


def _is_late(evidence: Evidence, promise: Promise, one: _Round) -> bool:
    if promise.at_most is None or one.end_ns - one.given_ns <= promise.at_most:
        return False
    return not evidence.starvation.during(one.begin_ns, one.end_ns)[0]


def _lost(
    evidence: Evidence,
    promise: Promise,
    function: OfFunction,
    lost: list[_Round],
    causes: int,
    *,
    unwritten: bool,
) -> Finding:
    history, alias, first = evidence.history, function.alias, lost[0]
    waited = as_text(Ns(first.end_ns - first.begin_ns))
    kept, sent = _told(function, Happened.INTERRUPT_LOST), _told(function, Happened.INTERRUPT)
    # The last is waited for beyond the end of the stage, where nobody watches the machine.
    watched = min(first.end_ns, history.begin_ns + history.plan.lasting_ns)
    if not len(kept) and evidence.starvation.during(first.begin_ns, watched)[0]:
        return findings.starved(
            NAME,
            f"{len(lost)} of {causes} interrupts of {alias} did not come within {waited}, on a starved machine.",
            promise=promise,
            met=len(lost),
            events=first.events,
        )
    claim = f"Interrupt lost: {len(lost)} of {causes} that {alias} had cause for did not come within {waited}"
    events = list(first.events)
    if unwritten:
        claim += f": the first {Fate.UNWRITTEN.value}"
    elif len(kept):
        claim += f": it kept {len(kept)} to itself"
        events.append(findings.served(kept[0]))
    elif len(sent):
        claim += f": it sent {len(sent)} in all, so they got lost on their way"
    return findings.failed(NAME, Blame.TIMEOUT, f"{claim}.", events=events, promise=promise, met=len(lost))


def _too_many(promise: Promise, function: OfFunction, rounds: list[_Round], came: int) -> Finding:
    alias, first = function.alias, next(one for one in rounds if one.count > 1)
    sent = _told(function, Happened.INTERRUPT)
    lasted = max(MS, rounds[-1].end_ns - rounds[0].begin_ns)
    # Messages that come together are one: what was sent tells more than what came.
    rate = (max(came, len(sent)) - len(rounds)) * SECOND // lasted
    name = "Interrupt storm" if rate >= STORM else "Interrupts without a cause"
    told = f" {alias} sent {len(sent)}." if len(sent) else ""
    return findings.failed(
        NAME,
        Blame.MISMATCH,
        f"{name}: {came} of {alias} came in {as_text(Ns(lasted))}, and there was cause for {len(rounds)}: "
        f"{rate} a second too many.{told}",
        events=[*first.events, *(findings.served(row) for row in sent[:1])],
        promise=promise,
        met=came,
    )


def _told(function: OfFunction, what: Happened) -> Rows:
    history, rows = function.whole.history, function.served_in_time(what)
    during: Rows = rows[history.served["time_ns"][rows] >= history.begin_ns]
    return during
