"""recorded: what has no row, and when that matters."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from harness.history.history import History
from harness.judge import judge
from harness.judge.evidence import Evidence
from harness.judge.questions.access_outcome import access_outcome
from harness.judge.questions.finished import finished
from harness.judge.questions.recorded import recorded
from harness.judge.questions.values_sane import values_sane
from harness.model.operation import ATTRIBUTE_READ, HOLD_DEVICE, MARK, SYSFS_MAPPED_READ, Operation
from harness.model.units import Ns
from harness.model.verdict import Finding, Verdict
from tests.property.thinned import thinned
from tests.unit.judge.build import WRITE, Stage, at, terms

WITHIN = Ns(1_000_000)
EVERY = 5
"""Microseconds from one access to the next, which begins when the one before it ends."""


def asked(history: History) -> tuple[Finding, ...]:
    return recorded(Evidence(history), terms(history))


def verdict(history: History) -> Verdict:
    return judge(history, terms(history), (finished, recorded, access_outcome, values_sane)).verdict


def free_running(
    stage: Stage,
    actor: int,
    until: float,
    *,
    since: float = 10,
    round_: int = 0,
    asleep_at: float | None = None,
) -> int:
    """Accesses one after another; one of them begins to wait, and comes back at once.  Returns the next round."""
    begin = since
    while begin < until:
        stage.op(actor, begin, begin + EVERY, round_=round_)
        if asleep_at is not None and begin <= asleep_at < begin + EVERY:
            stage.wait(asleep_at, actor)
        begin, round_ = begin + EVERY, round_ + 1
    return round_


def blocked_once(stage: Stage, actor: int, opened: float, closed: float, *, until: float = 4_000) -> None:
    """What a healthy kernel makes of a reader and one window."""
    round_ = free_running(stage, actor, opened)
    begin = 10 + EVERY * round_
    stage.window(opened, closed, asked=opened - 1)
    stage.wait(begin + 1, actor)
    stage.op(actor, begin, closed + 5, round_=round_)
    free_running(stage, actor, until, since=closed + 5, round_=round_ + 1)


# --- accesses that were left out --------------------------------------------------------------------------


def test_of_a_history_with_all_its_rows_nothing_is_said() -> None:
    stage = Stage()
    blocked_once(stage, stage.reader(), 1_000, 3_000)
    assert asked(stage.history()) == ()


def test_left_out_beside_a_window_longer_than_the_gap_is_nothing_to_speak_of() -> None:
    stage = Stage()
    blocked_once(stage, stage.reader(), 1_000, 3_000)
    whole = stage.history()
    thin = thinned(whole, WITHIN)
    assert len(thin.operations) < 20 < len(whole.operations)
    assert asked(thin) == ()
    assert verdict(whole) is verdict(thin) is Verdict.PASS
    counted = finished(Evidence(thin), terms(thin))[0]
    assert counted.met == len(whole.operations)


def test_a_window_that_opens_and_closes_in_a_gap_leaves_nobody_the_wiser() -> None:
    """With all its rows the one that was let through convicts; without them it must not be a PASS."""
    stage = Stage()
    free_running(stage, stage.reader(), 900)
    stage.window(200, 240, asked=199)
    whole = stage.history()
    thin = thinned(whole, WITHIN)
    assert verdict(whole) is Verdict.FAIL
    (finding,) = asked(thin)
    assert finding.verdict is verdict(thin) is Verdict.UNKNOWN
    assert "config-read/sysfs on disk were left out where lock windows opened and closed" in finding.claim
    assert [event.row for event in finding.events] == [0, 1]


def test_what_is_left_out_between_two_windows_is_not_known_either() -> None:
    stage = Stage()
    free_running(stage, stage.reader(), 900)
    stage.window(5, 100, asked=4)
    stage.window(600, 1_500, asked=599)
    assert [finding.verdict for finding in asked(thinned(stage.history(), WITHIN))] == [Verdict.UNKNOWN]


@pytest.mark.parametrize("means", [ATTRIBUTE_READ, SYSFS_MAPPED_READ])
def test_a_window_that_makes_no_difference_to_an_access_matters_to_nobody(means: str) -> None:
    stage = Stage()
    mapped = means == SYSFS_MAPPED_READ
    free_running(stage, stage.register_reader(means) if mapped else stage.reader(means=means), 900)
    stage.window(200, 240, asked=199)
    whole = stage.history()
    thin = thinned(whole, WITHIN)
    assert asked(thin) == ()
    assert verdict(whole) is verdict(thin) is Verdict.PASS


def test_to_a_register_a_reset_makes_one() -> None:
    stage = Stage()
    free_running(stage, stage.register_reader(SYSFS_MAPPED_READ), 900)
    stage.reset(stage.resetter(), 150, 60)
    assert [finding.verdict for finding in asked(thinned(stage.history(), WITHIN))] == [Verdict.UNKNOWN]


def test_device_lock_makes_none_to_a_read() -> None:
    stage = Stage()
    free_running(stage, stage.reader(), 900)
    holder = stage.does("holder", HOLD_DEVICE)
    stage.op(holder, 190, 260)
    stage.device_window(200, 240, tid=100 + holder)
    assert Evidence(stage.history()).device_windows
    assert asked(thinned(stage.history(), WITHIN)) == ()


@pytest.mark.parametrize(("opened", "closed"), [(500, 2_500), (5, 500)])
def test_one_edge_in_a_gap_shows_in_its_ends(opened: float, closed: float) -> None:
    """A lock that nobody minds: whoever was let through convicts, with or without its row."""
    stage = Stage()
    free_running(stage, stage.reader(), 900)
    stage.window(opened, closed, asked=opened - 1)
    whole = stage.history()
    thin = thinned(whole, WITHIN)
    assert asked(thin) == ()
    assert verdict(whole) is verdict(thin) is Verdict.FAIL


def test_a_wait_for_nothing_that_was_left_out_is_no_pass() -> None:
    stage = Stage()
    free_running(stage, stage.reader(), 900, asleep_at=302)
    whole = stage.history()
    thin = thinned(whole, WITHIN)
    assert verdict(whole) is Verdict.FAIL
    (finding,) = asked(thin)
    assert finding.verdict is verdict(thin) is Verdict.UNKNOWN
    assert (
        "1 config-read/sysfs on disk that were left out waited for the config lock, and nobody held it"
        in finding.claim
    )


def test_wrong_data_that_was_left_out_is_that_of_the_rows_around_it() -> None:
    stage = Stage()
    me = stage.reader()
    for number in range(100):
        wrong = 0xFFFFFFFF if 40 <= number < 60 else None
        stage.op(me, 10 + EVERY * number, 10 + EVERY * (number + 1), value=wrong, round_=number)
    thin = thinned(stage.history(), WITHIN)
    assert len(thin.operations) <= 6
    (bad,) = [one for one in values_sane(Evidence(thin), terms(thin)) if one.verdict is Verdict.FAIL]
    assert "all-ones" in bad.claim


# --- operations that were lost ----------------------------------------------------------------------------


def full(stage: Stage, actor: int, *, since: float | None, lost: int = 1000) -> History:
    stage.ends(actor, lost=lost, lost_ns=0 if since is None else at(since))
    return stage.history(end_ns=at(10_000))


def test_of_an_older_history_it_is_not_known_since_when() -> None:
    stage = Stage()
    me = stage.reader()
    stage.op(me, 10, 20)
    (finding,) = asked(full(stage, me, since=None))
    assert (finding.verdict, finding.claim) == (
        Verdict.UNKNOWN,
        "1000 operations of reader were not recorded.",
    )


def test_what_was_lost_while_something_went_on_is_unknown() -> None:
    stage = Stage()
    me = stage.reader()
    blocked_once(stage, me, 1_000, 3_000)
    (finding,) = asked(full(stage, me, since=2_000))
    assert finding.verdict is Verdict.UNKNOWN
    assert "1000 operations of reader were not recorded: from 2 ms after the release on" in finding.claim


def test_what_was_lost_when_nothing_happened_any_more_is_told() -> None:
    stage = Stage()
    me = stage.reader()
    blocked_once(stage, me, 1_000, 3_000)
    (finding,) = asked(full(stage, me, since=4_100))
    assert finding.verdict is Verdict.PASS
    assert "from 4.1 ms after the release on" in finding.claim


@pytest.mark.parametrize("means", [WRITE, MARK])
def test_what_a_writer_does_is_never_nothing(means: Operation) -> None:
    stage = Stage()
    me = stage.writer(0x0C, b"\x10", means=means)
    stage.op(me, 10, 20)
    (finding,) = asked(full(stage, me, since=4_100))
    assert finding.verdict is Verdict.UNKNOWN


def test_a_call_that_is_still_going_on_is_not_over() -> None:
    stage = Stage()
    me, resetter = stage.reader(), stage.resetter()
    stage.op(me, 10, 20)
    stage.op(resetter, 30, None)
    (finding,) = asked(full(stage, me, since=4_100))
    assert finding.verdict is Verdict.UNKNOWN


def test_a_lock_that_is_still_held_is_not_over() -> None:
    stage = Stage()
    me = stage.reader()
    stage.op(me, 10, 20)
    stage.window(1_000, None)
    (finding,) = asked(full(stage, me, since=4_100))
    assert finding.verdict is Verdict.UNKNOWN


def test_nothing_lost_nothing_said() -> None:
    stage = Stage()
    me = stage.reader()
    stage.op(me, 10, 20)
    assert asked(full(stage, me, since=None, lost=0)) == ()


def test_a_row_of_another_step_is_none_of_a_gap() -> None:
    """Steps are thinned apart: a slow access of one is a row in the middle of what is left out of the other."""
    stage = Stage()
    me = stage.reader()
    step = stage._actors[me].steps[0]
    stage._actors[me] = replace(stage._actors[me], steps=(step, replace(step, offset=0x40)))
    for number in range(40):
        slow = 15 if number == 20 else 0
        stage.op(me, 10 + 20 * number, 14 + 20 * number, step=0, round_=number)
        stage.op(me, 14 + 20 * number, 18 + 20 * number + slow * 0.1, step=1, round_=number)
    thin = thinned(stage.history(), WITHIN)
    assert np.all(np.diff(thin.operations["begin_ns"]) >= 0)
    assert verdict(thin) is Verdict.PASS
