"""MSI and MSI-X of a function that is still open: after resets what they were before, lost, or nobody could look."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from harness.history.history import History
from harness.judge import judge
from harness.judge.evidence import Evidence
from harness.judge.questions.interrupts_kept import interrupts_kept
from harness.model import operation as words
from harness.model.plan import Op
from harness.model.verdict import Blame, Finding, Verdict
from tests.unit.judge.armed import MSI_AT, MSIX_AT, armed, capable, rings, used, user
from tests.unit.judge.build import CONTRACT, Stage

KINDS = ("msi", "msix")


def still(history: History, config: bytes | bytearray) -> History:
    """The same with config space as it was read before the function was closed."""
    return replace(history, functions=(replace(history.functions[0], config_open=bytes(config)),))


def found(history: History) -> tuple[Finding, ...]:
    return interrupts_kept(Evidence(history), CONTRACT.terms_of(history))


@pytest.mark.parametrize("kind", KINDS)
def test_what_came_back_with_config_space_is_kept(kind: str) -> None:
    (good,) = found(still(used(kind, capable()), armed(kind)))
    assert (good.verdict, good.met) == (Verdict.PASS, 1)
    assert "of disk is what it was before reset/flr" in good.claim


@pytest.mark.parametrize(("kind", "called"), [("msi", "MSI"), ("msix", "MSI-X")])
def test_what_a_reset_left_switched_off_convicts(kind: str, called: str) -> None:
    history = still(used(kind, capable()), capable())
    (bad,) = found(history)
    assert (bad.verdict, bad.blame) == (Verdict.FAIL, Blame.RESET_FAILED)
    assert bad.claim.startswith(
        f"{called} of disk was not restored after reset/flr by resetter, and its user still"
    )
    assert f"{called} is switched off" in bad.claim
    decisive = judge(history, CONTRACT.terms_of(history)).decisive
    assert decisive is not None
    assert decisive.checker == "interrupts_kept"


@pytest.mark.parametrize("seed", range(30))
def test_every_bit_of_its_state_counts_and_no_other(seed: int) -> None:
    dice = random.Random(seed)  # noqa: S311 - the same every time
    kind = dice.choice(KINDS)
    config = armed(kind)
    state = (
        [(MSI_AT + 2, bit) for bit in (0x01, 0x10, 0x20, 0x40)]
        + [(MSI_AT + at, 0x10) for at in range(0x10, 0x14)]
        if kind == "msi"
        else [(MSIX_AT + 3, 0x80), (MSIX_AT + 3, 0x40)]
    )
    other = [(0x05, 4), (0x07, 0x80), (0x10, 0x10), (MSI_AT + 0x14, 1), (MSIX_AT + 5, 1), (0xF0, 1)]
    other += [(MSI_AT + at, 0x10) for at in range(4, 0x0E)]  # to another processor
    at, bits = dice.choice(other)
    config[at] ^= bits
    assert [one.verdict for one in found(still(used(kind, capable()), config))] == [Verdict.PASS]
    at, bits = dice.choice(state)
    config[at] ^= bits
    assert [one.verdict for one in found(still(used(kind, capable()), config))] == [Verdict.FAIL]


def test_an_address_that_leads_nowhere_convicts() -> None:
    config = armed("msi")
    config[MSI_AT + 4 : MSI_AT + 0x0C] = bytes(8)
    (bad,) = found(still(used("msi", capable()), config))
    assert bad.verdict is Verdict.FAIL
    assert "3 bytes differ (0x094 0010e0fe → 00000000)" in bad.claim


@pytest.mark.parametrize("kind", KINDS)
def test_a_function_that_does_not_answer_tells_nothing(kind: str) -> None:
    (unknown,) = found(still(used(kind, capable()), b"\xff" * 256))
    assert unknown.verdict is Verdict.UNKNOWN


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_not_looked_at_is_not_asked(kind: str) -> None:
    """Older histories, users who did not arm, functions that nobody reset, or raw, or that somebody opened anew."""
    assert found(used(kind, capable())) == ()
    assert found(still(used(kind, capable(), before=capable()), capable())) == ()
    stage = Stage(platform="hil-endpoint", before=bytes(armed(kind)), after=bytes(capable()))
    rings(stage, user(stage, kind), 1_000, 1, number=0)
    assert found(still(stage.history(), capable())) == ()
    for means, role, op in ((words.FLR_BIT, "config", Op.WRITE), (words.VFIO_CLOSE, "vfio", Op.CLOSE)):
        stage = Stage(platform="hil-endpoint", before=bytes(armed(kind)), after=bytes(capable()))
        rings(stage, user(stage, kind), 1_000, 1, number=0)
        stage.op(stage.does("other", means, role, op=op), 5_000, 5_100)
        assert found(still(stage.history(), capable())) == ()
