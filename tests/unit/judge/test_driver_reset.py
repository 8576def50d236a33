"""driver_reset: resets that happened, that did not, that cannot be told, and that a known weakness foretells."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from harness.history.columns import SERVED, Edge
from harness.history.history import Probe
from harness.history.windows import DriverStep
from harness.judge.evidence import Evidence
from harness.judge.questions.driver_reset import driver_reset
from harness.model.operation import HOST_RESET, SELF_TEST, Operation, reset
from harness.model.pci import ResetMethod
from harness.model.served import NO_REGION, Happened
from harness.model.terms import Terms
from harness.model.units import MS, Ns
from harness.model.verdict import Blame, EventKind, Finding, Verdict
from tests.unit.judge.build import ALIAS, Stage, at, terms

BEGUN, DONE = 500_000, 3_400_000
BIST, WARM = DriverStep.SELF_TEST, DriverStep.WARM_RESET
SLOT = Happened.BUS_RESET
TESTED = Happened.SELF_TESTED


def judged(
    step: DriverStep,
    *rows: tuple[float, Happened],
    done: bool = True,
    lost_rows: int = 0,
    beside: Operation | None = None,
    promised: bool = True,
    without: str = "",
) -> tuple[Finding, ...]:
    """What is said of a driver's reset with this step, and these rows of the function's log beside its last access."""
    stage = Stage()
    stage.does("host-resetter", HOST_RESET, "scsi-host/reset_host")
    stage.op(0, 200_000, DONE + 10 if done else None)
    for taken, when in ((DriverStep.ASKED, 200_000), (DriverStep.ALERT, 400_000), (step, BEGUN)):
        stage.takes(taken, when)
    if done:
        stage.takes(DriverStep.DONE, DONE)
    if beside is not None:
        stage.op(stage.does("another", beside, "config"), BEGUN + 1_000, BEGUN + 2_000)
    served = np.zeros(len(rows) + 1, dtype=SERVED)
    for row, (moment, what) in zip(served, ((10, Happened.READ), *rows), strict=True):
        row["time_ns"], row["what"], row["region"] = at(moment), what, NO_REGION
    history = stage.history()
    probes = tuple(replace(one, present=one.symbol != without) for one in history.probes)
    history = replace(
        history,
        served=served,
        served_lost=lost_rows,
        served_error_ns=Ns(MS),
        probes=probes,
    )
    return driver_reset(Evidence(history), terms(history) if promised else Terms(promises={}))


def test_a_self_test_that_the_function_noted_happened() -> None:
    (good,) = judged(BIST, (2_000_000, TESTED))
    assert (good.verdict, good.met, good.weakness) == (Verdict.PASS, 1, "")
    assert good.claim.endswith(
        f"of {ALIAS} asked for happened: the function had forgotten its state 1.5 s later."
    )


def test_a_self_test_that_it_did_not_note_is_named() -> None:
    (bad,) = judged(BIST)
    assert (bad.verdict, bad.blame, bad.met) == (Verdict.FAIL, Blame.RESET_FAILED, 1)
    assert bad.claim.startswith("Reset not performed: the self-test")
    assert [event.kind for event in bad.events] == [EventKind.KERNEL]


@pytest.mark.parametrize("when", [BEGUN - 2_000, DONE + 2_000])
def test_one_before_or_after_is_not_the_drivers(when: float) -> None:
    (bad,) = judged(BIST, (when, TESTED))
    assert bad.verdict is Verdict.FAIL


@pytest.mark.parametrize("what", [Happened.FLR, Happened.BUS_RESET, Happened.WAKE])
def test_a_reset_of_another_kind_is_not_the_drivers(what: Happened) -> None:
    (bad,) = judged(BIST, (2_000_000, what))
    assert bad.verdict is Verdict.FAIL


def test_a_warm_reset_that_does_not_happen_is_a_known_weakness() -> None:
    (known,) = judged(WARM)
    assert known.verdict is Verdict.PASS
    assert "not performed on x86" in known.weakness


def test_one_that_happens_is_a_weakness_that_is_gone() -> None:
    (gone,) = judged(WARM, (1_000_000, SLOT))
    assert (gone.verdict, gone.blame) == (Verdict.FAIL, Blame.WEAKNESS_GONE)
    assert [event.kind for event in gone.events] == [EventKind.KERNEL, EventKind.SERVED]


@pytest.mark.parametrize("when", [BEGUN - 500, BEGUN + 500, DONE - 500, DONE + 500])
def test_the_clock_of_the_log_may_be_a_little_wrong(when: float) -> None:
    (doubtful,) = judged(BIST, (when, TESTED))
    assert doubtful.verdict is Verdict.UNKNOWN
    assert "clock" in doubtful.claim


def test_a_log_that_is_not_whole_proves_no_omission() -> None:
    (doubtful,) = judged(BIST, lost_rows=1)
    assert doubtful.verdict is Verdict.UNKNOWN
    (good,) = judged(BIST, (2_000_000, TESTED), lost_rows=1)
    assert good.verdict is Verdict.PASS


def test_a_self_test_that_a_user_started_meanwhile_looks_like_the_drivers() -> None:
    (doubtful,) = judged(BIST, (2_000_000, TESTED), beside=SELF_TEST)
    assert doubtful.verdict is Verdict.UNKNOWN
    assert "somebody else" in doubtful.claim
    (good,) = judged(BIST, (2_000_000, TESTED), beside=reset(ResetMethod.FLR))
    assert good.verdict is Verdict.PASS


def test_a_bus_reset_meanwhile_looks_like_a_warm_one() -> None:
    (doubtful,) = judged(WARM, (1_000_000, SLOT), beside=reset(ResetMethod.BUS))
    assert doubtful.verdict is Verdict.UNKNOWN


def test_a_function_that_writes_nothing_down_tells_nothing() -> None:
    stage = Stage()
    stage.reader()
    stage.takes(BIST, BEGUN)
    stage.takes(DriverStep.DONE, DONE)
    history = stage.history()
    (doubtful,) = driver_reset(Evidence(history), terms(history))
    assert doubtful.verdict is Verdict.UNKNOWN
    assert "nothing wrote down" in doubtful.claim


def test_without_its_probe_a_step_cannot_be_seen() -> None:
    (doubtful,) = judged(BIST, (2_000_000, TESTED), without="ipr_reset_start_bist")
    assert doubtful.verdict is Verdict.UNKNOWN
    assert "no probe on entry of ipr_reset_start_bist" in doubtful.claim


def test_lost_trace_events_leave_it_open_even_when_no_step_is_seen() -> None:
    stage = Stage()
    stage.op(stage.does("host-resetter", HOST_RESET, "scsi-host/reset_host"), 10, 20)
    history = replace(stage.history(), lost_kernel_events=3)
    (doubtful,) = driver_reset(Evidence(history), terms(history))
    assert doubtful.verdict is Verdict.UNKNOWN
    assert "3 trace events were lost" in doubtful.claim


def test_one_that_is_not_done_is_not_judged_here() -> None:
    assert judged(BIST, done=False) == ()


def test_a_contract_that_says_nothing_leaves_it_open() -> None:
    (doubtful,) = judged(BIST, (2_000_000, TESTED), promised=False)
    assert doubtful.verdict is Verdict.UNKNOWN


def test_a_stage_without_a_driver_that_resets_is_not_spoken_of() -> None:
    stage = Stage()
    stage.reset(stage.resetter(), 1_000)
    history = replace(stage.history(), lost_kernel_events=3)
    assert driver_reset(Evidence(history), terms(history)) == ()


def test_probes_are_asked_for_by_the_name_of_the_driver() -> None:
    """A kernel whose nvme driver has no callbacks to probe says enough of ipr."""
    stage = Stage()
    stage.reader()
    stage.takes(BIST, BEGUN)
    stage.takes(DriverStep.DONE, DONE)
    history = stage.history()
    probes = tuple(
        Probe(symbol=one.symbol, edge=one.edge, present="nvme" not in one.symbol) for one in history.probes
    )
    assert Probe(symbol="nvme_reset_done", edge=Edge.ENTRY, present=False) in probes
    (doubtful,) = driver_reset(Evidence(replace(history, probes=probes)), terms(history))
    assert "nothing wrote down" in doubtful.claim
