"""Every interrupt that there was cause for, and no other."""

from __future__ import annotations

from dataclasses import replace

from harness.history.history import History
from harness.judge.evidence import Evidence
from harness.judge.questions.interrupts import interrupts
from harness.model.operation import TAKE
from harness.model.outcome import Outcome
from harness.model.served import Happened
from harness.model.units import Ns
from harness.model.verdict import Blame, Finding, Verdict
from tests.unit.judge.build import CONTRACT, Stage, terms
from tests.unit.judge.machine import interrupted

SENT = (Happened.INTERRUPT, 0, 0, 0)
KEPT = (Happened.INTERRUPT_LOST, 0, 0, 0)


def found(history: History) -> Finding:
    (finding,) = interrupts(Evidence(history), terms(history))
    return finding


def test_one_for_each_cause_is_as_it_should_be() -> None:
    finding = found(interrupted([1, 1, 1], told=[SENT] * 3))
    assert finding.verdict is Verdict.PASS
    assert finding.met == 3
    assert finding.promise == "interrupt/take@none"
    assert "3 interrupts of disk came, one for each cause, each within 200 us" in finding.claim


def test_one_that_the_function_kept_is_lost_and_the_log_says_by_whom() -> None:
    finding = found(interrupted([1, 0, 1], told=[SENT, KEPT, SENT]))
    assert finding.verdict is Verdict.FAIL
    assert finding.blame is Blame.TIMEOUT
    assert finding.claim.startswith("Interrupt lost: 1 of 3 that disk had cause for did not come within")
    assert "it kept 1 to itself" in finding.claim
    assert [str(event) for event in finding.events][2:] == ["served:1"]


def test_one_that_was_sent_and_did_not_come_got_lost_on_its_way() -> None:
    assert (
        "it sent 2 in all, so they got lost on their way" in found(interrupted([1, 0], told=[SENT] * 2)).claim
    )


def test_one_that_is_lost_needs_no_log_of_a_model() -> None:
    finding = found(interrupted([1, 0]))
    assert finding.blame is Blame.TIMEOUT
    assert finding.claim.endswith("within 200 us.")


def test_many_without_a_cause_are_a_storm() -> None:
    finding = found(interrupted([1, 40, 40], told=[SENT] * 90))
    assert finding.verdict is Verdict.FAIL
    assert finding.blame is Blame.MISMATCH
    assert finding.claim.startswith("Interrupt storm: 81 of disk came in 20.2 ms, and there was cause for 3")
    assert finding.claim.endswith("disk sent 90.")


def test_a_storm_that_came_merged_is_one_all_the_same() -> None:
    finding = found(interrupted([1] * 100 + [2], told=[SENT] * 900))
    assert finding.claim.startswith(
        "Interrupt storm: 102 of disk came in 1 s, and there was cause for 101: 798 a"
    )


def test_few_without_a_cause_are_no_storm() -> None:
    finding = found(interrupted([1] * 100 + [2]))
    assert finding.verdict is Verdict.FAIL
    assert finding.claim.startswith("Interrupts without a cause: 102 of disk came")


def test_what_comes_after_the_time_that_was_promised_is_late() -> None:
    history = interrupted([1], after_us=1_100_000)
    finding = found(history)
    assert finding.verdict is Verdict.FAIL
    assert finding.blame is Blame.TIMEOUT
    assert "came late, the first after 1.1 s" in finding.claim


def test_nothing_is_late_on_a_machine_that_was_starved() -> None:
    assert found(interrupted([1], after_us=1_100_000, starved_at=500_000)).verdict is Verdict.PASS


def test_nothing_is_lost_on_a_machine_that_was_starved_unless_the_function_says_so() -> None:
    history = interrupted([1, 0, 1], after_us=8_000, starved_at=10_000)
    assert found(history).blame is Blame.STARVED
    assert found(interrupted([1, 0], starved_at=1_000_000)).blame is Blame.TIMEOUT, "that was much later"
    kept = interrupted([1, 0, 1], after_us=8_000, starved_at=10_000, told=[SENT, KEPT, SENT])
    assert found(kept).blame is Blame.TIMEOUT


def test_a_cause_that_could_not_be_given_is_none() -> None:
    finding = found(interrupted([1, 0, 1], refused=1))
    assert finding.verdict is Verdict.PASS
    assert finding.met == 2


def test_what_was_promised_not_to_come_convicts_when_it_comes() -> None:
    promises = tuple(
        replace(one, outcome=Outcome.EAGAIN) if one.operation == TAKE else one for one in CONTRACT.promises
    )
    history = interrupted([1])
    contract = replace(CONTRACT, promises=promises)
    (finding,) = interrupts(Evidence(history), contract.terms_of(history))
    assert finding.verdict is Verdict.FAIL
    assert "promised is EAGAIN" in finding.claim


def test_a_silent_contract_leaves_it_open() -> None:
    history = interrupted([1])
    promises = tuple(one for one in CONTRACT.promises if one.operation != TAKE)
    contract = replace(CONTRACT, promises=promises)
    (finding,) = interrupts(Evidence(history), contract.terms_of(history))
    assert finding.verdict is Verdict.UNKNOWN


def test_a_stage_without_interrupts_is_not_asked() -> None:
    stage = Stage(deadline_ns=Ns(1))
    stage.reader()
    assert interrupts(Evidence(stage.history()), terms(stage.history())) == ()
