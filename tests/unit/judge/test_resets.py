"""call_outcome, reset_happened, reset_time and config_restored, on histories written by hand."""

from __future__ import annotations

import errno
from dataclasses import replace

import pytest

from harness.history.columns import Edge
from harness.history.history import History
from harness.judge.evidence import Evidence
from harness.judge.questions.call_outcome import call_outcome
from harness.judge.questions.config_restored import config_restored
from harness.judge.questions.reset_happened import reset_happened
from harness.judge.questions.reset_time import reset_time
from harness.model import operation as words
from harness.model.operation import FLR_BIT
from harness.model.outcome import Outcome
from harness.model.pci import COMMAND
from harness.model.plan import Oracle, Setting
from harness.model.promise import ConfigSpace, DeviceState, WindowKind
from harness.model.terms import Terms
from harness.model.verdict import Blame, Finding, Verdict
from tests.unit.judge.build import ALIAS, CONTRACT, PM, Stage, config_space, terms, worst

NVME = next(oracle for oracle in CONTRACT.oracles if "nvme" in oracle.platforms).on(ALIAS)
IGB = next(oracle for oracle in CONTRACT.oracles if "igb" in oracle.platforms).on(ALIAS)


def one_reset(**how: object) -> Stage:
    stage = Stage(**how)  # type: ignore[arg-type]
    stage.heartbeat()
    stage.reset(stage.resetter(), 1_000)
    return stage


def lost(history: History) -> History:
    return replace(history, lost_kernel_events=1)


# calls


def test_resets_know_their_windows_and_spans() -> None:
    stage = Stage()
    one, two = stage.resetter("one"), stage.resetter("two")
    end = stage.reset(one, 1_000)
    stage.reset(two, 50_000, waits=end - 50_000)
    first, second = Evidence(stage.history()).calls
    assert (first.window, first.kinds) == (None, (WindowKind.NONE,))
    assert second.window is not None
    assert second.window.kind is WindowKind.SYSFS_RESET
    assert [len(r.spans) for r in (first, second)] == [1, 1]


def test_a_reset_that_begins_at_the_edge_of_a_window_may_have_met_either() -> None:
    stage = Stage()
    one, two = stage.resetter("one"), stage.resetter("two")
    end = stage.reset(one, 1_000)
    stage.reset(two, 1_010, waits=end - 1_010)
    assert [len(r.kinds) for r in Evidence(stage.history()).calls] == [1, 2]


# call_outcome


def outcome(history: History, changed: Terms | None = None) -> tuple[Finding, ...]:
    return call_outcome(Evidence(history), changed or terms(history))


def test_resets_that_only_serialise_pass() -> None:
    stage = Stage()
    one, two = stage.resetter("one"), stage.resetter("two")
    end = stage.reset(one, 1_000)
    stage.reset(two, 50_000, waits=end - 50_000)
    found = outcome(stage.history())
    assert worst(found) is Verdict.PASS
    assert {f.promise for f in found} == {
        "reset/flr@none:igb+nvme+virtio-rng+hil-endpoint+hil-ipr+hil-ipr-sis64",
        "reset/flr@config-lock:igb+nvme+virtio-rng+hil-endpoint+hil-ipr+hil-ipr-sis64",
    }


def test_a_reset_inside_anothers_window_convicts() -> None:
    stage = Stage()
    one, two = stage.resetter("one"), stage.resetter("two")
    stage.reset(one, 1_000)
    stage.performed(50_020, 80_000, tid=100 + two)
    stage.op(two, 50_000, 80_050)
    bad = next(f for f in outcome(stage.history()) if f.verdict is Verdict.FAIL)
    assert bad.blame is Blame.MISMATCH
    assert len(bad.events) == 2


def test_an_errno_is_a_failed_reset_whatever_the_trace_lost() -> None:
    stage = Stage()
    stage.op(stage.resetter(), 1_000, 2_000, error=25)
    for history in (stage.history(), lost(stage.history())):
        (bad,) = outcome(history)
        assert (bad.verdict, bad.blame) == (Verdict.FAIL, Blame.RESET_FAILED)
        assert "ENOTTY" in bad.claim


def test_with_lost_events_a_success_is_unknown() -> None:
    (finding,) = outcome(lost(one_reset().history()))
    assert finding.verdict is Verdict.UNKNOWN


@pytest.mark.parametrize("wrong", [Outcome.BLOCKED_AND_RESET, Outcome.EAGAIN])
def test_a_wrong_promise_of_an_outcome_turns_red(wrong: Outcome) -> None:
    history = one_reset().history()
    assert worst(outcome(history)) is Verdict.PASS
    assert worst(outcome(history, changed(history, outcome=wrong))) is Verdict.FAIL


def changed(history: History, **fields: object) -> Terms:
    right = terms(history)
    return replace(
        right,
        promises={k: tuple(replace(p, **fields) for p in v) for k, v in right.promises.items()},  # type: ignore[arg-type]
    )


# reset_happened: the trace


def test_a_traced_reset_happened() -> None:
    history = one_reset().history()
    assert worst(reset_happened(Evidence(history), terms(history))) is Verdict.PASS


@pytest.mark.parametrize("result", [None, -25])
def test_success_without_a_traced_reset_convicts(result: int | None) -> None:
    stage = Stage()
    resetter = stage.resetter()
    stage.window(1_020, 1_100, tid=100)
    if result:
        stage.performed(1_030, 1_090, tid=100, result=result)
    stage.op(resetter, 1_000, 1_150)
    history = stage.history()
    (bad,) = reset_happened(Evidence(history), terms(history))
    assert (bad.verdict, bad.blame) == (Verdict.FAIL, Blame.RESET_FAILED)


def test_an_absent_probe_on_the_method_is_unknown() -> None:
    history = one_reset().history()
    probes = tuple(replace(p, present=False) if p.symbol == "pcie_flr" else p for p in history.probes)
    for doubtful in (replace(history, probes=probes), replace(history, lost_kernel_events=2)):
        assert worst(reset_happened(Evidence(doubtful), terms(doubtful))) is Verdict.UNKNOWN
        assert worst(reset_time(Evidence(doubtful), terms(doubtful))) is Verdict.UNKNOWN


def test_a_probe_of_the_method_is_not_a_reset() -> None:
    stage = Stage()
    resetter = stage.resetter(means=PM)
    stage.op(resetter, 1_000, 1_150)
    stage.probe(1_010, "pci_pm_reset", Edge.ENTRY, 100, value=1)
    stage.probe(1_020, "pci_pm_reset", Edge.RETURN, 100)
    history = stage.history()
    assert worst(reset_happened(Evidence(history), terms(history))) is Verdict.FAIL


# reset_happened: the oracle


def oracle_round(
    oracle: Oracle = NVME,
    *,
    after: int,
    held: int | None = None,
    means: str = "reset/flr",
    platform: str = "nvme",
) -> Stage:
    stage = Stage(platform=platform, oracle=oracle)
    actor = stage.oracle_rounds(means)
    stage.op(actor, 10, 11, step=0, round_=0)
    stage.op(actor, 12, 13, step=1, value=oracle.marker if held is None else held, round_=0)
    if means == FLR_BIT:
        stage.op(actor, 1_000, 1_010, step=2, round_=0)
        end = 1_010.0
    else:
        end = stage.reset(actor, 1_000, step=2, round_=0)
    stage.op(actor, end + 300, end + 301, step=3, value=after, round_=0)
    return stage


def states(stage: Stage) -> tuple[Finding, ...]:
    history = stage.history()
    return tuple(f for f in reset_happened(Evidence(history), terms(history)) if "oracle" in f.claim)


def test_a_cleared_register_shows_a_real_reset() -> None:
    (good,) = states(oracle_round(after=NVME.cleared))
    assert (good.verdict, good.met) == (Verdict.PASS, 1)


@pytest.mark.parametrize(
    ("after", "blame"),
    [(NVME.marker, Blame.RESET_FAILED), (0x00120000, Blame.RESET_FAILED), (0xFFFFFFFF, Blame.DEVICE_LOST)],
)
def test_a_register_that_was_not_cleared_convicts(after: int, blame: Blame) -> None:
    (bad,) = states(oracle_round(after=after))
    assert (bad.verdict, bad.blame) == (Verdict.FAIL, blame)


def test_bits_outside_the_mask_do_not_count() -> None:
    (good,) = states(oracle_round(after=NVME.cleared | 0x1))
    assert good.verdict is Verdict.PASS


def test_a_mark_that_did_not_hold_is_no_evidence() -> None:
    (finding,) = states(oracle_round(after=NVME.cleared, held=0))
    assert finding.verdict is Verdict.UNKNOWN
    assert "did not hold" in finding.claim


def test_a_known_weakness_passes_and_says_so() -> None:
    (good,) = states(oracle_round(IGB, after=IGB.marker, means="reset/pm", platform="igb"))
    assert good.verdict is Verdict.PASS
    assert "keeps its registers" in good.weakness


def test_a_weakness_that_is_gone_fails() -> None:
    (bad,) = states(oracle_round(IGB, after=IGB.cleared, means="reset/pm", platform="igb"))
    assert (bad.verdict, bad.blame) == (Verdict.FAIL, Blame.WEAKNESS_GONE)


def test_another_method_between_mark_and_check_is_no_evidence() -> None:
    stage = oracle_round(IGB, after=IGB.cleared, means="reset/pm", platform="igb")
    other = stage.resetter("other")
    stage.reset(other, 100, 500)
    (finding,) = states(stage)
    assert finding.verdict is Verdict.UNKNOWN
    assert "came between" in finding.claim


def test_after_a_raw_flr_memory_decode_must_be_turned_on_first() -> None:
    stage = oracle_round(after=NVME.cleared, means=FLR_BIT)
    (finding,) = states(stage)
    assert finding.verdict is Verdict.UNKNOWN
    stage.op(0, 1_100, 1_110, step=4, round_=0)
    (good,) = states(stage)
    assert good.verdict is Verdict.PASS


def test_a_wrong_promise_of_a_state_turns_red() -> None:
    history = oracle_round(after=NVME.cleared).history()
    assert worst(reset_happened(Evidence(history), changed(history, state=DeviceState.KEPT))) is Verdict.FAIL


# reset_time


def timed(
    took: float,
    *,
    late_at: float | None = None,
    late_ms: int = 100,
    means: str = "reset/flr",
    begins: float = 1_000,
) -> tuple[Finding, ...]:
    stage = Stage()
    stage.heartbeat(late_at=late_at, late_ms=late_ms, until_us=4e6)
    stage.reset(stage.resetter(means=means), begins, took)
    history = stage.history()
    return reset_time(Evidence(history), terms(history))


@pytest.mark.parametrize(
    ("took", "verdict"),
    [
        (70_000, Verdict.FAIL),
        (79_998, Verdict.FAIL),
        (79_999, Verdict.PASS),
        (101_000, Verdict.PASS),
        (1_000_000, Verdict.PASS),
        (1_000_100, Verdict.FAIL),
    ],
)
def test_a_reset_must_take_its_time_and_no_more(took: float, verdict: Verdict) -> None:
    assert worst(timed(took)) is verdict


def test_no_duration_on_a_starved_machine_convicts() -> None:
    assert worst(timed(1_200_000, late_at=500_000)) is Verdict.UNKNOWN
    assert worst(timed(50_000, late_at=30_000)) is Verdict.UNKNOWN


@pytest.mark.parametrize(
    ("took", "late_ms", "verdict"),
    [
        (77_400, 10, Verdict.UNKNOWN),  # a busy guest: no beat was 20 ms late, and ticks were
        (77_400, 3, Verdict.FAIL),
        (77_400, 0, Verdict.FAIL),
        (50_000, 31, Verdict.UNKNOWN),
        (50_000, 25, Verdict.FAIL),  # more is missing than was late
    ],
)
def test_late_ticks_excuse_as_much_as_they_were_late(took: float, late_ms: int, verdict: Verdict) -> None:
    assert worst(timed(took, late_at=30_000, late_ms=late_ms)) is verdict


def test_a_machine_that_was_starved_a_moment_before_owes_ticks_that_shorten_a_sleep() -> None:
    beat_woke = 600_000
    assert worst(timed(58_000, late_at=500_000, begins=beat_woke + 5_000)) is Verdict.UNKNOWN
    assert worst(timed(58_000, late_at=500_000, begins=beat_woke + 90_000)) is Verdict.FAIL
    assert worst(timed(1_200_000, late_at=500_000, begins=beat_woke + 5_000)) is Verdict.FAIL, (
        "too slow is too slow"
    )


# config_restored


def restored(stage: Stage, **changes: object) -> tuple[Finding, ...]:
    history = stage.history(**changes)
    return config_restored(Evidence(history), terms(history))


def test_equal_config_space_is_restored() -> None:
    (good,) = restored(one_reset())
    assert good.verdict is Verdict.PASS


def test_volatile_bits_may_differ() -> None:
    after = bytearray(config_space())
    after[0x07] |= 0x20  # Status, received master abort
    after[0x4A] = 0x01  # Device Status of the capability at 0x40
    assert worst(restored(one_reset(after=bytes(after)))) is Verdict.PASS
    after[0x48] = 0x01  # Device Control is no status
    assert worst(restored(one_reset(after=bytes(after)))) is Verdict.FAIL


def test_bits_that_nothing_restores_may_differ() -> None:
    before = bytearray(config_space())
    before[0x41], before[0x80:0x83] = 0x80, b"\x09\x00\x08"
    after = bytearray(before)
    after[0x87] = 0x55
    assert worst(restored(one_reset(before=bytes(before), after=bytes(after)))) is Verdict.PASS
    after[0x88] = 0x55  # beyond the eight bytes that the capability says it has
    assert worst(restored(one_reset(before=bytes(before), after=bytes(after)))) is Verdict.FAIL


@pytest.mark.parametrize(
    ("after", "blame"), [(bytes(256), Blame.RESET_FAILED), (b"\xff" * 256, Blame.DEVICE_LOST)]
)
def test_lost_config_space_convicts(after: bytes, blame: Blame) -> None:
    (bad,) = restored(one_reset(after=after))
    assert (bad.verdict, bad.blame) == (Verdict.FAIL, blame)


def test_what_the_kernel_could_not_save_is_not_held_against_the_restore() -> None:
    stage = one_reset(after=bytes(256))
    stage.log("vfio-pci 0000:01:00.0: Device config space inaccessible; unable to save state")
    assert worst(restored(stage)) is Verdict.UNKNOWN


@pytest.mark.parametrize("error", [errno.EPERM, errno.EACCES, errno.ENODEV])
def test_a_write_that_was_refused_explains_no_difference(error: int) -> None:
    after = bytearray(config_space())
    after[0x0C] = 0x10
    stage = one_reset(after=bytes(after))
    writer = stage.writer(0x0C, b"\x10")
    stage.op(writer, 500_000, 500_010, error=error)
    assert worst(restored(stage)) is Verdict.FAIL
    stage.op(writer, 600_000, 600_010, error=errno.EIO)  # a part may have arrived
    assert worst(restored(stage)) is Verdict.PASS


@pytest.mark.parametrize("other", ["0000:01:00.1", "0000:81:00.0", "0001:01:00.0", "10000:01:00.0"])
def test_that_another_function_could_not_be_saved_excuses_nobody(other: str) -> None:
    stage = one_reset(after=bytes(256))
    stage.log(f"vfio-pci {other}: Device config space inaccessible; unable to save state")
    assert worst(restored(stage)) is Verdict.FAIL


def test_what_the_plan_itself_wrote_is_not_compared() -> None:
    after = bytearray(config_space())
    after[0x0C] = 0x10
    stage = one_reset(after=bytes(after))
    assert worst(restored(stage)) is Verdict.FAIL
    stage.op(stage.writer(0x0C, b"\x10"), 500_000, 500_010)
    assert worst(restored(stage)) is Verdict.PASS


@pytest.mark.parametrize(
    ("driver", "place", "verdict"),
    [
        ("uio_pci_generic", 5, Verdict.PASS),
        ("uio_pci_generic", 4, Verdict.FAIL),
        ("ipr", 5, Verdict.FAIL),
    ],
)
def test_a_driver_for_uio_masks_intx_whenever_it_comes(driver: str, place: int, verdict: Verdict) -> None:
    after = bytearray(config_space())
    after[place] ^= 0x04  # Interrupt Disable, in the high byte of Command
    history = one_reset(after=bytes(after)).history()
    bound = Setting(function=ALIAS, attribute="driver", value=driver)
    history = replace(history, plan=replace(history.plan, settings=(bound,)))
    assert worst(config_restored(Evidence(history), terms(history))) is verdict


@pytest.mark.parametrize(
    ("does", "offset", "verdict"),
    [
        (words.ENABLE_VFS, COMMAND, Verdict.PASS),
        (words.ENABLE_VFS, 0x14, Verdict.FAIL),
        (words.OVERRIDE, COMMAND, Verdict.FAIL),
    ],
)
def test_making_virtual_functions_turns_memory_decode_on(does: str, offset: int, verdict: Verdict) -> None:
    """Of a function that nobody has open (found by random plans); that explains nothing else."""
    before = bytearray(config_space())
    before[COMMAND] = 0
    after = bytearray(before)
    after[offset] |= 2
    stage = Stage(before=bytes(before), after=bytes(after))
    stage.op(stage.does("owner", does, "sriov_numvfs"), 500, 900)
    stage.reset(stage.resetter(), 1_000, 100_000)
    assert worst(restored(stage)) is verdict


def test_config_space_that_could_not_be_read_is_unknown() -> None:
    assert worst(restored(one_reset(after=b""))) is Verdict.UNKNOWN


def raw_flr(after: bytes) -> Stage:
    stage = Stage(after=after)
    stage.op(stage.writer(0x48, b"\x00\x80", means=FLR_BIT), 1_000, 1_010)
    return stage


def test_a_raw_flr_must_lose_config_space() -> None:
    cleared = bytearray(config_space())
    cleared[0x04:0x06] = b"\x00\x00"
    cleared[0x10:0x18] = bytes.fromhex("0400000000000000")
    assert worst(restored(raw_flr(bytes(cleared)))) is Verdict.PASS
    cleared[0x04] = 0x06
    (bad,) = restored(raw_flr(bytes(cleared)))
    assert bad.verdict is Verdict.FAIL
    assert "COMMAND survived" in bad.claim
    assert "BAR0" not in bad.claim


def test_what_the_plan_wrote_after_a_raw_flr_is_no_restore() -> None:
    cleared = bytearray(config_space())
    cleared[0x10:0x18] = bytes.fromhex("0400000000000000")
    stage = raw_flr(bytes(cleared))
    assert worst(restored(stage)) is Verdict.FAIL
    stage.op(stage.writer(0x04, b"\x06\x00"), 200_000, 200_010)
    assert worst(restored(stage)) is Verdict.PASS


def test_a_wrong_promise_of_config_space_turns_red() -> None:
    history = one_reset().history()
    assert (
        worst(config_restored(Evidence(history), changed(history, config=ConfigSpace.LOST))) is Verdict.FAIL
    )
