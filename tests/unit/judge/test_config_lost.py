"""Which reset lost config space: by the function's own log, by what the plan read, or nobody knows."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from harness.history.columns import SERVED
from harness.history.history import History
from harness.judge.evidence import Evidence
from harness.judge.questions.config_restored import config_restored
from harness.model.fault import Incident, IncidentKind
from harness.model.operation import FLR_BIT, SELF_TEST
from harness.model.plan import File, Op, Step
from harness.model.served import NO_REGION, Happened
from harness.model.units import SECOND, US, Ns
from harness.model.verdict import Blame, Finding, Verdict
from tests.unit.judge.build import ALIAS, READ, Stage, at, config_space, terms

LOST_AT = 0x0C
"""Cache line size: 0x10 before the stage, 0 after it."""
Row = tuple[float, Happened, int]
"""When, in microseconds; what; for reads and writes the cache line size."""


def before() -> bytes:
    config = bytearray(config_space())
    config[LOST_AT] = 0x10
    return bytes(config)


def stage_of(**how: str) -> Stage:
    stage = Stage(before=before(), after=config_space(), **how)  # type: ignore[arg-type]
    stage.heartbeat(until_us=4e6)
    return stage


def logged(history: History, rows: Sequence[Row], *, error: int = 0) -> History:
    table = np.zeros(len(rows), dtype=SERVED)
    for row, (us, what, value) in zip(table, sorted(rows), strict=True):
        row["time_ns"], row["what"] = at(us), what
        row["region"], row["address"], row["width"] = NO_REGION, 0, 0
        if what in (Happened.READ, Happened.WRITTEN):
            row["region"], row["address"], row["width"], row["value"] = 7, LOST_AT, 4, value
    return replace(history, served=table, served_error_ns=Ns(error * US))


def found(history: History) -> Finding:
    (finding,) = config_restored(Evidence(history), terms(history))
    return finding


def resets(stage: Stage, count: int) -> list[float]:
    """So many resets, each by an actor of its own, 200 ms apart; when they began."""
    begins = [10_000.0 + 200_000 * number for number in range(count)]
    for number, begin in enumerate(begins):
        stage.reset(stage.resetter(f"resetter-{number}"), begin)
    return begins


@pytest.mark.parametrize("seed", range(30))
def test_the_reset_that_lost_it_is_named_and_not_the_one_that_restored_what_it_found(seed: int) -> None:
    dice = random.Random(seed)  # noqa: S311 - the same every time
    count = dice.randint(1, 6)
    guilty = dice.randrange(count)
    stage, rows = stage_of(), []
    for number, begin in enumerate(resets(stage, count)):
        kept = 0x10 if number < guilty else 0
        rows += [(begin + 60, Happened.FLR, 0)]
        if number < guilty or dice.random() < 0.5:
            rows += [(begin + 101_000, Happened.WRITTEN, kept), (begin + 102_000, Happened.READ, kept)]
    bad = found(logged(stage.history(), rows, error=dice.choice((0, 500))))
    assert (bad.verdict, bad.blame) == (Verdict.FAIL, Blame.RESET_FAILED)
    assert f"was not restored after reset/flr by resetter-{guilty}: 1 bytes differ" in bad.claim


@pytest.mark.parametrize("seed", range(30))
def test_reads_of_the_plan_tell_it_where_no_log_does(seed: int) -> None:
    dice = random.Random(seed)  # noqa: S311 - the same every time
    count = dice.randint(1, 6)
    guilty = dice.randrange(count)
    stage = stage_of()
    begins = resets(stage, count)
    reader = stage.reader(offset=LOST_AT)
    for number, begin in enumerate(begins):
        stage.op(reader, begin + 150_000, begin + 150_020, value=0x10 if number < guilty else 0)
    assert f"after reset/flr by resetter-{guilty}: " in found(stage.history()).claim


def test_where_nothing_tells_all_are_named() -> None:
    stage = stage_of()
    resets(stage, 3)
    bad = found(stage.history())
    earlier = "reset/flr by resetter-0 or reset/flr by resetter-1"
    assert f"after reset/flr by resetter-2, or after {earlier} before it" in bad.claim
    assert len(bad.events) == 3


def test_many_that_may_have_lost_it_are_counted() -> None:
    stage = stage_of()
    resets(stage, 6)
    assert (
        "after reset/flr by resetter-5, or after one of the 5 resets before it"
        in found(stage.history()).claim
    )


def test_what_was_given_back_and_did_not_arrive_was_not_restored_by_the_last() -> None:
    stage, rows = stage_of(), []
    for begin in resets(stage, 2):
        rows += [(begin + 60, Happened.FLR, 0), (begin + 101_000, Happened.WRITTEN, 0x10)]
    assert "after reset/flr by resetter-1: " in found(logged(stage.history(), rows)).claim


def given_back_and_taken_again(kind: Happened, us: float, stage: Stage, *, error: int = 0) -> History:
    (begin,) = resets(stage, 1)
    rows = [(begin + 60, Happened.FLR, 0), (begin + 101_000, Happened.WRITTEN, 0x10), (us, kind, 0)]
    return logged(stage.history(), rows, error=error)


def test_who_restored_it_is_not_convicted_for_a_reset_that_nobody_asked_for() -> None:
    finding = found(given_back_and_taken_again(Happened.BUS_RESET, 900_000, stage_of()))
    assert finding.verdict is Verdict.UNKNOWN
    assert "was restored after reset/flr, and lost again by a reset 789 ms later" in finding.claim
    assert [str(event) for event in finding.events] == ["served:2"]


def test_an_error_of_the_link_explains_that_it_is_lost_again() -> None:
    history = given_back_and_taken_again(Happened.BUS_RESET, 900_000, stage_of())
    incident = Incident(kind=IncidentKind.LINK_ERROR, function=ALIAS, at_ns=Ns(SECOND), detail="DLP")
    table = np.concatenate([np.zeros(1, dtype=SERVED), history.served])
    table[0]["time_ns"], table[0]["what"] = at(800_000), Happened.INCIDENT_BEGINS
    history = replace(history, served=np.sort(table, order="time_ns"))
    history = replace(history, plan=replace(history.plan, incidents=(incident,)))
    assert found(history).verdict is Verdict.PASS


def test_a_self_test_that_ends_after_the_restore_has_taken_it() -> None:
    stage = stage_of()
    stage.op(stage.writer(0x0F, b"\x40", means=SELF_TEST), 5_000, 5_010)
    finding = found(given_back_and_taken_again(Happened.SELF_TESTED, 700_000, stage))
    assert finding.verdict is Verdict.PASS
    assert "config-write/self-test lost what config space of disk lacks" in finding.claim


def test_a_raw_reset_before_a_kind_one_has_taken_it() -> None:
    stage = stage_of()
    stage.op(stage.writer(0x48, b"\x00\x80", means=FLR_BIT), 1_000, 1_010)
    (begin,) = resets(stage, 1)
    history = stage.history()
    rows = [(1_005, Happened.FLR, 0), (begin + 60, Happened.FLR, 0), (begin + 101_000, Happened.WRITTEN, 0)]
    assert found(logged(history, rows)).verdict is Verdict.PASS
    assert found(history).verdict is Verdict.UNKNOWN, "nobody knows which of the two"


@pytest.mark.parametrize("us", [900_000, 120_000])
def test_what_is_lost_when_the_last_user_closes_it_convicts(us: float) -> None:
    stage = stage_of()
    file = File(function=ALIAS, role="vfio-config")
    user = stage.actor("user", Step(op=Op.READ, means=READ, file=file, offset=8, width=4))
    stage.op(user, 115_000, 115_010)
    bad = found(given_back_and_taken_again(Happened.FLR, us, stage))
    assert bad.verdict is Verdict.FAIL
    assert "was not restored when its last user closed it, later than by reset/flr" in bad.claim
