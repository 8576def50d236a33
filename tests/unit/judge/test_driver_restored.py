"""driver_restored: config space that a driver gave back, that it forgot, and that others answer for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from harness.history.columns import SERVED
from harness.history.windows import DriverStep
from harness.judge.evidence import Evidence
from harness.judge.questions.driver_restored import driver_restored
from harness.model.operation import HOST_RESET, UNBIND
from harness.model.served import NO_REGION, Happened
from harness.model.verdict import Blame, Finding, Verdict
from tests.unit.judge.build import ALIAS, FLR, Stage, at, config_space, terms
from tests.unit.judge.struck import unplugged

CACHE_LINE = 0x0C
FORGOTTEN = bytes((*config_space()[:CACHE_LINE], 0x10, *config_space()[CACHE_LINE + 1 :]))


def reset(*, done: bool = True, after: bytes | None = None) -> Stage:
    """A driver's reset, and config space after it."""
    stage = Stage(after=after)
    stage.does("host-resetter", HOST_RESET, "scsi-host/reset_host")
    stage.op(0, 200_000, 3_400_010)
    for step, when in ((DriverStep.ASKED, 200_000), (DriverStep.RESTORE, 3_000_000)):
        stage.takes(step, when)
    if done:
        stage.takes(DriverStep.DONE, 3_400_000)
    return stage


def judged(stage: Stage) -> tuple[Finding, ...]:
    history = stage.history()
    return driver_restored(Evidence(history), terms(history))


def test_what_is_as_before_was_restored() -> None:
    (good,) = judged(reset())
    assert (good.verdict, good.met) == (Verdict.PASS, 1)
    assert good.claim == f"Config space of {ALIAS} (256 bytes) is what it was before its driver reset it."


def test_what_differs_is_named() -> None:
    (bad,) = judged(reset(after=FORGOTTEN))
    assert (bad.verdict, bad.blame) == (Verdict.FAIL, Blame.RESET_FAILED)
    assert bad.claim == (
        f"The driver of {ALIAS} did not restore config space after its own reset: 1 bytes differ "
        "(0x00c 00000000 → 10000000)."
    )
    assert bad.events


def test_a_trace_with_holes_convicts_nobody() -> None:
    history = reset(after=FORGOTTEN).history()
    probes = tuple(replace(one, present="alert" not in one.symbol) for one in history.probes)
    (unknown,) = driver_restored(Evidence(replace(history, probes=probes)), terms(history))
    assert unknown.verdict is Verdict.UNKNOWN
    assert "0x00c 00000000 → 10000000" in unknown.claim


def test_what_the_plan_writes_is_its_own() -> None:
    stage = reset(after=FORGOTTEN)
    stage.op(stage.writer(CACHE_LINE, b"\x10"), 100, 120)
    (good,) = judged(stage)
    assert good.verdict is Verdict.PASS


@pytest.mark.parametrize(
    "stage",
    [
        reset(done=False, after=FORGOTTEN),
        reset(after=b""),
        reset(after=b"\xff" * 256),
        Stage(after=FORGOTTEN),
    ],
    ids=["not done", "not read", "dead", "no reset"],
)
def test_without_an_end_nothing_is_asked(stage: Stage) -> None:
    if not stage._actors:
        stage.reader()
    assert judged(stage) == ()


@pytest.mark.parametrize(("begin", "count"), [(3_300_000, 0), (100_000, 1)], ids=["later", "before"])
def test_a_later_reset_by_somebody_else_is_answered_for_elsewhere(begin: float, count: int) -> None:
    stage = reset(after=FORGOTTEN)
    stage.op(stage.resetter(means=FLR), begin, begin + 50_000)
    assert len(judged(stage)) == count


@pytest.mark.parametrize(("us", "verdict"), [(3_600_000, Verdict.UNKNOWN), (2_000_000, Verdict.FAIL)])
def test_what_a_reset_of_nobodys_took_later_is_not_the_drivers(us: float, verdict: Verdict) -> None:
    served = np.zeros(1, dtype=SERVED)
    served[0]["time_ns"], served[0]["what"], served[0]["region"] = at(us), Happened.BUS_RESET, NO_REGION
    history = replace(reset(after=FORGOTTEN).history(), served=served)
    (finding,) = driver_restored(Evidence(history), terms(history))
    assert finding.verdict is verdict


def test_a_driver_that_has_let_go_owes_nothing() -> None:
    stage = reset(after=FORGOTTEN)
    stage.op(stage.does("unbinder", UNBIND, "driver/unbind"), 3_600_000, 3_700_000)
    assert judged(stage) == ()


def test_nor_does_one_whose_function_was_unplugged() -> None:
    made = unplugged()
    made.stage.after = FORGOTTEN
    for step, when in ((DriverStep.ASKED, 1_000), (DriverStep.DONE, 2_000)):
        made.stage.takes(step, when)
    history = made.history()
    assert driver_restored(Evidence(history), terms(history)) == ()
