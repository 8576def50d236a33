"""port_lock, on histories written by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.history.history import History
from harness.judge.evidence import Evidence
from harness.judge.questions.port_lock import port_lock
from harness.model import operation as words
from harness.model.verdict import Blame, Finding, Verdict
from tests.unit.judge.build import CONTRACT, FLR
from tests.unit.judge.witness import HOT, PORT_NUMBER, CallStage


def found(history: History) -> tuple[Finding, ...]:
    return port_lock(Evidence(history), CONTRACT.terms_of(history))


def reset(means: str, *, port: bool, by: str = "pcie_flr", release: str = "6.12.117") -> CallStage:
    stage = CallStage(port=True, release=release)
    caller = stage.caller(means)
    stage.called(caller, 900, stage.resets(caller, 1_000, by=by, port=port))
    return stage


@pytest.mark.parametrize(
    ("means", "by", "release", "locked"),
    [
        (FLR, "pcie_flr", "6.12.117", True),
        (FLR, "pcie_flr", "6.1.192", False),
        (words.VFIO_RESET, "pcie_flr", "6.12.117", False),
        (words.VFIO_OPEN, "pcie_flr", "7.0.0", False),
        (words.VFIO_CLOSE, "pcie_flr", "6.12.117", True),
        (words.VFIO_CLOSE, "pcie_flr", "6.1.192", False),
        (words.HOT_RESET, HOT, "6.1.192", True),
        (words.HOT_RESET, HOT, "7.0.0", True),
    ],
)
def test_the_port_is_locked_where_that_is_promised(
    means: str, by: str, release: str, *, locked: bool
) -> None:
    (good,) = found(reset(means, port=locked, by=by, release=release).history())
    assert (good.verdict, good.met) == (Verdict.PASS, 1)
    (bad,) = found(reset(means, port=not locked, by=by, release=release).history())
    assert (bad.verdict, bad.blame) == (Verdict.FAIL, Blame.MISMATCH)
    assert f"promised is {'locked' if locked else 'free'}" in bad.claim


def test_a_lock_for_a_part_of_the_reset_convicts() -> None:
    for means, promised in ((FLR, "locked"), (words.VFIO_RESET, "free")):
        stage = CallStage(port=True)
        caller = stage.caller(means)
        stage.holds(1_000, 50_000, tid=100 + caller, function=PORT_NUMBER)
        stage.called(caller, 900, stage.resets(caller, 1_100))
        (bad,) = found(stage.history())
        assert bad.verdict is Verdict.FAIL
        assert f"only a part of the time, promised is {promised}" in bad.claim
        assert len(bad.events) == 3


def test_the_lock_of_another_thread_does_not_count() -> None:
    stage = reset(FLR, port=False)
    stage.holds(500, 200_000, tid=900, function=PORT_NUMBER)
    assert found(stage.history())[0].verdict is Verdict.FAIL


def test_without_certainty_nothing_is_known() -> None:
    history = reset(FLR, port=True).history()
    probes = tuple(replace(p, present=p.symbol != "pcie_flr") for p in history.probes)
    for doubtful in (replace(history, lost_kernel_events=1), replace(history, probes=probes)):
        assert [f.verdict for f in found(doubtful)] == [Verdict.UNKNOWN]


def test_where_the_contract_is_silent_nothing_is_known() -> None:
    (finding,) = found(reset(FLR, port=True, release="6.6.30").history())
    assert finding.verdict is Verdict.UNKNOWN
    assert "does not say" in finding.claim


def test_without_the_port_nothing_is_asked() -> None:
    stage = CallStage()
    stage.reset(stage.resetter(), 1_000)
    assert found(stage.history()) == ()


def test_a_reset_that_did_not_happen_locks_nothing() -> None:
    stage = CallStage(port=True)
    stage.called(stage.caller(words.VFIO_RESET), 1_000, 1_100, error=11)
    assert found(stage.history()) == ()
