"""Every claim of the contract that a history uses turns its judgement red when it is flipped."""

from __future__ import annotations

import pytest

from harness.contract.flip import flips
from harness.history.history import History
from harness.judge import judge
from harness.model.operation import ATTRIBUTE_READ, FLR_BIT
from harness.model.verdict import Verdict
from tests.unit.judge.build import ALIAS, CONTRACT, PROC_READ, WRITE, Stage, config_space, terms

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
        stage.writer(0x0C, b"\x00", means="config-write/proc"),
    ]
    for access in accesses:
        stage.op(access, 100, 120)
        stage.op(access, 1_040_000, end - 20)
        stage.wait(1_040_005, access)
    control = stage.reader("control", means=ATTRIBUTE_READ, offset=0)
    stage.op(control, 100, 120)
    stage.op(control, 1_060_000, 1_060_900)
    return stage.history()


def alone(method: str, platform: str) -> History:
    """One reset of a free function."""
    stage = Stage(platform=platform)
    stage.heartbeat(until_us=4e6)
    stage.reset(stage.resetter(means=f"reset/{method}"), 1_000)
    return stage.history()


def raw_flr(*, locked: bool) -> History:
    """A raw FLR of a free or a locked function, and what it loses."""
    oracle = ORACLES["nvme"]
    after = bytearray(config_space())
    after[0x10:0x18] = bytes.fromhex("0400000000000000")
    stage = Stage(oracle=oracle, after=bytes(after))
    stage.heartbeat()
    flr = stage.oracle_rounds(FLR_BIT)
    stage.op(flr, 1_000, 1_010, step=0, round_=0)
    stage.op(flr, 1_020, 1_030, step=1, value=oracle.marker, round_=0)
    end = 50_020 if locked else 1_110
    stage.op(flr, 1_100, end, step=2, round_=0)
    if locked:
        stage.window(1_050, 50_000)
        stage.wait(1_105, flr)
    stage.op(flr, end + 150_000, end + 150_010, step=4, round_=0)
    stage.op(flr, end + 150_020, end + 150_030, step=3, value=oracle.cleared, round_=0)
    return stage.history()


HISTORIES = {
    "flr": serialised("flr", "nvme"),
    "pm": serialised("pm", "igb"),
    "bus": serialised("bus", "e1000e"),
    "flr-alone": alone("flr", "nvme"),
    "pm-alone": alone("pm", "igb"),
    "bus-alone": alone("bus", "e1000e"),
    "raw-flr": raw_flr(locked=False),
    "raw-flr-locked": raw_flr(locked=True),
}


@pytest.mark.parametrize("name", HISTORIES)
def test_the_right_contract_passes(name: str) -> None:
    history = HISTORIES[name]
    judgement = judge(history, terms(history))
    assert [f.claim for f in judgement.findings if f.verdict is not Verdict.PASS] == []


def test_every_flip_of_a_used_entry_turns_a_history_red() -> None:
    users: dict[str, list[str]] = {}
    for name, history in HISTORIES.items():
        for finding in judge(history, terms(history)).findings:
            users.setdefault(finding.promise, []).append(name)
    survived = [
        flip
        for flip, contract in flips(CONTRACT)
        if (names := users.get(flip.rpartition("#")[0]))
        and all(
            judge(h, terms(h, contract)).verdict is not Verdict.FAIL for h in map(HISTORIES.get, names) if h
        )
    ]
    assert survived == []
    unused = {p.id for p in CONTRACT.promises} - set(users)
    assert {name for name in unused if "af_flr" not in name and "device_specific" not in name} == {
        f"reset/{method}@{window}" for method in ("flr", "pm", "bus") for window in ("none", "config-lock")
    }
