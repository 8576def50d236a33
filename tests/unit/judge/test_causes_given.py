"""Causes for interrupts that reached nobody, that a reset forgot, and that were lost."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from harness.history.columns import SERVED
from harness.history.history import History
from harness.judge.evidence import Evidence
from harness.judge.questions.interrupts import interrupts
from harness.model import operation as words
from harness.model.fault import Fault, Misbehaviour, PlannedFault
from harness.model.operation import Operation
from harness.model.plan import Op
from harness.model.served import NO_REGION, Happened
from harness.model.verdict import Blame, Finding, Verdict
from tests.unit.judge.armed import armed, rings, user
from tests.unit.judge.build import ALIAS, CONTRACT, FLR, WRITE, Stage, at

Row = tuple[float, Happened, int, int, int]
"""When, in microseconds; what; region, address, value."""
RESET_AT, OVER_AT = 100_000, 201_050
ON, OFF = 0x0406, 0x0400


def served(history: History, rows: Sequence[Row], error_us: int = 0) -> History:
    table = np.zeros(len(rows), dtype=SERVED)
    for row, (us, what, region, address, value) in zip(table, sorted(rows), strict=True):
        row["time_ns"], row["what"], row["region"], row["address"], row["value"] = (
            at(us),
            what,
            region,
            address,
            value,
        )
    return replace(history, served=table, served_error_ns=error_us * 1000)


def doorbell(us: float) -> Row:
    return (us, Happened.WRITTEN, 0, 0x10, 0x34333231)


def command(us: float, value: int) -> Row:
    return (us, Happened.WRITTEN, 7, 4, value)


def sent(us: float) -> Row:
    return (us, Happened.INTERRUPT, NO_REGION, 0, 0)


RESET = (
    command(RESET_AT + 40, OFF),
    (RESET_AT + 60, Happened.FLR, NO_REGION, 0, 1),
    command(RESET_AT + 101_000, ON),
)


def story(
    begin: float,
    count: int = 0,
    *,
    rows: Sequence[Row] = (),
    took: float = 20,
    waited: float = 1_000_000,
    means: Operation = FLR,
) -> History:
    """A cause at 10 ms that is answered, one at `begin`, one long after a reset from 100 to 201 ms, answered too."""
    stage = Stage(platform="hil-endpoint", before=bytes(armed("msix")))
    stage.heartbeat()
    me = user(stage, "msix")
    rings(stage, me, 10_000, 1, number=0)
    rings(stage, me, begin, count, number=1, took=took, waited=waited)
    rings(stage, me, 1_500_000, 1, number=2)
    if means == words.VFIO_RESET:
        resetter = stage.does("resetter", means, "vfio", op=Op.RESET_DEVICE)
        stage.op(resetter, RESET_AT, OVER_AT)
        stage.window(RESET_AT + 20, OVER_AT - 10, tid=100 + resetter)
        stage.performed(RESET_AT + 30, OVER_AT - 20, tid=100 + resetter)
    else:
        stage.reset(stage.resetter(means=means), RESET_AT)
    always = (doorbell(10_010), sent(10_020), doorbell(1_500_010), sent(1_500_020))
    return served(stage.history(), (*always, *RESET, *rows) if rows is not NO_LOG else ())


NO_LOG: tuple[Row, ...] = (sent(0),)


def found(history: History) -> Finding:
    (finding,) = interrupts(Evidence(history), CONTRACT.terms_of(history))
    return finding


def test_a_cause_that_was_written_while_decode_was_off_reached_nobody() -> None:
    finding = found(story(150_000))
    assert finding.verdict is Verdict.PASS
    assert "2 interrupts of disk came, one for each cause" in finding.claim
    assert "1 more causes reached nobody: memory decode was off, for it was being reset" in finding.claim


def test_the_trace_alone_explains_it_where_no_model_keeps_a_log() -> None:
    assert found(story(150_000, rows=NO_LOG)).verdict is Verdict.PASS


def test_a_cause_that_a_reset_forgot_is_owed_nothing() -> None:
    finding = found(story(99_900, rows=(doorbell(99_910),)))
    assert finding.verdict is Verdict.PASS
    assert "1 more causes were forgotten: it was reset before it had answered" in finding.claim


@pytest.mark.parametrize(
    ("before_us", "verdict"), [(100, Verdict.PASS), (15_000, Verdict.PASS), (30_000, Verdict.FAIL)]
)
def test_a_message_that_was_sent_right_before_bus_mastering_went_off(
    before_us: float, verdict: Verdict
) -> None:
    """QEMU drops what it has not passed on by then: that convicts nobody.  One that was sent earlier was lost."""
    begin = RESET_AT - before_us
    finding = found(story(begin, rows=(doorbell(begin + 10), sent(begin + 20))))
    assert finding.verdict is verdict
    told = "1 more causes were under way when bus mastering was switched off"
    assert (told in finding.claim) is (verdict is Verdict.PASS)


def test_one_that_was_sent_when_its_reset_had_begun_may_have_been_cut_off() -> None:
    """Bus mastering goes off with decode: a message that is on its way then reaches nobody (found by random plans)."""
    finding = found(story(RESET_AT + 20, rows=(doorbell(RESET_AT + 30), sent(RESET_AT + 35))))
    assert finding.verdict is Verdict.PASS
    assert "1 more causes were under way when bus mastering was switched off" in finding.claim


def test_nobody_knows_of_one_before_a_reset_without_a_log() -> None:
    finding = found(story(99_000, rows=NO_LOG))
    assert finding.verdict is Verdict.UNKNOWN
    assert "may have been forgotten" in finding.claim


@pytest.mark.parametrize(
    ("begin", "rows", "said"),
    [
        (50_000, (doorbell(50_010), sent(50_020)), "got lost on their way"),
        (150_000, (doorbell(150_010), command(140_000, ON)), "Interrupt lost"),
        (600_000, (doorbell(600_010), sent(600_020)), "got lost on their way"),
        (600_000, (doorbell(600_010),), "Interrupt lost: 1 of 3"),
        (600_000, (command(300_000, OFF),), "never reached it, and no reset explains why"),
    ],
)
def test_one_that_it_heard_and_no_reset_forgot_is_lost(begin: float, rows: Sequence[Row], said: str) -> None:
    finding = found(story(begin, rows=rows))
    assert (finding.verdict, finding.blame) == (Verdict.FAIL, Blame.TIMEOUT)
    assert said in finding.claim


def test_one_that_it_kept_between_the_restore_of_decode_and_of_msi_is_forgotten_unless_that_was_staged() -> (
    None
):
    rows = (
        doorbell(RESET_AT + 101_010),
        (RESET_AT + 101_012, Happened.INTERRUPT_LOST, NO_REGION, 0, 0),
    )
    history = story(RESET_AT + 101_005, rows=rows)
    assert found(history).verdict is Verdict.PASS
    faults = (PlannedFault(function=ALIAS, fault=Fault(what=Misbehaviour.LOSE_INTERRUPTS)),)
    assert found(replace(history, plan=replace(history.plan, faults=faults))).verdict is Verdict.FAIL


def test_a_write_that_waited_for_a_reset_through_vfio_arrived() -> None:
    """It waits for memory_lock: what comes of it is due."""
    waits = OVER_AT - 150_000 + 30
    assert found(story(150_000, took=waits, rows=NO_LOG, means=words.VFIO_RESET)).verdict is Verdict.FAIL
    assert (
        found(story(150_000, 1, took=waits, waited=200, rows=NO_LOG, means=words.VFIO_RESET)).verdict
        is Verdict.PASS
    )


def test_one_is_late_only_since_it_was_given() -> None:
    waits = 1_200_000
    assert (
        found(story(150_000, 1, took=waits, waited=200, rows=(doorbell(150_000 + waits - 5),))).verdict
        is Verdict.PASS
    )


def test_nothing_is_due_after_a_raw_reset_or_with_decode_switched_off_by_the_plan() -> None:
    for means, value in ((words.FLR_BIT, b"\x00\x80"), (WRITE, b"\x00\x00")):
        stage = Stage(platform="hil-endpoint", before=bytes(armed("msix")))
        stage.heartbeat()
        me = user(stage, "msix")
        rings(stage, me, 10_000, 1, number=0)
        offset = 0x48 if means == words.FLR_BIT else 4
        stage.op(stage.writer(offset, value, means=means), 20_000, 20_020)
        rings(stage, me, 30_000, 0, number=1)
        assert found(stage.history()).verdict is Verdict.PASS


def test_where_no_cause_reached_anybody_nothing_is_known() -> None:
    stage = Stage(platform="hil-endpoint", before=bytes(armed("msix")))
    stage.heartbeat()
    me = user(stage, "msix")
    stage.reset(stage.resetter(), RESET_AT)
    rings(stage, me, 150_000, 0, number=0)
    assert found(stage.history()).verdict is Verdict.UNKNOWN


@pytest.mark.parametrize("seed", range(40))
def test_every_cause_is_owed_an_interrupt_but_those_of_a_reset(seed: int) -> None:
    """Random causes around random resets: who answers whenever it can hear passes; a lost one convicts."""
    dice = random.Random(seed)  # noqa: S311 - the same every time
    stage = Stage(platform="hil-endpoint", before=bytes(armed("msix")))
    stage.heartbeat(until_us=6e6)
    me = user(stage, "msix")
    resetter = stage.resetter()
    starts = [dice.randint(0, 4) * 250_000 + 500_000 * 2 * n for n in range(3)]
    for number, start in enumerate(starts):
        stage.reset(resetter, start, round_=number)
    rows = [
        row
        for start in starts
        for row in (
            (start + 60, Happened.FLR, NO_REGION, 0, 1),
            command(start + 40, OFF),
            command(start + 101_000, ON),
        )
    ]
    heard = []
    for number, begin in enumerate(itertools.accumulate(dice.randint(2_000, 90_000) for _ in range(60))):
        off = any(start - 5 <= begin <= start + 101_100 for start in starts)
        rings(stage, me, begin, 0 if off else 1, number=number, waited=1_000)
        if not off:
            if not any(
                start - 21_000 <= begin <= start for start in starts
            ):  # QEMU may not have passed it on
                heard.append(number)
            rows += [doorbell(begin + 10), sent(begin + 12)]
    history = served(stage.history(), rows, error_us=dice.choice((0, 50, 900)))
    assert found(history).verdict is Verdict.PASS
    table = history.operations.copy()
    one = dice.choice(heard)
    taken = (table["actor"] == me) & (table["round"] == one) & (table["step"] == 1)
    table["value"][taken], table["error"][taken] = 0, 11
    assert found(replace(history, operations=table)).verdict is Verdict.FAIL
