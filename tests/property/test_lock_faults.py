"""Config locks that anybody may unlock, against what the bit itself did."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from harness.history.reading import Reading
from harness.history.windows import LOCK, UNLOCK, FaultKind
from harness.model.units import US
from tests.unit.history.build import END, ENTRY, RETURN, Hit, history

THREADS = (7, 8, 9)


@dataclass
class Bit:
    """The lock as the kernel has it: a bit without an owner, and what was done to it."""

    owner: int | None = None
    hits: list[Hit] = field(default_factory=list)
    spans: list[tuple[int, int, int]] = field(default_factory=list)
    wrong: list[tuple[int, int]] = field(default_factory=list)
    since: int = 0

    def lock(self, at: int, tid: int) -> None:
        self.hits += [(at, tid, LOCK, ENTRY), (at + 1, tid, LOCK, RETURN)]
        self.owner, self.since = tid, at + 1

    def unlock(self, at: int, tid: int) -> None:
        self.hits += [(at, tid, UNLOCK, ENTRY), (at + 1, tid, UNLOCK, RETURN)]
        if self.owner != tid:
            self.wrong.append((at, tid))
        if self.owner is not None:
            self.spans.append((self.since, at, self.owner))
        self.owner = None

    def finish(self) -> None:
        if self.owner is not None:
            self.spans.append((self.since, END // US, self.owner))


@st.composite
def bits(draw: st.DrawFn) -> Bit:
    """Threads that lock when the bit is clear, and unlock whenever they like."""
    bit = Bit()
    for number, (tid, locks) in enumerate(
        draw(st.lists(st.tuples(st.sampled_from(THREADS), st.booleans()), max_size=24))
    ):
        if locks and bit.owner is None:
            bit.lock(10 * number + 10, tid)
        elif not locks:
            bit.unlock(10 * number + 10, tid)
    bit.finish()
    return bit


@settings(max_examples=500, deadline=None)
@given(bits())
def test_windows_are_when_the_bit_was_set(bit: Bit) -> None:
    found = [(w.opened_ns // US, w.closed_ns // US, w.tid) for w in Reading(history(bit.hits)).windows]
    assert found == bit.spans


@settings(max_examples=500, deadline=None)
@given(bits())
def test_there_is_a_fault_exactly_where_somebody_unlocked_what_it_did_not_hold_or_never_did(bit: Bit) -> None:
    faults = Reading(history(bit.hits)).lock_faults
    unlocks = [fault for fault in faults if fault.kind is not FaultKind.NEVER_UNLOCKED]
    assert [fault.tid for fault in faults if fault.kind is FaultKind.NEVER_UNLOCKED] == (
        [bit.owner] if bit.owner else []
    )
    assert bool(unlocks) is bool(bit.wrong)
    if bit.wrong:
        assert (unlocks[0].time_ns // US, unlocks[0].tid) == bit.wrong[0]
    # Every wrong unlock is a fault, or the doing of a thief before it.
    rows = {row for fault in unlocks for row in fault.rows}
    times = history(bit.hits).kernel["time_ns"] // US
    assert {int(times[row]) for row in rows} >= {at for at, _ in bit.wrong}


@settings(max_examples=300, deadline=None)
@given(bits())
def test_a_theft_has_another_owner_and_lasts_until_the_owner_notices(bit: Bit) -> None:
    for fault in Reading(history(bit.hits)).lock_faults:
        if fault.kind is FaultKind.STOLEN:
            assert fault.tid != fault.owner
            assert fault.time_ns < fault.until_ns <= END
