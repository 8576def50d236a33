"""Kernels that did not live through the stage, and actors that the kernel gave up or that never began."""

from __future__ import annotations

import dataclasses

import pytest

from harness.history.columns import OPERATION, empty
from harness.history.history import History
from harness.judge import judge
from harness.judge.evidence import Evidence
from harness.judge.questions.finished import finished
from harness.judge.questions.survived import survived
from harness.judge.verdict import CHECKERS, LAST_QUESTIONS
from harness.model import operation as words
from harness.model.units import Ns
from harness.model.verdict import Blame, EventKind, Verdict
from tests.unit.judge.build import Stage, terms

OOPS = 1 << 7


def lost(kind: str = "panic", reason: str = "Fatal exception", **changes: object) -> History:
    """A reader and a resetter in the middle of what they do."""
    stage = Stage()
    reader, resetter = stage.reader(), stage.resetter()
    stage.op(resetter, 200_000, None)
    stage.op(reader, 210_000, None)
    stage.log("Kernel panic - not syncing: Fatal exception", level=2)
    return stage.history(lost=kind, lost_reason=reason, **changes)


def test_a_kernel_that_lives_is_no_question() -> None:
    stage = Stage()
    stage.op(stage.reader(), 10, 12)
    history = stage.history()
    assert survived(Evidence(history), terms(history)) == ()
    assert {finding.checker for finding in judge(history, terms(history)).findings} <= {
        checker.__name__ for checker in CHECKERS
    }


@pytest.mark.parametrize(("kind", "word"), [("panic", "panicked"), ("hang", "hung")])
def test_a_kernel_that_does_not_is_to_blame(kind: str, word: str) -> None:
    history = lost(kind)
    (bad,) = survived(Evidence(history), terms(history))
    assert (bad.verdict, bad.blame) == (Verdict.FAIL, Blame.KERNEL_FAULT)
    assert f"The kernel {word} " in bad.claim
    assert (
        "into the stage: Fatal exception; reader was in config-read/sysfs of disk, resetter in reset/flr."
        in bad.claim
    )
    assert [event.kind for event in bad.events] == [EventKind.OPERATION, EventKind.OPERATION, EventKind.LOG]


def test_nothing_else_is_asked_of_what_it_left() -> None:
    """An operation that never returned because its kernel was gone is no timeout of the function."""
    history = lost()
    judgement = judge(history, terms(history))
    assert {finding.checker for finding in judgement.findings} == {
        checker.__name__ for checker in LAST_QUESTIONS
    }
    assert judgement.decisive is not None
    assert judgement.decisive.checker == "survived"
    assert {f.blame for f in judgement.findings if f.verdict is Verdict.FAIL} == {Blame.KERNEL_FAULT}


def test_what_could_not_be_read_is_said() -> None:
    history = dataclasses.replace(lost(), begin_ns=Ns(0), actors=(), operations=empty(OPERATION))
    (bad,) = survived(Evidence(history), terms(history))
    assert bad.claim == (
        "The kernel panicked during the stage: Fatal exception; what the actors were doing could not be read."
    )


def died(taint: int) -> History:
    stage = Stage()
    reader = stage.reader()
    stage.op(reader, 10, 12)
    stage.op(reader, 20, None)
    stage.ends(reader, end="died", detail="killed by SIGKILL")
    return stage.history(taint_before=1 << 12, taint_after=1 << 12 | taint)


def test_an_actor_that_the_kernel_gave_up_is_the_kernels_fault() -> None:
    history = died(OOPS)
    bad = finished(Evidence(history), terms(history))[0]
    assert (bad.verdict, bad.blame) == (Verdict.FAIL, Blame.KERNEL_FAULT)
    assert bad.claim == (
        "The kernel gave reader up in the middle of config-read/sysfs on disk: killed by SIGKILL."
    )


def test_an_actor_that_somebody_killed_is_not() -> None:
    history = died(0)
    assert Blame.KERNEL_FAULT not in {
        finding.blame for finding in finished(Evidence(history), terms(history))
    }


def never_began(*, holder: bool) -> History:
    """A reader that sleeps in its set-up, behind a keeper of the config lock or for no reason that was seen."""
    stage = Stage()
    keeper, reader = stage.does("keeper", words.NEVER_UNLOCK), stage.reader()
    stage.heartbeat()
    stage.op(keeper, 99_900, 100_020)
    stage.window(100_000, None if holder else 100_010, tid=100 + keeper)
    stage.ends(reader, end="abandoned", wchan="pci_wait_cfg", detail="opening /sys/config")
    return stage.history()


def test_a_set_up_behind_a_lock_that_is_held_is_judged_like_any_operation() -> None:
    history = never_began(holder=True)
    bad = finished(Evidence(history), terms(history))[0]
    assert (bad.verdict, bad.blame) == (Verdict.FAIL, Blame.TIMEOUT)
    assert bad.claim.startswith(
        "reader never came back from opening /sys/config, asleep in pci_wait_cfg; keeper (misuse/never-unlock) has held"
    )
    assert [event.kind for event in bad.events] == [EventKind.KERNEL]


def test_a_set_up_that_nothing_explains_is_no_verdict() -> None:
    history = never_began(holder=False)
    (open_question,) = finished(Evidence(history), terms(history))
    assert open_question.verdict is Verdict.UNKNOWN
    assert "reader never came back from opening /sys/config, asleep in pci_wait_cfg" in open_question.claim
