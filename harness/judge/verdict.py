"""Ask every question of a history, and add the answers up."""

from __future__ import annotations

from typing import Final

from harness.history.history import History
from harness.judge.access_outcome import access_outcome
from harness.judge.call_outcome import call_outcome
from harness.judge.call_time import call_time
from harness.judge.came_back import came_back
from harness.judge.collided import collided
from harness.judge.config_restored import config_restored
from harness.judge.disk import disk
from harness.judge.driver_locked import driver_locked
from harness.judge.driver_reset import driver_reset
from harness.judge.driver_told import driver_told
from harness.judge.fault_met import fault_met
from harness.judge.findings import Checker, unknown
from harness.judge.finished import finished
from harness.judge.interrupts import interrupts
from harness.judge.kernel_log import kernel_log
from harness.judge.lock_discipline import lock_discipline
from harness.judge.persistent_state import persistent_state
from harness.judge.port_lock import port_lock
from harness.judge.recovered import recovered
from harness.judge.removed import removed
from harness.judge.reset_happened import reset_happened
from harness.judge.reset_time import reset_time
from harness.judge.same_function import same_function
from harness.judge.self_test import self_test
from harness.judge.stray_dma import stray_dma
from harness.judge.survived import survived
from harness.judge.values_sane import values_sane
from harness.model.terms import Terms
from harness.model.verdict import Finding, Judgement

CHECKERS: Final[tuple[Checker, ...]] = (
    lock_discipline,
    driver_locked,
    kernel_log,
    recovered,
    removed,
    finished,
    came_back,
    stray_dma,
    interrupts,
    access_outcome,
    values_sane,
    call_outcome,
    call_time,
    reset_happened,
    driver_reset,
    driver_told,
    reset_time,
    port_lock,
    config_restored,
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


def judge(history: History, terms: Terms, checkers: tuple[Checker, ...] = ()) -> Judgement:
    """Judge one history against the part of the contract that applies to it.

    A checker that crashes has said nothing: its finding is UNKNOWN and names the error.

    Args:
        history: what happened.
        terms: what was promised.
        checkers: the questions; when empty, all that the history can answer.
    """
    asked = checkers or (LAST_QUESTIONS if history.lost else CHECKERS)
    return Judgement(findings=tuple(f for checker in asked for f in _ask(checker, history, terms)))


def _ask(checker: Checker, history: History, terms: Terms) -> tuple[Finding, ...]:
    try:
        return checker(history, terms)
    except Exception as error:  # noqa: BLE001  whatever it is, the other checkers must still be heard
        name = checker.__name__
        return (unknown(name, f"The checker {name} crashed: {type(error).__name__}: {error}"),)
