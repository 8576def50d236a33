"""A write to an address that nobody mapped is refused, or it convicts."""

from __future__ import annotations

from dataclasses import replace

from harness.judge.evidence import Evidence
from harness.judge.questions.fault_met import fault_met
from harness.judge.questions.stray_dma import stray_dma
from harness.model.fault import Misbehaviour
from harness.model.operation import UNMAPPED_DMA
from harness.model.outcome import Outcome
from harness.model.verdict import Blame, Verdict
from tests.unit.judge.build import CONTRACT, Stage, terms
from tests.unit.judge.machine import ADDRESS, astray


def test_one_that_was_refused_is_what_was_promised() -> None:
    (finding,) = stray_dma(Evidence(astray()), terms(astray()))
    assert finding.verdict is Verdict.PASS
    assert finding.promise == "dma/unmapped@none"
    assert "disk wrote to bus address 0x50000000, which nobody had mapped for it: ENODEV" in finding.claim


def test_one_that_reached_memory_convicts_whatever_the_kernel_says() -> None:
    history = astray(error=0)
    (finding,) = stray_dma(Evidence(history), terms(history))
    assert finding.verdict is Verdict.FAIL
    assert finding.blame is Blame.MISMATCH
    assert finding.claim.startswith("Stray DMA: disk wrote to bus address 0x50000000")
    assert "it reached memory" in finding.claim
    assert [str(event) for event in finding.events] == ["served:2"]


def test_one_that_was_refused_though_it_was_allowed_convicts() -> None:
    history = astray()
    promises = tuple(
        replace(one, outcome=Outcome.OK) if one.operation == UNMAPPED_DMA else one
        for one in CONTRACT.promises
    )
    contract = replace(CONTRACT, promises=promises)
    (finding,) = stray_dma(Evidence(history), contract.terms_of(history))
    assert finding.verdict is Verdict.FAIL
    assert "it was refused; promised is ok" in finding.claim


def test_a_silent_contract_leaves_it_open() -> None:
    history = astray()
    promises = tuple(one for one in CONTRACT.promises if one.operation != UNMAPPED_DMA)
    (finding,) = stray_dma(Evidence(history), replace(CONTRACT, promises=promises).terms_of(history))
    assert finding.verdict is Verdict.UNKNOWN


def test_one_that_never_came_is_left_to_whoever_asks_whether_faults_were_met() -> None:
    history = astray()
    without = replace(history, served=history.served[:0])
    assert stray_dma(Evidence(without), terms(without)) == ()
    assert fault_met(Evidence(without), terms(without))[0].verdict is Verdict.UNKNOWN


def test_other_writes_and_other_faults_are_no_business_of_ours() -> None:
    for history in (astray(0, address=ADDRESS + 8), astray(0, what=Misbehaviour.WRONG_VALUE)):
        assert stray_dma(Evidence(history), terms(history)) == ()


def test_what_another_function_wrote_is_not_put_down_to_this_one() -> None:
    history = astray(0)
    history.served["function"] = 1
    plan = replace(history.plan, functions=(*history.plan.functions, "other"))
    assert stray_dma(Evidence(replace(history, plan=plan)), terms(history)) == ()


def test_a_stage_in_which_none_was_planned_is_not_asked() -> None:
    stage = Stage()
    stage.reader()
    assert stray_dma(Evidence(stage.history()), terms(stage.history())) == ()
