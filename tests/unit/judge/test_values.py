"""values_sane where the way of an access, or its circumstances, make some of its data incomparable."""

from __future__ import annotations

import pytest

from harness.history.windows import DriverStep
from harness.judge.evidence import Evidence
from harness.judge.questions.values_sane import values_sane
from harness.model import operation as words
from harness.model.verdict import Finding, Verdict
from tests.unit.judge.build import Stage, config_space, terms, worst


def sane(stage: Stage) -> tuple[Finding, ...]:
    history = stage.history()
    return values_sane(Evidence(history), terms(history))


def with_sriov() -> bytes:
    """A function with a PM capability at 0x50 and an SR-IOV capability at 0x100."""
    config = bytearray(config_space(4096))
    config[0x08:0x0C] = bytes.fromhex("02000801")
    config[0x2C:0x30] = bytes.fromhex("86801000")
    config[0x41] = 0x50
    config[0x50:0x52] = b"\x01\x00"
    config[0x100:0x104] = bytes.fromhex("10000100")
    return bytes(config)


# VFIO


@pytest.mark.parametrize(("offset", "width"), [(0x08, 4), (0x0A, 2), (0x0C, 2), (0x0F, 1), (0x2C, 4)])
def test_what_vfio_takes_from_the_function_is_compared(offset: int, width: int) -> None:
    stage = Stage(before=with_sriov())
    reader = stage.reader(means=words.VFIO_READ, offset=offset, width=width)
    stage.op(reader, 10, 12)
    assert [(f.verdict, f.met) for f in sane(stage)] == [(Verdict.PASS, 1)]
    stage.op(reader, 20, 22, value=0x7F)
    assert worst(sane(stage)) is Verdict.FAIL


@pytest.mark.parametrize(
    ("offset", "width"), [(0x04, 4), (0x06, 2), (0x10, 4), (0x0E, 1), (0x54, 2), (0x48, 4)]
)
def test_what_vfio_mixes_with_bits_of_its_own_is_not(offset: int, width: int) -> None:
    stage = Stage(before=with_sriov())
    stage.op(stage.reader(means=words.VFIO_READ, offset=offset, width=width), 10, 12, value=0x55)
    assert sane(stage) == ()


@pytest.mark.parametrize("offset", [0x00, 0x10, 0x24])
def test_a_copy_must_hold_what_the_function_held(offset: int) -> None:
    stage = Stage(before=with_sriov())
    reader = stage.reader(means=words.VFIO_COPY_READ, offset=offset)
    stage.op(reader, 10, 12)
    assert worst(sane(stage)) is Verdict.PASS
    stage.op(reader, 20, 22, value=0xFFFF_FFFF)
    (bad,) = sane(stage)
    assert (bad.verdict, "all-ones" in bad.claim) == (Verdict.FAIL, True)


@pytest.mark.parametrize("offset", [0x08, 0x30, 0x34, 0x3C])
def test_a_copy_of_what_vfio_makes_up_itself_is_not_compared(offset: int) -> None:
    stage = Stage(before=with_sriov())
    stage.op(stage.reader(means=words.VFIO_COPY_READ, offset=offset), 10, 12, value=0x55)
    assert sane(stage) == ()


def test_a_virtual_function_keeps_its_identity_elsewhere() -> None:
    before = bytearray(with_sriov())
    before[0:4] = b"\xff" * 4
    stage = Stage(before=bytes(before))
    stage.op(stage.reader(means=words.VFIO_COPY_READ, offset=0), 10, 12, value=0x10CA8086)
    assert sane(stage) == ()


def test_opening_through_vfio_enables_the_function() -> None:
    """COMMAND and PMCSR are VFIO's; the rest of the same dword, and everything else, is compared."""
    stage = Stage(before=with_sriov())
    stage.does("user", words.VFIO_INFO, "vfio")
    command, power = stage.reader("command"), stage.reader("power", offset=0x54)
    base = stage.reader("base", offset=0x10)
    stage.op(command, 10, 12, value=0x0010_0407)
    stage.op(power, 10, 12, value=0x0003)
    stage.op(base, 10, 12)
    (good,) = sane(stage)
    assert (good.verdict, good.met) == (
        Verdict.PASS,
        3,
    )  # STATUS, and what follows PMCSR, is still held against it
    stage.op(command, 20, 22, value=0x0080_0407)
    assert worst(sane(stage)) is Verdict.FAIL


def test_without_a_vfio_user_nobody_may_change_command() -> None:
    stage = Stage(before=with_sriov())
    stage.op(stage.reader(), 10, 12, value=0x0010_0407)
    assert worst(sane(stage)) is Verdict.FAIL


@pytest.mark.parametrize("means", [words.UNBIND, words.BIND, words.REMOVE, words.RESCAN])
def test_a_driver_that_comes_or_goes_may_write_all_but_what_is_wired(means: str) -> None:
    stage = Stage(before=with_sriov())
    owner = stage.does("owner", means, "driver/unbind")
    reader, identity = stage.reader(offset=0x10), stage.reader("identity", offset=0x08)
    stage.op(owner, 100, 200)
    stage.op(reader, 10, 12)
    stage.op(reader, 150, 152, value=0)
    stage.op(identity, 300, 302)
    (good,) = sane(stage)
    assert (good.verdict, good.met) == (Verdict.PASS, 2)
    stage.op(identity, 310, 312, value=0)
    assert worst(sane(stage)) is Verdict.FAIL


@pytest.mark.parametrize("means", [words.ENABLE_VFS, words.DISABLE_VFS])
def test_enabling_vfs_writes_the_sriov_capability_and_nothing_else(means: str) -> None:
    stage = Stage(before=with_sriov())
    admin = stage.does("admin", means, "sriov_numvfs")
    control, command = stage.reader("control", offset=0x108), stage.reader()
    stage.op(admin, 100, 200)
    stage.op(control, 150, 152, value=0x19)
    stage.op(command, 150, 152)
    (good,) = sane(stage)
    assert (good.verdict, good.met) == (Verdict.PASS, 1)
    stage.op(control, 10, 12, value=0x19)
    assert worst(sane(stage)) is Verdict.FAIL


# privilege


@pytest.mark.parametrize(
    ("offset", "width", "got", "verdict"),
    [
        (0x40, 4, 0, None),
        (0x3E, 4, 2, None),
        (0x3E, 4, 1, Verdict.FAIL),
        (0x3C, 4, 4, Verdict.PASS),
        (0x3C, 4, 0, Verdict.FAIL),
        (0x40, 4, 4, Verdict.PASS),
        (0x40, 4, 2, Verdict.FAIL),
        (0x00, 4, 3, Verdict.FAIL),
    ],
)
def test_without_privilege_reads_end_after_64_bytes(
    offset: int, width: int, got: int, verdict: Verdict | None
) -> None:
    """What a read saw beyond is right data, and another checker's business."""
    stage = Stage()
    reader = stage.reader("nobody", means=words.UNPRIVILEGED_READ, offset=offset, width=width)
    stage.op(reader, 10, 12, result=got, value=None if got == width else 0)
    assert worst(sane(stage)) is verdict


def test_a_kept_descriptor_reads_everything() -> None:
    stage = Stage()
    reader = stage.reader(means=words.KEPT_READ, offset=0x40)
    stage.op(reader, 10, 12)
    assert worst(sane(stage)) is Verdict.PASS
    stage.op(reader, 20, 22, result=0, value=0)
    assert worst(sane(stage)) is Verdict.FAIL


# stolen locks


def test_what_is_read_while_a_lock_is_stolen_convicts_nobody() -> None:
    stage = Stage()
    resetter, reader = stage.resetter(), stage.reader()
    stage.op(resetter, 90, 260)
    stage.window(100, None, tid=100 + resetter)
    stage.unlock(150, 901)
    stage.unlock(250, 100 + resetter)
    stage.op(reader, 200, 202, value=0xFFFF_FFFF)
    stage.op(reader, 300, 302)
    assert [(f.verdict, f.met) for f in sane(stage)] == [(Verdict.PASS, 1)]
    stage.op(reader, 400, 402, value=0xFFFF_FFFF)
    assert worst(sane(stage)) is Verdict.FAIL


# A driver's own reset


@pytest.mark.parametrize(
    ("offset", "begin", "verdicts"),
    [
        (0x04, 150_000, []),  # after the reset, before config space was written back
        (0x00, 150_000, [Verdict.FAIL]),  # what nobody can write is there at any time
        (0x04, 50_000, [Verdict.FAIL]),
        (0x04, 250_000, [Verdict.FAIL]),
    ],
)
def test_between_a_drivers_reset_and_its_restore_the_ids_alone_count(
    offset: int, begin: float, verdicts: list[Verdict]
) -> None:
    stage = Stage()
    stage.takes(DriverStep.ASKED, 90_000)
    stage.takes(DriverStep.SELF_TEST, 100_000)
    stage.takes(DriverStep.BRING_UP, 200_000)
    stage.takes(DriverStep.DONE, 220_000)
    stage.op(stage.reader(offset=offset), begin, begin + 10, value=0x0010_0400)
    assert [finding.verdict for finding in sane(stage)] == verdicts
