"""call_outcome of one call that waits for the config lock, against a twin that looks at one window at a time."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

import pytest

from harness.history.columns import Edge
from harness.history.windows import TRACE_RESOLUTION, WAIT
from harness.judge.evidence import Evidence
from harness.judge.questions.call_outcome import call_outcome
from harness.model import operation as words
from harness.model.units import US
from harness.model.verdict import Verdict
from tests.unit.judge.build import CONTRACT, at
from tests.unit.judge.witness import PORT_NUMBER, CallStage

STRANGER = 900


@dataclass(frozen=True)
class Held:
    """A window, in nanoseconds."""

    opened: int
    closed: int

    def covers(self, moment: int) -> bool:
        return self.opened + TRACE_RESOLUTION < moment < self.closed - TRACE_RESOLUTION


def let_through(windows: list[Held], begin: int, end: int, slept: list[int]) -> bool:
    """Whether the call came back inside the window in which it slept last, or else began."""
    moment = slept[-1] if slept else begin
    return any(held.covers(moment) and end < held.closed - TRACE_RESOLUTION for held in windows)


@pytest.mark.parametrize("seed", range(300))
def test_a_call_is_convicted_exactly_where_its_twin_is(seed: int) -> None:
    random = Random(seed)  # noqa: S311
    stage = CallStage(port=True)
    stage.heartbeat()
    caller = stage.caller(random.choice(("reset/flr", words.HOLD_CONFIG)))
    edges = sorted(random.sample(range(1_000, 60_000), random.choice((2, 4, 6))))
    windows = []
    for opened, closed in zip(edges[::2], edges[1::2], strict=True):
        if closed - opened > 8:
            stage.holds(opened, closed, tid=STRANGER)
            windows.append(Held(at(opened), at(closed)))
    near = [edge + random.uniform(-4, 4) for edge in edges] + [random.uniform(500, 70_000) for _ in range(4)]
    begin, end = sorted(random.sample(near, 2))
    slept = sorted(random.uniform(begin, end) for _ in range(random.choice((0, 1, 1, 2))))
    for moment in slept:
        stage.wait(moment, caller)
    if random.random() < 0.3:  # of another function: says nothing of this one
        stage.probe(random.uniform(begin, end), WAIT, Edge.ENTRY, 100 + caller, function=PORT_NUMBER)
    stage.called(caller, begin, end)
    history = stage.history()
    (finding,) = call_outcome(Evidence(history), CONTRACT.terms_of(history))
    rounded = [round(at(moment) / US) * US for moment in slept]
    wrong = let_through(windows, at(begin), at(end), [one for one in rounded if one >= at(begin)])
    assert finding.verdict is (Verdict.FAIL if wrong else Verdict.PASS)
