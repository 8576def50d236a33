"""Every checker is seen red on a kernel that is really broken, and says the right thing about it."""

from __future__ import annotations

import re

import pytest

from harness.errors import AgentLost
from harness.history.reading import Reading
from harness.judge import judge
from harness.model.pci import COMMAND, MethodWord
from harness.model.request import DescribeMachine
from harness.model.verdict import Blame, EventKind, Verdict
from harness.plugin.staging import carry_out
from harness.report.ascii.timeline import timeline_text
from harness.staging.function import Function
from harness.staging.part import Part, plan_of
from tests.guest.surgery import Cut, Outcome, Patient

pytestmark = pytest.mark.kernels


def readers_and_a_reset(function: Function, method: MethodWord = "flr") -> tuple[Part, ...]:
    return function.reads("sysfs", at=COMMAND, actors=2), function.resets(method, at="50ms")


def assert_drawn(outcome: Outcome) -> None:
    """The decisive events are in the picture: a mark on a lane, and spelled out below."""
    text = timeline_text(outcome.history, outcome.judgement)
    assert all(len(line) <= 80 for line in text.splitlines())
    assert "FAIL" in text.splitlines()[0]
    decisive = outcome.judgement.decisive
    assert decisive is not None
    timed = [event for event in decisive.events if event.kind is not EventKind.LOG][:2]
    for event in timed:
        assert re.search(rf"^[AB] +{re.escape(str(event))}\b", text, re.MULTILINE), f"{event} not in\n{text}"
    if timed:
        assert re.search(r"^[^|]+\|.*A.*\|$", text, re.MULTILINE), text


# --- the control: the same stages on a healthy kernel -----------------------------------------------------


def test_a_healed_kernel_is_judged_good_again(patient: Patient) -> None:
    """The surgeon's tools alone do no harm, and what they do can be undone."""
    igb0 = patient.function("igb0")
    patient.cut(pcie_flr=Cut.RETURN_ZERO, pci_cfg_access_lock=Cut.RETURN)
    patient.heal()
    parts = (igb0.reads("sysfs"), igb0.resets_with_oracle("flr", at="50ms"))
    outcome = patient.stage(plan_of(parts, title="healed", lasting="300ms", meets=1))
    assert outcome.judgement.verdict is Verdict.PASS, outcome.judgement


# --- the config lock --------------------------------------------------------------------------------------


def test_a_lock_that_does_not_lock(patient: Patient) -> None:
    igb0 = patient.function("igb0")
    patient.cut(pci_cfg_access_lock=Cut.RETURN)
    outcome = patient.stage(plan_of(readers_and_a_reset(igb0), title="no lock", lasting="300ms", meets=2))
    (inside,) = outcome.failures("access_outcome")
    assert inside.blame is Blame.MISMATCH
    assert "did not keep the promise blocked" in inside.claim
    assert "inside a sysfs reset window" in inside.claim
    assert inside.met > 100  # two readers for 100 ms
    read, window = inside.events[:2]
    assert_inside(outcome, read.row, window.row)
    warned = outcome.failures("kernel_log")
    assert "WARNING: " in warned[0].claim
    assert "pci_cfg_access_unlock" in warned[0].claim
    assert any("tainted" in finding.claim and "a kernel warning" in finding.claim for finding in warned)
    assert_drawn(outcome)


def test_readers_that_do_not_look_at_the_lock(patient: Patient) -> None:
    igb0 = patient.function("igb0")
    patient.cut(pci_user_read_config_dword=Cut.IGNORE_LOCK)
    outcome = patient.stage(plan_of(readers_and_a_reset(igb0), title="no look", lasting="300ms", meets=2))
    (inside,) = outcome.failures("access_outcome")
    assert "inside a sysfs reset window" in inside.claim
    assert_inside(outcome, inside.events[0].row, inside.events[1].row)
    assert not outcome.failures("kernel_log")  # here the kernel notices nothing: only the trace tells
    assert outcome.judgement.decisive == inside
    assert_drawn(outcome)


def assert_inside(outcome: Outcome, read: int, opened: int) -> None:
    """The violating pair is what it is said to be: this read began and ended inside that window."""
    operation = outcome.history.operations[read]
    (window,) = [one for one in Reading(outcome.history).windows if one.opened_row == opened]
    assert window.opened_ns < operation["begin_ns"] < operation["end_ns"] < window.closed_ns


def test_a_lock_that_is_never_given_back(patient: Patient) -> None:
    igb0, nvme0 = patient.function("igb0"), patient.function("nvme0")
    patient.cut(pci_cfg_access_unlock=Cut.RETURN)
    plan = plan_of(readers_and_a_reset(igb0), title="no unlock", lasting="300ms", deadline="2s")
    outcome = patient.stage(plan)
    history = outcome.history
    readers = [actor for actor in history.actors if actor.name.startswith("reader")]
    for actor in readers:
        assert actor.end == "abandoned"
        assert actor.wchan == "pci_wait_cfg"
        assert "pci_user_read_config" in actor.stack
    assert [actor.end for actor in history.actors if actor not in readers] == ["done", "done"]
    # Who tried to put it back might get stuck behind them.
    assert history.provenance["settings.left"] == "reset_method of igb0"
    stuck = outcome.failures("finished")
    assert len(stuck) == 2
    for finding in stuck:
        assert finding.blame is Blame.TIMEOUT
        assert "never returned from config-read/sysfs on igb0" in finding.claim
        assert "asleep in pci_wait_cfg" in finding.claim
        assert history.operations[finding.events[0].row]["end_ns"] == 0
    assert outcome.judgement.verdict is Verdict.FAIL
    assert_drawn(outcome)
    # The run goes on, beside the two that sleep for ever.
    patient.heal()
    assert patient.target.agent.ask(DescribeMachine(), deadline_s=20.0).cpus == 2
    parts = readers_and_a_reset(nvme0)
    after = patient.stage(plan_of(parts, title="next", lasting="300ms", meets=2))
    assert after.judgement.verdict is Verdict.PASS, after.judgement


# --- resets -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("alias", "method", "symbol"),
    [("igb0", "flr", "pcie_flr"), ("nvme0", "flr", "pcie_flr"), ("igb0", "bus", "pci_reset_bus_function")],
)
def test_a_reset_that_only_claims_to_have_happened(
    patient: Patient, alias: str, method: MethodWord, symbol: str
) -> None:
    function = patient.function(alias)
    patient.cut(**{symbol: Cut.RETURN_ZERO})
    parts = (function.resets_with_oracle(method, times=2), function.reads("sysfs"))
    outcome = patient.stage(plan_of(parts, title=f"no {method}", lasting="300ms"))
    (kept,) = outcome.failures("reset_happened")
    assert kept.blame is Blame.RESET_FAILED
    assert f"After 2 of 2 reset/{method} on {alias} the oracle register" in kept.claim
    assert "promised is cleared" in kept.claim
    (fast,) = outcome.failures("reset_time")
    assert f"reset/{method} on {alias} took less than" in fast.claim
    assert outcome.failed() == {"reset_happened", "reset_time"}
    assert_drawn(outcome)


def test_a_power_cycle_that_does_not_happen(patient: Patient) -> None:
    """The registers of this model survive a real one, too: its duration is all there is to see."""
    function = patient.function("e1000e0")
    patient.cut(pci_pm_reset=Cut.RETURN_ZERO)
    patient.renew()  # as after a stage on a busy host: the next clone is cut alike
    outcome = patient.stage(plan_of(readers_and_a_reset(function, "pm"), title="no pm", lasting="200ms"))
    (fast,) = outcome.failures("reset_time")
    assert "reset/pm on e1000e0 took less than" in fast.claim
    assert_drawn(outcome)


def test_config_space_that_nobody_restores(patient: Patient) -> None:
    igb0 = patient.function("igb0")
    patient.cut(pci_restore_state=Cut.RETURN)
    outcome = patient.stage(plan_of(readers_and_a_reset(igb0), title="no restore", lasting="300ms"))
    (lost,) = outcome.failures("config_restored")
    assert "igb0" in lost.claim
    assert "0x010" in lost.claim, lost.claim  # BAR 0
    assert "access_outcome" not in outcome.failed()
    assert_drawn(outcome)


# --- a kernel that crashes --------------------------------------------------------------------------------


def test_an_oops_in_the_middle_of_a_reset(patient: Patient) -> None:
    igb0 = patient.function("igb0")
    patient.cut(pcie_flr=Cut.CRASH)
    plan = plan_of(readers_and_a_reset(igb0), title="oops", lasting="300ms", deadline="1s")
    outcome = patient.stage(plan)
    decisive = outcome.judgement.decisive
    assert decisive is not None
    assert (decisive.checker, decisive.blame) == ("kernel_log", Blame.KERNEL_FAULT)
    assert "Oops" in decisive.claim
    assert any("an oops or BUG" in finding.claim for finding in outcome.failures("kernel_log"))
    assert any(
        "The kernel gave resetter up in the middle of reset/flr on igb0" in f.claim
        for f in outcome.failures("finished")
    )
    assert_drawn(outcome)


def test_a_panic_in_the_middle_of_a_reset(patient: Patient, request: pytest.FixtureRequest) -> None:
    igb0 = patient.function("igb0")
    patient.cut(pcie_flr=Cut.CRASH)
    patient.target.agent.run_source(
        "open('/proc/sys/kernel/panic_on_oops', 'w').write('1'); channel.send(None)"
    )
    plan = plan_of(readers_and_a_reset(igb0), title="panic", lasting="300ms")
    history = carry_out(plan, patient.source, patient.contract, request.node)
    judgement = judge(history, patient.contract.terms_of(history))
    decisive = judgement.decisive
    assert decisive is not None
    assert (decisive.verdict, decisive.blame) == (Verdict.FAIL, Blame.KERNEL_FAULT)
    console = patient.target.guest.console_text()
    assert "pcie_flr" in console
    assert "Kernel Offset: disabled" in console  # its last line but one: the console is complete
    assert any("pcie_flr" in line.text for line in history.log)
    assert not patient.target.guest.running
    assert "FAIL" in timeline_text(history, judgement)


def test_a_hang_is_an_error_with_backtraces(
    patient: Patient, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One processor for each of two resets that never end: nobody is left to answer.

    Interrupts are on, so only the kernel's own watchdog could tell, and it waits 20 s.
    """
    functions = [patient.function(alias) for alias in ("igb0", "nvme0")]
    patient.cut(pcie_flr=Cut.SPIN)
    monkeypatch.setattr("harness.staging.conduct._OVERHEAD_S", 5.0)  # patience with slow machines, else 60 s
    parts = [function.resets("flr", at="20ms") for function in functions]
    plan = plan_of(parts, title="hang", lasting="100ms", deadline="1s")
    with pytest.raises(
        AgentLost, match=r"staging 'hang': the agent says nothing, in a living guest"
    ) as caught:
        carry_out(plan, patient.source, patient.contract, request.node)
    assert "resetter-1 was in reset/flr of igb0, resetter-2 in reset/flr of nvme0" in str(caught.value)
    assert str(patient.target.guest.console) in str(caught.value)
    assert caught.value.evidence.count("RIP=") == 2  # registers of both
    assert caught.value.evidence.count("NMI backtrace for cpu") == 2
    assert "pcie_flr" in caught.value.evidence
