"""Resets of an adapter that keeps something, and adapters that fail: what ipr asks of them, and how it comes back.

The adapter keeps a log in flash.  A shutdown command makes it write that, and so does the alert before a reset when
there was no shutdown; meanwhile it shows "critical operation".  Whoever resets it then corrupts the log, and whoever
resets it unannounced loses what was not written.  Measured on 6.12.117 under TCG.
"""

from itertools import groupby
from typing import Any

import pytest

from harness.history.history import History
from harness.model.fault import Misbehaviour
from harness.model.operation import ONLINE_STATE, REVIVAL, Operation
from harness.model.pci import VENDOR_ID
from harness.model.plan import Setting
from harness.model.verdict import Blame
from harness.plugin.staging import Run, Stage
from harness.scenarios.interrupts import BY_MESSAGE_AND_BY_PIN, interrupts_of
from harness.staging.adapter import Adapter, Disk
from harness.staging.faulty import Faulty
from harness.staging.function import Function
from harness.staging.ownership import Ownership
from harness.staging.part import Part
from harness.staging.vfio_user import VfioUser

pytestmark = pytest.mark.hil_ipr

SHUTDOWN, CONFIGURATION, READ = 0xF7, 0xC5, 0x28
"""Commands: of the adapter, to save what it keeps and to say what it is made of; of a disk (SBC-3 §5.11)."""
_DRIVER = "ipr"
_GIVEN_UP = "IOA taken offline"
"""What ipr writes into the kernel log then."""
_PACE = "5ms"


def has_kept_its_log(run: Run, sections: int) -> None:
    """The verdict is PASS, and the log was written so often, undisturbed."""
    run.enforce()
    said = [one.claim for one in run.judgement.findings if one.checker == "persistent_state"]
    assert said == [
        f"No reset came into any of {sections} critical sections of {run.history.plan.functions[0]}."
    ]


# The critical section.


@pytest.mark.dut("ipr0", "ipr64")
def test_a_host_reset_announces_itself(dut: Function, stage: Stage) -> None:
    """The shutdown is sent and its answer waited for, and then the bit for as long as it is set."""
    run = stage(
        Faulty(dut).fails(Misbehaviour.CRITICAL_SLOW, value=800),
        Adapter(dut).resets(at="100ms"),
        dut.reads("sysfs", at=VENDOR_ID, every=_PACE),
        lasting="4s",
    )
    has_kept_its_log(run, 2)


@pytest.mark.dut("ipr0")
def test_a_sysfs_reset_in_the_critical_section_corrupts_the_log(dut: Function, stage: Stage) -> None:
    """The PCI core asks nobody.  The reset of ipr itself, which comes after it, repairs all but the log."""
    run = stage(
        Faulty(dut).fails(Misbehaviour.CRITICAL_SLOW),
        Adapter(dut).resets(at="100ms"),
        dut.resets("flr", at="900ms"),
        dut.reads("sysfs", at=VENDOR_ID, every=_PACE),
        lasting="5s",
    )
    run.names(Blame.MISMATCH, "reset/flr by resetter came", "critical section", "corrupt")


@pytest.mark.dut("ipr0")
def test_a_sysfs_reset_loses_what_was_not_in_the_log(dut: Function, stage: Stage) -> None:
    """An error of the link, of all things, brings the adapter back: recovery is the one reset that ipr is told of."""
    run = stage(
        dut.resets("flr", at="150ms"),
        Faulty(dut).link_reports("DLP", at="800ms"),
        Adapter(dut).tells_its_state(),
        dut.reads("sysfs", at=VENDOR_ID, every=_PACE),
        lasting="3s",
    )
    run.names(Blame.MISMATCH, "reset/flr by resetter came unannounced")


@pytest.mark.dut("ipr64")
def test_a_vfio_user_comes_after_the_driver_has_shut_the_adapter_down(dut: Function, stage: Stage) -> None:
    """An unbind is a shutdown and a self-test, so that a reset by VFIO finds nothing to lose."""
    run = stage(
        Adapter(dut).is_driven(),
        Ownership(dut).unbinds(driver=_DRIVER, at="200ms"),
        dut.reads("sysfs", at=VENDOR_ID, every=_PACE),
        lasting="4s",
    )
    has_kept_its_log(run, 1)
    stage(VfioUser(dut).reads(), VfioUser(dut).resets(at="50ms"), lasting="500ms", meets=1)


# Other ways to its reset.


@BY_MESSAGE_AND_BY_PIN
@pytest.mark.dut("ipr0")
def test_diagnostics_are_a_reset(dut: Function, interrupts: str, stage: Stage) -> None:
    """Commands wait, and the adapter has no errors to tell of."""
    adapter = Adapter(dut, by_message=interrupts == "msi")
    run = stage(adapter.runs_diagnostics(at="100ms"), Disk(dut).reads(), lasting="5s")
    has_kept_its_log(run, 1)
    assert interrupts_of(run.history, dut.alias) == interrupts


@BY_MESSAGE_AND_BY_PIN
@pytest.mark.dut("ipr0")
def test_a_unit_check_is_answered_by_a_reset(dut: Function, interrupts: str, stage: Stage) -> None:
    """The firmware answers nothing any more; reads wait for 5 s.

    It comes between two reads: ipr does not look at an interrupt's other causes when it finds completions, so that a
    unit check that comes together with one is heard only after a command has timed out.
    """
    run = stage(
        Adapter(dut, by_message=interrupts == "msi").is_driven(),
        Faulty(dut).fails(Misbehaviour.UNIT_CHECK, at="350ms"),
        Disk(dut).reads(every="100ms"),
        dut.reads("sysfs", at=VENDOR_ID, every=_PACE),
        lasting="7s",
    )
    has_kept_its_log(run, 1)  # the alert before that reset saved it: so there was one
    assert interrupts_of(run.history, dut.alias) == interrupts


@pytest.mark.dut("ipr64")
def test_an_error_of_the_link_is_recovered_from(dut: Function, stage: Stage) -> None:
    """The bus is reset, the driver restores config space and brings the adapter up: reads wait for 1 s."""
    run = stage(
        Faulty(dut).link_reports("DLP", at="300ms"),
        Disk(dut).reads(),
        dut.reads("sysfs", at=VENDOR_ID, every=_PACE),
        lasting="3s",
    )
    run.enforce()
    said = [one.claim for one in run.judgement.findings if one.checker == "persistent_state"]
    assert said == [
        f"What {dut.alias} had not saved yet is lost: its bus was reset because of an error of the link."
    ]


@pytest.mark.dut("ipr0")
def test_unplugging_is_a_shutdown_too(dut: Function, stage: Stage) -> None:
    """5 s after the button was pressed the driver lets go."""
    run = stage(
        Adapter(dut).is_driven(),
        Faulty(dut).is_unplugged(at="200ms"),
        dut.reads("sysfs", at=VENDOR_ID, every=_PACE),
        lasting="10s",
    )
    has_kept_its_log(run, 1)


# Adapters that fail.


@pytest.mark.dut("ipr0")
def test_firmware_that_does_not_come_up_and_says_so(dut: Function, stage: Stage) -> None:
    """The driver would wait for 300 s; a unit check makes it try once more at once: 8 s in all."""
    run = stage(
        Faulty(dut).fails(Misbehaviour.NEVER_OPERATIONAL, at="100ms", lasting="4s"),
        Faulty(dut).fails(Misbehaviour.UNIT_CHECK, at="3500ms"),
        Adapter(dut).resets(at="200ms"),
        dut.reads("sysfs", at=VENDOR_ID, every=_PACE),
        lasting="6500ms",
    )
    has_kept_its_log(run, 1)  # not a second one: firmware that was not up has nothing to save


@pytest.mark.hil_slow
@pytest.mark.dut("ipr0")
def test_a_self_test_longer_than_the_driver_waits(dut: Function, stage: Stage) -> None:
    """The restore is lost, and a time-out of 30 s has to come before a second try: 37 s."""
    _tests_itself_for_longer(dut, stage)


@pytest.mark.hil_slow
@pytest.mark.dut("ipr64")
def test_after_such_a_self_test_the_next_does_not_reach_the_adapter(dut: Function, stage: Stage) -> None:
    """It is begun by a register, which cannot be written: with the restore COMMAND was lost.  37 s."""
    run = _tests_itself_for_longer(dut, stage)
    run.names(
        Blame.RESET_FAILED, "the self-test that the driver of ipr64 asked for did not reach the function"
    )


@pytest.mark.hil_slow
@pytest.mark.dut("ipr0")
def test_a_shutdown_that_is_never_answered(dut: Function, stage: Stage) -> None:
    """With the parameter fastfail ipr waits for 60 s, not 600, and then resets it all the same."""
    stage(
        _fastfail(dut),
        Faulty(dut).fails(Misbehaviour.LOSE_COMMANDS, value=SHUTDOWN, lasting="30s"),
        Adapter(dut).resets(at="100ms"),
        dut.reads_attribute(every="20ms"),
        lasting="5s",
        deadline="90s",
    )


@pytest.mark.hil_slow
@BY_MESSAGE_AND_BY_PIN
@pytest.mark.dut("ipr0")
def test_a_disk_read_that_is_never_answered(dut: Function, interrupts: str, stage: Stage) -> None:
    """After 2 s it is cancelled, then its disk is reset, 30 s each; then the adapter is, and it is sent again: 76 s."""
    stage(
        Adapter(dut, by_message=interrupts == "msi").is_driven(),
        Faulty(dut).fails(Misbehaviour.LOSE_COMMANDS, value=READ, at="500ms", lasting="500ms"),
        Disk(dut, timeout_s=2).reads(),
        dut.reads_attribute(every="20ms"),
        lasting="3s",
        deadline="90s",
    )


@pytest.mark.hil_slow
@pytest.mark.dut("ipr0")
def test_an_adapter_is_given_up_and_comes_back(dut: Function, stage: Stage) -> None:
    """It refuses to say what it is made of: three tries, and it is offline after 10 s, until somebody asks for more."""
    run = stage(
        Faulty(dut).fails(Misbehaviour.REFUSE_COMMANDS, value=CONFIGURATION, at="300ms", lasting="11s"),
        Adapter(dut).resets(at="500ms"),
        Adapter(dut).tells_its_state(),
        Adapter(dut).goes_online(at="14s"),
        lasting="19s",
    )
    # Nothing is wrong with it the second time, and no busy machine makes its driver give it up: so this comes before
    # what a busy machine excuses, such as how long the second try took.
    given_up = [line.text for line in run.history.log if _GIVEN_UP in line.text]
    assert len(given_up) < 2, given_up
    run.enforce()
    states, (revived,) = _rows(run.history, ONLINE_STATE), _rows(run.history, REVIVAL)
    said = [int(row["value"]).to_bytes(8, "little").rstrip(b"\0\n") for row in states]
    assert [state for state, _ in groupby(said)] == [b"online", b"offline", b"online"]
    # While it is tried it is called online, too: only what is said when that is over counts.
    afterwards = [
        state for row, state in zip(states, said, strict=True) if row["begin_ns"] > revived["end_ns"]
    ]
    assert set(afterwards) == {b"online"}


def _rows(history: History, means: Operation) -> list[Any]:
    """The operations of one kind."""
    return [row for row in history.operations if history.means(int(row["actor"]), int(row["step"])) == means]


def _tests_itself_for_longer(dut: Function, stage: Stage) -> Run:
    """3.5 s instead of 1.5, the first time."""
    return stage(
        Faulty(dut).fails(Misbehaviour.SELF_TEST_SLOW, value=3_500, lasting="10s"),
        Adapter(dut).resets(at="100ms"),
        dut.reads_attribute(every="20ms"),
        lasting="5s",
        deadline="60s",
    )


def _fastfail(dut: Function) -> Part:
    """For as long as the stage lasts."""
    return Part(
        functions=(dut.alias,),
        settings=(Setting(function="", attribute="module/ipr/fastfail", value="1"),),
        modules=(_DRIVER,),
    )
