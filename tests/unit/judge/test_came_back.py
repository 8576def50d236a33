"""came_back on histories written by hand: who waited for a slow function, who did not, how often the kernel looked."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from harness.history.columns import SERVED
from harness.history.history import History
from harness.judge.evidence import Evidence
from harness.judge.questions.came_back import Wait, came_back, waits
from harness.model.fault import Fault, Misbehaviour, Occasion, PlannedFault
from harness.model.operation import FLR_BIT, HOT_RESET, RESCAN, SUBORDINATE_RESET
from harness.model.served import NO_REGION, Happened
from harness.model.units import MS, US, Ns
from harness.model.verdict import Blame, Finding, Verdict
from tests.unit.judge.build import ALIAS, Stage, at, terms
from tests.unit.judge.witness import PORT, SIBLING, CallStage

BDF = "0000:01:00.0"  # as the builder gives it


def away(
    history: History,
    since_us: float,
    lasting: Ns | None,
    what: Misbehaviour = Misbehaviour.NOT_READY,
    when: Occasion = Occasion.NOW,
    **more: int,
) -> History:
    """The same with a function that was away since then."""
    fault = Fault(what=what, when=when, lasting_ns=lasting)
    served = np.zeros(1, dtype=SERVED)
    served[0]["time_ns"], served[0]["what"] = at(since_us), Happened.FAULT_BEGINS
    served[0]["region"] = NO_REGION
    plan = replace(history.plan, faults=(PlannedFault(function=ALIAS, fault=fault),))
    return replace(history, plan=plan, served=served, **more)  # type: ignore[arg-type]


def judged(history: History) -> tuple[Finding, ...]:
    return came_back(Evidence(history), terms(history))


def reset_history(means: str = "reset/flr") -> tuple[History, float]:
    """One reset from 1 ms on; when it had returned, in microseconds."""
    stage = Stage()
    end = stage.reset(stage.resetter(means=means), 1_000)
    return stage.history(), end


def test_a_reset_that_waits_is_slow_but_ready() -> None:
    history, _ = reset_history()
    (good,) = judged(away(history, 2_000, Ns(80 * MS)))
    assert (good.verdict, good.met) == (Verdict.PASS, 1)
    assert "slow but ready" in good.claim


@pytest.mark.parametrize(
    ("what", "lasting", "said"),
    [
        (Misbehaviour.NOT_READY, Ns(300 * MS), "for another"),
        (Misbehaviour.NEVER_READY, None, "for ever"),
        (Misbehaviour.STAY_ASLEEP, Ns(300 * MS), "stay-asleep"),
    ],
)
def test_a_reset_that_reports_success_too_early_convicts(
    what: Misbehaviour, lasting: Ns | None, said: str
) -> None:
    history, _ = reset_history()
    (bad,) = judged(away(history, 2_000, lasting, what))
    assert (bad.verdict, bad.blame, bad.met) == (Verdict.FAIL, Blame.RESET_FAILED, 1)
    assert said in bad.claim
    assert bad.events[0].row == 0


def test_the_error_of_the_clocks_is_granted() -> None:
    history, end = reset_history()
    lasting = Ns(round((end - 2_000) * US) + 30 * US)
    assert judged(away(history, 2_000, lasting))[0].verdict is Verdict.FAIL
    assert judged(away(history, 2_000, lasting, served_error_ns=50 * US))[0].verdict is Verdict.PASS


def test_what_goes_wrong_after_the_kernel_looked_is_not_its_fault() -> None:
    history, end = reset_history()
    assert judged(away(history, end - 20, Ns(300 * MS))) == ()


def test_what_the_reset_brings_about_needs_no_good_clocks() -> None:
    history, end = reset_history()
    late = [
        away(history, at_us, Ns(300 * MS), when=Occasion.FLR, served_error_ns=9 * MS) for at_us in (900, end)
    ]
    assert [judged(one)[0].verdict for one in late] == [Verdict.FAIL, Verdict.FAIL]
    assert judged(away(history, end + 9_100, Ns(300 * MS), when=Occasion.FLR, served_error_ns=9 * MS)) == ()


def test_faults_of_other_kinds_and_other_times_are_not_asked() -> None:
    history, end = reset_history()
    assert judged(away(history, 2_000, Ns(300 * MS), Misbehaviour.ALL_ONES_MEMORY)) == ()
    assert judged(away(history, end + 10, Ns(300 * MS))) == ()
    assert judged(away(history, 100, Ns(MS // 2))) == ()


def test_nobody_waits_after_a_raw_flr() -> None:
    stage = Stage()
    stage.op(stage.writer(0x48, b"\x00\x80", means=FLR_BIT), 1_000, 1_020)
    assert judged(away(stage.history(), 500, Ns(300 * MS))) == ()


def test_a_refused_reset_promises_nothing() -> None:
    stage = Stage()
    stage.op(stage.resetter(), 1_000, 90_000, error=25)
    assert judged(away(stage.history(), 500, Ns(300 * MS))) == ()


def test_a_scan_must_wait_for_retry_status() -> None:
    stage = Stage()
    stage.op(stage.does("remover", RESCAN, "rescan"), 10_000, 90_000)
    (bad,) = judged(away(stage.history(), 5_000, Ns(300 * MS), Misbehaviour.RETRY_STATUS))
    assert (bad.verdict, bad.blame) == (Verdict.FAIL, Blame.RESET_FAILED)
    (good,) = judged(away(stage.history(), 5_000, Ns(60 * MS), Misbehaviour.RETRY_STATUS))
    assert good.verdict is Verdict.PASS


def behind(
    means: str, lasting: Ns | None, *, of: int = 2, writes: tuple[float, ...] = (), value: int = 0x41
) -> History:
    """A reset of all functions of a bus from 1 to 130 ms, asked of one, while one of them is not ready since 2 ms.

    Args:
        means: of all of them.
        lasting: how long that one is away.
        of: its number.
        writes: when its cache line size and what lies beside it are written, in microseconds.
        value: what is written.
    """
    stage = CallStage(port=True, sibling=True)
    stage.heartbeat()
    alias = PORT if means == SUBORDINATE_RESET else ALIAS
    stage.called(stage.caller(means, alias=alias), 1_000, 130_000)
    history = away(stage.history(), 2_000, lasting, when=Occasion.BUS_RESET)
    name = history.plan.functions[of]
    fault = replace(history.plan.faults[0], function=name)
    served = np.zeros(1 + len(writes), dtype=SERVED)
    served[:1] = history.served
    for row, us in zip(served[1:], writes, strict=True):
        row["time_ns"], row["what"], row["region"] = at(us), Happened.WRITTEN, 7
        row["address"], row["width"], row["value"] = 0x40, 4, value
    served["function"] = of
    functions = tuple(replace(one, config_before=SAVED) for one in history.functions)
    return replace(history, plan=replace(history.plan, faults=(fault,)), served=served, functions=functions)


SAVED = bytes(0x40) + (0x41).to_bytes(4, "little") + bytes(0xBC)
BUS = (HOT_RESET, SUBORDINATE_RESET)


@pytest.mark.parametrize("means", BUS)
def test_whoever_resets_a_bus_answers_for_all_of_it(means: str) -> None:
    (bad,) = judged(behind(means, Ns(300 * MS), writes=(110_000, 111_000)))
    assert (bad.verdict, bad.blame, bad.met) == (Verdict.FAIL, Blame.RESET_FAILED, 1)
    assert f"reported success while {SIBLING} was not-ready, for another 172 ms" in bad.claim
    assert "did not wait for it, and 2 writes of its restore went into the void" in bad.claim
    assert [str(event) for event in bad.events][1:] == ["served:1", "served:2"]
    (good,) = judged(behind(means, Ns(100 * MS), writes=(110_000,)))
    assert good.verdict is Verdict.PASS
    assert f"waited for {SIBLING}, that was not-ready: slow but ready" in good.claim
    assert judged(replace(behind(means, Ns(300 * MS)), served_lost=1)) == ()


@pytest.mark.parametrize("means", BUS)
def test_who_restored_a_function_that_was_away_did_not_wait_however_late_it_returned(means: str) -> None:
    (bad,) = judged(behind(means, Ns(120 * MS), writes=(110_000,)))
    assert bad.verdict is Verdict.FAIL
    assert (
        f"on {PORT if means == SUBORDINATE_RESET else ALIAS} restored {SIBLING} while it was not-ready"
        in bad.claim
    )
    assert "1 writes of its restore went into the void" in bad.claim


def test_what_qemu_writes_when_it_resets_a_bus_is_no_restore() -> None:
    (good,) = judged(behind(HOT_RESET, Ns(120 * MS), writes=(110_000,), value=0))
    assert good.verdict is Verdict.PASS


def test_a_reset_of_one_function_does_not_answer_for_its_neighbour() -> None:
    assert judged(behind("reset/flr", Ns(300 * MS))) == ()


def test_a_log_with_holes_says_nothing() -> None:
    history, _ = reset_history()
    assert judged(away(history, 2_000, Ns(300 * MS), served_lost=1)) == ()


def said(*lines: str) -> History:
    stage = Stage()
    stage.heartbeat()
    for line in lines:
        stage.log(line)
    return stage.history()


def test_a_ladder_is_read_from_the_log() -> None:
    history = said(
        f"vfio-pci {BDF}: not ready 1023ms after bus reset; waiting",
        "something else",
        f"vfio-pci {BDF}: not ready 2047ms after bus reset; waiting",
        f"vfio-pci {BDF}: ready 4095ms after bus reset",
        f"pci {BDF}: not ready after 1023ms; waiting",
        f"pci {BDF}: not ready after 65535ms; giving up",
        f"pci {BDF}: not ready 1023ms after FLR; waiting",
        "pci 0000:02:00.0: ready 1023ms after FLR",
    )
    assert waits(history) == (
        Wait(
            alias=ALIAS,
            occasion="bus reset",
            looked_ms=(1023, 2047, 4095),
            rows=(0, 2, 3),
            over=True,
            found=True,
        ),
        Wait(alias=ALIAS, occasion="", looked_ms=(1023, 65535), rows=(4, 5), over=True, found=False),
        Wait(alias=ALIAS, occasion="FLR", looked_ms=(1023,), rows=(6,), over=False, found=False),
    )


def test_a_ladder_that_doubles_passes_and_tells_how_it_ended() -> None:
    (found,) = judged(
        said(
            f"pci {BDF}: not ready 1023ms after FLR; waiting",
            f"pci {BDF}: not ready 2047ms after FLR; giving up",
        )
    )
    assert (found.verdict, found.met) == (Verdict.PASS, 2)
    assert "1023, 2047 ms" in found.claim
    assert "gave up" in found.claim


def test_a_pause_of_more_than_twice_the_last_convicts() -> None:
    (bad,) = judged(
        said(f"pci {BDF}: not ready 1023ms after FLR; waiting", f"pci {BDF}: ready 4095ms after FLR")
    )
    assert (bad.verdict, bad.blame) == (Verdict.FAIL, Blame.TIMEOUT)
    assert bad.events[0].row == 1
