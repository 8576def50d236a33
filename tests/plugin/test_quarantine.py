"""When a function is lost that outlives its test, who is blocked by whom, and what the report says of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from harness.history.history import History
from harness.journal.fold import fold
from harness.journal.record import HealthRecord, SessionEnd, SessionStart, Status
from harness.journal.session import Session
from harness.model.exit_status import ExitStatus
from harness.model.loss import Loss, LossKind
from harness.model.observation import Condition
from harness.model.pci import Bdf
from harness.model.verdict import Blame, EventId, EventKind, Finding, Judgement, Verdict
from harness.plugin.lab.quarantine import (
    Lost,
    Quarantine,
    Spot,
    astray,
    lost,
    lost_by_verdict,
    replaced,
    returned,
    shaken,
)
from harness.report.exit import exit_status
from harness.report.health import health
from tests.unit.judge.build import ALIAS, Stage

HEADER = bytes.fromhex("861f0010 06041000 00000000 00000000 000000fe 00000000").ljust(64, b"\0")
ONES = b"\xff" * 64
GOOD = Condition(
    present=True, vendor=0x1F86, device=0x1000, driver="nvme", resources="0xfe000000", header=HEADER
)


def changed(at: int, data: bytes) -> bytes:
    return HEADER[:at] + data + HEADER[at + len(data) :]


# --- what makes a function lost ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("now", "says"),
    [
        (GOOD, ""),
        (replace(GOOD, driver=""), ""),  # astray, and can be put back
        (None, "gets stuck"),
        (Condition(), "gone from sysfs"),
        (replace(GOOD, device=0x1001), "another function is in its place: 1f86:1001 where 1f86:1000 was"),
        (replace(GOOD, header=ONES), "reads all-ones"),
        (replace(GOOD, header=changed(0, b"\0\0\0\0")), "says 0000:0000, it was 1f86:1000"),
    ],
)
def test_a_function_is_lost_when_it_is_not_there_or_does_not_answer(now: Condition | None, says: str) -> None:
    found = lost(GOOD, now)
    assert says in found
    assert bool(found) == bool(says)


def test_the_first_dword_of_a_virtual_function_says_nothing() -> None:
    virtual = replace(GOOD, virtual=True, header=changed(0, b"\xff" * 4))
    assert lost(virtual, virtual) == ""
    assert "all-ones" in lost(virtual, replace(virtual, header=ONES))
    assert "all-ones" not in lost(GOOD, replace(GOOD, header=changed(0, b"\xff" * 4)))


@pytest.mark.parametrize(
    ("now", "says"),
    [
        (GOOD, None),
        (
            replace(GOOD, driver="vfio-pci", override="vfio-pci"),
            "bound to vfio-pci with driver_override vfio",
        ),
        (replace(GOOD, driver=""), "bound to no driver, it was bound to nvme"),
        (replace(GOOD, header=changed(0x10, bytes(4))), "base address registers"),
        # the kernel itself has given it another place
        (replace(GOOD, resources="0xfd000000", header=changed(0x10, b"\0\0\0\xfd")), None),
        (
            replace(GOOD, header=changed(4, b"\0\4")),
            "memory decoding and bus mastering is switched off below",
        ),
        (replace(GOOD, header=changed(4, b"\7\0")), None),  # more is on, and INTx: its driver's business
    ],
)
def test_what_is_not_as_it_was_is_named(now: Condition, says: str | None) -> None:
    found = astray(GOOD, now)
    assert len(found) == (says is not None), found
    assert all(says in one for one in found if says)


def test_a_function_without_a_driver_may_have_been_switched_off() -> None:
    idle = replace(GOOD, driver="")
    assert astray(idle, replace(idle, header=changed(4, b"\0\0"))) == ()


def test_a_bridge_has_two_base_address_registers() -> None:
    """What follows them changes by itself: the secondary status."""
    bridge = replace(GOOD, header=changed(0x0E, b"\x81"))
    changes = replace(bridge, header=bridge.header[:0x1E] + b"\xff\xff" + bridge.header[0x20:])
    assert astray(bridge, changes) == ()
    assert astray(GOOD, replace(GOOD, header=changed(0x1E, b"\xff\xff")))


# --- what a stage says of it ------------------------------------------------------------------------------


def judged(blame: Blame, *rows: int, verdict: Verdict = Verdict.FAIL) -> Judgement:
    events = tuple(EventId(EventKind.OPERATION, row) for row in rows)
    claim = Finding(checker="values_sane", verdict=verdict, claim="It is gone.", blame=blame, events=events)
    return Judgement(findings=(claim,))


def staged(until: float | None = 20.0, **how: Any) -> History:
    stage = Stage()
    reader = stage.op(stage.reader(), 10, until)
    stage.ends(reader, **how)
    history = stage.history()
    return replace(history, plan=replace(history.plan, functions=(ALIAS, "bystander")))


def test_the_function_that_the_evidence_names_is_lost_and_no_bystander() -> None:
    assert lost_by_verdict(staged(), judged(Blame.DEVICE_LOST, 0)) == {
        ALIAS: "judged hil.device-lost: It is gone."
    }


def test_without_such_evidence_all_functions_of_the_stage_are() -> None:
    assert set(lost_by_verdict(staged(), judged(Blame.RESET_FAILED))) == {ALIAS, "bystander"}


@pytest.mark.parametrize(
    "judgement",
    [
        judged(Blame.MISMATCH, 0),
        judged(Blame.TIMEOUT, 0),
        judged(Blame.DEVICE_LOST, 0, verdict=Verdict.UNKNOWN),
        Judgement(findings=()),
    ],
)
def test_other_verdicts_cost_nobody_a_function(judgement: Judgement) -> None:
    assert lost_by_verdict(staged(), judgement) == {}


def test_an_actor_that_is_stuck_keeps_its_function() -> None:
    stuck = staged(None, end="abandoned")
    (how,) = lost_by_verdict(stuck, judged(Blame.TIMEOUT, 0)).values()
    assert how == "reader is stuck in config-read/sysfs"
    assert lost_by_verdict(staged(None), Judgement(findings=())) == {}  # it came to its end some other way


def test_settings_that_were_left_cost_every_function_of_the_stage() -> None:
    history = staged()
    history = replace(history, provenance={**history.provenance, "settings.left": "driver of disk"})
    found = lost_by_verdict(history, Judgement(findings=()))
    assert set(found) == {ALIAS, "bystander"}
    assert "driver of disk" in found[ALIAS]


# --- who is blocked by whom -------------------------------------------------------------------------------

NVME = Spot(alias="nvme0", bdf=Bdf.parse("0000:01:00.0"), port=Bdf.parse("0000:00:05.0"), iommu_group="7")
NVME_PORT = Spot(alias="nvme0.port", bdf=Bdf.parse("0000:00:05.0"), iommu_group="2")
IGB = Spot(alias="igb0", bdf=Bdf.parse("0000:02:00.0"), port=Bdf.parse("0000:00:06.0"), iommu_group="8")
PAIR = (
    Spot(alias="pair0", bdf=Bdf.parse("0000:05:00.0"), port=Bdf.parse("0000:00:09.0"), iommu_group="11"),
    Spot(alias="pair1", bdf=Bdf.parse("0000:05:00.1"), port=Bdf.parse("0000:00:09.0"), iommu_group="12"),
)
LEFT_ON_ROOT = Spot(alias="rng", bdf=Bdf.parse("0000:00:04.0"))
RIGHT_ON_ROOT = Spot(alias="other", bdf=Bdf.parse("0000:00:03.0"))


def after(gone: Spot, *, history: str = "att/b.history.zip") -> Quarantine:
    return Quarantine(lost=[Lost(spot=gone, test="t.py::test_b", how="it is gone", history=history)])


@pytest.mark.parametrize(
    ("wanted", "gone", "tie"),
    [
        (NVME, NVME, "nvme0 (0000:01:00.0) was lost by"),
        (NVME_PORT, NVME, "nvme0.port is the port above nvme0: nvme0 "),
        (NVME, NVME_PORT, "nvme0 is below nvme0.port: nvme0.port "),
        (PAIR[1], PAIR[0], "pair1 is a function of the same device as pair0: pair0 "),
        (replace(IGB, iommu_group="7"), NVME, "igb0 is in the IOMMU group of nvme0: nvme0 "),
    ],
)
def test_who_shares_a_fate_is_blocked_and_told_by_whom(wanted: Spot, gone: Spot, tie: str) -> None:
    said = after(gone).blocks(wanted)
    assert said.startswith(tie)
    assert said.endswith("was lost by t.py::test_b: it is gone; history: att/b.history.zip")


@pytest.mark.parametrize(
    ("wanted", "gone"),
    [(IGB, NVME), (NVME, IGB), (NVME_PORT, IGB), (RIGHT_ON_ROOT, LEFT_ON_ROOT), (PAIR[0], NVME)],
)
def test_all_others_go_on(wanted: Spot, gone: Spot) -> None:
    assert after(gone).blocks(wanted) == ""
    assert Quarantine().blocks(wanted) == ""


def test_a_function_that_is_lost_itself_names_who_lost_it_not_its_neighbour() -> None:
    both = Quarantine(lost=[Lost(spot=PAIR[0], test="a", how="x"), Lost(spot=PAIR[1], test="b", how="y")])
    assert both.blocks(PAIR[1]) == "pair1 (0000:05:00.1) was lost by b: y"
    assert both.holds("pair1")
    assert not both.holds("nvme0")


# --- what the session's health says -----------------------------------------------------------------------


def said_by(*records: HealthRecord) -> Session:
    return fold([SessionStart(boot_id="x"), *records, SessionEnd(status=0)])


def test_each_lost_function_is_named_once_however_many_runners_speak() -> None:
    first = returned(after(NVME, history="").lost)
    second = returned([Lost(spot=IGB, test="c", how="y")])
    session = said_by(first, returned(()), second, first)
    (case,) = [one for one in health(session) if one.test.endswith("devices_returned")]
    assert (case.status, case.type) == (Status.FAILURE, "hil.device-lost")
    assert case.summary == (
        "nvme0 (0000:01:00.0) was lost by t.py::test_b: it is gone; igb0 (0000:02:00.0) was lost by c: y"
    )
    assert exit_status(session) is ExitStatus.BAD


def test_nothing_lost_is_good() -> None:
    (case,) = [one for one in health(said_by(returned(()))) if one.test.endswith("devices_returned")]
    assert case.status is Status.OK


@pytest.mark.parametrize(
    ("record", "status", "kind"),
    [
        (replaced("e", Loss(kind=LossKind.PANIC, said="boom")), Status.FAILURE, "hil.kernel-fault"),
        (replaced("e", Loss(kind=LossKind.EMULATOR, said="boom")), Status.ERROR, "hil.infra.guest"),
        (replaced("e", Loss(kind=LossKind.SILENT, said="boom")), Status.ERROR, "hil.infra.guest"),
        (shaken("e", "boom"), Status.FAILURE, "hil.kernel-fault"),
    ],
)
def test_a_lost_guest_is_the_kernels_fault_or_the_labs(
    record: HealthRecord, status: Status, kind: str
) -> None:
    assert (record.status, record.type) == (status, kind)
    assert record.summary.startswith("e ")
    assert "boom" in record.summary
