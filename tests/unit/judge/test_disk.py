"""disk: data that were kept, lost or in doubt, and operations that were served in time, late or never."""

from __future__ import annotations

import errno
from dataclasses import replace

import pytest

from harness.history.history import History
from harness.judge.evidence import Evidence
from harness.judge.questions.disk import disk
from harness.model.operation import DISK_READ
from harness.model.terms import Terms
from harness.model.verdict import Blame, Finding, Verdict
from tests.unit.judge.build import ALIAS, terms
from tests.unit.judge.storage import RESET_AT, RESET_OVER, TOLD, VALUE, WRITTEN, StorageStage

OTHER = 0x0BAD


def found(history: History) -> tuple[Finding, ...]:
    return disk(Evidence(history), terms(history))


def data(history: History) -> list[Finding]:
    return [one for one in found(history) if not one.promise]


def service(history: History) -> list[Finding]:
    return [one for one in found(history) if one.promise]


def watched(
    driver: str = "nvme", platform: str = "nvme", *, until: float = 8e6, late_at: float | None = None
) -> StorageStage:
    stage = StorageStage(driver=driver, platform=platform)
    stage.heartbeat(until_us=until, late_at=late_at)
    return stage


def written(*, fails: bool = False) -> tuple[StorageStage, int]:
    """A block is written from 100 to 200 us, or perhaps not; returns who may read it."""
    stage = watched()
    writer, reader = stage.writes_disk(), stage.reads_disk()
    stage.op(writer, 100, 200, error=errno.EIO if fails else 0)
    return stage, reader


def test_what_was_written_comes_back() -> None:
    stage, reader = written()
    stage.op(reader, 50, 90, value=OTHER)
    for number in range(3):
        stage.op(reader, 300 + 100 * number, 350 + 100 * number, value=VALUE)
    (finding,) = data(stage.history())
    assert (finding.verdict, finding.met) == (Verdict.PASS, 3)
    assert "the last with no resets of the function in between" in finding.claim


def test_something_else_convicts() -> None:
    stage, reader = written()
    stage.op(reader, 300, 350, value=VALUE)
    stage.reset_under_driver(*TOLD)
    stage.op(reader, RESET_OVER + 1_000, RESET_OVER + 2_000, value=OTHER)
    (finding,) = data(stage.history())
    assert (finding.verdict, finding.blame) == (Verdict.FAIL, Blame.MISMATCH)
    assert "1 of 2 reads of the disk of disk" in finding.claim
    assert "gave ad 0b 00 00 00 00 00 00, written was 01 02 03 04 05 06 07 08" in finding.claim
    assert "with 1 reset of the function in between" in finding.claim
    assert len(finding.events) == 2


def test_a_read_that_overlaps_a_write_may_see_either() -> None:
    stage, reader = written()
    second = stage.writes_disk(WRITTEN[::-1])
    stage.op(second, 1_000, 1_100)
    for value in (VALUE, int.from_bytes(WRITTEN[::-1][:8], "little")):
        stage.op(reader, 1_050, 1_060, value=value)
    assert [one.verdict for one in data(stage.history())] == [Verdict.PASS]
    stage.op(reader, 1_200, 1_210, value=VALUE)
    assert [one.verdict for one in data(stage.history())] == [Verdict.FAIL]


def test_a_write_that_failed_may_have_written() -> None:
    stage, reader = written()
    second = stage.writes_disk(WRITTEN[::-1])
    stage.op(second, 1_000, 1_100, error=errno.EIO)
    stage.op(reader, 1_200, 1_210, value=int.from_bytes(WRITTEN[::-1][:8], "little"))
    assert [one.verdict for one in data(stage.history())] == [Verdict.PASS]
    alone, reader = written(fails=True)
    alone.op(reader, 1_200, 1_210, value=OTHER)
    assert data(alone.history()) == []


def test_other_blocks_and_reads_that_failed_are_not_compared() -> None:
    stage, reader = written()
    stage.op(stage.reads_disk(block=1), 300, 350, value=OTHER)
    stage.op(reader, 300, 350, value=0, error=errno.EIO)
    stage.op(reader, 400, 450, value=0, result=0)
    assert data(stage.history()) == []


def test_io_that_goes_on_after_a_reset_that_the_driver_hears_of() -> None:
    stage = watched()
    reader = stage.reads_disk()
    stage.reset_under_driver(*TOLD)
    stage.op(reader, 100, 1_100)
    stage.op(reader, RESET_AT + 1_000, RESET_AT + 300_000)
    free, reset = service(stage.history())
    assert (free.verdict, free.promise, free.met) == (Verdict.PASS, "disk-read/direct@none", 1)
    assert (reset.verdict, reset.promise) == (Verdict.PASS, "disk-read/direct@sysfs-reset:nvme")
    assert "after a reset by the PCI core: the longest took 299 ms" in reset.claim


@pytest.mark.parametrize("returns", [True, False])
def test_io_that_stands_still_convicts(*, returns: bool) -> None:
    stage = watched(until=62e6 if not returns else 8e6)
    stage.reset_under_driver(*TOLD)
    stage.op(stage.reads_disk(), RESET_OVER + 100, RESET_OVER + 6e6 if returns else None)
    (finding,) = service(stage.history())
    assert (finding.verdict, finding.blame) == (Verdict.FAIL, Blame.TIMEOUT)
    assert ("the longest took" if returns else "one did not return in") in finding.claim


def test_a_starved_machine_convicts_nobody() -> None:
    stage = watched(late_at=3e6)
    stage.reset_under_driver(*TOLD)
    stage.op(stage.reads_disk(), RESET_OVER + 100, RESET_OVER + 6e6)
    (finding,) = service(stage.history())
    assert (finding.verdict, finding.blame) == (Verdict.UNKNOWN, Blame.STARVED)


def test_one_that_may_still_return_in_time_proves_nothing() -> None:
    stage = watched("ipr", "hil-ipr")
    stage.reset_under_driver()
    stage.op(stage.reads_disk(), RESET_OVER + 100, None)
    (finding,) = service(stage.history())
    assert finding.verdict is Verdict.UNKNOWN
    assert "which proves nothing" in finding.claim


def test_a_refusal_convicts() -> None:
    stage = watched("ipr", "hil-ipr")
    stage.op(stage.reads_disk(), 100, 200, error=errno.EIO)
    (finding,) = service(stage.history())
    assert (finding.verdict, finding.blame) == (Verdict.FAIL, Blame.MISMATCH)
    assert "was refused (EIO)" in finding.claim


def untold(took: float, *, begins: float = RESET_OVER + 100) -> StorageStage:
    stage = watched("ipr", "hil-ipr")
    stage.reset_under_driver()
    stage.op(stage.reads_disk(), begins, begins + took)
    return stage


def test_io_that_stands_still_where_nobody_tells_the_driver_is_a_known_weakness() -> None:
    (finding,) = service(untold(15e6).history())
    assert finding.verdict is Verdict.PASS
    assert "stand still until commands have timed out" in finding.weakness


def test_io_that_goes_on_there_says_that_the_weakness_is_gone() -> None:
    (finding,) = service(untold(2e6).history())
    assert (finding.verdict, finding.blame) == (Verdict.FAIL, Blame.WEAKNESS_GONE)


def test_an_operation_that_was_there_before_the_reset_says_nothing_of_the_weakness() -> None:
    (finding,) = service(untold(2_000, begins=RESET_AT - 1_000).history())
    assert (finding.verdict, finding.weakness) == (Verdict.PASS, "")


def test_neither_does_one_that_a_driver_at_work_already_brought_up() -> None:
    stage = untold(2e6)
    stage.driver_resets(RESET_AT - 100_000, RESET_OVER + 1e6)
    (finding,) = service(stage.history())
    assert (finding.verdict, finding.weakness) == (Verdict.PASS, "")


def test_a_reset_by_the_driver_makes_an_end_of_it() -> None:
    stage = untold(15e6)
    stage.driver_resets(RESET_OVER + 12e6, RESET_OVER + 14e6)
    reader = stage.reads_disk()
    stage.op(reader, RESET_OVER + 16e6, RESET_OVER + 16e6 + 1_000)
    promises = {one.promise: one.verdict for one in service(stage.history())}
    assert promises == {
        "disk-read/direct@sysfs-reset:hil-ipr+hil-ipr-sis64": Verdict.PASS,
        "disk-read/direct@none": Verdict.PASS,
    }


def test_what_waits_for_a_reset_by_the_driver() -> None:
    for took, verdict in ((3e6, Verdict.PASS), (12e6, Verdict.FAIL)):
        stage = watched("ipr", "hil-ipr", until=14e6)
        stage.driver_resets(1e6, 1e6 + took - 1_000)
        stage.op(stage.writes_disk(), 1e6 + 500, 1e6 + took)
        (finding,) = service(stage.history())
        assert (finding.verdict, finding.promise) == (verdict, "disk-write/direct@driver-reset")


def test_without_a_driver_no_reset_counts() -> None:
    stage = watched("")
    stage.reset_under_driver()
    stage.op(stage.reads_disk(), RESET_OVER + 100, RESET_OVER + 200)
    assert [one.promise for one in service(stage.history())] == ["disk-read/direct@none"]


def test_without_certainty_nothing_is_known_of_time_but_of_data() -> None:
    for driver, symbol in (("nvme", "pcie_flr"), ("ipr", "ipr_ioa_reset_done")):
        stage, reader = written()
        stage.driver = driver
        stage.op(reader, 300, 350, value=OTHER)
        history = stage.history()
        probes = tuple(replace(one, present=one.symbol != symbol) for one in history.probes)
        for doubtful in (replace(history, lost_kernel_events=1), replace(history, probes=probes)):
            assert [one.verdict for one in found(doubtful)] == [
                Verdict.FAIL,
                Verdict.UNKNOWN,
                Verdict.UNKNOWN,
            ]


def test_where_the_contract_is_silent_nothing_is_known() -> None:
    history = untold(2e6).history()
    promises = tuple(one for one in terms(history).promises[ALIAS] if one.operation != DISK_READ)
    (finding,) = disk(Evidence(history), Terms(promises={ALIAS: promises}))
    assert finding.verdict is Verdict.UNKNOWN
    assert "says nothing on 1 disk-read/direct on disk after a reset by the PCI core" in finding.claim


def test_without_a_disk_nothing_is_asked() -> None:
    stage = watched()
    stage.reset_under_driver(*TOLD)
    assert found(stage.history()) == ()
