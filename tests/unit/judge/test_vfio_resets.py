"""reset_happened, reset_time and config_restored on resets through VFIO, on histories written by hand."""

from __future__ import annotations

import errno
from dataclasses import replace

import pytest

from harness.history.history import History
from harness.judge.evidence import Evidence
from harness.judge.questions.config_restored import config_restored
from harness.judge.questions.reset_happened import reset_happened
from harness.judge.questions.reset_time import reset_time
from harness.model import operation as words
from harness.model.verdict import Blame, Finding, Verdict
from tests.unit.judge.build import ALIAS, CONTRACT, worst
from tests.unit.judge.witness import (
    HOT,
    ORACLE,
    PORT,
    SIBLING,
    SIBLING_NUMBER,
    CallStage,
    with_marks,
)


def happened(history: History) -> tuple[Finding, ...]:
    return reset_happened(Evidence(history), CONTRACT.terms_of(history))


def done(means: str, *, by: str | None = "pcie_flr", result: int = 0, **how: object) -> CallStage:
    """One call, alone, that resets by a function of the kernel or by none."""
    stage = CallStage(**how)  # type: ignore[arg-type]
    stage.heartbeat(until_us=4e6)
    caller = stage.caller(means)
    if by is not None:
        stage.performs(1_100, 101_000, tid=100 + caller, by=by, result=result)
    stage.called(caller, 1_000, 103_000)
    return stage


# reset_happened: the trace


@pytest.mark.parametrize(
    "means", [words.VFIO_RESET, words.VFIO_FLR_BIT, words.VFIO_OPEN, words.VFIO_CLOSE, words.HOT_RESET]
)
def test_success_must_show_a_reset(means: str) -> None:
    by = HOT if means == words.HOT_RESET else "pci_pm_reset"
    assert worst(happened(done(means, by=by).history())) is Verdict.PASS
    for silent in (done(means, by=None), done(means, by=by, result=-errno.EAGAIN)):
        (bad,) = happened(silent.history())
        assert (bad.verdict, bad.blame) == (Verdict.FAIL, Blame.RESET_FAILED)
    lost = replace(done(means, by=None).history(), lost_kernel_events=1)
    assert worst(happened(lost)) is Verdict.UNKNOWN


def test_a_hot_reset_may_be_asked_of_another_function_of_the_bus() -> None:
    stage = CallStage(sibling=True)
    caller = stage.caller(words.HOT_RESET)
    stage.performs(1_100, 101_000, tid=100 + caller, by=HOT, function=SIBLING_NUMBER)
    stage.called(caller, 1_000, 103_000)
    assert worst(happened(stage.history())) is Verdict.PASS


def test_the_reset_of_another_thread_does_not_count() -> None:
    stage = done(words.VFIO_RESET, by=None)
    stage.performs(1_100, 101_000, tid=900)
    assert worst(happened(stage.history())) is Verdict.FAIL


@pytest.mark.parametrize("means", [words.SUBORDINATE_RESET, words.VFIO_REOPEN, words.HOT_RESET_NOT_OWNED])
def test_some_calls_show_no_reset(means: str) -> None:
    assert happened(done(means, by=None).history()) == ()


def test_a_skip_is_no_reset_that_is_missing() -> None:
    stage = CallStage()
    stage.holds(500, 500_000, tid=900)
    stage.called(stage.caller(words.VFIO_CLOSE), 1_000, 12_000)
    assert happened(stage.history()) == ()


# reset_happened: the register


def rounds(
    means: str = words.VFIO_RESET,
    *,
    after: int,
    by: str | None = "pcie_flr",
    through: str = "vfio-bar0",
    platform: str = "nvme",
    error: int = 0,
) -> CallStage:
    """One round: mark, check, call, check."""
    stage = CallStage(platform=platform, oracles=(ORACLE,))
    actor = stage.rounds(means, through=through)
    stage.called(actor, 10, 11, step=0)
    stage.op(actor, 20, 21, step=1, value=ORACLE.marker, round_=0)
    if by is not None:
        stage.resets(actor, 1_100, by=by)
    stage.called(actor, 1_000, 103_000, step=2)
    stage.op(actor, 110_000, 110_010, step=3, value=after, error=error, round_=0)
    return stage


def states(stage: CallStage) -> tuple[Finding, ...]:
    return tuple(f for f in happened(with_marks(stage)) if "oracle" in f.claim or "state" in f.claim)


@pytest.mark.parametrize("through", ["vfio-bar0", "resource0"])
@pytest.mark.parametrize(
    ("means", "by"),
    [
        (words.VFIO_RESET, "pcie_flr"),
        (words.VFIO_FLR_BIT, "pcie_flr"),
        (words.VFIO_CLOSE, "pcie_flr"),
        (words.HOT_RESET, HOT),
    ],
)
def test_the_register_tells_by_any_way(means: str, by: str, through: str) -> None:
    (good,) = states(rounds(means, after=ORACLE.cleared, by=by, through=through))
    assert (good.verdict, good.met) == (Verdict.PASS, 1)
    (bad,) = states(rounds(means, after=ORACLE.marker, by=by, through=through))
    assert (bad.verdict, bad.blame) == (Verdict.FAIL, Blame.RESET_FAILED)


def test_what_a_vfio_reset_clears_is_a_matter_of_its_method() -> None:
    (good,) = states(rounds(after=ORACLE.marker, by="pci_pm_reset", platform="igb"))
    assert good.verdict is Verdict.PASS
    assert good.promise == "reset/pm@none:igb+e1000e+virtio-rng"
    assert "keeps its registers" in good.weakness
    (bad,) = states(rounds(after=ORACLE.cleared, by="pci_pm_reset", platform="igb"))
    assert bad.blame is Blame.WEAKNESS_GONE


def test_a_register_that_could_not_be_read_is_no_evidence() -> None:
    (finding,) = states(rounds(after=0, error=errno.EIO))
    assert finding.verdict is Verdict.UNKNOWN


def test_a_reset_by_an_unknown_method_promises_no_state() -> None:
    (finding,) = states(rounds(after=ORACLE.cleared, by="pci_dev_acpi_reset"))
    assert finding.verdict is Verdict.UNKNOWN
    assert "promises no state" in finding.claim


def skipped(after: int) -> CallStage:
    """The FLR bit is written while another holds device_lock: nothing happens."""
    stage = CallStage(oracles=(ORACLE,))
    actor, holder = stage.rounds(words.VFIO_FLR_BIT), stage.caller(words.HOLD_DEVICE)
    stage.holds_device(500, 500_000, tid=100 + holder)
    stage.called(holder, 400, 500_100)
    stage.called(actor, 10, 11, step=0)
    stage.op(actor, 20, 21, step=1, value=ORACLE.marker, round_=0)
    stage.called(actor, 1_000, 1_300, step=2)
    stage.op(actor, 2_000, 2_010, step=3, value=after, round_=0)
    return stage


def test_the_register_keeps_its_mark_when_the_reset_is_skipped() -> None:
    (good,) = states(skipped(ORACLE.marker))
    assert good.verdict is Verdict.PASS
    assert "drops an FLR" in good.weakness
    (bad,) = states(skipped(ORACLE.cleared))
    assert (bad.verdict, bad.blame) == (Verdict.FAIL, Blame.WEAKNESS_GONE)


def test_another_reset_in_between_mutes_a_round_but_not_the_others() -> None:
    stage = skipped(ORACLE.cleared)
    stage.called(stage.resetter(), 100, stage.resets(2, 110, 200))
    (finding,) = states(stage)
    assert finding.verdict is Verdict.UNKNOWN
    assert "a flr reset by resetter came between mark and check" in finding.claim
    stage.called(0, 10_000, 10_001, step=0, round_=1)
    stage.op(0, 10_010, 10_020, step=1, value=ORACLE.marker, round_=1)
    stage.called(0, 11_000, 11_300, step=2, round_=1)
    stage.op(0, 12_000, 12_010, step=3, value=ORACLE.marker, round_=1)
    (good,) = states(stage)
    assert (good.verdict, good.met) == (Verdict.PASS, 1)
    assert "1 more say nothing" in good.claim


def test_a_reset_of_all_below_is_told_by_a_function_below() -> None:
    for after, verdict in ((ORACLE.cleared, Verdict.PASS), (ORACLE.marker, Verdict.FAIL)):
        stage = CallStage(oracles=(ORACLE,), port=True)
        actor = stage.rounds(words.SUBORDINATE_RESET, alias=PORT)
        stage.called(actor, 10, 11, step=0)
        stage.op(actor, 20, 21, step=1, value=ORACLE.marker, round_=0)
        stage.called(actor, 1_000, 103_000, step=2)
        stage.op(actor, 110_000, 110_010, step=3, value=after, round_=0)
        assert worst(states(stage)) is verdict


# reset_time


@pytest.mark.parametrize(("took", "verdict"), [(101_000, Verdict.PASS), (50_000, Verdict.FAIL)])
@pytest.mark.parametrize("means", [words.VFIO_RESET, words.VFIO_OPEN, words.VFIO_CLOSE])
def test_a_vfio_reset_takes_the_time_of_its_method(means: str, took: float, verdict: Verdict) -> None:
    stage = CallStage(platform="nvme")
    stage.heartbeat(until_us=4e6)
    caller = stage.caller(means)
    stage.called(caller, 1_000, stage.resets(caller, 1_100, took))
    history = stage.history()
    (finding,) = reset_time(Evidence(history), CONTRACT.terms_of(history))
    assert finding.verdict is verdict
    assert finding.promise == "reset/flr@none:igb+nvme+virtio-rng+hil-endpoint+hil-ipr+hil-ipr-sis64"
    lost = replace(history, lost_kernel_events=1)
    assert worst(reset_time(Evidence(lost), CONTRACT.terms_of(lost))) is Verdict.UNKNOWN


def test_a_hot_reset_has_bounds_of_its_own() -> None:
    for took, verdict in ((126_000, Verdict.PASS), (2_100_000, Verdict.FAIL)):
        stage = CallStage(platform="igb")
        stage.heartbeat(until_us=4e6)
        caller = stage.caller(words.HOT_RESET)
        stage.called(caller, 1_000, stage.resets(caller, 1_100, took, by=HOT))
        history = stage.history()
        assert worst(reset_time(Evidence(history), CONTRACT.terms_of(history))) is verdict


# config_restored


def differing(history: History, alias: str) -> History:
    functions = []
    for one in history.functions:
        config = bytearray(one.config_after)
        if one.alias == alias:
            config[0x10] ^= 0xF0
        functions.append(replace(one, config_after=bytes(config)))
    return replace(history, functions=tuple(functions))


@pytest.mark.parametrize(
    ("means", "by"),
    [(words.VFIO_CLOSE, "pcie_flr"), (words.VFIO_CLOSE, None), (words.VFIO_RESET, "pcie_flr")],
)
def test_config_space_is_restored_by_vfio_even_without_a_reset(means: str, by: str | None) -> None:
    stage = CallStage()
    stage.called(stage.caller(means), 1_000, 103_000)
    if by is None:
        stage.holds(500, 500_000, tid=900)
    history = stage.history()
    terms = CONTRACT.terms_of(history)
    assert worst(config_restored(Evidence(history), terms)) is Verdict.PASS
    assert worst(config_restored(Evidence(differing(history, ALIAS)), terms)) is Verdict.FAIL
    unread = replace(history, functions=(replace(history.functions[0], config_after=b""),))
    assert worst(config_restored(Evidence(unread), terms)) is Verdict.UNKNOWN


@pytest.mark.parametrize(("means", "alias"), [(words.HOT_RESET, ALIAS), (words.SUBORDINATE_RESET, PORT)])
def test_a_reset_of_the_bus_restores_every_function_of_it(means: str, alias: str) -> None:
    stage = CallStage(port=True, sibling=True)
    stage.called(stage.caller(means, alias=alias), 1_000, 103_000)
    history = stage.history()
    terms = CONTRACT.terms_of(history)
    assert [f.verdict for f in config_restored(Evidence(history), terms)] == [Verdict.PASS, Verdict.PASS]
    assert worst(config_restored(Evidence(differing(history, SIBLING)), terms)) is Verdict.FAIL


@pytest.mark.parametrize("by", [HOT, "pcie_flr"])
def test_a_close_that_resets_the_bus_answers_for_all_of_it(by: str) -> None:
    stage = CallStage(port=True, sibling=True)
    caller = stage.caller(words.VFIO_CLOSE)
    stage.performs(1_100, 101_000, tid=100 + caller, by=by)
    stage.called(caller, 1_000, 103_000)
    history = stage.history()
    wrong = Evidence(differing(history, SIBLING))
    terms = CONTRACT.terms_of(history)
    assert worst(config_restored(Evidence(history), terms)) is Verdict.PASS
    assert worst(config_restored(wrong, terms)) is (Verdict.FAIL if by == HOT else Verdict.PASS)
