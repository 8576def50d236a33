"""Config space that was read while interrupts were armed, and afterwards: like is compared with like."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from harness.history.history import History
from harness.judge import judge
from harness.judge.evidence import Evidence
from harness.judge.questions.config_restored import config_restored
from harness.judge.questions.values_sane import values_sane
from harness.model import operation as words
from harness.model.plan import Op
from harness.model.verdict import Verdict
from tests.unit.judge.armed import MSI_AT, MSIX_AT, armed, capable, used, user
from tests.unit.judge.build import CONTRACT, Stage, worst

KINDS = ("msi", "msix")


def restored(history: History) -> Verdict | None:
    return worst(config_restored(Evidence(history), CONTRACT.terms_of(history)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reset", ["reset/flr", "reset/pm", "reset/bus"])
def test_who_armed_interrupts_and_closed_the_function_is_not_convicted_for_it(kind: str, reset: str) -> None:
    history = used(kind, capable(), reset=reset)
    judgement = judge(history, CONTRACT.terms_of(history))
    assert [one for one in judgement.findings if one.verdict is Verdict.FAIL] == []
    assert restored(history) is Verdict.PASS


@pytest.mark.parametrize("seed", range(60))
def test_whatever_arming_leaves_is_explained_and_nothing_else_is(seed: int) -> None:
    dice = random.Random(seed)  # noqa: S311 - the same every time
    kind = dice.choice(KINDS)
    config = armed(kind)
    after = capable(msi=0x0180 | dice.choice((0, 0x10, 0x20)) if kind == "msi" else 0x0180)
    if kind == "msi":  # address, data and masks stay as they were, are cleared, or tell of another processor
        after[MSI_AT + 4 : MSI_AT + 0x14] = dice.choice((bytes(16), dice.randbytes(16)))
    else:
        after[MSIX_AT + 3] = dice.choice((0x00, 0x40))
    assert restored(used(kind, after, before=config)) is Verdict.PASS
    other = MSIX_AT if kind == "msi" else MSI_AT
    at, bit = dice.choice(
        ((0x10, 0x10), (0x3C, 1), (0x0C, 8), (other + 2, 1 if kind == "msix" else 4), (MSIX_AT + 4, 1))
    )
    after[at] ^= bit
    assert restored(used(kind, after, before=config)) is Verdict.FAIL


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_armed_at_both_readings_is_compared(kind: str) -> None:
    kept = armed(kind)
    assert restored(used(kind, kept)) is Verdict.PASS
    kept[(MSI_AT if kind == "msi" else MSIX_AT) + 3] ^= 0x40 if kind == "msix" else 0
    kept[MSI_AT + 5] ^= 0x10 if kind == "msi" else 0
    assert restored(used(kind, kept)) is Verdict.FAIL


@pytest.mark.parametrize("kind", KINDS)
def test_nobody_who_did_not_ask_for_interrupts_explains_that_they_are_gone(kind: str) -> None:
    stage = Stage(before=bytes(armed(kind)), after=bytes(capable()))
    stage.reset(stage.resetter(), 1_000)
    assert restored(stage.history()) is Verdict.FAIL


@pytest.mark.parametrize("kind", KINDS)
def test_what_could_not_be_read_again_is_not_known(kind: str) -> None:
    history = used(kind, capable())
    functions = (replace(history.functions[0], config_after=b""),)
    assert restored(replace(history, functions=functions)) is Verdict.UNKNOWN


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("end", ["closes", "leaves", "is killed"])
def test_a_reader_beside_a_user_who_closes_early_sees_them_disarmed(kind: str, end: str) -> None:
    """Until then a reader must see what was armed; afterwards either is right."""
    stage = Stage(platform="hil-endpoint", before=bytes(armed(kind)), after=bytes(capable()))
    stage.heartbeat()
    me = user(stage, kind)
    stage.op(me, 1_000, 1_020, step=0)
    stage.op(me, 1_100, 1_110, step=1, value=1, round_=0)
    if end == "closes":
        closer = stage.does("closer", words.VFIO_CLOSE, "vfio", op=Op.CLOSE)
        stage.op(closer, 200_000, 200_100)
    if end == "is killed":
        stage.ends(me, end="died", detail="signal 9")
    at = MSI_AT if kind == "msi" else MSIX_AT
    reader = stage.reader(offset=at)
    gone = int.from_bytes(capable()[at : at + 4], "little")
    stage.op(reader, 500, 520)
    stage.op(reader, 300_000, 300_020, value=gone)
    history = stage.history()
    assert worst(values_sane(Evidence(history), CONTRACT.terms_of(history))) is Verdict.PASS
    stage.op(reader, 700, 720, value=gone)
    history = stage.history()
    assert worst(values_sane(Evidence(history), CONTRACT.terms_of(history))) is Verdict.FAIL
