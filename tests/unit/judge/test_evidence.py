"""What a judgement costs: each thing is worked out once, and twice as much of a history takes twice the work.

Work is counted in lines of Python that are executed, not in seconds: that is the same on every machine.
"""

from __future__ import annotations

import gc
import sys
import weakref
from collections import Counter
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from harness.history.history import History
from harness.history.reading import Reading
from harness.history.retried import retried
from harness.history.steps import steps_of
from harness.history.windows import (
    device_windows,
    driver_resets,
    lock_tries,
    locks_taken,
    resets,
    slept,
    tellings,
)
from harness.judge import judge
from harness.judge.evidence import Evidence
from harness.judge.evidence.calls import calls
from harness.judge.evidence.incidents import struck
from harness.judge.evidence.log_events import log_events
from harness.judge.evidence.oracle_rounds import oracle_rounds
from harness.judge.evidence.starvation import starvation
from harness.lab.figures.synthetic import logged, synthetic
from harness.report.ascii.timeline import timeline_text
from harness.report.stage import stage_record
from harness.report.svg.timeline import timeline_svg
from tests.unit.judge.build import terms

WORKED_OUT = (
    steps_of,
    locks_taken,
    device_windows,
    slept,
    resets,
    driver_resets,
    lock_tries,
    tellings,
    retried,
    calls,
    struck,
    starvation,
    log_events,
)


def called(work: Callable[[], object]) -> Counter[Any]:
    """How often each function was called meanwhile, by its code."""
    found: Counter[Any] = Counter()

    def count(frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            found[frame.f_code] += 1

    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(None)
    return found


def executed(work: Callable[[], object]) -> int:
    """How many lines of Python were executed meanwhile; each turn of a loop in one line counts."""
    lines = 0

    def count(_: FrameType, event: str, __: object) -> Callable[..., Any]:
        nonlocal lines
        lines += event == "line"
        return count

    before = sys.gettrace()
    sys.settrace(count)
    try:
        work()
    finally:
        sys.settrace(before)
    return lines


def test_a_judgement_and_its_pictures_work_each_thing_out_once() -> None:
    history = synthetic(20_000)
    agreed = terms(history)

    def judge_and_draw() -> None:
        evidence = Evidence(history)
        judgement = judge(evidence, agreed)
        timeline_text(evidence, judgement)
        timeline_svg(evidence, judgement)
        stage_record(evidence, judgement, file="h")

    found = called(judge_and_draw)
    assert {one.__name__: found[one.__code__] for one in WORKED_OUT} == dict.fromkeys(
        (one.__name__ for one in WORKED_OUT), 1
    )
    assert found[oracle_rounds.__code__] == 1


@pytest.mark.parametrize(
    "made",
    [
        pytest.param(lambda size: synthetic(160, functions=size, free=4), id="functions"),
        pytest.param(lambda size: synthetic(16 * size, functions=2, free=4), id="windows"),
        pytest.param(lambda size: logged(20 * size, 20 * size), id="lines of the log"),
    ],
)
def test_twice_as_much_takes_twice_the_work(made: Callable[[int], History]) -> None:
    def work(size: int) -> int:
        history = made(size)
        agreed = terms(history)
        return executed(lambda: judge(history, agreed))

    work(2)  # what is compiled once for all is not counted
    assert work(24) <= 2.1 * work(12)


def test_a_judged_history_is_freed_at_once() -> None:
    evidence = Evidence(synthetic(400))
    judgement = judge(evidence, terms(evidence.history))
    timeline_text(evidence, judgement)
    assert [one.windows for one in evidence.functions]
    watched = weakref.ref(evidence)
    gc.disable()  # without a search for circles
    try:
        del evidence
        assert watched() is None
    finally:
        gc.enable()


def test_what_is_evidence_already_stays_what_it_is() -> None:
    evidence = Evidence(synthetic(40))
    assert Evidence.read(evidence) is evidence
    assert Reading.read(evidence) is evidence
    assert Evidence.read(evidence.history).history is evidence.history


def test_a_function_is_found_by_alias_and_by_number() -> None:
    evidence = Evidence(synthetic(160, functions=3, free=4))
    for number, alias in enumerate(evidence.history.plan.functions):
        one = evidence.of(alias)
        assert (one.number, evidence.of(number).alias, one.record.alias) == (number, alias, alias)
        assert one.windows == tuple(window for window in evidence.windows if window.function == number) != ()
        assert one.resets == tuple(span for span in evidence.resets if span.function == number) != ()
        assert evidence.beside[alias] == (number,)  # each on a bus of its own
    with pytest.raises(KeyError):
        evidence.of("nobody")
