"""What is left out of a full lane turns no verdict round: the same history with all its rows, and without most."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from hypothesis import event, given, settings
from hypothesis import strategies as st

from harness.history.history import History
from harness.judge import judge
from harness.judge.questions.access_outcome import access_outcome
from harness.judge.questions.finished import finished
from harness.judge.questions.recorded import recorded
from harness.judge.questions.values_sane import values_sane
from harness.model.operation import ATTRIBUTE_READ, SYSFS_MAPPED_READ
from harness.model.plan import File, Op, Step
from harness.model.verdict import Verdict
from tests.property.thinned import thinned
from tests.unit.judge.build import ALIAS, PROC_READ, READ, Stage, terms

QUESTIONS = (finished, recorded, access_outcome, values_sane)
LONGEST = 30_000.0
"""Of a stage, in microseconds."""


@dataclass(frozen=True)
class World:
    """How a kernel treats its readers; each number is a share of accesses.

    Attributes:
        let_through: inside of a window, instead of being blocked.
        let_go: begins to wait in a window, and comes back before it closes.
        baseless: waits where there is no window.
        wrong: gives other data.
        slow: takes up to some milliseconds by itself.
    """

    let_through: float = 0
    let_go: float = 0
    baseless: float = 0
    wrong: float = 0
    slow: float = 0.01


HEALTHY = World()
BAD = st.sampled_from([0.0, 0.0, 0.002, 0.05, 0.6])
WORLDS = st.just(HEALTHY) | st.builds(World, let_through=BAD, let_go=BAD, baseless=BAD, wrong=BAD)


def simulated(random: np.random.Generator, world: World, shortest: float, longest: float) -> History:
    """Readers as fast as they can be, of one or two registers or attributes in turn, beside windows.

    Args:
        random: what decides.
        world: the kernel.
        shortest: of windows and of what lies between, in microseconds.
        longest: likewise.
    """
    stage = Stage()
    stage.heartbeat(until_us=LONGEST + 20_000)
    windows, now = [], float(random.uniform(50, longest))
    while now < LONGEST:
        closed = now + float(random.uniform(shortest, longest))
        stage.window(now, closed, asked=now - float(random.choice((1, 5))))
        windows.append((now, closed))
        now = closed + float(random.uniform(shortest, longest))
    for number in range(int(random.integers(1, 3))):
        _reads(stage, random, world, windows, number)
    return stage.history()


def _reads(
    stage: Stage, random: np.random.Generator, world: World, windows: list[tuple[float, float]], number: int
) -> None:
    def step(means: str, role: str, offset: int, op: Op = Op.READ) -> Step:
        return Step(op=op, means=means, file=File(function=ALIAS, role=role), offset=offset, width=4)  # type: ignore[arg-type]

    config = step(READ, "config", 4)
    steps = {
        0: (config,),
        1: (config, step(PROC_READ, "proc", 0x40)),
        2: (config, step(ATTRIBUTE_READ, "vendor", 0)),
        3: (config, step(SYSFS_MAPPED_READ, "resource0", 8, Op.LOAD)),
    }[int(random.integers(0, 4))]
    me = stage.actor(f"reader-{number}", *steps)
    usual, now, round_ = float(random.choice((3, 20, 60))), 1.0, 0
    while now < LONGEST:
        for place, one in enumerate(steps):
            took = usual * float(random.uniform(0.5, 1.5))
            if random.random() < world.slow:
                took += float(random.uniform(0, 3_000))
            waits = one.means in (READ, PROC_READ)
            inside = next(((o, c) for o, c in windows if o <= now < c), None)
            met = inside or next(((o, c) for o, c in windows if now < o <= now + took / 2), None)
            if waits and met is not None:
                through = random.random() < world.let_through
                if not through:
                    asleep = max(now, met[0]) + min(1.5, took / 4)
                    stage.wait(asleep, me)
                    if random.random() >= world.let_go:
                        took = max(took, met[1] - now + 3)
            elif waits and random.random() < world.baseless * 0.05:
                stage.wait(now + took / 3, me)
            value = 0xFFFFFFFF if random.random() < world.wrong * 0.1 else None
            if one.means == SYSFS_MAPPED_READ and value is None:
                value = int(random.integers(1, 9))
            stage.op(me, now, now + took, step=place, value=value, round_=round_)
            now += took + float(random.choice((0, 0, 0.2)))
        round_ += 1


def verdict(history: History) -> Verdict:
    return judge(history, terms(history), QUESTIONS).verdict


@settings(max_examples=120, deadline=None)
@given(
    st.integers(0, 2**32),
    WORLDS,
    st.sampled_from([30, 200, 2_000]),
    st.sampled_from([50, 300, 1_000, 5_000]),
    st.tuples(st.integers(0, 60), st.lists(st.booleans(), min_size=1, max_size=3)),
)
def test_no_verdict_is_turned_round(
    seed: int, world: World, shortest: int, within_us: int, how: tuple[int, list[bool]]
) -> None:
    """However short windows are beside what is left out: at the worst nobody knows."""
    whole = simulated(np.random.default_rng(seed), world, shortest, 10 * shortest)
    thin = thinned(whole, within_us * 1000, thin_from=how[0], stays=how[1])
    before, after = verdict(whole), verdict(thin)
    event(f"{before.name} becomes {after.name}")
    assert after in (before, Verdict.UNKNOWN), [f.claim for f in judge(thin, terms(thin), QUESTIONS).findings]
    assert thin.begun == whole.begun


def test_where_windows_are_longer_than_what_is_left_out_a_verdict_stays_what_it_was() -> None:
    """Of a kernel that keeps its promises nothing is unknown, and hardly anything of one that breaks them."""
    worlds = {
        "healthy": HEALTHY,
        "lets through": World(let_through=0.3),
        "lets go": World(let_go=0.3),
        "gives wrong data": World(wrong=0.02),
        "lets hardly any through": World(let_through=0.01, let_go=0.01),
    }
    for name, world in worlds.items():
        seen: Counter[tuple[Verdict, Verdict]] = Counter()
        for seed in range(25):
            whole = simulated(np.random.default_rng(seed), world, 1_500, 6_000)
            thin = thinned(whole, 1_000_000)
            assert len(thin.operations) < len(whole.operations) * 0.5
            seen[verdict(whole), verdict(thin)] += 1
        assert all(before is after for before, after in seen), (name, seen)
        assert {before for before, _ in seen} <= {Verdict.PASS, Verdict.FAIL}
        assert name != "healthy" or set(seen) == {(Verdict.PASS, Verdict.PASS)}, seen


def test_what_waited_for_nothing_and_was_left_out_is_not_acquitted() -> None:
    seen: Counter[tuple[Verdict, Verdict]] = Counter()
    for seed in range(40):
        whole = simulated(np.random.default_rng(seed), World(baseless=0.05), 1_500, 6_000)
        seen[verdict(whole), verdict(thinned(whole, 1_000_000))] += 1
    assert (Verdict.FAIL, Verdict.PASS) not in seen
    assert seen[Verdict.FAIL, Verdict.UNKNOWN] + seen[Verdict.FAIL, Verdict.FAIL] > 10, seen
