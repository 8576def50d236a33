"""Every claim of every entry of the contract turns a judgement red when it is flipped."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.contract import Contract
from harness.history.columns import Edge
from harness.history.history import LOCKDOWN, History
from harness.history.windows import HOLD_DEVICE_LOCK
from harness.judge import judge
from harness.model.operation import (
    ATTRIBUTE_READ,
    FLR_BIT,
    SELF_TEST,
    SELF_TEST_RESULT,
    config_write,
)
from harness.model.pci import AccessPath
from harness.model.plan import File, Op, Step
from harness.model.promise import Promise, WindowKind
from harness.model.verdict import Verdict
from harness.staging.function import BIST, START_BIST
from tests.flip import flips
from tests.unit.judge.build import ALIAS, CONTRACT, PROC_READ, WRITE, Stage, config_space, terms
from tests.unit.judge.storage import storage_witness
from tests.unit.judge.struck import struck_witness
from tests.unit.judge.witness import goes_wrong, witness

ORACLES = {platform: oracle.on(ALIAS) for oracle in CONTRACT.oracles for platform in oracle.platforms}


def oracle_round(
    stage: Stage, actor: int, number: int, *, marked: float, begin: float, waits: float, after: int
) -> float:
    """Mark, check, reset, check; returns when the reset was over."""
    assert stage.oracle is not None
    stage.op(actor, marked, marked + 10, step=0, round_=number)
    stage.op(actor, marked + 20, marked + 30, step=1, value=stage.oracle.marker, round_=number)
    end = stage.reset(actor, begin, waits=waits, step=2, round_=number)
    stage.op(actor, end + 400_000, end + 400_001, step=3, value=after, round_=number)
    return end


def serialised(method: str, platform: str) -> History:
    """Two resetters of which one watches an oracle, a reader by each way, a writer and a control sample."""
    oracle = ORACLES[platform]
    stage = Stage(platform=platform, oracle=oracle, meets=1)
    stage.heartbeat(until_us=4e6)
    after = oracle.marker if method == "pm" else oracle.cleared
    one, two = stage.oracle_rounds(f"reset/{method}"), stage.resetter("other", means=f"reset/{method}")
    end = oracle_round(stage, one, 0, marked=950, begin=1_000, waits=0, after=after)
    stage.reset(two, 50_000, waits=end - 50_000)
    end = stage.reset(two, 1_000_000)
    oracle_round(stage, one, 1, marked=900_000, begin=1_050_000, waits=end - 1_050_000, after=after)
    accesses = [
        stage.reader("sysfs"),
        stage.reader("proc", means=PROC_READ),
        stage.writer(0x0C, b"\x00", means=WRITE),
        stage.writer(0x0C, b"\x00", means=config_write(AccessPath.PROC)),
    ]
    for access in accesses:
        stage.op(access, 100, 120)
        stage.op(access, 1_040_000, end - 20)
        stage.wait(1_040_005, access)
    control = stage.reader("control", means=ATTRIBUTE_READ, offset=0)
    stage.op(control, 100, 120)
    stage.op(control, 1_060_000, 1_060_900)
    return stage.history()


def raw_flr(window: WindowKind) -> History:
    """A raw FLR of a free function, or of one whose config lock or device_lock another holds, and what it loses."""
    oracle = ORACLES["nvme"]
    after = bytearray(config_space())
    after[0x10:0x18] = bytes.fromhex("0400000000000000")
    stage = Stage(oracle=oracle, after=bytes(after))
    stage.heartbeat()
    flr = stage.oracle_rounds(FLR_BIT)
    stage.op(flr, 1_000, 1_010, step=0, round_=0)
    stage.op(flr, 1_020, 1_030, step=1, value=oracle.marker, round_=0)
    end = 50_020 if window is WindowKind.CONFIG_LOCK else 1_110
    stage.op(flr, 1_100, end, step=2, round_=0)
    if window is WindowKind.CONFIG_LOCK:
        stage.window(1_050, 50_000)
        stage.wait(1_105, flr)
    elif window is WindowKind.DEVICE_LOCK:
        stage.probe(1_050, HOLD_DEVICE_LOCK, Edge.ENTRY, 900)
        stage.probe(50_000, HOLD_DEVICE_LOCK, Edge.RETURN, 900, function=-1)
    stage.op(flr, end + 150_000, end + 150_010, step=4, round_=0)
    stage.op(flr, end + 150_020, end + 150_030, step=3, value=oracle.cleared, round_=0)
    return stage.history()


def self_test(window: WindowKind) -> History:
    """A self-test of a free function, or of one whose config lock or device_lock another holds, and what it loses."""
    before = bytearray(config_space())
    before[BIST] = 0x80
    after = bytearray(before)
    after[0x04:0x06] = b"\0\0"
    stage = Stage(before=bytes(before), after=bytes(after))
    stage.heartbeat()
    config = File(function=ALIAS, role="config")
    tester = stage.actor(
        "self-tester",
        Step(op=Op.WRITE, means=SELF_TEST, file=config, offset=BIST, value=START_BIST),
        Step(op=Op.READ, means=SELF_TEST_RESULT, file=config, offset=BIST, width=1),
    )
    end = 50_020 if window is WindowKind.CONFIG_LOCK else 1_110
    stage.op(tester, 1_100, end, step=0, round_=0)
    if window is WindowKind.CONFIG_LOCK:
        stage.window(1_050, 50_000)
        stage.wait(1_105, tester)
    elif window is WindowKind.DEVICE_LOCK:
        stage.device_window(1_050, 50_000)
    stage.op(tester, end + 150_000, end + 150_010, step=1, round_=0)
    return stage.history()


def history_of(promise: Promise) -> History:
    """A history that keeps one entry."""
    if promise.lockdown:
        history = witness(promise)
        return replace(history, provenance={**history.provenance, LOCKDOWN: promise.lockdown[0]})
    if (struck := struck_witness(promise)) is not None:
        return struck
    if (storage := storage_witness(promise)) is not None:
        return goes_wrong(storage, promise.faults[0]) if promise.faults else storage
    raw = {FLR_BIT: raw_flr, SELF_TEST: self_test}
    return raw[promise.operation](promise.window) if promise.operation in raw else witness(promise)


COLLISIONS = {
    "flr": serialised("flr", "nvme"),
    "pm": serialised("pm", "igb"),
    "bus": serialised("bus", "e1000e"),
}


@pytest.mark.parametrize("name", COLLISIONS)
def test_the_right_contract_passes_a_collision(name: str) -> None:
    history = COLLISIONS[name]
    judgement = judge(history, terms(history))
    assert [f.claim for f in judgement.findings if f.verdict is not Verdict.PASS] == []


@pytest.fixture(scope="module")
def flipped() -> dict[str, list[tuple[str, Contract]]]:
    """For each entry the contracts that are wrong in one claim of it."""
    found: dict[str, list[tuple[str, Contract]]] = {}
    for flip, contract in flips(CONTRACT):
        found.setdefault(flip.rpartition("#")[0], []).append((flip, contract))
    return found


@pytest.mark.parametrize("promise", CONTRACT.promises, ids=lambda promise: promise.id)
def test_every_entry_passes_its_history_and_every_flip_of_it_turns_that_red(
    promise: Promise, flipped: dict[str, list[tuple[str, Contract]]]
) -> None:
    history = history_of(promise)
    judgement = judge(history, CONTRACT.terms_of(history))
    assert [f.claim for f in judgement.findings if f.verdict is not Verdict.PASS] == []
    assert promise.id in {finding.promise for finding in judgement.findings}
    survived = [
        flip
        for flip, contract in flipped[promise.id]
        if judge(history, contract.terms_of(history)).verdict is not Verdict.FAIL
    ]
    assert survived == []
