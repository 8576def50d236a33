"""Did the disk behind a function keep its data, and did it answer in time, whatever was done to the adapter meanwhile?

What was written to a block comes back from it.  How long an operation may take depends on what was done to the function
before that ended: a reset by the PCI core of which nobody tells the driver loses the commands that are under way, and
only their time-outs bring the adapter back.  A driver that then resets its adapter anew has made an end of that.

Source: Linux drivers/scsi/scsi_error.c, `scsi_timeout()`; drivers/nvme/host/pci.c, `nvme_reset_prepare()`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from harness.history.columns import Table
from harness.history.reading import OfFunction
from harness.history.steps import Rows
from harness.history.windows import ResetSpan, driver_doubts, reset_doubts
from harness.judge import findings
from harness.judge.evidence import Evidence, words
from harness.judge.evidence.starvation import Starvation
from harness.model.operation import DISK_READ, DISK_WRITE, Operation
from harness.model.pci import ResetMethod
from harness.model.promise import Promise, WindowKind
from harness.model.terms import Terms
from harness.model.units import Ns, as_text
from harness.model.verdict import Blame, Finding

NAME: Final = "disk"
SOURCE: Final = "T10 SBC-3, READ (10), and NVM Command Set, Read: the data that was last written to the block"
_SHOW_THEIR_RESETS: Final = ("ipr",)
"""Drivers whose own resets the trace shows."""
_KEPT_BYTES: Final = 8
"""As much of a block as a history keeps."""
_NEVER: Final = np.iinfo(np.int64).max
_MET: Final = {
    WindowKind.NONE: "",
    WindowKind.SYSFS_RESET: " after a reset by the PCI core",
    WindowKind.DRIVER_RESET: " while the driver reset the function",
}


@dataclass(frozen=True, slots=True)
class _Disk:
    """The disk behind one function, and what was done to that function.

    Attributes:
        function: all that is shown of it, its resets by its own driver among that.
        table: of the operations; those that never returned end with the history.
    """

    function: OfFunction
    table: Table

    @property
    def spans(self) -> tuple[ResetSpan, ...]:
        """Its resets by the PCI core, while a driver was bound."""
        return self.function.resets if self.function.record.driver else ()

    def done(self, means: Operation) -> Rows:
        """Those that returned success, and enough data to compare."""
        rows, table = self.function.rows(means), self.function.whole.history.operations
        good = (table["error"][rows] == 0) & (table["end_ns"][rows] != 0)
        whole: Rows = rows[good & (table["result"][rows] >= _KEPT_BYTES)]
        return whole

    def met(self, row: int) -> WindowKind:
        """What an operation met."""
        begin, end = (int(self.table[edge][row]) for edge in ("begin_ns", "end_ns"))
        if any(span.begin_ns < end and not self._mended(span, begin) for span in self.spans):
            return WindowKind.SYSFS_RESET
        if any(one.begin_ns < end and begin < one.end_ns for one in self.function.driver_resets):
            return WindowKind.DRIVER_RESET
        return WindowKind.NONE

    def met_in_full(self, row: int) -> bool:
        """Whether an operation began after a reset by the PCI core that met no reset by the driver."""
        return any(
            span.end_ns <= self.table["begin_ns"][row]
            and not any(
                one.begin_ns < span.end_ns and span.begin_ns < one.end_ns
                for one in self.function.driver_resets
            )
            for span in self.spans
        )

    def resets_between(self, write: int, read: int) -> str:
        """Half a sentence on the resets between two operations."""
        since, until = int(self.table["end_ns"][write]), int(self.table["begin_ns"][read])
        own = self.function.driver_resets
        begins = [*(span.begin_ns for span in self.spans), *(one.begin_ns for one in own)]
        number = sum(since <= begin < until for begin in begins)
        return f"with {number or 'no'} reset{'s' * (number != 1)} of the function in between"

    def doubts(self) -> tuple[str, ...]:
        """Reasons why the trace may not show all that was done to the function."""
        history, record = self.function.whole.history, self.function.record
        offered = [method for method in ResetMethod if method in record.reset_methods]
        reasons = [reason for method in offered for reason in reset_doubts(history, method)]
        if record.driver in _SHOW_THEIR_RESETS:
            reasons += driver_doubts(history, record.driver)
        return tuple(dict.fromkeys(reasons))

    def _mended(self, span: ResetSpan, moment: int) -> bool:
        """Whether its driver had reset the function anew, from beginning to end, between that reset and a moment."""
        own = self.function.driver_resets
        return any(one.done and one.begin_ns >= span.end_ns and one.end_ns <= moment for one in own)


def disk(evidence: Evidence, terms: Terms) -> tuple[Finding, ...]:
    """Compare what was read with what was written, and hold the longest operations against their promises."""
    history = evidence.history
    if not len(evidence.steps.rows(lambda step: step.means in (DISK_READ, DISK_WRITE))):
        return ()
    table = history.operations.copy()
    table["end_ns"][table["end_ns"] == 0] = history.end_ns
    found: list[Finding] = []
    for function in evidence.functions:
        one = _Disk(function, table)
        found += [*_data(one), *_service(one, terms, evidence.starvation)]
    return tuple(found)


def _data(disk: _Disk) -> Iterator[Finding]:
    """Every block that is read after it was written gives what was written."""
    steps = disk.function.whole.steps
    blocks = steps.column(lambda step: step.offset, np.int64)[steps.of_row]
    reads, alias, table = disk.done(DISK_READ), disk.function.alias, disk.table
    found = [_compare(disk, reads[blocks[reads] == block], blocks) for block in np.unique(blocks[reads])]
    known = [pair for pairs, _ in found for pair in pairs]
    wrong = [pair for _, pairs in found for pair in pairs]
    if wrong:
        read, write = min(wrong)
        yield findings.failed(
            NAME,
            Blame.MISMATCH,
            f"{len(wrong)} of {len(known)} reads of the disk of {alias} did not give what had been written: the first, "
            f"at {blocks[read]:#x}, gave {_kept(table, read)}, written was {_kept(table, write)}, "
            f"{disk.resets_between(write, read)}.",
            events=[findings.operation(read), findings.operation(write)],
            met=len(wrong),
            source=SOURCE,
        )
    elif known:
        read, write = max(known)
        yield findings.passed(
            NAME,
            f"{len(known)} reads of the disk of {alias} gave what had been written, the last "
            f"{disk.resets_between(write, read)}.",
            met=len(known),
            source=SOURCE,
        )


_Pairs = list[tuple[int, int]]
"""Rows of a read, and of the last write that was over before it began."""


def _compare(disk: _Disk, reads: Rows, blocks: Rows) -> tuple[_Pairs, _Pairs]:
    """Reads of one block whose contents were known, and those of them that gave something else."""
    table, block = disk.table, blocks[reads[0]]
    tried, done = (
        rows[blocks[rows] == block] for rows in (disk.function.rows(DISK_WRITE), disk.done(DISK_WRITE))
    )
    last = np.full(len(reads), -1, dtype=np.intp)
    right = np.zeros(len(reads), dtype=np.bool_)
    for write in tried.tolist():
        begin, end = table["begin_ns"][write], table["end_ns"][write]
        # What a write has left is there until a later one is over; one that failed may have written, too.
        later = table["end_ns"][done[table["begin_ns"][done] >= end]]
        may_be = (begin < table["end_ns"][reads]) & (
            table["begin_ns"][reads] < (later.min() if len(later) else _NEVER)
        )
        right |= may_be & (table["value"][reads] == table["value"][write])
        if write in done:
            last[table["begin_ns"][reads] >= end] = write
    pairs = list(zip(reads.tolist(), last.tolist(), strict=True))
    known = [pair for pair in pairs if pair[1] >= 0]
    return known, [
        pair for pair, good in zip(pairs, right.tolist(), strict=True) if pair[1] >= 0 and not good
    ]


def _service(disk: _Disk, terms: Terms, starved: Starvation) -> Iterator[Finding]:
    """Operations of one kind, whatever was done to the function, end as promised, and none takes longer."""
    alias = disk.function.alias
    for means in (DISK_READ, DISK_WRITE):
        rows = disk.function.rows(means)
        if len(rows) and (reasons := disk.doubts()):
            what = f"What {means} on {alias} met is not certain: {'; '.join(reasons)}."
            yield findings.unknown(NAME, what)
            continue
        kinds = [disk.met(row) for row in rows.tolist()]
        for kind in dict.fromkeys(kinds):
            met = rows[np.array([one is kind for one in kinds])]
            what = f"{len(met)} {means} on {alias}{_MET[kind]}"
            promise = terms.promise(alias, means, kind)
            if promise is None:
                claim = f"The contract says nothing on {what}."
                yield findings.unknown(NAME, claim, events=[findings.operation(met[0])])
            else:
                yield _hold(disk, met, promise, what, starved)


def _hold(disk: _Disk, rows: Rows, promise: Promise, what: str, starved: Starvation) -> Finding:
    table, returned = disk.table, disk.function.whole.history.operations["end_ns"][rows] != 0
    took = table["end_ns"][rows] - table["begin_ns"][rows]
    slowest = int(np.argmax(took))
    row, longest = int(rows[slowest]), Ns(int(took[slowest]))
    events = [findings.operation(row)]
    how = f"the longest took {as_text(longest)}"
    if not returned[slowest]:
        how = f"one did not return in {as_text(longest)}"
    shown = words.observed(table["error"][rows], np.zeros(len(rows), dtype=np.bool_))
    wrong = returned & (shown != words.number_of(promise.outcome))
    if wrong.any():
        first = int(np.argmax(wrong))
        return findings.failed(
            NAME,
            Blame.MISMATCH,
            f"{wrong.sum()} of {what} did not keep the promise {promise.outcome!s}: the first "
            f"{words.spoken(int(shown[first]))} after {as_text(int(took[first]))}.",
            events=[findings.operation(int(rows[first]))],
            promise=promise,
            met=int(wrong.sum()),
        )
    if promise.at_most is not None and longest > promise.at_most:
        claim = f"{what}: {how}; promised are {as_text(promise.at_most)}"
        begin = int(table["begin_ns"][row])
        if starved.during(begin, begin + promise.at_most).any():  # what came later broke no promise any more
            return findings.starved(NAME, f"{claim}, but {starved.reason}.", promise=promise, events=events)
        return findings.failed(
            NAME, Blame.TIMEOUT, f"{claim}.", events=events, promise=promise, met=len(rows)
        )
    if not returned.all():
        return findings.unknown(NAME, f"{what}: {how}, which proves nothing.", promise=promise, events=events)
    weakness = promise.weakness or ""
    if promise.at_least is not None and longest < promise.at_least:
        if any(disk.met_in_full(one) for one in rows.tolist()):
            return findings.failed(
                NAME,
                Blame.TIMEOUT,
                f"{what}: {how}, less than {as_text(promise.at_least)}.",
                events=events,
                promise=promise,
                met=len(rows),
                weakness=weakness,
            )
        weakness = ""  # none began after the reset, or the driver was at work on the function already
    return findings.passed(NAME, f"{what}: {how}.", promise=promise, met=len(rows), weakness=weakness)


def _kept(table: Table, row: int) -> str:
    """The first bytes of a block, in the order in which they lie on the disk."""
    return int(table["value"][row]).to_bytes(_KEPT_BYTES, "little").hex(" ")
