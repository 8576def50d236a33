"""access_outcome: what accesses of every kind show in windows of every kind."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.history.windows import HOLD_DEVICE_LOCK, UNREGISTER
from harness.judge.evidence import Evidence
from harness.judge.questions.access_outcome import access_outcome
from harness.model import operation as words
from harness.model.operation import Operation
from harness.model.plan import Op
from harness.model.promise import WindowKind
from harness.model.verdict import Blame, Finding, Verdict
from tests.unit.judge.build import Stage, terms, worst

HOLDERS = {
    WindowKind.CONFIG_LOCK: words.HOLD_CONFIG,
    WindowKind.SYSFS_RESET: "reset/flr",
    WindowKind.VFIO_RESET: words.VFIO_RESET,
    WindowKind.HOT_RESET: words.HOT_RESET,
    WindowKind.SRIOV: words.DISABLE_VFS,
}
TRACED = [
    "config-read/sysfs",
    "config-write/sysfs",
    "config-read/proc",
    "config-write/proc",
    words.VFIO_READ,
    words.VFIO_WRITE,
    words.VFIO_COMMAND,
    words.KEPT_READ,
]
PROMPT = [
    words.ATTRIBUTE_READ,
    words.ATTRIBUTE_WRITE,
    words.VFIO_INFO,
    words.VFIO_COPY_READ,
    words.SYSFS_MAPPED_READ,
]
REGISTERS = [words.BAR_READ, words.BAR_WRITE, words.MAPPED_READ, words.MAPPED_WRITE]
LOCKING_MEMORY = (WindowKind.VFIO_RESET, WindowKind.HOT_RESET)


def judged(stage: Stage) -> tuple[Finding, ...]:
    history = stage.history()
    return access_outcome(Evidence(history), terms(history))


def in_window(kind: WindowKind, means: str) -> tuple[Stage, int]:
    """A window of 100 ms of that kind, and an actor that acts while it is free; nothing in the window yet."""
    stage = Stage()
    holder, actor = stage.does("holder", HOLDERS[kind]), stage.does("actor", means, "config")
    stage.heartbeat()
    stage.held_by(holder, 99_900, 200_100, opened=100_000, closed=200_000)
    stage.op(actor, 50, 70)
    return stage, actor


def inside(kind: WindowKind, means: str) -> Finding:
    """What is said of an access that began and ended inside the window."""
    stage, actor = in_window(kind, means)
    stage.op(actor, 150_000, 150_020)
    return judged(stage)[0]


def waits(kind: WindowKind, means: str, *, until: float = 200_500) -> Finding:
    """What is said of an access that began inside the window and ended after it, and waited if that is traced."""
    stage, actor = in_window(kind, means)
    stage.op(actor, 150_000, until)
    if means in TRACED:
        stage.wait(150_005, actor)
    return judged(stage)[0]


@pytest.mark.parametrize("kind", HOLDERS)
@pytest.mark.parametrize("means", TRACED)
def test_config_accesses_wait_in_every_window(kind: WindowKind, means: str) -> None:
    good = waits(kind, means)
    assert (good.verdict, good.met, good.promise) == (Verdict.PASS, 1, f"{means}@config-lock")
    bad = inside(kind, means)
    assert (bad.verdict, bad.blame) == (Verdict.FAIL, Blame.MISMATCH)
    assert "did not wait" in bad.claim


@pytest.mark.parametrize("kind", HOLDERS)
@pytest.mark.parametrize("means", PROMPT)
def test_samples_and_copies_wait_in_none(kind: WindowKind, means: str) -> None:
    good = inside(kind, means)
    assert (good.verdict, good.met) == (Verdict.PASS, 1)
    stage, actor = in_window(kind, means)
    stage.op(actor, 110_000, 200_500)  # 90 ms of it while the lock was held
    bad = judged(stage)[0]
    assert (bad.verdict, bad.blame) == (Verdict.FAIL, Blame.TIMEOUT)


def test_a_copy_that_waited_for_the_config_lock_is_none() -> None:
    stage, actor = in_window(WindowKind.CONFIG_LOCK, words.VFIO_COPY_READ)
    stage.op(actor, 150_000, 200_500)
    stage.wait(150_005, actor)
    bad = judged(stage)[0]
    assert (bad.verdict, bad.blame) == (Verdict.FAIL, Blame.MISMATCH)


@pytest.mark.parametrize("means", REGISTERS)
@pytest.mark.parametrize("kind", LOCKING_MEMORY)
def test_registers_wait_for_memory_lock(kind: WindowKind, means: str) -> None:
    good = waits(kind, means)
    assert (good.verdict, good.met, good.promise) == (Verdict.PASS, 1, f"{means}@{kind}")
    bad = inside(kind, means)
    assert (bad.verdict, bad.blame) == (Verdict.FAIL, Blame.MISMATCH)
    late = waits(kind, means, until=280_000)
    assert (late.verdict, late.blame) == (Verdict.FAIL, Blame.TIMEOUT)
    assert "80 ms after its window had closed" in late.claim


@pytest.mark.parametrize("means", REGISTERS)
@pytest.mark.parametrize("kind", [kind for kind in HOLDERS if kind not in LOCKING_MEMORY])
def test_registers_wait_for_no_other_lock(kind: WindowKind, means: str) -> None:
    good = inside(kind, means)
    assert (good.verdict, good.met) == (Verdict.PASS, 1)


@pytest.mark.parametrize("means", REGISTERS)
@pytest.mark.parametrize("kind", [kind for kind in HOLDERS if kind not in LOCKING_MEMORY])
def test_registers_wait_with_a_write_of_command_that_waits(kind: WindowKind, means: str) -> None:
    """It holds `memory_lock` meanwhile; what it does not explain convicts (found by random plans)."""

    def judged_with(begin: float) -> Verdict | None:
        stage, actor = in_window(kind, means)
        writer = stage.does("writer", words.VFIO_COMMAND, "config")
        stage.op(writer, begin, 200_400)
        stage.wait(max(begin + 5, 100_005), writer)
        stage.op(actor, 130_000, 200_500)
        return worst(tuple(one for one in judged(stage) if means in one.claim))

    assert judged_with(95_000) is Verdict.PASS
    assert judged_with(150_000) is Verdict.PASS
    assert judged_with(190_000) is Verdict.FAIL


@pytest.mark.parametrize("kind", [WindowKind.CONFIG_LOCK, WindowKind.VFIO_RESET])
@pytest.mark.parametrize(("begin", "end"), [(99_990, 100_010), (199_999.5, 200_020), (200_001, 200_020)])
def test_an_access_at_an_edge_that_no_probe_shows_waiting_proves_nothing(
    kind: WindowKind, begin: float, end: float
) -> None:
    stage, actor = in_window(kind, words.BAR_READ)
    stage.op(actor, begin, end)
    assert [(f.verdict, f.met) for f in judged(stage)] == [(Verdict.PASS, 1)]  # the one before the window


@pytest.mark.parametrize("kind", LOCKING_MEMORY)
def test_an_access_that_lasts_as_long_as_the_window_waited_for_it(kind: WindowKind) -> None:
    """`memory_lock` is taken shortly before the config lock: whoever acts all the time waits from then on."""
    stage, actor = in_window(kind, words.MAPPED_READ)
    stage.op(actor, 99_950, 200_500)
    good = judged(stage)[0]
    assert (good.verdict, good.met, good.promise) == (Verdict.PASS, 1, f"{words.MAPPED_READ}@{kind}")


def test_one_that_lasts_as_long_as_a_short_window_need_not_have_waited() -> None:
    stage = Stage()
    holder, actor = stage.does("holder", words.VFIO_RESET), stage.does("actor", words.BAR_READ, "config")
    stage.heartbeat()
    stage.held_by(holder, 99_900, 109_100, opened=100_000, closed=109_000)
    stage.op(actor, 50, 60)
    stage.op(actor, 99_950, 110_000)
    assert [f.promise for f in judged(stage)] == ["bar-read/vfio@none"]


@pytest.mark.parametrize(("error", "said"), [(5, "EIO"), (-7, "SIGBUS"), (11, "EAGAIN"), (200, "refused")])
@pytest.mark.parametrize("begin", [300_000, 150_000, 99_999.9])
def test_a_refusal_that_nobody_promised_convicts_anywhere(error: int, said: str, begin: float) -> None:
    stage, actor = in_window(WindowKind.VFIO_RESET, words.MAPPED_READ)
    stage.op(actor, begin, begin + 15, error=error)
    bad = next(f for f in judged(stage) if f.verdict is Verdict.FAIL)
    assert said in bad.claim


@pytest.mark.parametrize(("means", "error"), [(words.UNDECODED_LOAD, -7), (words.UNDECODED_READ, 5)])
def test_without_decode_refusals_are_promised(means: str, error: int) -> None:
    stage = Stage()
    actor = stage.does("actor", means, "vfio-bar0", op=Op.LOAD)
    stage.heartbeat()
    stage.op(actor, 10, 20, error=error)
    (good,) = judged(stage)
    assert (good.verdict, good.promise) == (Verdict.PASS, f"{means}@none")
    stage.op(actor, 30, 40)
    assert worst(judged(stage)) is Verdict.FAIL


# device_lock


def on_device(means: str, *, symbol: str = HOLD_DEVICE_LOCK) -> tuple[Stage, int]:
    stage = Stage()
    holder, actor = stage.does("holder", words.HOLD_DEVICE), stage.does("actor", means, "config")
    stage.heartbeat()
    stage.op(holder, 99_900, 200_100)
    stage.device_window(100_000, 200_000, tid=100 + holder, symbol=symbol)
    stage.op(actor, 50, 70)
    return stage, actor


@pytest.mark.parametrize("symbol", [HOLD_DEVICE_LOCK, UNREGISTER])
@pytest.mark.parametrize("means", [*TRACED, *PROMPT, *REGISTERS])
def test_no_access_minds_device_lock(means: str, symbol: str) -> None:
    stage, actor = on_device(means, symbol=symbol)
    stage.op(actor, 150_000, 150_020)
    stage.op(actor, 199_990, 200_010)
    good = judged(stage)
    assert [(f.verdict, f.met) for f in good] == [(Verdict.PASS, 1), (Verdict.PASS, 1)]
    assert [f.promise for f in good] == [f"{means}@device-lock", f"{means}@none"]


def test_waiting_while_only_device_lock_is_held_convicts() -> None:
    stage, actor = on_device("config-read/sysfs")
    stage.op(actor, 150_000, 150_900)
    stage.wait(150_005, actor)
    bad = judged(stage)[0]
    assert (bad.verdict, bad.blame) == (Verdict.FAIL, Blame.MISMATCH)
    assert "inside a device lock window" in bad.claim


def test_a_config_lock_inside_device_lock_counts_as_config_lock() -> None:
    stage, actor = on_device("config-read/sysfs")
    stage.window(120_000, 180_000, tid=100)
    stage.op(actor, 150_000, 150_020)
    bad = judged(stage)[0]
    assert (bad.verdict, bad.promise) == (Verdict.FAIL, "config-read/sysfs@config-lock")


def test_device_windows_that_are_not_certain_leave_unknown() -> None:
    stage, actor = on_device("config-read/sysfs")
    stage.op(actor, 150_000, 150_020)
    history = stage.history()
    probes = tuple(replace(p, present=p.symbol != HOLD_DEVICE_LOCK) for p in history.probes)
    (finding,) = access_outcome(Evidence(replace(history, probes=probes)), terms(history))
    assert finding.verdict is Verdict.UNKNOWN
    assert HOLD_DEVICE_LOCK in finding.claim


# privilege


def unprivileged(offset: int, width: int = 4) -> tuple[Stage, int]:
    stage = Stage()
    holder = stage.does("holder", words.HOLD_CONFIG)
    nobody = stage.reader("nobody", means=words.UNPRIVILEGED_READ, offset=offset, width=width)
    stage.heartbeat()
    stage.held_by(holder, 99_900, 200_100, opened=100_000, closed=200_000)
    return stage, nobody


@pytest.mark.parametrize("begin", [50, 150_000])
def test_reads_past_what_everybody_may_see_end_at_once_with_nothing(begin: float) -> None:
    stage, nobody = unprivileged(0x40)
    stage.op(nobody, begin, begin + 5, result=0, value=0)
    (good,) = judged(stage)
    assert (good.verdict, good.met) == (Verdict.PASS, 1)
    assert good.promise.startswith(f"{words.UNPRIVILEGED_READ}@")
    stage.op(nobody, begin + 100, begin + 105, result=4)
    assert worst(judged(stage)) is Verdict.FAIL


def test_reads_past_what_everybody_may_see_never_wait() -> None:
    stage, nobody = unprivileged(0x40)
    stage.op(nobody, 150_000, 200_100, result=0, value=0)
    stage.wait(150_005, nobody)
    assert worst(judged(stage)) is Verdict.FAIL


def test_reads_of_what_everybody_may_see_wait_like_everybodys() -> None:
    stage, nobody = unprivileged(0x3C)
    stage.op(nobody, 150_000, 200_100)
    stage.wait(150_005, nobody)
    (good,) = judged(stage)
    assert (good.verdict, good.promise) == (Verdict.PASS, "config-read/sysfs@config-lock")
    stage.op(nobody, 160_000, 160_010)
    assert worst(judged(stage)) is Verdict.FAIL


# stolen locks


def stolen(means: str) -> tuple[Stage, int]:
    """A window of 150 ms whose lock is stolen after 50."""
    stage = Stage()
    holder, actor = stage.does("holder", words.VFIO_RESET), stage.does("actor", means, "config")
    stage.heartbeat()
    stage.op(holder, 99_900, 250_100)
    stage.window(100_000, None, tid=100)
    stage.unlock(150_000, 901)
    stage.unlock(250_000, 100)
    return stage, actor


def test_whoever_gets_through_after_a_theft_is_not_convicted() -> None:
    stage, actor = stolen("config-read/sysfs")
    stage.op(actor, 110_000, 150_100)
    stage.wait(110_005, actor)
    stage.op(actor, 200_000, 200_020)
    assert [f.verdict for f in judged(stage)] == [Verdict.PASS, Verdict.PASS]
    stage.op(actor, 120_000, 120_010)
    assert worst(judged(stage)) is Verdict.FAIL


def test_whoever_waits_for_another_lock_after_a_theft_is_not_convicted_either() -> None:
    stage, actor = stolen(words.BAR_READ)
    stage.op(actor, 50, 60)
    stage.op(actor, 110_000, 250_100)
    assert [f.verdict for f in judged(stage)] == [Verdict.PASS]
    stage.op(actor, 111_000, 111_020)
    assert worst(judged(stage)) is Verdict.FAIL


def test_a_contract_that_says_nothing_on_a_kind_is_unknown() -> None:
    stage, actor = in_window(WindowKind.VFIO_RESET, words.BAR_READ)
    stage.op(actor, 150_000, 150_020)
    history = stage.history()
    full = terms(history)
    silent = tuple(p for p in full.promises["disk"] if p.operation != Operation(words.BAR_READ))
    found = access_outcome(Evidence(history), replace(full, promises={"disk": silent}))
    assert {f.verdict for f in found} == {Verdict.UNKNOWN}
    assert "vfio-reset" in found[0].claim


# functions that are gone


@pytest.mark.parametrize(("begin", "verdict"), [(50, Verdict.FAIL), (150, Verdict.PASS)])
@pytest.mark.parametrize(("means", "error"), [("config-read/sysfs", 19), ("config-read/proc", 5)])
def test_a_function_that_the_plan_removed_may_be_gone(
    means: str, error: int, begin: float, verdict: Verdict
) -> None:
    stage = Stage()
    remover, reader = stage.does("remover", words.REMOVE, "remove"), stage.reader(means=means)
    stage.op(remover, 100, 200)
    stage.op(reader, 10, 20)
    stage.op(reader, begin, begin + 5, error=error)
    assert worst(judged(stage)) is verdict
    stage.op(reader, 160, 165, error=1)  # EPERM has nothing to do with it
    assert worst(judged(stage)) is Verdict.FAIL
