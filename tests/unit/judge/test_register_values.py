"""values_sane on registers: made-up data convicts where nobody promised it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from harness.history.columns import SERVED
from harness.judge.evidence import Evidence
from harness.judge.questions.values_sane import values_sane
from harness.model import operation as words
from harness.model.outcome import Outcome
from harness.model.plan import File, Op, Step
from harness.model.served import NO_REGION, Happened
from harness.model.terms import Terms
from harness.model.units import US, Ns
from harness.model.verdict import Blame, Finding, Verdict
from tests.unit.judge.build import ALIAS, BEGIN, CONTRACT, Stage, terms, worst

DATA, ONES = 0x8008_0783, 0xFFFF_FFFF


def judged(stage: Stage, **changes: object) -> tuple[Finding, ...]:
    history = stage.history(**changes)
    return values_sane(Evidence(history), terms(history))


def reading(
    means: str = words.BAR_READ,
    *,
    holder: str = "reset/flr",
    platform: str = "nvme",
    before: int | None = DATA,
    width: int = 4,
) -> tuple[Stage, int]:
    """A register that is read before a window of 100 ms."""
    stage = Stage(platform=platform)
    actor, reader = stage.does("holder", holder), stage.register_reader(means, width=width)
    stage.held_by(actor, 99_900, 200_100, opened=100_000, closed=200_000)
    if before is not None:
        stage.op(reader, 50, 60, value=before)
    return stage, reader


@pytest.mark.parametrize("means", [words.BAR_READ, words.MAPPED_READ, words.SYSFS_MAPPED_READ])
@pytest.mark.parametrize(("platform", "made_up", "other"), [("nvme", 0, ONES), ("unknown", ONES, 0)])
def test_in_a_sysfs_reset_data_or_the_promised_made_up_data_may_be_read(
    means: str, platform: str, made_up: int, other: int
) -> None:
    stage, reader = reading(means, platform=platform)
    for at, value in (
        (100_010, DATA),
        (150_000, made_up),
        (160_000, made_up),
        (199_990, DATA),
        (300_000, DATA),
    ):
        stage.op(reader, at, at + 5, value=value)
    found = judged(stage)
    assert [(f.verdict, f.met) for f in found] == [(Verdict.PASS, 2), (Verdict.PASS, 4)]
    assert found[0].promise.startswith(f"{means}@sysfs-reset")
    stage.op(reader, 170_000, 170_005, value=other)
    bad = judged(stage)[0]
    assert (bad.verdict, bad.blame) == (Verdict.FAIL, Blame.MISMATCH)
    assert "in a window (sysfs-reset)" in bad.claim


@pytest.mark.parametrize("begin", [99_990, 199_995])
def test_at_the_edge_of_a_reset_either_may_be_read(begin: float) -> None:
    stage, reader = reading()
    stage.op(reader, begin, begin + 20, value=0)
    stage.op(reader, begin + 30, begin + 31, value=DATA)
    assert worst(judged(stage)) is Verdict.PASS


@pytest.mark.parametrize("value", [0, ONES])
@pytest.mark.parametrize("holder", [words.HOLD_CONFIG, words.ENABLE_VFS])
def test_while_a_driver_holds_the_lock_registers_carry_data(holder: str, value: int) -> None:
    stage, reader = reading(holder=holder)
    stage.op(reader, 150_000, 150_005, value=DATA)
    assert worst(judged(stage)) is Verdict.PASS
    stage.op(reader, 160_000, 160_005, value=value)
    stage.op(reader, 170_000, 170_005, value=DATA)
    bad = judged(stage)[0]
    assert (bad.verdict, bad.blame) == (Verdict.FAIL, Blame.MISMATCH)


def test_after_a_reset_zero_may_be_what_it_left_but_all_ones_may_not() -> None:
    stage, reader = reading(holder=words.VFIO_RESET)
    stage.op(reader, 300_000, 300_005, value=0)
    assert worst(judged(stage)) is Verdict.PASS
    stage.op(reader, 400_000, 400_005, value=ONES)
    bad = judged(stage)[0]
    assert (bad.verdict, bad.blame) == (Verdict.FAIL, Blame.DEVICE_LOST)
    assert "while nobody held a lock" in bad.claim


def test_a_reset_that_no_actor_asked_for_counts_too() -> None:
    stage, reader = reading(holder=words.HOLD_CONFIG)
    stage.op(reader, 300_000, 300_005, value=0)
    assert worst(judged(stage)) is Verdict.FAIL
    stage.performed(110_000, 120_000, tid=900)
    assert worst(judged(stage)) is Verdict.PASS


@pytest.mark.parametrize("value", [0, ONES])
def test_what_the_register_held_before_is_not_made_up(value: int) -> None:
    stage, reader = reading(holder=words.HOLD_CONFIG, before=value)
    stage.op(reader, 150_000, 150_005, value=value)
    stage.op(reader, 300_000, 300_005, value=value)
    assert worst(judged(stage)) is Verdict.PASS


def test_the_width_decides_what_all_ones_are() -> None:
    stage, reader = reading(holder=words.HOLD_CONFIG, before=0x83, width=1)
    stage.op(reader, 150_000, 150_005, value=0xFF)
    assert worst(judged(stage)) is Verdict.FAIL


@pytest.mark.parametrize(("means", "op"), [(words.BAR_WRITE, Op.WRITE), (words.MARK, Op.STORE)])
@pytest.mark.parametrize(("offset", "verdict"), [(0x0A, Verdict.PASS), (0x0C, Verdict.FAIL)])
def test_a_register_that_the_plan_writes_may_hold_zero(
    means: str, op: Op, offset: int, verdict: Verdict
) -> None:
    stage, reader = reading(holder=words.HOLD_CONFIG)
    file = File(function=ALIAS, role="resource0")
    writer = stage.actor(
        "writer", Step(op=op, means=words.Operation(means), file=file, offset=offset, value=b"\0" * 4)
    )
    stage.op(writer, 70, 80)
    stage.op(reader, 150_000, 150_005, value=0)
    assert worst(judged(stage)) is verdict


@pytest.mark.parametrize("value", [0, ONES])
def test_what_a_register_holds_that_nobody_read_in_time_is_not_known(value: int) -> None:
    stage, reader = reading(before=None, holder=words.HOLD_CONFIG)
    stage.op(reader, 150_000, 150_005, value=DATA)
    assert worst(judged(stage)) is Verdict.PASS  # data is data
    stage.op(reader, 160_000, 160_005, value=value)
    (finding,) = judged(stage)
    assert finding.verdict is Verdict.UNKNOWN
    assert "nobody read it before the first window" in finding.claim


def test_short_reads_convict() -> None:
    stage, reader = reading()
    stage.op(reader, 70, 80, result=2)
    (bad,) = judged(stage)
    assert (bad.verdict, bad.blame) == (Verdict.FAIL, Blame.MISMATCH)


def test_refused_reads_gave_nothing_to_judge() -> None:
    stage = Stage()
    stage.op(stage.register_reader(words.MAPPED_READ), 10, 12, error=-7, value=8)
    assert judged(stage) == ()


def test_windows_that_are_not_certain_leave_unknown() -> None:
    stage, reader = reading()
    stage.op(reader, 300_000, 300_005, value=ONES)
    assert [f.verdict for f in judged(stage, lost_kernel_events=1)] == [Verdict.UNKNOWN]


def test_each_register_is_judged_for_itself() -> None:
    stage, reader = reading(holder=words.HOLD_CONFIG)
    other = stage.register_reader(words.BAR_READ, offset=0x10, bar=2)
    stage.op(other, 50, 60, value=0)
    stage.op(other, 150_000, 150_005, value=0)
    stage.op(reader, 150_000, 150_005, value=0)
    assert sorted((f.verdict, "0x8 of BAR 0" in f.claim) for f in judged(stage)) == [
        (Verdict.PASS, False),
        (Verdict.FAIL, True),
    ]


def test_a_contract_that_promises_data_turns_a_reset_red() -> None:
    stage, reader = reading()
    stage.op(reader, 150_000, 150_005, value=0)
    history = stage.history()
    right = CONTRACT.terms_of(history)
    flipped = tuple(
        replace(p, outcome=Outcome.OK) if p.outcome is Outcome.ZERO else p for p in right.promises[ALIAS]
    )
    assert worst(values_sane(Evidence(history), right)) is Verdict.PASS
    assert worst(values_sane(Evidence(history), Terms(promises={ALIAS: flipped}))) is Verdict.FAIL


@pytest.mark.parametrize(
    ("means", "offset", "value", "verdict"),
    [
        (words.FLR_BIT, 0x48, b"\x00\x80", Verdict.PASS),
        (words.VFIO_COMMAND, 0x04, b"\x00\x00", Verdict.PASS),
        ("config-write/sysfs", 0x04, b"\x06\x00", Verdict.FAIL),
        ("config-write/sysfs", 0x0C, b"\x00", Verdict.FAIL),
        (words.UNBIND, 0, b"1", Verdict.PASS),
        (words.VFIO_CLOSE, 0, b"", Verdict.PASS),
    ],
)
@pytest.mark.parametrize("made_up", [0, ONES])
def test_what_may_leave_decode_off_ends_the_judging(
    means: str, offset: int, value: bytes, verdict: Verdict, made_up: int
) -> None:
    stage, reader = reading(holder=words.HOLD_CONFIG)
    file = File(function=ALIAS, role="config")
    step = Step(op=Op.WRITE, means=words.Operation(means), file=file, offset=offset, value=value)
    stage.op(stage.actor("writer", step), 140_000, 140_010)
    stage.op(reader, 150_000, 150_005, value=made_up)
    assert worst(judged(stage)) is verdict


def faulty(begins_us: int, *reads: tuple[float, int], what: Happened = Happened.FAULT_BEGINS) -> Finding:
    """The worst that is said of a register that was read in a stage without a window, in which a fault begins."""
    stage = Stage()
    reader = stage.register_reader(words.SYSFS_MAPPED_READ)
    for moment, value in reads:
        stage.op(reader, moment, moment + 5, value=value)
    served = np.zeros(1, dtype=SERVED)
    served[0]["time_ns"], served[0]["what"], served[0]["region"] = BEGIN + begins_us * US, what, NO_REGION
    return max(judged(stage, served=served, served_error_ns=Ns(US)), key=lambda one: one.verdict)


@pytest.mark.parametrize("what", [Happened.FAULT_BEGINS, Happened.INCIDENT_BEGINS])
def test_what_a_register_holds_is_what_it_gave_before_something_went_wrong(what: Happened) -> None:
    lost = faulty(100, (50, DATA), (150, ONES), (160, ONES), what=what)
    assert (lost.verdict, lost.blame, lost.met) == (Verdict.FAIL, Blame.DEVICE_LOST, 2)
    back = faulty(100, (50, DATA), (150, ONES), (160, DATA), what=what)
    assert (back.verdict, back.blame, back.met) == (Verdict.FAIL, Blame.MISMATCH, 1)


def test_all_ones_from_the_beginning_may_be_what_the_register_holds() -> None:
    assert faulty(0, (50, ONES), (150, ONES)).verdict is Verdict.UNKNOWN
    assert faulty(100, (50, ONES), (150, ONES)).verdict is Verdict.PASS
