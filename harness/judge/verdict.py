"""Ask every question of a history, and add the answers up."""

from __future__ import annotations

from typing import Final, Protocol

from harness.history.history import History
from harness.judge.evidence import Evidence
from harness.judge.findings import unknown
from harness.judge.questions.access_outcome import access_outcome
from harness.judge.questions.accounted import accounted
from harness.judge.questions.call_outcome import call_outcome
from harness.judge.questions.call_time import call_time
from harness.judge.questions.came_back import came_back
from harness.judge.questions.collided import collided
from harness.judge.questions.config_kept import config_kept
from harness.judge.questions.config_restored import config_restored
from harness.judge.questions.disk import disk
from harness.judge.questions.driver_locked import driver_locked
from harness.judge.questions.driver_reset import driver_reset
from harness.judge.questions.driver_restored import driver_restored
from harness.judge.questions.driver_told import driver_told
from harness.judge.questions.fault_met import fault_met
from harness.judge.questions.finished import finished
from harness.judge.questions.interrupts import interrupts
from harness.judge.questions.interrupts_kept import interrupts_kept
from harness.judge.questions.kernel_log import kernel_log
from harness.judge.questions.lock_discipline import lock_discipline
from harness.judge.questions.persistent_state import persistent_state
from harness.judge.questions.port_lock import port_lock
from harness.judge.questions.recorded import recorded
from harness.judge.questions.recovered import recovered
from harness.judge.questions.removed import removed
from harness.judge.questions.reset_happened import reset_happened
from harness.judge.questions.reset_time import reset_time
from harness.judge.questions.same_function import same_function
from harness.judge.questions.self_test import self_test
from harness.judge.questions.stray_dma import stray_dma
from harness.judge.questions.survived import survived
from harness.judge.questions.values_sane import values_sane
from harness.judge.remarks import remarks_of
from harness.model.terms import Terms
from harness.model.verdict import Finding, Judgement, Remark


class Checker(Protocol):
    """One question.  Pure: the same evidence and terms give the same findings."""

    __name__: str

    def __call__(self, evidence: Evidence, terms: Terms, /) -> tuple[Finding, ...]:
        """Answer; no finding when the question does not arise."""


CHECKERS: Final[tuple[Checker, ...]] = (
    lock_discipline,
    driver_locked,
    kernel_log,
    recovered,
    removed,
    finished,
    recorded,
    came_back,
    stray_dma,
    accounted,
    interrupts,
    access_outcome,
    values_sane,
    call_outcome,
    call_time,
    reset_happened,
    driver_reset,
    driver_restored,
    driver_told,
    reset_time,
    port_lock,
    config_restored,
    config_kept,
    interrupts_kept,
    same_function,
    self_test,
    disk,
    persistent_state,
    fault_met,
    collided,
)
"""The questions, in the order in which a reader wants the bad news."""

LAST_QUESTIONS: Final[tuple[Checker, ...]] = (survived, kernel_log)
"""What can be asked of a history whose kernel was lost: of everything else it has no evidence."""


def judge(seen: History | Evidence, terms: Terms, checkers: tuple[Checker, ...] = ()) -> Judgement:
    """Judge one history against the part of the contract that applies to it.

    A checker that crashes has said nothing: its finding is UNKNOWN and names the error.  Remarks that do are told of.

    Args:
        seen: what happened; who draws it as well gives its evidence to both.
        terms: what was promised.
        checkers: the questions; when empty, all that the history can answer.
    """
    evidence = Evidence.read(seen)
    asked = checkers or (LAST_QUESTIONS if evidence.history.lost else CHECKERS)
    findings = tuple(f for checker in asked for f in _ask(checker, evidence, terms))
    return Judgement(findings=findings, remarks=_look_over(evidence, terms))


def _look_over(evidence: Evidence, terms: Terms) -> tuple[Remark, ...]:
    try:
        return remarks_of(evidence, terms)
    except Exception as error:  # noqa: BLE001  what decides nothing must take no verdict away
        text = f"what is left over could not be told: {type(error).__name__}: {error}"
        return (Remark(kind="stages that could not be looked over", text=text),)


def _ask(checker: Checker, evidence: Evidence, terms: Terms) -> tuple[Finding, ...]:
    try:
        return checker(evidence, terms)
    except Exception as error:  # noqa: BLE001  whatever it is, the other checkers must still be heard
        name = checker.__name__
        return (unknown(name, f"The checker {name} crashed: {type(error).__name__}: {error}"),)
