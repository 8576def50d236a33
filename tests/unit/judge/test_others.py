"""values_sane, finished, kernel_log, collided, starvation and the verdict, on histories written by hand."""

from __future__ import annotations

import numpy as np
import pytest

from harness.history.history import History
from harness.judge import judge
from harness.judge.evidence import Evidence
from harness.judge.questions.collided import collided
from harness.judge.questions.finished import finished
from harness.judge.questions.kernel_log import kernel_log
from harness.judge.questions.values_sane import values_sane
from harness.model.operation import FLR_BIT, HEARTBEAT
from harness.model.plan import Op, Step
from harness.model.terms import Terms
from harness.model.units import MS, Ns
from harness.model.verdict import Blame, Finding, Verdict
from tests.unit.judge.build import SPEAK_OF_A_RESET, Stage, at, config_space, terms, worst

# values_sane


def sane(stage: Stage, **changes: object) -> tuple[Finding, ...]:
    history = stage.history(**changes)
    return values_sane(Evidence(history), terms(history))


@pytest.mark.parametrize(("offset", "width"), [(0x04, 4), (0x04, 1), (0x12, 2), (0x00, 4), (0xFC, 4)])
def test_reads_of_what_was_there_pass(offset: int, width: int) -> None:
    stage = Stage()
    reader = stage.reader(offset=offset, width=width)
    stage.op(reader, 10, 12)
    stage.op(reader, 20, 22)
    (good,) = sane(stage)
    assert (good.verdict, good.met) == (Verdict.PASS, 2)


def test_one_wrong_bit_convicts() -> None:
    stage = Stage()
    reader = stage.reader()
    stage.op(reader, 10, 12)
    stage.op(reader, 20, 22, value=0x00100007)
    (bad,) = sane(stage)
    assert (bad.verdict, bad.blame) == (Verdict.FAIL, Blame.MISMATCH)
    assert "0x100007" in bad.claim
    assert bad.events[0].row == 1


def test_volatile_bits_of_status_do_not() -> None:
    stage = Stage()
    stage.op(stage.reader(), 10, 12, value=0x28100006)
    assert worst(sane(stage)) is Verdict.PASS


@pytest.mark.parametrize(
    ("after", "blame"), [(b"\xff" * 256, Blame.DEVICE_LOST), (config_space(), Blame.MISMATCH)]
)
def test_all_ones_convict_and_tell_a_lost_function_from_a_glitch(after: bytes, blame: Blame) -> None:
    stage = Stage(after=after)
    reader = stage.reader()
    stage.op(reader, 10, 12, value=0xFFFFFFFF)
    stage.op(reader, 20, 22)
    (bad,) = sane(stage)
    assert (bad.verdict, bad.blame) == (Verdict.FAIL, blame)
    assert "all-ones" in bad.claim


def test_short_reads_and_writes_convict() -> None:
    stage = Stage()
    stage.op(stage.reader(), 10, 12, result=2)
    assert worst(sane(stage)) is Verdict.FAIL
    stage = Stage()
    stage.op(stage.writer(0x0C, b"\x00\x00"), 10, 12, result=1)
    assert worst(sane(stage)) is Verdict.FAIL


def test_long_reads_are_only_counted() -> None:
    stage = Stage()
    stage.op(stage.reader("wide", offset=0, width=64), 10, 40, value=0)
    assert worst(sane(stage)) is Verdict.UNKNOWN
    stage.op(stage.reader(), 10, 12)
    (good,) = sane(stage)
    assert good.verdict is Verdict.PASS
    assert "1 others are not comparable" in good.claim


def test_without_a_baseline_nothing_is_known() -> None:
    stage = Stage(before=b"", after=b"")
    stage.op(stage.reader(), 10, 12, value=6)
    assert worst(sane(stage)) is Verdict.UNKNOWN


def test_what_the_plan_wrote_is_not_compared_from_then_on() -> None:
    stage = Stage()
    reader, writer = stage.reader(offset=0x0C), stage.writer(0x0D, b"\x40")
    stage.op(reader, 10, 12)
    stage.op(writer, 20, 22)
    stage.op(reader, 30, 32, value=0x4000)
    (good,) = sane(stage)
    assert (good.verdict, good.met) == (Verdict.PASS, 1)
    stage.op(reader, 5, 6, value=0x4000)
    assert worst(sane(stage)) is Verdict.FAIL


def test_writing_what_is_there_changes_nothing() -> None:
    stage = Stage()
    reader, writer = stage.reader(), stage.writer(0x04, b"\x06\x00")
    stage.op(writer, 20, 22)
    stage.op(reader, 30, 32, value=0x00100000)
    assert worst(sane(stage)) is Verdict.FAIL


def test_after_a_raw_flr_nothing_is_compared() -> None:
    stage = Stage()
    reader, writer = stage.reader(), stage.writer(0x48, b"\x00\x80", means=FLR_BIT)
    stage.op(reader, 10, 12)
    stage.op(writer, 20, 22)
    stage.op(reader, 30, 32, value=0)
    assert worst(sane(stage)) is Verdict.PASS


# finished


def test_everything_returned() -> None:
    stage = Stage()
    stage.op(stage.reader(), 10, 12)
    history = stage.history()
    assert worst(finished(Evidence(history), terms(history))) is Verdict.PASS


def test_no_operation_at_all_is_unknown() -> None:
    stage = Stage()
    stage.reader()
    history = stage.history()
    assert worst(finished(Evidence(history), terms(history))) is Verdict.UNKNOWN


def test_an_operation_in_flight_convicts_with_wchan_and_stack() -> None:
    stage = Stage()
    reader = stage.reader()
    stage.op(reader, 10, None)
    stage.ends(
        reader,
        end="abandoned",
        wchan="pci_wait_cfg",
        stack="[<0>] pci_wait_cfg+0xa\n[<0>] pci_read_config+0x1",
    )
    history = stage.history()
    (bad,) = finished(Evidence(history), terms(history))
    assert (bad.verdict, bad.blame) == (Verdict.FAIL, Blame.TIMEOUT)
    assert "asleep in pci_wait_cfg below pci_wait_cfg+0xa, pci_read_config+0x1" in bad.claim
    assert "config-read/sysfs on disk" in bad.claim


def overdue(stage: Stage) -> tuple[Finding, ...]:
    reader = stage.reader()
    stage.op(reader, 500_000, 6_500_000)
    history = stage.history()
    return finished(Evidence(history), terms(history))


def test_returning_after_the_deadline_convicts_if_the_machine_was_watched() -> None:
    stage = Stage()
    stage.heartbeat(until_us=6e6)
    (bad,) = overdue(stage)
    assert bad.blame is Blame.TIMEOUT
    assert "500 ms late" in bad.claim


def test_returning_after_the_deadline_of_a_starved_stage_is_unknown() -> None:
    stage = Stage()
    stage.heartbeat(late_at=700_000, until_us=6e6)
    assert worst(overdue(stage)) is Verdict.UNKNOWN


@pytest.mark.parametrize(
    "how", [{"end": "died", "detail": "SIGSEGV"}, {"end": "refused"}, {"end": "abandoned"}]
)
def test_actors_that_did_not_end_well_are_unknown(how: dict[str, object]) -> None:
    stage = Stage()
    reader = stage.reader()
    stage.op(reader, 10, 12)
    stage.ends(reader, **how)
    history = stage.history()
    (finding,) = finished(Evidence(history), terms(history))
    assert finding.verdict is Verdict.UNKNOWN


# kernel_log


def logged(*lines: str, level: int = 4, **changes: object) -> tuple[Finding, ...]:
    stage = Stage()
    stage.reader()
    for line in lines:
        stage.log(line, level)
    history = stage.history(**changes)
    return kernel_log(Evidence(history), terms(history))


def test_a_quiet_log_passes() -> None:
    assert worst(logged("vfio-pci 0000:01:00.0: enabling device (0000 -> 0002)")) is Verdict.PASS
    assert worst(logged()) is Verdict.PASS


@pytest.mark.parametrize(
    ("line", "blame"),
    [
        (
            "WARNING: CPU: 1 PID: 99 at drivers/pci/access.c:331 pci_cfg_access_unlock+0x5f/0x70",
            Blame.KERNEL_FAULT,
        ),
        ("BUG: kernel NULL pointer dereference, address: 0000000000000000", Blame.KERNEL_FAULT),
        ("BUG: KASAN: slab-use-after-free in pci_wait_cfg+0x1/0x2", Blame.KERNEL_FAULT),
        ("list_del corruption. prev->next should be ffff", Blame.KERNEL_FAULT),
        ("DMAR: [DMA Read NO_PASID] Request device [01:00.0] fault addr 0x1000", Blame.MISMATCH),
        ("INFO: task actor:77 blocked for more than 120 seconds.", Blame.TIMEOUT),
        ("vfio-pci 0000:01:00.0: not ready 65535ms after FLR; giving up", Blame.RESET_FAILED),
        ("pcieport 0000:00:05.0: Data Link Layer Link Active not set in 1000 msec", Blame.DEVICE_LOST),
        ("pci 0000:01:00.0: Device config space inaccessible; unable to save state", Blame.DEVICE_LOST),
    ],
)
def test_a_bad_line_convicts_and_is_quoted(line: str, blame: Blame) -> None:
    (bad,) = logged("harmless", line)
    assert (bad.verdict, bad.blame) == (Verdict.FAIL, blame)
    assert line in bad.claim
    assert [str(event) for event in bad.events] == ["log:1"]


def test_a_warning_is_told_but_passes() -> None:
    (good,) = logged("pcieport 0000:00:05.0: unlocked secondary bus reset via: vfio_pci_core_ioctl")
    assert good.verdict is Verdict.PASS
    assert "unlocked" in good.claim


def test_a_critical_line_that_no_rule_explains_convicts() -> None:
    assert worst(logged("something is on fire", level=2)) is Verdict.FAIL
    assert worst(logged("something is warm", level=3)) is Verdict.PASS


def test_an_incomplete_log_is_unknown_but_still_convicts() -> None:
    assert worst(logged("fine", log_complete=False)) is Verdict.UNKNOWN
    assert worst(logged("Oops: 0000 [#1]", log_complete=False)) is Verdict.FAIL


@pytest.mark.parametrize(
    ("before", "after", "verdict"),
    [
        (0, 1 << 9, Verdict.FAIL),
        (1 << 9, 1 << 9, Verdict.PASS),
        (0, 0x3000, Verdict.PASS),
        (0, 1 << 7, Verdict.FAIL),
    ],
)
def test_new_taint_convicts(before: int, after: int, verdict: Verdict) -> None:
    assert worst(logged(taint_before=before, taint_after=after)) is verdict


# collided


@pytest.mark.parametrize(("meets", "verdict"), [(0, None), (1, Verdict.PASS), (2, Verdict.UNKNOWN)])
def test_too_few_collisions_are_unknown(meets: int, verdict: Verdict | None) -> None:
    stage = Stage(meets=meets)
    reader = stage.reader()
    stage.window(100, 200)
    stage.op(reader, 150, 210)
    stage.wait(155, reader)
    history = stage.history()
    assert worst(collided(Evidence(history), terms(history))) is verdict


def test_without_accesses_resets_count() -> None:
    stage = Stage(meets=1)
    one, two = stage.resetter("one"), stage.resetter("two")
    end = stage.reset(one, 1_000)
    stage.reset(two, 50_000, waits=end - 50_000)
    history = stage.history()
    assert worst(collided(Evidence(history), terms(history))) is Verdict.PASS


def test_collisions_in_a_doubtful_trace_are_unknown() -> None:
    stage = Stage(meets=1)
    stage.reader()
    history = stage.history(lost_kernel_events=1)
    assert worst(collided(Evidence(history), terms(history))) is Verdict.UNKNOWN


@pytest.mark.parametrize(("meets", "blame"), [(2, Blame.STARVED), (20, Blame.STARVED), (30, Blame.NOTHING)])
def test_a_busy_machine_is_to_blame_only_for_what_could_have_collided_on_another(
    meets: int, blame: Blame
) -> None:
    stage = Stage(meets=meets)
    reader = stage.reader()
    stage.heartbeat(
        until_us=200_000, late_at=50_000, late_ms=100
    )  # half of the time: of 12 reads 24 might have been
    stage.window(100, 200)
    stage.op(reader, 150, 210)
    stage.wait(155, reader)
    for begin in range(10_000, 21_000, 1_000):
        stage.op(reader, begin, begin + 20)
    history = stage.history()
    (finding,) = collided(Evidence(history), terms(history))
    assert (finding.verdict, finding.blame, finding.met) == (Verdict.UNKNOWN, blame, 1)


# starvation


def starved_at(history: History, *moments: float) -> list[bool]:
    times = np.array([at(moment) for moment in moments])
    return [bool(one) for one in Evidence(history).starvation.during(times, times)]


def test_a_late_beat_starves_from_its_planned_time_to_its_waking() -> None:
    stage = Stage()
    stage.heartbeat(late_at=500_000, late_ms=80)
    assert starved_at(stage.history(), 499_000, 500_000, 560_000, 580_000, 581_000) == [
        False,
        True,
        True,
        True,
        False,
    ]


@pytest.mark.parametrize(("late_ms", "share"), [(10, 0.0), (100, 0.5)])
def test_its_share_of_the_time_is_told(late_ms: int, share: float) -> None:
    stage = Stage()
    stage.heartbeat(until_us=210_000, late_at=50_000, late_ms=late_ms)
    assert Evidence(stage.history()).starvation.share == pytest.approx(share, abs=0.01)


def test_beats_that_were_missed_together_count_once() -> None:
    stage = Stage()
    me = stage.actor("heartbeat", Step(op=Op.PAUSE, means=HEARTBEAT, time_ns=Ns(10 * MS)))
    for number, delay in enumerate((0, 100, 90, 80, 0), start=1):  # of 20, 30 and 40 ms, all at 120 ms
        planned = 10_000 * number
        stage.op(
            me, planned - 10_000, planned + delay * 1_000, value=int(at(planned)), result=0, round_=number - 1
        )
    assert Evidence(stage.history()).starvation.share == pytest.approx(100 / 110, abs=0.01)


def test_after_the_last_beat_nobody_watches() -> None:
    stage = Stage()
    stage.heartbeat(until_us=1e6)
    assert starved_at(stage.history(), 1_020_000, 1_040_000) == [False, True]


def test_a_wild_clock_starves_everything() -> None:
    stage = Stage()
    stage.heartbeat()
    assert starved_at(stage.history(clock_ratio=3.9), 500_000) == [True]


# verdict


def test_a_crashing_checker_is_unknown_and_the_others_are_heard() -> None:
    def broken(evidence: Evidence, terms: Terms) -> tuple[Finding, ...]:
        raise ZeroDivisionError(f"no evidence in {evidence.history.plan.title} for {len(terms.promises)}")

    stage = Stage()
    stage.op(stage.reader(), 10, 12)
    history = stage.history()
    judgement = judge(history, terms(history), (broken, finished))
    assert [f.verdict for f in judgement.findings] == [Verdict.UNKNOWN, Verdict.PASS]
    assert "broken crashed: ZeroDivisionError: no evidence in by hand for 1" in judgement.findings[0].claim


def test_a_clean_stage_passes_every_checker() -> None:
    stage = Stage(meets=1)
    stage.heartbeat()
    reader, resetter = stage.reader(), stage.resetter()
    stage.op(reader, 50, 60)
    end = stage.reset(resetter, 1_000)
    stage.op(reader, 20_000, end + 20)
    stage.wait(20_005, reader)
    history = stage.history()
    judgement = judge(history, terms(history))
    assert [f.claim for f in judgement.findings if f.verdict is not Verdict.PASS] == []
    assert {f.checker for f in judgement.findings} == SPEAK_OF_A_RESET
    assert judgement.verdict is Verdict.PASS


def test_every_checker_survives_a_history_without_evidence() -> None:
    stage = Stage()
    stage.reader()
    judgement = judge(stage.history(probes=(), functions=()), Terms(promises={}))
    assert judgement.verdict is Verdict.UNKNOWN
    assert not [f.claim for f in judgement.findings if "crashed" in f.claim]
